package session_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// watch is a listener whose sessions look on.
type watch struct {
	t       testing.TB
	pg      *testkit.PG
	db      string
	address string

	mu         sync.Mutex
	seen       []string
	sessions   int
	unobserved []string
}

func (w *watch) Session(string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions++
}

func (w *watch) Unobserved(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unobserved = append(w.unobserved, why)
}

// Statement notes it as "runs kind class text", with the way by which it came to
// run where it is an EXECUTE.
func (w *watch) Statement(o session.Observation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what := "unknown"
	if o.Plan != nil {
		what = o.Plan.Kind.String() + " " + string(o.Plan.Class)
	}
	text := o.SQL
	if o.Prepared != "" {
		text += " <- " + o.Prepared
	}
	w.seen = append(w.seen, fmt.Sprintf("%d %s: %s", o.Runs, what, text))
}

// take returns what was seen since the last take.
func (w *watch) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// newWatch starts a listener that looks on, on a new database.
func newWatch(t testing.TB, change func(*session.Config), setup ...string) *watch {
	t.Helper()
	w := &watch{t: t, pg: testkit.SharedPostgres(t)}
	w.db = w.pg.CreateDB(t)
	w.pg.Exec(t, w.db, setup...)
	ctx, cancel := context.WithCancel(context.Background())
	cat, err := catalog.Open(ctx, catalog.Config{DSN: w.pg.DSN(w.db), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	cfg := session.Config{Database: w.db, Level: event.LevelCount, MaxMessage: 16 << 20, ChunkBytes: 64 << 10, AuthTimeout: 30 * time.Second}
	if change != nil {
		change(&cfg)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = ln.Addr().String()
	l := session.NewListener(cfg, session.Deps{Upstream: &session.Primary{Address: upstreamAddress(w.pg)}, Observer: w, Catalog: cat,
		Classifier: classify.New(classify.Config{Catalog: cat}), Log: zaptest.NewLogger(t), Metrics: session.NewMetrics(nil)},
		session.Limits{Sessions: 100, Handshakes: 100, Drain: time.Second})
	var wait sync.WaitGroup
	for _, run := range []func(){func() { _ = l.Run(ctx, ln) }, func() { _ = cat.Run(ctx) }} {
		wait.Add(1)
		go func() {
			defer wait.Done()
			run()
		}()
	}
	t.Cleanup(func() {
		cancel()
		wait.Wait()
		_ = cat.Close()
	})
	return w
}

// I5: where sessions look on, a client sees message by message what it sees directly.
func TestObservedAnswersAreTheServersOwn(t *testing.T) {
	w := newWatch(t, nil)
	past := w.pg.CreateDB(t)
	all := maps.Clone(scripts)
	maps.Copy(all, oddScripts)
	for name, script := range all {
		t.Run(name, func(t *testing.T) {
			for _, db := range []string{w.db, past} {
				w.pg.Exec(t, db, append([]string{`DROP SCHEMA public CASCADE`, `CREATE SCHEMA public`}, schema...)...)
			}
			a, b := dialRaw(t, w.address, w.db), dialRaw(t, upstreamAddress(w.pg), past)
			defer a.close()
			defer b.close()
			for i, step := range script {
				step(a)
				step(b)
				if got, want := a.take(), b.take(); got != want {
					t.Fatalf("step %d: looked at:\n%s\ndirectly:\n%s", i, got, want)
				}
			}
		})
	}
	if rows := w.pg.Query(t, w.db, `SELECT count(*) FROM pg_namespace WHERE nspname = 'opmux'`); rows[0][0] != "0" {
		t.Error("looking on has left something in the database")
	}
}

// What is told of statements is what an agent would have made of each where it stood.
func TestObservedStatements(t *testing.T) {
	w := newWatch(t, nil, append(slices.Clone(schema), `CREATE TABLE keyless (n int)`, `CREATE TABLE dated (id int PRIMARY KEY, d date)`,
		`CREATE SCHEMA other`, `CREATE TABLE other.t (n int)`, `CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'INSERT INTO keyless VALUES (1) RETURNING n'`)...)
	for _, c := range []struct {
		name  string
		steps []func(*rawClient)
		want  []string
	}{
		{"simple", []func(*rawClient){q(`UPDATE t SET v = 1 WHERE id = 1`), q(`UPDATE keyless SET n = 1`), q(`SELECT 1`), q(``), q(`INSERT INTO nowhere VALUES (1)`), q(`SELEC 1`), q(`SELECT writes()`)},
			[]string{"1 write text: UPDATE t SET v = 1 WHERE id = 1", "1 refused refused: UPDATE keyless SET n = 1", "1 pass none: SELECT 1", "1 must fail none: INSERT INTO nowhere VALUES (1)",
				"1 must fail none: ", "1 refused refused: SELECT writes()"}},
		{"a failed block", []func(*rawClient){q(`BEGIN`), q(`SELECT nothere`), q(`UPDATE keyless SET n = 1`), q(`ROLLBACK`)},
			[]string{"1 begin none: BEGIN", "1 pass none: SELECT nothere", "1 must fail none: UPDATE keyless SET n = 1", "1 rollback none: ROLLBACK"}},
		{"prepared by the protocol", []func(*rawClient){
			func(c *rawClient) { c.parse("u", `UPDATE t SET v = $1 WHERE id = $2`).sync().ready() },
			func(c *rawClient) {
				c.bind("", "u", nil, "1", "2").execute("", 0).bind("", "u", nil, "1", "3").execute("", 0).sync().ready()
			},
			func(c *rawClient) {
				c.parse("r", `SELECT id FROM t`).bind("p", "r", nil).execute("p", 2).execute("p", 2).sync().ready()
			},
		}, []string{"0 write text: UPDATE t SET v = $1 WHERE id = $2", "1 write text: UPDATE t SET v = $1 WHERE id = $2", "1 write text: UPDATE t SET v = $1 WHERE id = $2",
			"0 pass none: SELECT id FROM t", "1 pass none: SELECT id FROM t"}},
		{"PREPARE and EXECUTE", []func(*rawClient){q(`PREPARE u (int) AS UPDATE t SET v = 5 WHERE id = $1`), q(`EXECUTE u (1)`), q(`EXECUTE u (1 + random()::int)`), q(`PREPARE k AS UPDATE keyless SET n = 1`), q(`EXECUTE k`),
			q(`DEALLOCATE u; EXECUTE u (1)`)},
			[]string{"1 prepare none: PREPARE u (int) AS UPDATE t SET v = 5 WHERE id = $1", "1 write text: EXECUTE u (1) <- PREPARE u (int) AS UPDATE t SET v = 5 WHERE id = $1",
				"1 refused refused: EXECUTE u (1 + random()::int) <- PREPARE u (int) AS UPDATE t SET v = 5 WHERE id = $1", "1 prepare none: PREPARE k AS UPDATE keyless SET n = 1",
				"1 refused refused: EXECUTE k <- PREPARE k AS UPDATE keyless SET n = 1", "1 deallocate none: DEALLOCATE u", "1 write text: EXECUTE u (1) <- PREPARE u (int) AS UPDATE t SET v = 5 WHERE id = $1"}},
		{"COPY", []func(*rawClient){copyIn(`COPY keyless FROM STDIN`, "1\n2\n"), copyIn(`COPY dated FROM STDIN`, "1\t2026-01-01\n"), copyIn(`COPY dated FROM STDIN`, "2\ttoday\n"), q(`COPY t TO STDOUT`),
			func(c *rawClient) {
				c.query(`COPY keyless FROM STDIN; COPY dated FROM STDIN; SELECT 1`).until(pgwire.CopyInResponse)
				c.send(pgwire.CopyData, []byte("1\n")).send(pgwire.CopyDone, nil).until(pgwire.CopyInResponse)
				c.send(pgwire.CopyData, []byte("9\tnow\n")).send(pgwire.CopyDone, nil).ready()
			},
			func(c *rawClient) {
				c.parse("", `COPY dated FROM STDIN`).bind("", "", nil).execute("", 0).sync().until(pgwire.CopyInResponse)
				c.send(pgwire.CopyData, []byte("3\ttomorrow\n")).send(pgwire.CopyDone, nil).sync().ready()
			},
			copyIn(`COPY s (v) FROM STDIN`, "x\n")},
			[]string{"1 copy text: COPY keyless FROM STDIN", "1 copy text: COPY dated FROM STDIN", "1 refused refused: COPY dated FROM STDIN", "1 pass none: COPY t TO STDOUT",
				"1 copy text: COPY keyless FROM STDIN", "1 refused refused: COPY dated FROM STDIN", "1 pass none: SELECT 1",
				"0 copy text: COPY dated FROM STDIN", "1 refused refused: COPY dated FROM STDIN", "1 copy pinned: COPY s (v) FROM STDIN"}},
		{"several in one Query", []func(*rawClient){q(`UPDATE t SET v = 2 WHERE id = 1; UPDATE keyless SET n = 1; SELECT 1`), q(`CREATE TABLE made (id int PRIMARY KEY, n int); INSERT INTO made VALUES (1); UPDATE made SET n = 1 WHERE id = 1`),
			q(`BEGIN; CREATE TABLE made2 (id int PRIMARY KEY); INSERT INTO made2 VALUES (1); CREATE INDEX ON made2 (id); COMMIT`), q(`CREATE TABLE gone (id int PRIMARY KEY); INSERT INTO gone VALUES (1); DROP TABLE gone`)},
			[]string{"1 write text: UPDATE t SET v = 2 WHERE id = 1", "1 refused refused: UPDATE keyless SET n = 1", "1 pass none: SELECT 1",
				"1 ddl text: CREATE TABLE made (id int PRIMARY KEY, n int)", "1 write text: INSERT INTO made VALUES (1)", "1 write text: UPDATE made SET n = 1 WHERE id = 1",
				"1 begin none: BEGIN", "1 ddl text: CREATE TABLE made2 (id int PRIMARY KEY)", "1 unknown: INSERT INTO made2 VALUES (1)", "1 ddl text: CREATE INDEX ON made2 (id)", "1 commit none: COMMIT",
				"1 ddl text: CREATE TABLE gone (id int PRIMARY KEY)", "1 unknown: INSERT INTO gone VALUES (1)", "1 ddl text: DROP TABLE gone"}},
		{"settings", []func(*rawClient){q(`SET search_path = other`), q(`UPDATE t SET n = 1 WHERE n = 2`), q(`SET search_path = public; UPDATE t SET v = 1 WHERE id = 1`),
			q(`SET LOCAL search_path = other; UPDATE t SET n = 1 WHERE n = 2; COMMIT`), q(`BEGIN`), q(`SET LOCAL search_path = other`), q(`UPDATE t SET n = 1 WHERE n = 2`), q(`ROLLBACK`), q(`UPDATE t SET v = 1 WHERE id = 1`)},
			[]string{"1 pass none: SET search_path = other", "1 refused refused: UPDATE t SET n = 1 WHERE n = 2", "1 pass none: SET search_path = public", "1 write text: UPDATE t SET v = 1 WHERE id = 1",
				"1 pass none: SET LOCAL search_path = other", "1 unknown: UPDATE t SET n = 1 WHERE n = 2", "1 commit none: COMMIT", "1 begin none: BEGIN", "1 pass none: SET LOCAL search_path = other",
				"1 refused refused: UPDATE t SET n = 1 WHERE n = 2", "1 rollback none: ROLLBACK", "1 write text: UPDATE t SET v = 1 WHERE id = 1"}},
		{"a pipeline", []func(*rawClient){func(c *rawClient) {
			for _, sql := range []string{`BEGIN`, `SET LOCAL search_path = other`, `UPDATE t SET n = 1`, `COMMIT`, `UPDATE t SET v = 1 WHERE id = 1`} {
				c.run(sql)
			}
			c.sync().ready()
		}}, []string{"0 begin none: BEGIN", "1 begin none: BEGIN", "0 pass none: SET LOCAL search_path = other", "1 pass none: SET LOCAL search_path = other", "0 refused refused: UPDATE t SET n = 1", "1 refused refused: UPDATE t SET n = 1",
			"0 commit none: COMMIT", "1 commit none: COMMIT", "0 write text: UPDATE t SET v = 1 WHERE id = 1", "1 write text: UPDATE t SET v = 1 WHERE id = 1"}},
		{"the fast path", []func(*rawClient){func(c *rawClient) { c.send(pgwire.FunctionCall, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}).ready() }}, []string{"1 refused refused: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dialRaw(t, w.address, w.db)
			defer client.close()
			for _, step := range c.steps {
				step(client)
			}
			if got := w.take(); !slices.Equal(got, c.want) {
				t.Errorf("seen:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// DDL of one session is seen by what another sends once the first has its answer.
func TestObservedDDLReclassifies(t *testing.T) {
	w := newWatch(t, nil, `CREATE TABLE t (id int, n int)`)
	a, b := dialRaw(t, w.address, w.db), dialRaw(t, w.address, w.db)
	b.parse("u", `UPDATE t SET n = $1 WHERE id = $2`).sync().ready()
	update := func(c *rawClient) { c.bind("", "u", nil, "1", "2").execute("", 0).sync().ready() }
	for range 20 {
		w.take()
		update(b)
		q(`ALTER TABLE t ADD PRIMARY KEY (id)`)(a)
		update(b)
		pipe(`BEGIN`, `ALTER TABLE t DROP CONSTRAINT t_pkey`, `COMMIT`)(a)
		update(b)
		var got []string
		for _, s := range w.take() {
			if strings.Contains(s, "UPDATE") {
				got = append(got, s)
			}
		}
		const text = "UPDATE t SET n = $1 WHERE id = $2"
		if want := []string{"1 refused refused: " + text, "1 write text: " + text, "1 refused refused: " + text}; !slices.Equal(got, want) {
			t.Fatalf("seen:\n%s", strings.Join(got, "\n"))
		}
	}
}

// What is longer than a message that is kept passes, and is told as refused.
func TestObservedMessagesOfAnySize(t *testing.T) {
	w := newWatch(t, func(c *session.Config) { c.MaxMessage = 64 << 10 }, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	long := strings.Repeat("x", 1<<20)
	c := dialRaw(t, w.address, w.db)
	q(`INSERT INTO t VALUES (1, '` + long + `')`)(c)
	c.run(`INSERT INTO t VALUES (2, '` + long + `')`).sync().ready()
	c.parse("", `INSERT INTO t VALUES (3, $1)`).bind("", "", nil, long).execute("", 0).sync().ready()
	copyIn(`COPY t FROM STDIN`, "4\t"+long+"\n")(c)
	q(`SELECT v FROM t`)(c)
	c.take()
	got := w.take()
	want := []string{"1 refused refused: ", "1 refused refused: ", "1 unknown: ", "0 write text: INSERT INTO t VALUES (3, $1)", "1 refused refused: ", "1 refused refused: COPY t FROM STDIN", "1 pass none: SELECT v FROM t"}
	if !slices.Equal(got, want) {
		t.Errorf("seen:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := w.pg.Query(t, w.db, `SELECT count(*) FROM t WHERE length(v) = 1048576`)[0][0]; n != "4" {
		t.Errorf("%s of 4 rows came through whole", n)
	}
}

// Sessions that an agent would turn away pass untold.
func TestUnobservedSessions(t *testing.T) {
	w := newWatch(t, nil)
	c := dialRaw(t, w.address, "postgres")
	q(`SELECT 1`)(c)
	if !strings.Contains(c.take(), "SELECT 1") {
		t.Error("the session on another database has no answer")
	}
	if len(w.take()) != 0 || w.sessions != 0 || len(w.unobserved) != 1 || !strings.Contains(w.unobserved[0], "another database") {
		t.Errorf("%d sessions, unobserved %q", w.sessions, w.unobserved)
	}
}
