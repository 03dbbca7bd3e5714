package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/rig"
)

// direct is the database that clients use without opmux, on the same server.
const direct = "direct"

// Shown 6 (I5): every client's script of features gives the same transcript
// through the agent as directly, and leaves an identical backup.
func TestClientsSeeWhatTheySeeDirectly(t *testing.T) {
	sameForAll(t, []client{
		{"psql", psqlFeatures("psql_features.sql")},
		{"pgbench", pgbenchFeatures},
		{"pgx", pgxFeatures},
		{"database_sql", sqlFeatures},
		{"lib_pq", pqFeatures},
		{"gorm", gormFeatures()},
		{"psycopg", pythonFeatures("psycopg_features.py")},
		{"sqlalchemy", pythonFeatures("sqlalchemy_features.py")},
		{"django", pythonFeatures("django_features.py")},
		{"pgjdbc", javaFeatures("PgjdbcFeatures")},
		{"hibernate", javaFeatures("HibernateFeatures")},
		{"node_postgres", nodeFeatures("node_features.js")},
		{"asyncpg", pythonFeatures("asyncpg_features.py")},
		{"knex", nodeFeatures("knex_features.js")},
	})
}

// Shown 6 (I5): the clients' own habits, cursors on the server, COPY both ways with
// what the client has for it, LISTEN and advisory locks, give the same too.
func TestClientsHabits(t *testing.T) {
	sameForAll(t, []client{
		{"psql", psqlFeatures("psql_habits.sql")},
		{"pgbench", pgbenchHabits},
		{"pgx", pgxHabits},
		{"database_sql", sqlHabits},
		{"lib_pq", pqHabits},
		{"gorm", gormFeatures("habits")},
		{"psycopg", pythonFeatures("psycopg_habits.py")},
		{"sqlalchemy", pythonFeatures("sqlalchemy_habits.py")},
		{"django", pythonFeatures("django_habits.py")},
		{"pgjdbc", javaFeatures("PgjdbcHabits")},
		{"hibernate", javaFeatures("HibernateHabits")},
		{"node_postgres", nodeFeatures("node_habits.js")},
	})
}

// client is a client's script, which returns what it printed.
type client struct {
	name string
	run  func(b *bench, dsn string) string
}

// sameForAll runs scripts directly and through an agent.
func sameForAll(t *testing.T, clients []client) {
	t.Helper()
	b := up(t, rig.Config{Digest: "full", Verify: "full"})
	b.query(b.Primary.DSN("postgres"), "CREATE DATABASE "+direct)
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			mine := &bench{Rig: b.Rig, t: t, ctx: b.ctx}
			want := normalise(client.run(mine, b.Primary.DSN(direct)))
			got := normalise(client.run(mine, b.agent("a1").DSN()))
			if text := differences(want, got); text != "" {
				t.Errorf("through the agent the transcript differs:\n%s", text)
			}
			mine.identical()
			mine.sequencesFollow()
		})
	}
	if v, err := b.Verdicts(b.ctx); err != nil || v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, %v; want no mismatch and nothing missing", v, err)
	}
}

var pid = regexp.MustCompile(`PID \d+`)

// normalise takes out what differs between any two sessions.
func normalise(text string) string { return pid.ReplaceAllString(text, "PID n") }

// differences lists the first lines that differ, with what stands before them.
func differences(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out []string
	for i := 0; i < max(len(a), len(b)) && len(out) < 3; i++ {
		left, right := line(a, i), line(b, i)
		if left == right {
			continue
		}
		out = append(out, fmt.Sprintf("line %d, after\n    %s\n  direct:  %s\n  through: %s", i+1, strings.Join(a[max(0, min(i, len(a))-6):min(i, len(a))], "\n    "), left, right))
		if len(a) != len(b) {
			break // all that follows is shifted
		}
	}
	return strings.Join(out, "\n")
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

// program runs a client program that must succeed, and returns what it printed.
func (b *bench) program(path string, args ...string) string {
	b.t.Helper()
	result, err := b.Run(b.ctx, path, args...)
	b.must(err)
	if result.Code != 0 {
		b.t.Fatalf("%s: exit code %d\n%s\n%s", filepath.Base(path), result.Code, result.Stdout, result.Stderr)
	}
	return result.Stdout
}

// clientFile is the path of a client's script.
func (b *bench) clientFile(name string) string {
	b.t.Helper()
	path, err := filepath.Abs(filepath.Join("clients", name))
	b.must(err)
	return path
}

// fetched asks scripts/clients where a driver is.
func (b *bench) fetched(driver string) string {
	b.t.Helper()
	script, err := filepath.Abs(filepath.Join("..", "scripts", "clients"))
	b.must(err)
	return strings.TrimSpace(b.program(script, driver))
}

func psqlFeatures(script string) func(*bench, string) string {
	return func(b *bench, dsn string) string {
		b.t.Helper()
		// Both streams into one: where an error appears among the answers counts too.
		command := fmt.Sprintf("%s -X -a -f %s '%s' 2>&1 || true", filepath.Join(b.Primary.BinDir(), "psql"), b.clientFile(script), dsn)
		return strings.ReplaceAll(b.program("/bin/sh", "-c", command), b.clientFile(script), script)
	}
}

// pgbenchFeatures lets pgbench make its tables, and runs scripts with one client
// and a fixed seed, whose result is therefore fixed as well.
func pgbenchFeatures(b *bench, dsn string) string {
	b.t.Helper()
	return b.pgbenchRuns(dsn, [][]string{
		{"-M", "simple", "-b", "tpcb-like"},
		{"-M", "prepared", "-b", "simple-update"},
		{"-M", "extended", "-f", b.clientFile("pgbench_pipeline.sql")},
		{"-M", "prepared", "-f", b.clientFile("pgbench_pipeline.sql")},
		{"-M", "simple", "-f", b.clientFile("pgbench_branching.sql")},
	})
}

// pgbenchHabits is pgbench with what it can: COPY is not among it.
func pgbenchHabits(b *bench, dsn string) string {
	b.t.Helper()
	script := b.clientFile("pgbench_habits.sql")
	return b.pgbenchRuns(dsn, [][]string{{"-M", "simple", "-f", script}, {"-M", "extended", "-f", script}, {"-M", "prepared", "-f", script}})
}

func (b *bench) pgbenchRuns(dsn string, runs [][]string) string {
	b.t.Helper()
	b.pgbench(dsn, "-i", "-I", "dtgvpf", "-q", "-s", "1")
	for _, run := range runs {
		out := b.pgbench(dsn, append([]string{"-n", "-c", "1", "-t", "40", "--random-seed=7"}, run...)...)
		if !strings.Contains(out, "transactions actually processed: 40/40") {
			b.t.Errorf("pgbench %v did not process all:\n%s", run, out)
		}
	}
	return fmt.Sprint(
		b.query(dsn, "SELECT tid, bid, aid, delta FROM pgbench_history ORDER BY 1, 2, 3, 4"),
		b.query(dsn, "SELECT tid, tbalance FROM pgbench_tellers ORDER BY 1"),
		b.query(dsn, "SELECT sum(aid::numeric * abalance), (SELECT sum(bbalance) FROM pgbench_branches) FROM pgbench_accounts"))
}

func gormFeatures(more ...string) func(*bench, string) string {
	return func(b *bench, dsn string) string {
		b.t.Helper()
		return b.program(b.fetched("go"), append([]string{dsn}, more...)...)
	}
}

// pythonFeatures runs a script with the interpreter that has the drivers.
func pythonFeatures(script string) func(*bench, string) string {
	return func(b *bench, dsn string) string {
		b.t.Helper()
		return b.program(b.fetched("python"), b.clientFile(script), dsn)
	}
}

// javaFeatures runs a class.
func javaFeatures(class string) func(*bench, string) string {
	return func(b *bench, dsn string) string {
		b.t.Helper()
		java, err := exec.LookPath("java")
		b.must(err)
		url := "jdbc:postgresql://" + strings.SplitN(dsn, "@", 2)[1]
		return b.program(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", b.fetched("java"), class, url)
	}
}

func nodeFeatures(script string) func(*bench, string) string {
	return func(b *bench, dsn string) string {
		b.t.Helper()
		node, err := exec.LookPath("node")
		b.must(err)
		b.t.Setenv("NODE_PATH", b.fetched("node"))
		return b.program(node, b.clientFile(script), dsn)
	}
}
