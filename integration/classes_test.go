package integration

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// event is a line of `opmux tail --json`.
type event struct {
	Offset                           int64
	Kind, Source, Agent, ID, Outcome string
	Epoch, N                         int64
	Operations                       []operation
}

type operation struct {
	Class, Reason, Text string
	Tables              []string
}

// events reads the whole topic of the source.
func (b *bench) events() []event {
	b.t.Helper()
	out, err := b.Must(b.ctx, "tail", "--config", b.AgentConfig("a1"), "--from", "beginning", "--json")
	b.must(err)
	var events []event
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			b.t.Fatalf("opmux tail --json printed %q: %v", lines.Text(), err)
		}
		events = append(events, e)
	}
	return events
}

// published returns the transactions with operations behind an offset.
func (b *bench) published(after int64) []event {
	b.t.Helper()
	return slices.DeleteFunc(b.events(), func(e event) bool {
		return e.Offset <= after || e.Kind != "transaction" || len(e.Operations) == 0
	})
}

// end is the offset of the topic's last record.
func (b *bench) end() int64 {
	b.t.Helper()
	events := b.events()
	if len(events) == 0 {
		return -1
	}
	return events[len(events)-1].Offset
}

var classesSchema = []string{
	"CREATE TABLE t (id int PRIMARY KEY, n int, v text)",
	"INSERT INTO t SELECT i, i, 'v' || i FROM generate_series(1, 20) i",
	"CREATE TABLE log (id serial PRIMARY KEY, at timestamptz, what text)",
	"CREATE TABLE nokey (a int)",
	"INSERT INTO nokey VALUES (1)",
	"CREATE FUNCTION touch() RETURNS int LANGUAGE sql VOLATILE AS 'UPDATE t SET n = 0 WHERE id = 1 RETURNING 1'",
}

// Shown 3: a statement of each class from psql; opmux tail shows class and reason.
func TestStatementsOfEachClass(t *testing.T) {
	b := up(t, rig.Config{Digest: "full", Verify: "full"}, classesSchema...)
	for _, c := range []struct {
		sql    string
		class  string   // "": nothing is published
		tables []string // schema.table
	}{
		{"INSERT INTO t VALUES (100, 1, 'new')", "text", []string{"public.t"}},
		{"UPDATE t SET n = n + 1 WHERE id = 1", "text", []string{"public.t"}},
		{"DELETE FROM t WHERE id = 2", "text", []string{"public.t"}},
		{"TRUNCATE nokey", "text", []string{"public.nokey"}},
		{"CREATE TABLE made (id int PRIMARY KEY)", "text", nil},
		{"ALTER TABLE made ADD COLUMN w text DEFAULT 'x'", "text", []string{"public.made"}},
		{"UPDATE t SET v = now()::text WHERE id = 3", "pinned", []string{"public.t"}},
		{"INSERT INTO log (at, what) VALUES (now(), 'pinned time and sequence')", "pinned", []string{"public.log"}},
		{"UPDATE t SET v = 'p' WHERE n > 10", "rows", []string{"public.t"}},
		{"UPDATE t SET v = random()::text WHERE id = 4", "rows", []string{"public.t"}},
		{"DELETE FROM t USING log WHERE t.id = log.id + 4", "rows", []string{"public.t"}},
		{"INSERT INTO t SELECT i + 200, i, 'bulk' FROM generate_series(1, 5) i", "rows", []string{"public.t"}},
		{"INSERT INTO t VALUES (3, 0, 'upsert') ON CONFLICT (id) DO UPDATE SET v = excluded.v", "rows", []string{"public.t"}},
		{"SELECT count(*) FROM t", "", nil},
		{"UPDATE t SET n = 0 WHERE id = 4711", "", nil},
		{"CREATE TEMP TABLE x (a int)", "", nil},
		{"SET work_mem = '8MB'", "", nil},
		{"BEGIN; INSERT INTO t VALUES (900, 0, 'rolled back'); ROLLBACK", "", nil},
	} {
		before := b.end()
		if result := b.psql(c.sql); result.Code != 0 {
			t.Errorf("%s: psql says\n%s", c.sql, result.Stderr)
			continue
		}
		b.checkPublished(c.sql, before, c.class, c.tables)
	}
	b.identical()
	b.sequencesFollow()
	if n := b.count(b.Backup.DSN(rig.Database), "SELECT count(*) FROM t WHERE id = 900"); n != 0 {
		t.Error("what was rolled back is on the backup (I2)")
	}
	if v := b.verdicts(13); v.Match != v.Sum() {
		t.Errorf("verdicts %+v, want matches alone", v)
	}
}

func (b *bench) checkPublished(sql string, before int64, class string, tables []string) {
	b.t.Helper()
	events := b.published(before)
	if class == "" {
		if len(events) > 0 {
			b.t.Errorf("%s: published %+v, want nothing", sql, events)
		}
		return
	}
	if len(events) != 1 {
		b.t.Errorf("%s: published %+v, want one transaction", sql, events)
		return
	}
	// Marks of sequences that were drawn from stand beside the statement, without text.
	ops := slices.DeleteFunc(events[0].Operations, func(o operation) bool { return o.Text == "" })
	if len(ops) != 1 {
		b.t.Errorf("%s: published %+v, want one operation", sql, events)
		return
	}
	op := ops[0]
	if op.Class != class || op.Reason == "" {
		b.t.Errorf("%s: class %q, reason %q; want class %q and a reason", sql, op.Class, op.Reason, class)
	}
	if tables != nil && !slices.Equal(op.Tables, tables) {
		b.t.Errorf("%s: tables %v, want %v", sql, op.Tables, tables)
	}
	if events[0].Outcome != "committed" {
		b.t.Errorf("%s: outcome %q, want committed", sql, events[0].Outcome)
	}
}

// COPY FROM STDIN travels as bytes, and arrives.
func TestCopyFromStdin(t *testing.T) {
	b := up(t, rig.Config{}, classesSchema...)
	file := filepath.Join(b.Dir, "rows.tsv")
	b.must(os.WriteFile(file, []byte("1000\t1\tcopied\n1001\t\\N\tä ö\\tü\n"), 0o644))
	before := b.end()
	if result := b.psql(`\copy t from '` + file + `'`); result.Code != 0 {
		t.Fatalf("psql says\n%s", result.Stderr)
	}
	events := b.published(before)
	if len(events) != 1 || events[0].Operations[0].Class == "refused" {
		t.Errorf("published %+v, want one transaction", events)
	}
	b.identical()
	b.allMatch(1)
}

// Shown 3: what cannot be carried is refused with a clear error and no effect.
func TestRefusals(t *testing.T) {
	b := up(t, rig.Config{}, classesSchema...)
	for _, sql := range []string{
		"UPDATE t SET id = id + 1000",                            // key-changing
		"UPDATE nokey SET a = 2",                                 // no usable key
		"SELECT touch()",                                         // a function that writes
		"DO $$ BEGIN UPDATE t SET n = 9; END $$",                 // opaque
		"WITH d AS (DELETE FROM t RETURNING (SELECT 1)) TABLE d", // writing CTE of unnamed columns
	} {
		before := b.end()
		result := b.psql(sql)
		for _, want := range []string{"0A000: opmux: ", "HINT:"} {
			if !strings.Contains(result.Stderr, want) {
				t.Errorf("%s: psql says %q, want %q in it", sql, result.Stderr, want)
			}
		}
		if result.Code == 0 {
			t.Errorf("%s: psql succeeded", sql)
		}
		b.checkPublished(sql, before, "", nil)
	}
	if n := b.count(b.Primary.DSN(rig.Database), "SELECT count(*) FROM t WHERE id BETWEEN 1 AND 20 AND n = id"); n != 20 {
		t.Errorf("%d of 20 rows are as they were: a refused statement had an effect", n)
	}
	b.identical()
}

// A refusal fails an open block as any error does; a savepoint brings it back.
func TestRefusalInABlockIsTheServersOwnError(t *testing.T) {
	b := up(t, rig.Config{}, classesSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN()).PgConn()
	run := func(sql, wantState string) {
		t.Helper()
		_, err := conn.Exec(b.ctx, sql).ReadAll()
		var pgErr *pgconn.PgError
		state := ""
		if errors.As(err, &pgErr) {
			state = pgErr.Code
		}
		if state != wantState || (err != nil && pgErr == nil) {
			t.Fatalf("%s: %v, want SQLSTATE %q", sql, err, wantState)
		}
	}
	run("BEGIN", "")
	run("UPDATE t SET n = 77 WHERE id = 5", "")
	run("SAVEPOINT s", "")
	run("UPDATE t SET id = id + 1000", "0A000")
	if conn.TxStatus() != 'E' {
		t.Errorf("status %c after the refusal, want E", conn.TxStatus())
	}
	run("SELECT 1", "25P02")
	run("ROLLBACK TO s", "")
	run("UPDATE t SET n = 78 WHERE id = 6", "")
	run("COMMIT", "")
	if conn.TxStatus() != 'I' {
		t.Errorf("status %c after COMMIT, want I", conn.TxStatus())
	}
	run("BEGIN", "")
	run("UPDATE t SET n = 99 WHERE id = 7", "")
	run("UPDATE t SET id = id + 1000", "0A000")
	run("COMMIT", "") // answered ROLLBACK, as by the server
	b.identical()
	if got := b.onBackup("SELECT id, n FROM t WHERE n IN (77, 78, 99) ORDER BY id"); fmt.Sprint(got) != "[[5 77] [6 78]]" {
		t.Errorf("the backup has %v, want rows 5 and 6 alone", got)
	}
}

// Under policy flag a statement that cannot be carried runs, and its table is
// marked diverged; other tables go on.
func TestFlaggedStatementMarksItsTable(t *testing.T) {
	b := up(t, rig.Config{OnUnsafe: "flag"}, classesSchema...)
	if result := b.psql("UPDATE nokey SET a = 2"); result.Code != 0 {
		t.Fatalf("psql says\n%s", result.Stderr)
	}
	b.throughAgent("UPDATE t SET n = 5 WHERE id = 1")
	b.must(b.Wait(b.ctx, catchUpTimeout))
	testkit.Eventually(t, catchUpTimeout, func() error {
		status, err := b.Status(b.ctx)
		if err != nil {
			return err
		}
		for _, d := range status.Diverged {
			if d.Table == "public.nokey" && d.Reason != "" && strings.Contains(d.Statement, "UPDATE nokey") {
				return nil
			}
		}
		return fmt.Errorf("opmux status does not tell of public.nokey: %+v", status.Diverged)
	})
	if got := b.onBackup("SELECT n FROM t WHERE id = 1")[0][0]; got != "5" {
		t.Errorf("the other table has %s on the backup, want 5", got)
	}
	if got := b.onBackup("SELECT a FROM nokey")[0][0]; got != "1" {
		t.Errorf("the diverged table has %s on the backup, want it left alone", got)
	}
}

// Shown 3: a row flipped on the backup is named at level full by the next
// operation that touches it; a row deleted there, at level count.
func TestVerifierNamesWhatDiverged(t *testing.T) {
	for level, harm := range map[string]string{
		"full":  "UPDATE t SET v = 'flipped' WHERE id = 5",
		"count": "DELETE FROM t WHERE id = 5",
	} {
		t.Run(level, func(t *testing.T) {
			b := up(t, rig.Config{Digest: level, Verify: level}, classesSchema...)
			b.throughAgent("UPDATE t SET n = n + 1 WHERE id = 5")
			b.allMatch(1)
			b.onBackup(harm)
			b.throughAgent("UPDATE t SET n = n + 1 WHERE id = 6")
			b.throughAgent("UPDATE t SET n = n + 1 WHERE id = 5")
			if v := b.verdicts(3); v.Match != 2 || v.Mismatch != 1 {
				t.Fatalf("verdicts %+v, want 2 matches and 1 mismatch", v)
			}
			testkit.Eventually(t, catchUpTimeout, func() error {
				if log := b.verifier().Process.Log(); !strings.Contains(log, "mismatch") || !strings.Contains(log, "UPDATE t SET n = n + $1 WHERE id = $2") {
					return errors.New("the verifier's log does not name the statement")
				}
				return nil
			})
		})
	}
}

// Images of a row that the backup lacks hit nothing there: the worker goes on, and the
// verifier tells (I6), whether the statement or the capture triggers gave them.
func TestI6VerifierTellsOfImagesThatHitNothing(t *testing.T) {
	for name, run := range map[string]struct {
		yaml  string
		image []string
	}{
		"rows":     {"", []string{"UPDATE t SET v = 'image' WHERE n > -1 AND id < 7", "DELETE FROM t WHERE n > -1 AND id = 5"}},
		"triggers": {triggersOn, []string{"DO $$ BEGIN UPDATE t SET v = 'image' WHERE id < 7; END $$", "DO $$ BEGIN DELETE FROM t WHERE id = 5; END $$"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := up(t, rig.Config{Digest: "count", Verify: "count", AgentYAML: run.yaml}, classesSchema...)
			b.onBackup("DELETE FROM t WHERE id = 5")
			for _, sql := range run.image {
				b.throughAgent(sql)
			}
			b.throughAgent("UPDATE t SET n = n + 1 WHERE id = 6")
			if v := b.verdicts(3); v.Match != 1 || v.Mismatch != 2 {
				t.Errorf("verdicts %+v, want a match behind 2 mismatches", v)
			}
		})
	}
}
