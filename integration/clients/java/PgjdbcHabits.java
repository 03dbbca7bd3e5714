import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.copy.CopyOut;
import org.postgresql.copy.PGCopyOutputStream;

/** Cursors, COPY, LISTEN and advisory locks in pgjdbc: prints a transcript. Arguments: the URL. */
public class PgjdbcHabits {
  static final String HELD = "SELECT mode, classid, objid, objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1, 2, 3, 4";

  public static void main(String[] args) throws Exception {
    for (String mode : new String[] {"extended", "simple"}) {
      Properties properties = new Properties();
      properties.setProperty("user", "postgres");
      properties.setProperty("preferQueryMode", mode);
      String table = "jh_" + mode;
      PgjdbcFeatures.say("==", mode);
      try (Connection c = DriverManager.getConnection(args[0], properties);
          Connection other = DriverManager.getConnection(args[0], properties)) {
        update(c, "CREATE TABLE " + table + " (id serial PRIMARY KEY, name text UNIQUE, n int, at timestamptz DEFAULT now())");
        update(c, "INSERT INTO " + table + " (name, n) SELECT 'h' || i, i FROM generate_series(1, 300) i");
        fetchSize(c, table);
        declared(c, table);
        copy(c, table);
        copyStreams(c, other, table);
        notifications(c, other, table);
        locks(c, other, table);
        // A COPY that fails may draw other numbers.
        print(c, "SELECT name, n FROM " + table + " ORDER BY name");
      }
    }
  }

  static void update(Connection c, String sql) throws Exception {
    try (Statement s = c.createStatement()) {
      PgjdbcFeatures.say(s.executeUpdate(sql));
    }
  }

  static void print(Connection c, String sql) throws Exception {
    try (Statement s = c.createStatement()) {
      PgjdbcFeatures.print(s.executeQuery(sql));
    }
  }

  /** Portals that are read piece by piece, beside writes. */
  static void fetchSize(Connection c, String table) throws Exception {
    c.setAutoCommit(false);
    try (PreparedStatement s = c.prepareStatement("SELECT id, n FROM " + table + " WHERE id > ? ORDER BY id", ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY);
        PreparedStatement write = c.prepareStatement("UPDATE " + table + " SET n = ? WHERE id = ?")) {
      s.setFetchSize(40);
      s.setInt(1, 100);
      ResultSet rows = s.executeQuery();
      int n = 0;
      while (rows.next()) {
        if (n++ % 60 != 0) continue;
        write.setInt(1, -n);
        write.setInt(2, rows.getInt(1));
        PgjdbcFeatures.say(write.executeUpdate());
        rows.setFetchSize(25);
      }
      PgjdbcFeatures.say("read", n);
      rows = s.executeQuery();
      rows.next();
      rows.close(); // the rest is left
      c.commit();
      ResultSet late = s.executeQuery();
      late.next();
      c.commit();
      PgjdbcFeatures.failing(() -> { while (late.next()) {} });
    }
    c.rollback();
    try (Statement s = c.createStatement()) {
      s.setFetchSize(2);
      ResultSet rows = s.executeQuery("UPDATE " + table + " SET n = n + 1000 WHERE id <= 5 RETURNING name");
      PgjdbcFeatures.print(rows);
    }
    c.commit();
    try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY, ResultSet.HOLD_CURSORS_OVER_COMMIT)) {
      ResultSet rows = s.executeQuery("SELECT id FROM " + table + " ORDER BY id");
      rows.absolute(10);
      c.commit();
      rows.previous();
      PgjdbcFeatures.say("held", rows.getInt(1));
    }
    c.setAutoCommit(true);
  }

  static void declared(Connection c, String table) throws Exception {
    c.setAutoCommit(false);
    update(c, "DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id, n FROM " + table + " ORDER BY id");
    update(c, "DECLARE walk CURSOR FOR SELECT id FROM " + table + " ORDER BY id FOR UPDATE");
    print(c, "FETCH 2 FROM walk");
    update(c, "MOVE 3 IN walk");
    print(c, "FETCH 1 FROM walk");
    update(c, "INSERT INTO " + table + " (name) VALUES ('beside')");
    c.commit();
    print(c, "FETCH LAST FROM held");
    print(c, "FETCH ABSOLUTE 2 FROM held");
    update(c, "CLOSE held");
    PgjdbcFeatures.failing(() -> print(c, "FETCH 1 FROM walk"));
    c.rollback();
    c.setAutoCommit(true);
  }

  static void copy(Connection c, String table) throws Exception {
    CopyManager copies = c.unwrap(PGConnection.class).getCopyAPI();
    String into = "COPY " + table + " (name, n) FROM STDIN";
    PgjdbcFeatures.say(copies.copyIn(into, new ByteArrayInputStream("bytes 1\t1\nbytes 2\t\\N\n".getBytes(StandardCharsets.UTF_8)), 7));
    CopyIn in = copies.copyIn(into);
    for (String line : new String[] {"piece 1\t", "1\npie", "ce 2\t2\n"}) {
      byte[] bytes = line.getBytes(StandardCharsets.UTF_8);
      in.writeToCopy(bytes, 0, bytes.length);
    }
    PgjdbcFeatures.say(in.getFieldCount(), in.endCopy());
    CopyIn given = copies.copyIn(into);
    given.cancelCopy();
    PgjdbcFeatures.failing(() -> copies.copyIn(into, new StringReader("x\tnot a number\n")));
    PgjdbcFeatures.failing(() -> copies.copyIn(into, new StringReader("piece 1\t1\n")));
    c.setAutoCommit(false);
    PgjdbcFeatures.say(copies.copyIn(into, new StringReader("undone\t1\n")));
    c.rollback();
    PgjdbcFeatures.say(copies.copyIn(into, new StringReader("in a block\t1\n")));
    update(c, "UPDATE " + table + " SET n = 2 WHERE name = 'in a block'");
    c.commit();
    c.setAutoCommit(true);
    PgjdbcFeatures.failing(() -> copies.copyOut("COPY (SELECT 1/(n - 20) FROM " + table + " WHERE id BETWEEN 15 AND 25 ORDER BY id) TO STDOUT", OutputStream.nullOutputStream()));
  }

  static void copyStreams(Connection c, Connection other, String table) throws Exception {
    CopyOut out = c.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SELECT name, n FROM " + table + " WHERE name ~ '^(bytes|piece)' ORDER BY 1) TO STDOUT (FORMAT csv)");
    for (byte[] row; (row = out.readFromCopy()) != null; ) PgjdbcFeatures.say(new String(row, StandardCharsets.UTF_8).trim());
    update(c, "CREATE TABLE " + table + "_two (id int PRIMARY KEY, name text)");
    try (PGCopyOutputStream to = new PGCopyOutputStream(other.unwrap(PGConnection.class), "COPY " + table + "_two FROM STDIN (FORMAT binary)")) {
      ByteArrayOutputStream all = new ByteArrayOutputStream();
      c.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SELECT id, name FROM " + table + " WHERE id <= 50) TO STDOUT (FORMAT binary)", all);
      to.write(all.toByteArray());
    }
    print(c, "SELECT count(*) AS n, sum(id) AS ids FROM " + table + "_two");
  }

  static void notifications(Connection c, Connection other, String table) throws Exception {
    update(c, "LISTEN jh");
    update(other, "NOTIFY jh, 'first'");
    other.setAutoCommit(false);
    update(other, "NOTIFY jh, 'with a write'");
    update(other, "INSERT INTO " + table + " (name) VALUES ('told')");
    other.commit();
    update(other, "NOTIFY jh, 'never'");
    other.rollback();
    other.setAutoCommit(true);
    print(other, "SELECT pg_notify('jh', 'last')::text = '' AS told");
    PGConnection pg = c.unwrap(PGConnection.class);
    for (String last = ""; !last.equals("last"); ) {
      PGNotification[] heard = pg.getNotifications(10_000);
      if (heard == null || heard.length == 0) throw new IllegalStateException("no notification");
      for (PGNotification n : heard) PgjdbcFeatures.say(n.getName(), last = n.getParameter(), n.getPID() == other.unwrap(PGConnection.class).getBackendPID());
    }
    update(c, "UNLISTEN *");
  }

  static void locks(Connection c, Connection other, String table) throws Exception {
    print(c, "SELECT pg_advisory_lock(1)::text AS a, pg_advisory_lock_shared(2, 3)::text AS b");
    c.setAutoCommit(false);
    print(c, "SELECT pg_advisory_xact_lock(4)::text AS a");
    update(c, "INSERT INTO " + table + " (name) VALUES ('locked')");
    print(c, HELD);
    print(other, "SELECT pg_try_advisory_lock(1) AS one, pg_try_advisory_xact_lock(4) AS four");
    c.commit();
    print(c, HELD);
    c.rollback();
    print(other, "SELECT pg_try_advisory_xact_lock(4) AS four");
    Savepoint savepoint = c.setSavepoint();
    print(c, "SELECT pg_advisory_xact_lock(5)::text AS a, pg_advisory_lock(6)::text AS b");
    c.rollback(savepoint);
    print(c, HELD);
    c.rollback();
    print(c, HELD);
    c.setAutoCommit(true);
    print(c, "SELECT pg_advisory_unlock(1) AS once, pg_advisory_unlock(1) AS twice");
    print(c, "SELECT pg_advisory_unlock_all()::text AS all");
    print(c, HELD);
  }
}
