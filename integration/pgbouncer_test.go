package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/freeport"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// pooler starts pgbouncer in front of a server's address, and returns its own.
func (b *bench) pooler(mode, upstream string) string {
	b.t.Helper()
	path, err := exec.LookPath("pgbouncer")
	if err != nil {
		path = "/usr/sbin/pgbouncer" // Debian's, which is not on everyone's PATH
	}
	host, port, err := net.SplitHostPort(upstream)
	b.must(err)
	listen, err := freeport.Pick()
	b.must(err)
	ini := filepath.Join(b.Dir, fmt.Sprintf("pgbouncer-%d.ini", listen))
	text := fmt.Sprintf("[databases]\n* = host=%s port=%s user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\n"+
		"auth_type = any\npool_mode = %s\ndefault_pool_size = 4\nmax_client_conn = 100\nignore_startup_parameters = extra_float_digits,options,search_path\n", host, port, listen, mode)
	if os.Geteuid() == 0 {
		text += "user = postgres\n" // it does not run as root
	}
	b.must(os.WriteFile(ini, []byte(text), 0o644))
	p, err := child.Start(child.Config{Name: "pgbouncer", Path: path, Args: []string{ini}, Dir: b.Dir, Log: filepath.Join(b.Dir, "pgbouncer.log")})
	b.must(err)
	b.t.Cleanup(func() { _ = p.Terminate(10 * time.Second) })
	address := freeport.Address(listen)
	testkit.Eventually(b.t, testkit.Patience, func() error {
		if !p.Running() {
			return p.Ended()
		}
		_, err := rig.Query(b.ctx, dsnAt(address, rig.Database), "SELECT 1")
		return err
	})
	return address
}

func dsnAt(address, database string) string {
	return "postgres://postgres@" + address + "/" + database + "?sslmode=disable"
}

// Applications behind a pooler in front of the agent, in both of its modes: the
// same as behind the pooler without the agent.
func TestPgbouncerInFrontOfTheAgent(t *testing.T) {
	b := up(t, rig.Config{})
	b.query(b.Primary.DSN("postgres"), "CREATE DATABASE "+direct)
	for mode, clients := range map[string][]func(*bench, string) string{
		// In transaction mode a session's state is not its own, with or without the
		// agent: only clients that keep none (simple queries, transactions) can be used.
		"session":     {psqlFeatures("psql_features.sql"), pqFeatures, pqHabits},
		"transaction": {pgbenchPooled("simple"), pythonFeatures("pooled_features.py")},
	} {
		t.Run(mode, func(t *testing.T) {
			mine := &bench{Rig: b.Rig, t: t, ctx: b.ctx}
			past, through := mine.pooler(mode, b.Primary.Address()), mine.pooler(mode, b.agent("a1").Listen)
			for _, run := range clients {
				want := normalise(run(mine, dsnAt(past, direct)))
				got := normalise(run(mine, dsnAt(through, rig.Database)))
				if text := differences(want, got); text != "" {
					t.Errorf("through the agent the transcript differs:\n%s", text)
				}
				mine.query(b.agent("a1").DSN(), "DROP TABLE IF EXISTS item, line, drawn, parent, child CASCADE")
			}
			mine.pgbench(dsnAt(through, rig.Database), "-i", "-q")
			mine.pgbench(dsnAt(through, rig.Database), "-n", "-c", "8", "-t", "50")
			mine.identical()
			mine.sequencesFollow()
		})
	}
}

// pooledAgent is an agent whose configuration is written once b.Upstream is set.
const pooledAgent = "a2"

// The agent in front of a pooler: a session of the agent's is one of the server's
// where the pool mode is session.
func TestTheAgentInFrontOfPgbouncer(t *testing.T) {
	b := setUp(t, rig.Config{})
	b.query(b.Primary.DSN("postgres"), "CREATE DATABASE "+direct)
	pooled := b.pooler("session", b.Primary.Address())
	b.Upstream = pooled
	b.must(b.agent(pooledAgent).Start(b.ctx))
	b.must(b.worker("w1").Start(b.ctx))
	for name, run := range map[string]func(*bench, string) string{"psql": psqlFeatures("psql_features.sql"), "lib_pq": pqFeatures, "sqlalchemy": pythonFeatures("sqlalchemy_features.py"),
		"psql_habits": psqlFeatures("psql_habits.sql"), "psycopg_habits": pythonFeatures("psycopg_habits.py")} {
		t.Run(name, func(t *testing.T) {
			mine := &bench{Rig: b.Rig, t: t, ctx: b.ctx}
			want, got := normalise(run(mine, dsnAt(pooled, direct))), normalise(run(mine, b.agent(pooledAgent).DSN()))
			if text := differences(want, got); text != "" {
				t.Errorf("through the agent the transcript differs:\n%s", text)
			}
			mine.identical()
		})
	}
}

// A pooler that shares connections between transactions behind the agent's back is
// noticed: the agent's own statements and identity would be another session's.
func TestAPoolerInTransactionModeBehindTheAgentIsNoticed(t *testing.T) {
	b := setUp(t, rig.Config{}, "CREATE TABLE x (id int PRIMARY KEY)")
	b.Upstream = b.pooler("transaction", b.Primary.Address())
	b.must(b.agent(pooledAgent).Start(b.ctx))
	b.must(b.worker("w1").Start(b.ctx))
	first, second := b.connect(b.agent(pooledAgent).DSN()), b.connect(b.agent(pooledAgent).DSN())
	run := func(conn *pgconn.PgConn, sql string) error {
		_, err := conn.Exec(b.ctx, sql).ReadAll()
		return err
	}
	b.must(run(first, "INSERT INTO x VALUES (1)"))
	// The second session holds the connection to the server that the first had.
	b.must(run(second, "BEGIN; SELECT 1"))
	if err := run(first, "INSERT INTO x VALUES (2)"); err == nil || !strings.Contains(err.Error(), "session mode") {
		t.Errorf("a write on another process of the server's: %v; want an error that tells of the pooler", err)
	}
	b.must(run(second, "COMMIT"))
	b.identical()
}

// connect opens a connection that the test's end closes.
func (b *bench) connect(dsn string) *pgconn.PgConn {
	b.t.Helper()
	conn, err := pgconn.Connect(b.ctx, dsn)
	b.must(err)
	b.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.ctx)) })
	return conn
}

// pgbenchPooled is pgbench with a fixed seed and one client.
func pgbenchPooled(mode string) func(*bench, string) string {
	return func(b *bench, dsn string) string {
		b.t.Helper()
		b.pgbench(dsn, "-i", "-I", "dtgvpf", "-q")
		b.pgbench(dsn, "-n", "-c", "1", "-t", "40", "--random-seed=7", "-M", mode)
		return strings.Join(b.query(dsn, "SELECT count(*), sum(delta), sum(aid) FROM pgbench_history")[0], " ")
	}
}
