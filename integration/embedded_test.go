package integration

import (
	"context"
	"database/sql/driver"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"

	"github.com/opmux/opmux/capture/sqldriver"
	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// What an agent refuses, it refuses in the same words inside a program.
func TestAnEmbeddedAgentRefusesInTheSameWords(t *testing.T) {
	b := setUp(t, rig.Config{}, "CREATE TABLE keyless (v int)")
	b.must(b.agent("a1").Start(b.ctx))
	inside := b.embed("inside")
	const refused = "UPDATE keyless SET v = random()"
	var want, got *pgconn.PgError
	conn, err := pgx.Connect(b.ctx, b.agent("a1").DSN())
	b.must(err)
	defer conn.Close(b.ctx)
	if _, err := conn.Exec(b.ctx, refused); !errors.As(err, &want) {
		t.Fatalf("through capture-agent: %v", err)
	}
	db := b.openWrapped(inside, stdlib.GetDefaultDriver(), b.Primary.DSN(rig.Database))
	defer db.Close()
	if _, err := db.Exec(refused); !errors.As(err, &got) {
		t.Fatalf("through the embedded agent: %v", err)
	}
	if got.Code != want.Code || got.Message != want.Message || got.Hint != want.Hint || !strings.HasPrefix(got.Message, "opmux") {
		t.Errorf("got %+v, want %+v", got, want)
	}
	pqDB := b.openWrapped(inside, &pq.Driver{}, b.Primary.DSN(rig.Database))
	defer pqDB.Close()
	var pqErr *pq.Error
	if _, err := pqDB.Exec(refused); !errors.As(err, &pqErr) || pqErr.Message != want.Message {
		t.Errorf("through lib/pq: %v", err)
	}
}

// Two agents of a source in one process, several databases through each, beside a
// capture-agent: metrics, sockets and epochs do not meet.
func TestSeveralAgentsInOneProgram(t *testing.T) {
	b := setUp(t, rig.Config{}, "CREATE TABLE e (id int PRIMARY KEY, v text)")
	b.must(b.worker("w1").Start(b.ctx))
	b.must(b.agent("a1").Start(b.ctx))
	first, second := b.embed("first"), b.embed("second")
	n := 0
	for _, a := range []*sqldriver.Agent{first, second} {
		for _, d := range []driver.Driver{stdlib.GetDefaultDriver(), &pq.Driver{}, stdlib.GetDefaultDriver()} {
			db := b.openWrapped(a, d, b.Primary.DSN(rig.Database))
			for range 3 {
				n++
				_, err := db.Exec("INSERT INTO e VALUES ($1, 'x')", n)
				b.must(err)
			}
			b.must(db.Close())
		}
	}
	b.throughAgent("UPDATE e SET v = 'y' WHERE id % 2 = 0")
	b.identical()
	recorder := httptest.NewRecorder()
	first.Handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if text := recorder.Body.String(); !strings.Contains(text, `opmux_order_epochs_total{agent="first",source="orders"} 1`) {
		t.Errorf("metrics lack the epoch:\n%s", text)
	}
	b.must(first.Close(b.ctx))
	if err := second.Ready(); err != nil {
		t.Errorf("the end of one agent hurt the other: %v", err)
	}
}

// SCRAM goes end to end, with TLS between agent and primary.
func TestScramThroughAnEmbeddedAgent(t *testing.T) {
	b := setUp(t, rig.Config{PrimaryTLS: true,
		PrimarySettings: []string{"password_encryption = 'scram-sha-256'"},
		PrimaryHBA:      []string{"host all " + pgserver.Superuser + " 127.0.0.1/32 trust", "hostssl all all 127.0.0.1/32 scram-sha-256"}},
		"CREATE TABLE s (id int PRIMARY KEY)")
	b.must(b.worker("w1").Start(b.ctx))
	b.onPrimary("CREATE ROLE app LOGIN PASSWORD 'it''s a \\ s3cret'")
	b.onPrimary("GRANT ALL ON s TO app")
	inside := b.embed("inside")
	for i, d := range []driver.Driver{stdlib.GetDefaultDriver(), &pq.Driver{}} {
		for j, password := range []string{`'it\'s a \\ s3cret'`, "wrong"} {
			host, port, _ := strings.Cut(b.Primary.Address(), ":")
			db := b.openWrapped(inside, d, "host="+host+" port="+port+" user=app dbname="+rig.Database+" sslmode=require password="+password)
			_, err := db.Exec("INSERT INTO s VALUES ($1)", i)
			if (err == nil) != (j == 0) || err != nil && !strings.Contains(err.Error(), "password authentication failed") {
				t.Errorf("%T with password %d: %v", d, j, err)
			}
			b.must(db.Close())
		}
	}
	b.identical()
}

// Close lets an open transaction end, and connections that come later hear why
// they are not served.
func TestCloseLetsTransactionsEnd(t *testing.T) {
	b := setUp(t, rig.Config{}, "CREATE TABLE c (id int PRIMARY KEY)")
	b.must(b.worker("w1").Start(b.ctx))
	inside := b.embed("inside")
	db := b.openWrapped(inside, stdlib.GetDefaultDriver(), b.Primary.DSN(rig.Database))
	defer db.Close()
	tx, err := db.Begin()
	b.must(err)
	_, err = tx.Exec("INSERT INTO c VALUES (1)")
	b.must(err)
	closed := make(chan error, 1)
	go func() { closed <- inside.Close(b.ctx) }()
	testkit.Eventually(t, testkit.Patience, func() error {
		if inside.Ready() == nil {
			return errors.New("the agent does not stop")
		}
		return nil
	})
	_, err = tx.Exec("INSERT INTO c VALUES (2)")
	b.must(err)
	b.must(tx.Commit())
	b.must(<-closed)
	b.must(inside.Close(b.ctx))
	if !errors.Is(inside.Err(), sqldriver.ErrClosed) {
		t.Errorf("Err is %v", inside.Err())
	}
	_, err = db.Exec("INSERT INTO c VALUES (3)")
	if !errors.Is(err, sqldriver.ErrClosed) || !strings.Contains(err.Error(), "nothing is written around it") {
		t.Errorf("after Close: %v", err)
	}
	if _, err := inside.DialContext(b.ctx, "tcp", b.Primary.Address()); !errors.Is(err, sqldriver.ErrClosed) {
		t.Errorf("DialContext after Close: %v", err)
	}
	if _, err := inside.Wrap(&pq.Driver{}).Open(b.Primary.DSN(rig.Database)); !errors.Is(err, sqldriver.ErrClosed) {
		t.Errorf("Open after Close: %v", err)
	}
	b.embed("other")
	b.identical()
	if n := b.count(b.Backup.DSN(rig.Database), "SELECT count(*) FROM c"); n != 2 {
		t.Errorf("%d rows on the backup, want those of the transaction", n)
	}
}

// A Close that may not wait cuts connections: their transactions roll back.
func TestCloseThatMayNotWaitCutsConnections(t *testing.T) {
	b := setUp(t, rig.Config{}, "CREATE TABLE c (id int PRIMARY KEY)")
	b.must(b.worker("w1").Start(b.ctx))
	inside := b.embed("inside")
	db := b.openWrapped(inside, &pq.Driver{}, b.Primary.DSN(rig.Database))
	defer db.Close()
	tx, err := db.Begin()
	b.must(err)
	_, err = tx.Exec("INSERT INTO c VALUES (1)")
	b.must(err)
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if err := inside.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close said %v", err)
	}
	<-inside.Done()
	if err := tx.Commit(); err == nil {
		t.Error("a transaction whose connection was cut has committed")
	}
	b.embed("inside")
	b.identical()
	if n := b.count(b.Primary.DSN(rig.Database), "SELECT count(*) FROM c"); n != 0 {
		t.Errorf("%d rows on the primary, want none", n)
	}
}

// A second process under an agent's name takes its place; the first hears so, and
// its connections with it.
func TestAnEmbeddedAgentIsReplacedByItsNamesake(t *testing.T) {
	b := setUp(t, rig.Config{}, "CREATE TABLE r (id int PRIMARY KEY)")
	b.must(b.worker("w1").Start(b.ctx))
	first := b.embed("inside")
	db := b.openWrapped(first, stdlib.GetDefaultDriver(), b.Primary.DSN(rig.Database))
	defer db.Close()
	_, err := db.Exec("INSERT INTO r VALUES (1)")
	b.must(err)
	second := b.embed("inside")
	select {
	case <-first.Done():
	case <-time.After(time.Minute):
		t.Fatal("the first agent runs on")
	}
	const want = "another process runs as agent"
	if err := first.Err(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Err is %v", err)
	}
	if err := first.Close(b.ctx); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Close said %v", err)
	}
	if _, err := db.Exec("INSERT INTO r VALUES (2)"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a connection of the first agent: %v", err)
	}
	other := b.openWrapped(second, stdlib.GetDefaultDriver(), b.Primary.DSN(rig.Database))
	defer other.Close()
	_, err = other.Exec("INSERT INTO r VALUES (3)")
	b.must(err)
	b.identical()
}

// stray is a driver that connects where it likes, whatever the string says.
type stray struct{ dsn string }

func (s stray) Open(string) (driver.Conn, error) { return (&pq.Driver{}).Open(s.dsn) }

// I6: a connection that does not come by the agent is not given out.
func TestADriverThatGoesAroundTheAgentIsFoundOut(t *testing.T) {
	b := setUp(t, rig.Config{})
	inside := b.embed("inside")
	honest := b.openWrapped(inside, &pq.Driver{}, b.Primary.DSN(rig.Database))
	defer honest.Close()
	b.must(honest.PingContext(b.ctx))
	db := b.openWrapped(inside, stray{b.Primary.DSN(rig.Database)}, b.Primary.DSN(rig.Database))
	defer db.Close()
	if err := db.PingContext(b.ctx); err == nil || !strings.Contains(err.Error(), "around agent") {
		t.Errorf("got %v", err)
	}
}

func TestStartTellsWhatIsWrong(t *testing.T) {
	b := setUp(t, rig.Config{})
	cfg := sqldriver.NewConfig()
	_, err := sqldriver.Start(b.ctx, cfg)
	for _, want := range []string{"sqldriver.Config: source: is required", "sqldriver.Config: agent: is required", "kafka.brokers: is required", "catalog.dsn: is required"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("an empty configuration: %v, want %q", err, want)
		}
	}
	if _, err := sqldriver.LoadConfig(b.AgentConfig("a1")); err == nil || !strings.Contains(err.Error(), "listen.address: an agent inside a program listens on no address") ||
		!strings.Contains(err.Error(), "admin.address: an agent inside a program has no server of its own") {
		t.Errorf("a capture-agent's file: %v", err)
	}
	cfg, err = sqldriver.LoadConfig(b.EmbeddedConfig("inside"))
	b.must(err)
	cfg.Source = "unheard"
	if _, err := sqldriver.Start(b.ctx, cfg); err == nil || !strings.Contains(err.Error(), "opmux topics create --config "+b.EmbeddedConfig("inside")) {
		t.Errorf("without topics: %v", err)
	}
	cfg, err = sqldriver.LoadConfig(b.EmbeddedConfig("inside"))
	b.must(err)
	own, err := os.MkdirTemp("", "opmux-")
	b.must(err)
	t.Cleanup(func() { _ = os.RemoveAll(own) }) // what is left in the temporary directory harms nobody
	t.Setenv("TMPDIR", own)
	b.must(b.Broker.Kill())
	ctx, cancel := context.WithTimeout(b.ctx, 3*time.Second)
	defer cancel()
	if _, err := sqldriver.Start(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "topics") {
		t.Errorf("without Kafka: %v", err)
	}
	if left, err := os.ReadDir(own); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The commands read the file of an agent inside a program.
func TestCommandsReadAnEmbeddedAgentsFile(t *testing.T) {
	b := setUp(t, rig.Config{}, "CREATE TABLE k (id int PRIMARY KEY)")
	config := b.EmbeddedConfig("inside")
	for _, args := range [][]string{{"topics", "create", "--config", config}, {"check", "--config", config}, {"explain", "--config", config, "SELECT 1"}} {
		if _, err := b.Must(b.ctx, args...); err != nil {
			t.Error(err)
		}
	}
}
