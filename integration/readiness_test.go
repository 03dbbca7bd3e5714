package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/readiness"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// readinessWatch is opmux readiness at the address of agent a1, in one format.
type readinessWatch struct {
	*bench
	process *child.Process
	out     string
}

func (b *bench) readiness(format ...string) *readinessWatch {
	b.t.Helper()
	out := filepath.Join(b.Dir, fmt.Sprintf("readiness%d", time.Now().UnixNano()))
	args := append([]string{"readiness", "--config", b.agent("a1").Config, "--duration", "1h", "--out", out}, format...)
	p, err := child.Start(child.Config{Path: filepath.Join(b.Bin, "opmux"), Args: args, Dir: b.Dir, Log: out + ".log"})
	b.must(err)
	b.t.Cleanup(func() { _ = p.Kill() })
	testkit.Eventually(b.t, testkit.Patience, func() error {
		if !strings.Contains(p.Log(), "watching at "+b.agent("a1").Listen) {
			return fmt.Errorf("it does not watch yet: %s", p.Log())
		}
		return nil
	})
	return &readinessWatch{bench: b, process: p, out: out}
}

// ends asks it to end, as Ctrl-C does, and returns the report.
func (w *readinessWatch) ends() string {
	w.t.Helper()
	w.must(w.process.Terminate(60 * time.Second))
	if code := w.process.ExitCode(); code != 0 {
		w.t.Fatalf("opmux readiness ended with code %d\n%s", code, w.process.Log())
	}
	text, err := os.ReadFile(w.out)
	w.must(err)
	return string(text)
}

// traffic is what an application sends: by pgx in both protocols, and by psql.
func (b *bench) traffic() {
	b.t.Helper()
	conn, err := pgx.Connect(b.ctx, b.agent("a1").DSN())
	b.must(err)
	defer func() { _ = conn.Close(b.ctx) }()
	run := func(sql string, args ...any) {
		b.t.Helper()
		_, err := conn.Exec(b.ctx, sql, args...)
		b.must(err)
	}
	for i := range 5 {
		run("UPDATE accounts SET n = n + $1 WHERE id = $2", i, 1)
		run("INSERT INTO accounts (id, n, secret) VALUES ($1, 0, 'hunter2')", 100+i)
	}
	for i := range 3 {
		run(fmt.Sprintf("/* trace %d */ UPDATE keyless SET n = 1 WHERE n = %d", i, i), pgx.QueryExecModeSimpleProtocol)
	}
	run("BEGIN")
	run("UPDATE keyless SET n = 1 WHERE n = 7", pgx.QueryExecModeSimpleProtocol)
	run("ROLLBACK")
	run("CREATE USER \"<b>app</b>\" PASSWORD 'hunter2'")
	run("DROP USER \"<b>app</b>\"")
	_, err = conn.CopyFrom(b.ctx, pgx.Identifier{"accounts"}, []string{"id", "n", "secret"}, pgx.CopyFromRows([][]any{{int32(200), int32(1), "hunter2"}, {int32(201), int32(1), nil}}))
	b.must(err)
	run("PREPARE up (int) AS UPDATE accounts SET n = 1 WHERE id = $1; EXECUTE up (100); EXECUTE up (101)", pgx.QueryExecModeSimpleProtocol)
	run("ALTER TABLE keyless ADD PRIMARY KEY (n)", pgx.QueryExecModeSimpleProtocol)
	run("UPDATE keyless SET n = 1 WHERE n = 8", pgx.QueryExecModeSimpleProtocol)
	run("ALTER TABLE keyless DROP CONSTRAINT keyless_pkey; DELETE FROM accounts WHERE id >= 100", pgx.QueryExecModeSimpleProtocol)
}

var readinessSchema = []string{"CREATE TABLE accounts (id int PRIMARY KEY, n int, secret text)", "CREATE TABLE keyless (n int)", "INSERT INTO accounts VALUES (1, 0)"}

// wantForms are the runs of traffic by action and statement.
var wantForms = map[string]int64{
	"publish text UPDATE accounts SET n = n + $1 WHERE id = $2":             5,
	"publish text INSERT INTO accounts (id, n, secret) VALUES ($1, $2, $3)": 5,
	"refuse refused UPDATE keyless SET n = $1 WHERE n = $2":                 4,
	"pass none BEGIN":    1,
	"pass none ROLLBACK": 1,
	"refuse refused CREATE USER \"<b>app</b>\" PASSWORD $1":                               1,
	"refuse refused DROP USER \"<b>app</b>\"":                                             1,
	"publish text copy \"accounts\" ( \"id\", \"n\", \"secret\" ) from stdin binary":      1,
	"pass none PREPARE up (int) AS UPDATE accounts SET n = … WHERE id = $1":               1,
	"publish text EXECUTE of PREPARE up (int) AS UPDATE accounts SET n = … WHERE id = $1": 2,
	"publish text ALTER TABLE keyless ADD PRIMARY KEY (n)":                                1,
	"publish text UPDATE keyless SET n = $1 WHERE n = $2":                                 1,
	"publish text ALTER TABLE keyless DROP CONSTRAINT keyless_pkey":                       1,
	"publish rows DELETE FROM accounts WHERE id >= $1":                                    1,
}

// opmux readiness counts exactly what passed, with what an agent would do, in all
// formats, and leaves the primary's catalogue as it was.
func TestReadiness(t *testing.T) {
	b := setUp(t, rig.Config{}, readinessSchema...)
	before := b.onPrimary(catalogueSQL)
	w := b.readiness("--json")
	b.traffic()
	text := w.ends()
	var r readiness.Report
	b.must(json.Unmarshal([]byte(text), &r))
	got := map[string]int64{}
	for _, l := range r.Lines {
		if l.Count > 0 {
			got[fmt.Sprintf("%s %s %s", l.Action, l.Class, l.Statement)] += l.Count
		}
	}
	for form, n := range wantForms {
		if got[form] != n {
			t.Errorf("%d runs of %q, want %d", got[form], form, n)
		}
	}
	for form, n := range got {
		if wantForms[form] != n {
			t.Errorf("%q was seen %d times, want %d", form, n, wantForms[form])
		}
	}
	if s := r.Statements; s.Seen != 26 || s.Carried != 20 || *s.Percent != 76.9 {
		t.Errorf("statements: %s, want 20 of 26", s.Say())
	}
	if s := r.Writes; s.Seen != 23 || s.Carried != 17 || *s.Percent != 73.9 {
		t.Errorf("writes: %s, want 17 of 23", s.Say())
	}
	if r.Sessions != 1 || r.LeftOut != 0 {
		t.Errorf("%d sessions, %d left out", r.Sessions, r.LeftOut)
	}
	secretless(t, text)
	w = b.readiness("--html", "--forms", "5")
	b.traffic()
	page := w.ends()
	secretless(t, page)
	if !strings.Contains(page, "<strong>76.9 % (20 of 26)</strong>") || !strings.Contains(page, "runs are in the sums and in no line") {
		t.Errorf("the page does not tell the coverage, or what was left out:\n%s", page)
	}
	for _, foreign := range []string{"<b>", "<script", "http:", "https:", "src=", "@import", "url("} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page has %q in it", foreign)
		}
	}
	w = b.readiness()
	b.traffic()
	text = w.ends()
	secretless(t, text)
	if !strings.Contains(text, "statements  76.9 % (20 of 26) would be carried\nwrites      73.9 % (17 of 23) would be carried") || !strings.Contains(text, "UPDATE keyless SET n = $1 WHERE n = $2\n  count     4\n  action    refuse") {
		t.Errorf("for people it says\n%s", text)
	}
	if after := b.onPrimary(catalogueSQL); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the primary's catalogue was %v and is %v", before, after)
	}
}

// catalogueSQL lists what opmux could have left behind.
const catalogueSQL = `SELECT 'schema', nspname FROM pg_namespace UNION ALL SELECT 'trigger', evtname FROM pg_event_trigger
	UNION ALL SELECT relkind::text, relname FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'S') ORDER BY 1, 2`

func secretless(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"hunter2", "trace"} {
		if strings.Contains(text, secret) {
			t.Errorf("the report has %q in it:\n%s", secret, text)
		}
	}
}

// pgbench goes through the watch in every protocol mode, and each of its
// statements is counted as often as it ran.
func TestReadinessPgbench(t *testing.T) {
	const clients, transactions = 4, 50
	b := setUp(t, rig.Config{})
	b.pgbench(b.Primary.DSN(rig.Database), "-i", "-q", "-s", "1")
	for _, mode := range []string{"simple", "extended", "prepared"} {
		w := b.readiness("--json")
		b.pgbench(b.agent("a1").DSN(), "-n", "-M", mode, "-c", fmt.Sprint(clients), "-j", "2", "-t", fmt.Sprint(transactions))
		var r readiness.Report
		b.must(json.Unmarshal([]byte(w.ends()), &r))
		runs := map[string]int64{}
		for _, l := range r.Lines {
			runs[l.Action+" "+strings.Fields(l.Statement)[0]] += l.Count
		}
		const all = clients * transactions
		for _, form := range []string{"publish INSERT", "pass BEGIN", "pass END"} {
			if runs[form] != all {
				t.Errorf("mode %s: %d runs of %s, want %d: %v", mode, runs[form], form, all, runs)
			}
		}
		if runs["publish UPDATE"] != 3*all || r.Writes.Carried != 4*all || r.Writes.Seen != 4*all {
			t.Errorf("mode %s: %d updates, writes %s, want %d and %d", mode, runs["publish UPDATE"], r.Writes.Say(), 3*all, 4*all)
		}
	}
	if n := b.onPrimary("SELECT count(*) FROM pg_namespace WHERE nspname = 'opmux'")[0][0]; n != "0" {
		t.Error("schema opmux was made")
	}
}

// What keeps a watch from beginning is said at once.
func TestReadinessDoesNotBegin(t *testing.T) {
	b := setUp(t, rig.Config{})
	config := b.agent("a1").Config
	w := b.readiness()
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{2, "--config is required", nil},
		{2, "--json and --html exclude each other", []string{"--config", config, "--json", "--html"}},
		{2, "--duration: expected more than 0", []string{"--config", config, "--duration", "0s"}},
		{2, "--out /nowhere/at/all", []string{"--config", config, "--out", "/nowhere/at/all"}},
		{1, "is an agent using it?", []string{"--config", config}},
	} {
		result, err := b.Opmux(b.ctx, append([]string{"readiness"}, c.args...)...)
		b.must(err)
		if result.Code != c.code || !strings.Contains(result.Stderr, c.says) {
			t.Errorf("%v: exit code %d, want %d; it says %q, want %q in it", c.args, result.Code, c.code, result.Stderr, c.says)
		}
	}
	w.ends()
	result, err := b.Opmux(b.ctx, "readiness", "--config", config, "--duration", "100ms")
	b.must(err)
	if result.Code != 0 || !strings.Contains(result.Stdout, "statements  none seen would be carried") {
		t.Errorf("a watch that has run its time: exit code %d\n%s%s", result.Code, result.Stdout, result.Stderr)
	}
}
