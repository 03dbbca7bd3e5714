package apply

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/apply/schedule"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// stopped waits until a worker stands still and returns why.
func (w *running) stopped() error {
	w.t.Helper()
	var why error
	testkit.Eventually(w.t, patience, func() error {
		why = w.Ready()
		if why == nil {
			return errors.New("it is ready")
		}
		if !strings.Contains(why.Error(), "stopped") {
			return fmt.Errorf("it has not stopped: %w", why)
		}
		return nil
	})
	return why
}

func TestI6ErrorStopsAtTheCulprit(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (5)")
	a := r.agent("a1")
	var culprit int64
	for i := range 10 {
		offset := a.commit(text("INSERT INTO t VALUES ($1)", fmt.Sprint(i)))
		if i == 5 {
			culprit = offset
		}
	}
	w := r.start()
	err := w.stopped()
	var op *execute.OperationError
	if !errors.As(err, &op) || op.Offset != culprit || op.Index != 0 {
		t.Fatalf("stopped on %v, expected operation 0 of the transaction at offset %d", err, culprit)
	}
	for _, word := range []string{"23505", "INSERT INTO t", "(id)=(5)"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %s", err, word)
		}
	}
	r.want("SELECT id FROM t ORDER BY id", "0 1 2 3 4 5")
	testkit.Eventually(t, patience, func() error { return r.stoppedBeat() })
	w.end()
	// The operator mends the target; the next worker goes on from there.
	r.pg.Exec(t, r.db, "DELETE FROM t WHERE id = 5")
	r.start()
	r.caughtUp()
	r.want("SELECT count(*) FROM t", "10")
}

// I6: md5 of a text is another one where the text has other bytes, so a target in another
// encoding than the primary's stops.
func TestI6TargetsInAnotherEncodingStop(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY, v text)")
	a := r.agent("a1")
	in := func(encoding string, op event.Operation) {
		tx := a.tx(op)
		tx.Context.Settings = []event.Setting{{Name: event.ServerEncoding, Value: encoding}}
		a.add(tx)
	}
	in("UTF8", text("INSERT INTO t VALUES (1, md5('é'))"))
	w := r.start()
	r.caughtUp()
	in("LATIN1", text("INSERT INTO t VALUES (2, md5('é'))"))
	if err := w.stopped(); !strings.Contains(err.Error(), "the primary's database is in LATIN1 and the target's in UTF8") {
		t.Errorf("stopped on %v", err)
	}
	r.want("SELECT id FROM t", "1")
	for _, encoding := range []string{"LATIN1", "SQL_ASCII"} {
		r := newRig(t)
		r.pg.Exec(t, "postgres", "DROP DATABASE "+r.db, "CREATE DATABASE "+r.db+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING '"+encoding+"'")
		r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY, v text)")
		a := r.agent("a1")
		tx := a.tx(text("INSERT INTO t VALUES (1, md5('é'))")) // what is not said is UTF8
		tx.Context.Settings = []event.Setting{{Name: "TimeZone", Value: "UTC"}}
		a.add(tx)
		if err := r.start().stopped(); !strings.Contains(err.Error(), "the primary's database is in UTF8 and the target's in "+encoding) {
			t.Errorf("stopped on %v", err)
		}
	}
}

// I4: without its position nobody knows what a target's rows have of the stream; from its
// beginning, increments took effect twice, and every answer matched.
func TestI4TargetsThatLostTheirPositionStop(t *testing.T) {
	for name, lose := range map[string]string{"the schema": "DROP SCHEMA opmux CASCADE", "the rows": "DELETE FROM opmux.position"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 0)")
			a := r.agent("a1")
			a.commit(text("UPDATE t SET n = n + 1 WHERE id = 1"))
			w := r.start()
			r.caughtUp()
			w.end() // and tells the group how far it is
			r.pg.Exec(t, r.db, lose)
			w = r.start()
			if err := w.stopped(); !strings.Contains(err.Error(), "the target has no position any more") || !strings.Contains(err.Error(), "public.t") {
				t.Errorf("stopped on %v", err)
			}
			r.want("SELECT n FROM t", "1")
			w.end()
			r.pg.Exec(t, r.db, "DROP TABLE t", "DROP SCHEMA opmux CASCADE") // begun anew
			a.commit(text("CREATE TABLE other ()"))
			if err := r.start().stopped(); !strings.Contains(err.Error(), "42P01") {
				t.Errorf("an empty target: stopped on %v", err)
			}
		})
	}
}

// TestStoppedStreamGoesOnFromANewPosition: an operator fills the target again
// while the worker stands still.
func TestStoppedStreamGoesOnFromANewPosition(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	a := r.agent("a1")
	a.commit(text("INSERT INTO t VALUES (1)"))
	w := r.start()
	_ = w.stopped()
	if err := Reset(t.Context(), r.pg.DSN(r.db), "orders", r.topicID(), r.end()); err != nil {
		t.Fatal(err)
	}
	a.commit(text("INSERT INTO t VALUES (2)"))
	r.caughtUp()
	r.want("SELECT id FROM t ORDER BY id", "1 2")
	if err := w.Ready(); err != nil {
		t.Fatal(err)
	}
}

func TestTargetWhoseTriggersSleepIsRefused(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int)", "ALTER DATABASE "+r.db+" SET session_replication_role = replica")
	r.agent("a1").commit(text("INSERT INTO t VALUES (1)"))
	if err := r.replay(); err == nil || !strings.Contains(err.Error(), "session_replication_role") {
		t.Fatal(err)
	}
}

func TestLagGrowsWhileAStreamStandsStill(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
	a := r.agent("a1")
	a.commit(text("INSERT INTO t VALUES (1)"))
	w := r.start()
	_ = w.stopped()
	lag := func() topics.Position { return w.status.beat().Positions["orders"] }
	before := lag()
	for i := range 5 {
		a.commit(text("INSERT INTO t VALUES ($1)", fmt.Sprint(i+2)))
	}
	testkit.Eventually(t, patience, func() error {
		if p := lag(); p.LagTransactions < 5 || p.LagSeconds <= before.LagSeconds {
			return fmt.Errorf("lag %d transactions, %f s, and %f s before", p.LagTransactions, p.LagSeconds, before.LagSeconds)
		}
		return nil
	})
}

func (r *rig) stoppedBeat() error {
	beats, err := topics.ReadHeartbeats(r.t.Context(), r.kafka)
	if err != nil {
		return err
	}
	h := beats["worker/standby/w"]
	if h.Ready || !strings.Contains(h.LastError, "23505") {
		return fmt.Errorf("heartbeat is %+v", h)
	}
	return nil
}

func TestI6LostRecordStopsTheStream(t *testing.T) {
	for name, spoil := range map[string]func(a *agent){
		"gap":  func(a *agent) { a.n++ },
		"hash": func(a *agent) { a.hash = make([]byte, 16) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)")
			a := r.agent("a1")
			a.commit(text("INSERT INTO t VALUES (1)"))
			spoil(a)
			a.commit(text("INSERT INTO t VALUES (2)"))
			var chain *schedule.ChainError
			if err := r.replay(); !errors.As(err, &chain) {
				t.Fatalf("got %v, expected a *ChainError", err)
			}
			r.want("SELECT id FROM t", "1")
		})
	}
}

func TestI6ContradictingOutcomesStopTheStream(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)")
	a := r.agent("a1")
	ref := a.intend(text("INSERT INTO t VALUES (1)"))
	a.decide(true, ref)
	r.agent("a2", a).decide(false, ref)
	var conflict *schedule.OutcomeConflictError
	if err := r.replay(); !errors.As(err, &conflict) {
		t.Fatalf("got %v, expected an *OutcomeConflictError", err)
	}
}

// chunked writes a transaction of n chunks, with another one in between.
func (a *agent) chunked(n int, chunk func(i int) []event.Operation, last ...event.Operation) *event.Transaction {
	a.t.Helper()
	tx := a.tx(last...)
	for i := range n {
		_, offset := a.add(&event.Chunk{Tx: tx.ID, Index: int32(i), Operations: chunk(i)})
		if i == 0 {
			tx.FirstChunk = offset
			a.commit(text("INSERT INTO other VALUES (1)"))
		}
	}
	tx.Chunks = int32(n)
	return tx
}

func TestChunkedTransaction(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id serial PRIMARY KEY, v text)", "CREATE TABLE other (id int)", "CREATE SEQUENCE s")
	a := r.agent("a1")
	save := func(kind event.OpKind) event.Operation { return event.Operation{Kind: kind, Text: `a "b"`} }
	tx := a.chunked(3, func(i int) []event.Operation {
		switch i {
		case 0:
			return []event.Operation{text("INSERT INTO t (v) VALUES ('kept')"), save(event.OpSavepoint), text("INSERT INTO t (v) VALUES ('undone')")}
		case 1:
			return []event.Operation{save(event.OpRollbackTo), save(event.OpRelease), {Kind: event.OpCopy, Text: "COPY t (v) FROM STDIN", Data: []byte("c1\nc"), More: true}}
		}
		return []event.Operation{{Kind: event.OpCopy, Data: []byte("2\n"), More: true}}
	}, event.Operation{Kind: event.OpCopy, Data: []byte("c3\n")}, text("INSERT INTO t (v) VALUES ('last')"))
	_, offset := a.add(tx)
	// One that was never closed, and one that was aborted.
	a.chunked(1, func(int) []event.Operation { return []event.Operation{text("INSERT INTO t (v) VALUES ('open')")} })
	aborted := a.chunked(1, func(int) []event.Operation {
		op := text("INSERT INTO t (v) VALUES ('aborted')")
		op.Sequences = []event.SequenceMark{{Schema: "public", Name: "s", Value: 77, Ascending: true}}
		return []event.Operation{op}
	})
	aborted.Intent = true
	ref, _ := a.add(aborted)
	a.decide(false, ref)
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT v FROM t ORDER BY id", "kept c1 c2 c3 last")
	r.want("SELECT count(*) FROM other", "3")
	r.want("SELECT last_value FROM s", "77")
	d := r.digests()[offset]
	if len(d.Operations) != 4 || d.Operations[2].Index != 5 || d.Operations[2].Affected != 3 {
		t.Fatalf("digests: %+v", d)
	}
}

// TestI7OutcomeBeyondAFullWindow: the outcome of an intent lies behind more than
// may be held, and what is held waits for it.
func TestI7OutcomeBeyondAFullWindow(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)")
	a := r.agent("a1")
	open := a.intend(text("INSERT INTO t VALUES (0)"))
	for i := range 50 {
		a.commit(text("INSERT INTO t VALUES ($1)", fmt.Sprint(i+1)))
	}
	r.start(func(c *Config) { c.Memory = 1000 })
	testkit.Eventually(t, patience, func() error {
		return r.at(1) // behind the FENCE
	})
	r.agent("a2", a).decide(true, open)
	r.caughtUp()
	r.want("SELECT count(*) FROM t", "51")
}

// I6: what a foreign key's action does to rows of the same statement would differ where they
// go one by one, with the same counts.
func TestI6RowsThatCannotBeWrittenTogetherStop(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TYPE pair AS (a int, b text)", "CREATE FUNCTION paired(text) RETURNS pair LANGUAGE sql AS 'SELECT ROW(1, $1)::pair'",
		"CREATE CAST (text AS pair) WITH FUNCTION paired(text)",
		"CREATE TABLE named (id int PRIMARY KEY, code int UNIQUE, up int REFERENCES named (code) ON UPDATE CASCADE, p pair)",
		"INSERT INTO named VALUES (1, 1, NULL), (2, 2, 1), (3, 3, 2)")
	a := r.agent("a1")
	a.commit(rowsOp(images(event.ActionUpdate, "named", "id", "p", "1 (1,a)", "2 (1,b)"))) // changes nothing that rows refer to
	w := r.start()
	r.caughtUp()
	a.commit(rowsOp(images(event.ActionUpdate, "named", "id", "code up p", "2 1 ~ ~", "3 2 2 ~")))
	err := w.stopped()
	if !strings.Contains(err.Error(), "rows of public.named refer to one another") {
		t.Errorf("stopped on %v", err)
	}
	r.want("SELECT id, code, p FROM named ORDER BY id", "1|1|(1,a) 2|2|(1,b) 3|3|<NULL>")
}
