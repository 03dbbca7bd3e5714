import jakarta.persistence.*;
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Statement;
import org.hibernate.ScrollMode;
import org.hibernate.ScrollableResults;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.StatelessSession;
import org.hibernate.cfg.Configuration;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;

/** Cursors, COPY, LISTEN and advisory locks in Hibernate: prints a transcript. Arguments: the URL. */
public class HibernateHabits {
  static final String HELD = "select mode, classid, objid, objsubid from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() order by 1, 2, 3, 4";

  @Entity(name = "Habit") @Table(name = "hh_habit")
  static class Habit {
    @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Long id;
    @Column(unique = true) String name;
    int n;
    Habit() {}
    Habit(String name, int n) { this.name = name; this.n = n; }
  }

  public static void main(String[] args) {
    java.util.logging.LogManager.getLogManager().reset();
    Configuration cfg = new Configuration().addAnnotatedClass(Habit.class);
    cfg.setProperty("hibernate.connection.url", args[0]).setProperty("hibernate.connection.username", "postgres");
    cfg.setProperty("hibernate.hbm2ddl.auto", "update").setProperty("hibernate.jdbc.batch_size", "25");
    try (SessionFactory factory = cfg.buildSessionFactory()) {
      factory.inTransaction(s -> { for (int i = 0; i < 200; i++) s.persist(new Habit("h" + i, i)); });
      scrolls(factory);
      copies(factory);
      listens(factory);
      locks(factory);
      factory.inSession(s -> s.createQuery("from Habit order by id", Habit.class).getResultList().forEach(h -> HibernateFeatures.say(h.id, h.name, h.n)));
    }
  }

  /** A cursor under the entities that are changed as they come. */
  static void scrolls(SessionFactory factory) {
    factory.inTransaction(s -> {
      int n = 0;
      try (ScrollableResults<Habit> rows = s.createQuery("from Habit order by id", Habit.class).setFetchSize(30).scroll(ScrollMode.FORWARD_ONLY)) {
        while (rows.next()) {
          Habit h = rows.get();
          if (h.n % 50 == 0) h.n = -h.n - 1;
          if (++n % 40 == 0) { s.flush(); s.clear(); }
        }
      }
      HibernateFeatures.say("scrolled", n);
    });
    try (StatelessSession s = factory.openStatelessSession()) {
      s.beginTransaction();
      try (ScrollableResults<Habit> rows = s.createQuery("from Habit where n > 150 order by id", Habit.class).setFetchSize(10).scroll(ScrollMode.FORWARD_ONLY)) {
        while (rows.next()) {
          Habit h = rows.get();
          if (h.n % 20 == 0) { h.n++; s.update(h); }
        }
      }
      s.getTransaction().commit();
    }
    factory.inTransaction(s -> HibernateFeatures.say(s.createQuery("from Habit where n < 5 order by id", Habit.class).setFetchSize(2).getResultStream().map(h -> h.name).toList()));
  }

  static void copies(SessionFactory factory) {
    factory.inTransaction(s -> s.doWork(c -> {
      var copies = c.unwrap(PGConnection.class).getCopyAPI();
      try {
        HibernateFeatures.say(copies.copyIn("COPY hh_habit (name, n) FROM STDIN", new StringReader("copied 1\t1\ncopied 2\t2\n")));
        s.persist(new Habit("beside", 0));
        StringWriter out = new StringWriter();
        HibernateFeatures.say(copies.copyOut("COPY (SELECT name, n FROM hh_habit WHERE name LIKE 'copied%' ORDER BY 1) TO STDOUT", out), out.toString().replace('\n', '|'));
      } catch (java.io.IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
    }));
  }

  static void listens(SessionFactory factory) {
    try (Session hears = factory.openSession()) {
      hears.doWork(c -> {
        try (Statement s = c.createStatement()) {
          s.execute("LISTEN hh");
        }
        factory.inTransaction(tells -> {
          tells.createNativeQuery("select cast(pg_notify('hh', 'hello') as text)", String.class).getSingleResult();
          tells.persist(new Habit("told", 1));
        });
        for (PGNotification n : c.unwrap(PGConnection.class).getNotifications(10_000)) HibernateFeatures.say(n.getName(), n.getParameter());
        try (Statement s = c.createStatement()) {
          s.execute("UNLISTEN *");
        }
      });
    }
  }

  static Object one(Session s, String sql) { return s.createNativeQuery(sql, Object.class).getSingleResult(); }

  static void held(Session s) {
    s.createNativeQuery(HELD, Object[].class).getResultList().forEach(row -> HibernateFeatures.say("held", java.util.Arrays.toString(row)));
  }

  static void locks(SessionFactory factory) {
    try (Session one = factory.openSession(); Session two = factory.openSession()) {
      HibernateFeatures.say(one(one, "select pg_try_advisory_lock(1)"), one(two, "select pg_try_advisory_lock(1)"));
      one.beginTransaction();
      one(one, "select cast(pg_advisory_xact_lock(2) as text)");
      one.persist(new Habit("locked", 5));
      held(one);
      HibernateFeatures.say(one(two, "select pg_try_advisory_xact_lock(2)"));
      one.getTransaction().commit();
      held(one);
      HibernateFeatures.say(one(two, "select pg_try_advisory_xact_lock(2)"), one(one, "select pg_advisory_unlock(1)"), one(two, "select pg_try_advisory_lock(1)"));
      held(two);
      one(two, "select cast(pg_advisory_unlock_all() as text)");
    }
  }
}
