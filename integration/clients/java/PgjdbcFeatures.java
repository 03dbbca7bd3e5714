import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

/** What programs do with pgjdbc: prints a transcript. Arguments: the URL. */
public class PgjdbcFeatures {
  static void say(Object... values) {
    StringBuilder line = new StringBuilder();
    for (Object v : values) line.append(line.length() == 0 ? "" : " ").append(v);
    System.out.println(line);
  }

  interface Body { void run() throws Exception; }

  static void failing(Body body) throws Exception {
    try {
      body.run();
      say("no error");
    } catch (SQLException e) {
      say(e.getSQLState(), e.getMessage().replace('\n', '|'));
    }
  }

  static void print(ResultSet rows) throws SQLException {
    ResultSetMetaData meta = rows.getMetaData();
    while (rows.next()) {
      StringBuilder line = new StringBuilder();
      for (int i = 1; i <= meta.getColumnCount(); i++)
        line.append(meta.getColumnLabel(i)).append(':').append(meta.getColumnTypeName(i)).append('=').append(text(rows, i)).append(' ');
      say(line);
    }
  }

  static String text(ResultSet rows, int column) throws SQLException {
    return rows.getObject(column) instanceof byte[] b ? java.util.HexFormat.of().formatHex(b) : rows.getString(column);
  }

  public static void main(String[] args) throws Exception {
    for (String mode : new String[] {"extended", "extendedForPrepared", "extendedCacheEverything", "simple"}) {
      Properties properties = new Properties();
      properties.setProperty("user", "postgres");
      properties.setProperty("preferQueryMode", mode);
      properties.setProperty("prepareThreshold", "2");
      say("==", mode);
      try (Connection c = DriverManager.getConnection(args[0], properties)) {
        features(c, "j_" + mode.toLowerCase(), !mode.equals("simple"));
      }
    }
    for (String autosave : new String[] {"always", "conservative"}) {
      Properties properties = new Properties();
      properties.setProperty("user", "postgres");
      properties.setProperty("autosave", autosave);
      properties.setProperty("cleanupSavepoints", "true");
      say("== autosave", autosave);
      try (Connection c = DriverManager.getConnection(args[0], properties)) {
        autosave(c, "j_auto_" + autosave);
      }
    }
  }

  /** The driver's own savepoints: a failed statement does not end the transaction. */
  static void autosave(Connection c, String table) throws Exception {
    try (Statement s = c.createStatement()) {
      s.executeUpdate("CREATE TABLE " + table + " (id serial PRIMARY KEY, name text UNIQUE)");
    }
    c.setAutoCommit(false);
    try (PreparedStatement s = c.prepareStatement("INSERT INTO " + table + " (name) VALUES (?)")) {
      for (String name : new String[] {"a", "b", "a", "c", "a", "d"}) {
        s.setString(1, name);
        failing(s::executeUpdate);
      }
    }
    failing(() -> c.commit());
    try (Statement s = c.createStatement()) {
      print(s.executeQuery("SELECT count(*) AS n, max(name) AS last FROM " + table));
      // A statement whose plan the server has to make anew.
      try (PreparedStatement all = c.prepareStatement("SELECT * FROM " + table + " ORDER BY id LIMIT 1")) {
        for (int i = 0; i < 6; i++) all.executeQuery();
        c.commit();
        s.executeUpdate("ALTER TABLE " + table + " ADD COLUMN more int DEFAULT 5");
        failing(() -> print(all.executeQuery()));
      }
    }
    c.commit();
  }

  static void features(Connection c, String table, boolean extended) throws Exception {
    tables(c, table);
    updates(c, table);
    batches(c, table);
    transactions(c, table);
    results(c, table);
    if (extended) cursor(c, table);
    copy(c, table);
    session(c);
    errors(c, table);
    try (Statement s = c.createStatement()) {
      print(s.executeQuery("SELECT count(*) AS n, sum(amount) AS total FROM " + table));
    }
  }

  static void tables(Connection c, String table) throws Exception {
    try (Statement s = c.createStatement()) {
      say(s.executeUpdate("CREATE TABLE " + table + " (id serial PRIMARY KEY, name varchar(40) UNIQUE, amount numeric(12,2), at timestamptz, raw bytea)"));
      say(s.execute("SELECT 1; SELECT 2"), s.getMoreResults(), s.getMoreResults(), s.getUpdateCount());
    }
    try (ResultSet columns = c.getMetaData().getColumns(null, "public", table, null)) {
      while (columns.next()) say(columns.getString("COLUMN_NAME"), columns.getString("TYPE_NAME"), columns.getString("COLUMN_DEF") != null);
    }
  }

  static void updates(Connection c, String table) throws Exception {
    try (PreparedStatement s = c.prepareStatement(
        "INSERT INTO " + table + " (name, amount, at, raw) VALUES (?, ?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
      for (int i = 0; i < 6; i++) {
        s.setString(1, "näme " + i);
        s.setBigDecimal(2, new BigDecimal("10.5").multiply(BigDecimal.valueOf(i)));
        s.setTimestamp(3, new Timestamp(1_700_000_000_000L + i));
        s.setBytes(4, new byte[] {0, (byte) i, -1});
        say(s.executeUpdate());
        ResultSet keys = s.getGeneratedKeys();
        while (keys.next()) say("key", keys.getInt("id"), keys.getString("name"));
      }
    }
    try (PreparedStatement s = c.prepareStatement("UPDATE " + table + " SET amount = amount + ? WHERE id = ?")) {
      for (int i = 1; i <= 5; i++) {
        s.setInt(1, i);
        s.setInt(2, i);
        say(s.executeUpdate());
      }
    }
    try (PreparedStatement s = c.prepareStatement("UPDATE " + table + " SET amount = amount + 1 WHERE id > ? RETURNING id, amount")) {
      s.setInt(1, 4);
      print(s.executeQuery());
    }
    try (PreparedStatement s = c.prepareStatement("DELETE FROM " + table + " WHERE id = ?")) {
      s.setInt(1, 6);
      say(s.executeUpdate(), s.executeUpdate());
    }
  }

  static void batches(Connection c, String table) throws Exception {
    try (PreparedStatement s = c.prepareStatement("INSERT INTO " + table + " (name, amount) VALUES (?, ?)")) {
      for (int i = 0; i < 300; i++) {
        s.setString(1, "batch " + i);
        s.setInt(2, i);
        s.addBatch();
      }
      int sum = 0;
      for (int n : s.executeBatch()) sum += n;
      say("batch", sum);
    }
    try (Statement s = c.createStatement()) {
      s.addBatch("UPDATE " + table + " SET amount = 0 WHERE name = 'batch 1'");
      s.addBatch("DELETE FROM " + table + " WHERE name = 'batch 2'");
      for (int n : s.executeBatch()) say(n);
    }
    try (PreparedStatement s = c.prepareStatement("INSERT INTO " + table + " (name) VALUES (?)")) {
      for (String name : new String[] {"b1", "batch 5", "b2"}) {
        s.setString(1, name);
        s.addBatch();
      }
      failing(() -> {
        try {
          s.executeBatch();
        } catch (BatchUpdateException e) {
          say("counts", e.getUpdateCounts().length);
          throw e.getNextException();
        }
      });
    }
  }

  static void transactions(Connection c, String table) throws Exception {
    c.setAutoCommit(false);
    try (Statement s = c.createStatement()) {
      s.executeUpdate("UPDATE " + table + " SET amount = 77 WHERE id = 1");
      Savepoint savepoint = c.setSavepoint("here");
      failing(() -> s.executeUpdate("INSERT INTO " + table + " (name) VALUES ('batch 5')"));
      failing(() -> s.executeQuery("SELECT 1"));
      c.rollback(savepoint);
      s.executeUpdate("UPDATE " + table + " SET amount = 78 WHERE id = 2");
      c.commit();
      s.executeUpdate("DELETE FROM " + table);
      c.rollback();
    }
    c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    try (Statement s = c.createStatement()) {
      print(s.executeQuery("SHOW transaction_isolation"));
    }
    c.commit();
    c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    c.setAutoCommit(true);
    c.setReadOnly(true);
    failing(() -> {
      try (Statement s = c.createStatement()) {
        c.setAutoCommit(false);
        s.executeUpdate("DELETE FROM " + table);
      } finally {
        c.rollback();
        c.setAutoCommit(true);
        c.setReadOnly(false);
      }
    });
  }

  static void results(Connection c, String table) throws Exception {
    try (PreparedStatement s = c.prepareStatement("SELECT id, name, amount, raw FROM " + table + " WHERE id < ? ORDER BY id")) {
      for (int i = 0; i < 4; i++) {
        s.setInt(1, 4);
        print(s.executeQuery());
      }
    }
    try (Statement s = c.createStatement()) {
      s.setMaxRows(3);
      print(s.executeQuery("SELECT id FROM " + table + " ORDER BY id"));
    }
    try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE)) {
      ResultSet rows = s.executeQuery("SELECT id, name, amount FROM " + table + " WHERE id = 3");
      rows.next();
      rows.updateBigDecimal("amount", new BigDecimal("3.33"));
      rows.updateRow();
      rows.refreshRow();
      say(rows.getBigDecimal("amount"));
    }
  }

  static void cursor(Connection c, String table) throws Exception {
    c.setAutoCommit(false);
    try (PreparedStatement s = c.prepareStatement("SELECT id FROM " + table + " ORDER BY id")) {
      s.setFetchSize(50);
      ResultSet rows = s.executeQuery();
      int n = 0;
      while (rows.next()) n++;
      say("fetched", n);
    }
    c.commit();
    c.setAutoCommit(true);
  }

  static void copy(Connection c, String table) throws Exception {
    PGConnection pg = c.unwrap(PGConnection.class);
    try (Statement s = c.createStatement()) {
      say(s.executeUpdate("CREATE TABLE " + table + "_copy (id serial, name text PRIMARY KEY, amount numeric, at timestamptz DEFAULT now())"));
    }
    say(pg.getCopyAPI().copyIn("COPY " + table + "_copy (name, amount) FROM STDIN WITH (FORMAT csv)", new StringReader("csv 1,1\n\"csv, 2\",2\n")));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    say(pg.getCopyAPI().copyOut("COPY (SELECT id, name, amount FROM " + table + "_copy WHERE name LIKE 'csv%' ORDER BY 1) TO STDOUT", out));
    say(out.toString(StandardCharsets.UTF_8).replace('\n', '|'));
    failing(() -> pg.getCopyAPI().copyIn("COPY " + table + "_copy (name, amount) FROM STDIN", new StringReader("bad\tnumber\n")));
  }

  static void session(Connection c) throws Exception {
    try (Statement s = c.createStatement()) {
      s.execute("LISTEN j");
      s.execute("NOTIFY j, 'hello'");
      for (PGNotification n : c.unwrap(PGConnection.class).getNotifications(5000)) say(n.getName(), n.getParameter());
      s.execute("DROP TABLE IF EXISTS no_such_table");
      say(s.getWarnings().getMessage());
      s.execute("SET search_path TO pg_catalog, public");
      print(s.executeQuery("SELECT current_schema() AS schema"));
      s.execute("RESET search_path");
      s.setQueryTimeout(1);
      failing(() -> s.executeQuery("SELECT pg_sleep(20)"));
      s.setQueryTimeout(0);
      s.execute("DISCARD ALL");
    }
    say(c.isValid(5), c.getMetaData().getDatabaseMajorVersion());
  }

  static void errors(Connection c, String table) throws Exception {
    try (Statement s = c.createStatement()) {
      failing(() -> s.execute("SELEC 1"));
      failing(() -> s.execute("SELECT nothere FROM " + table));
      failing(() -> s.execute("INSERT INTO " + table + " (id, name) VALUES (1, 'x')"));
      failing(() -> s.execute("SELECT 1; SELECT 1/0; SELECT 2"));
      failing(() -> s.execute("INSERT INTO " + table + " (name) VALUES (repeat('x', 50))"));
    }
    try (PreparedStatement s = c.prepareStatement("INSERT INTO " + table + " (name, amount) VALUES (?, ?)")) {
      s.setString(1, "late");
      s.setBigDecimal(2, new BigDecimal("99999999999999"));
      failing(s::executeUpdate);
      s.setBigDecimal(2, BigDecimal.ONE);
      say(s.executeUpdate());
    }
  }
}
