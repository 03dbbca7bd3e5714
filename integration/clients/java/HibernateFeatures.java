import jakarta.persistence.*;
import java.math.BigDecimal;
import java.time.Instant;
import java.util.*;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.cfg.Configuration;

/** What programs do with Hibernate: prints a transcript. Arguments: the URL. */
public class HibernateFeatures {
  @Entity(name = "Customer") @Table(name = "hb_customer")
  static class Customer {
    @Id @GeneratedValue(strategy = GenerationType.SEQUENCE) @SequenceGenerator(name = "c", sequenceName = "hb_customer_seq", allocationSize = 20) Long id;
    @Column(unique = true) String name;
    @Version int version;
    Instant made = Instant.parse("2024-02-29T01:02:03Z");
    @OneToMany(mappedBy = "customer", cascade = CascadeType.ALL, orphanRemoval = true) @OrderBy("id") List<Order> orders = new ArrayList<>();
    Customer() {}
    Customer(String name) { this.name = name; }
    void add(String amount) { orders.add(new Order(this, amount)); }
  }

  @Entity(name = "Purchase") @Table(name = "hb_order")
  static class Order {
    @Id @GeneratedValue(strategy = GenerationType.IDENTITY) Long id;
    @ManyToOne(fetch = FetchType.LAZY) @JoinColumn(nullable = false) Customer customer;
    BigDecimal amount;
    @ElementCollection @Column(nullable = false) Set<String> labels = new TreeSet<>();
    Order() {}
    Order(Customer customer, String amount) { this.customer = customer; this.amount = new BigDecimal(amount); labels.add("l" + amount); }
  }

  static void say(Object... values) { System.out.println(String.join(" ", Arrays.stream(values).map(String::valueOf).toList())); }

  static void failing(Runnable body) {
    try {
      body.run();
      say("no error");
    } catch (PersistenceException e) {
      Throwable t = e;
      while (t.getCause() != null && !(t instanceof java.sql.SQLException)) t = t.getCause();
      say(e.getClass().getSimpleName(), t instanceof java.sql.SQLException s ? s.getSQLState() : t.getClass().getSimpleName());
    }
  }

  public static void main(String[] args) {
    java.util.logging.LogManager.getLogManager().reset();
    try (SessionFactory factory = factory(args[0])) {
      writes(factory);
      conflicts(factory);
      queries(factory);
    }
    try (SessionFactory again = factory(args[0])) {
      again.inTransaction(s -> say(s.createQuery("select count(*) from Customer", Long.class).getSingleResult()));
    }
  }

  static SessionFactory factory(String url) {
    Configuration cfg = new Configuration().addAnnotatedClass(Customer.class).addAnnotatedClass(Order.class);
    cfg.setProperty("hibernate.connection.url", url).setProperty("hibernate.connection.username", "postgres");
    cfg.setProperty("hibernate.hbm2ddl.auto", "update").setProperty("hibernate.jdbc.batch_size", "25");
    cfg.setProperty("hibernate.order_inserts", "true").setProperty("hibernate.order_updates", "true");
    return cfg.buildSessionFactory();
  }

  static void writes(SessionFactory factory) {
    factory.inTransaction(s -> {
      for (int i = 0; i < 60; i++) {
        Customer c = new Customer("kund ö " + i);
        c.add(i + ".50");
        c.add("7");
        s.persist(c);
      }
    });
    factory.inTransaction(s -> {
      Customer c = s.createQuery("from Customer where name = 'kund ö 3'", Customer.class).getSingleResult();
      say(c.id, c.version, c.orders.size());
      c.name = "changed";
      c.orders.remove(0);
      c.add("99.99");
      s.flush();
      say(c.version, c.orders.get(1).id);
      s.remove(s.createQuery("from Customer where name = 'kund ö 5'", Customer.class).getSingleResult());
    });
    factory.inTransaction(s -> {
      for (Customer c : s.createQuery("from Customer where name like 'kund ö 1%' order by id", Customer.class).getResultList()) c.name += "!";
    });
    factory.inTransaction(s -> {
      say(s.createMutationQuery("update Purchase set amount = amount + 1 where amount > 40").executeUpdate());
      say(s.createMutationQuery("delete from Customer c where c.orders is empty").executeUpdate());
      say(s.createNativeMutationQuery("insert into hb_customer (id, name, version) select nextval('hb_customer_seq'), 'native ' || g, 0 from generate_series(1, 3) g").executeUpdate());
    });
  }

  static void conflicts(SessionFactory factory) {
    failing(() -> factory.inTransaction(s -> s.persist(new Customer("changed"))));
    failing(() -> factory.inTransaction(s -> {
      s.persist(new Customer("not kept"));
      s.flush();
      throw new EntityNotFoundException("rolled back");
    }));
    try (Session one = factory.openSession(); Session two = factory.openSession()) {
      Customer a = one.createQuery("from Customer where name = 'changed'", Customer.class).getSingleResult();
      Customer b = two.find(Customer.class, a.id);
      one.beginTransaction();
      a.name = "first";
      one.getTransaction().commit();
      two.beginTransaction();
      b.name = "second";
      failing(() -> two.getTransaction().commit());
    }
    factory.inTransaction(s -> {
      Customer c = s.createQuery("from Customer where name = 'first'", Customer.class).setLockMode(LockModeType.PESSIMISTIC_WRITE).getSingleResult();
      c.made = Instant.EPOCH;
      s.doWork(connection -> {
        java.sql.Savepoint savepoint = connection.setSavepoint();
        try (java.sql.Statement st = connection.createStatement()) {
          st.executeUpdate("update hb_order set amount = 0");
        }
        connection.rollback(savepoint);
      });
    });
  }

  static void queries(SessionFactory factory) {
    factory.inTransaction(s -> {
      say(s.createQuery("select count(o), sum(o.amount) from Purchase o", Object[].class).getSingleResult()[1]);
      say(s.createQuery("select c.name from Customer c left join c.orders o group by c.name having count(o) = 2 order by c.name", String.class).setMaxResults(5).getResultList());
      s.createQuery("from Purchase order by id", Order.class).setFetchSize(10).getResultStream().limit(25).forEach(o -> s.detach(o));
    });
  }
}
