package apply

import (
	"fmt"
	"testing"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

func TestKindsOfOperations(t *testing.T) {
	r := newRig(t)
	a := r.agent("a1")
	ddl := a.tx(
		text("CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(10,2), b bytea, d timestamptz)"),
		text("CREATE TABLE log (id int GENERATED ALWAYS AS IDENTITY, v text)"),
	)
	ddl.Barrier = true
	a.add(ddl)
	a.commit(text("INSERT INTO t (id, v, n) VALUES ($1, $2, $3)", "1", "one", "1.50"))
	a.commit(text("INSERT INTO t (id, v, n) VALUES ($1, $2, $3)", "2", "two", "2.50"), text("UPDATE t SET n = n + 1 WHERE id = 1"))
	insert := &event.RowImages{
		Action: event.ActionInsert, Schema: "public", Table: "t", Columns: []string{"id", "v", "n", "b", "d"},
		Returning: []string{"id", "v"},
	}
	for i := 10; i < 110; i++ {
		insert.Rows = append(insert.Rows, event.RowImage{Values: values(fmt.Sprint(i), "r", "1", `\x00ff`, "2026-01-02 03:04:05+01")})
	}
	a.commit(event.Operation{Kind: event.OpRows, Class: event.ClassRows, Rows: insert, Digest: event.Digest{Hash: []byte{1}}})
	key := []string{"id"}
	a.commit(
		event.Operation{Kind: event.OpRows, Rows: &event.RowImages{
			Action: event.ActionUpdate, Schema: "public", Table: "t", Key: key, Columns: []string{"v"},
			Rows: []event.RowImage{{Key: values("10"), Values: values("changed")}, {Key: values("11"), Values: values(testkit.Null)}},
		}},
		event.Operation{Kind: event.OpRows, Rows: &event.RowImages{
			Action: event.ActionDelete, Schema: "public", Table: "t", Key: key, Rows: []event.RowImage{{Key: values("12")}, {Key: values("13")}},
		}},
		event.Operation{Kind: event.OpRows, Rows: &event.RowImages{
			Action: event.ActionUpsert, Schema: "public", Table: "t", Key: key, Columns: []string{"id", "v"},
			Rows: []event.RowImage{{Key: values("10"), Values: values("10", "upserted")}, {Key: values("999"), Values: values("999", "new")}},
		}},
		event.Operation{Kind: event.OpRows, Rows: &event.RowImages{
			Action: event.ActionInsert, Schema: "public", Table: "log", Columns: []string{"id", "v"}, Rows: []event.RowImage{{Values: values("7", "seven")}},
		}, Sequences: []event.SequenceMark{{Schema: "public", Name: "log_id_seq", Value: 7, Ascending: true}}},
	)
	copied := a.commit(
		event.Operation{Kind: event.OpCopy, Text: "COPY t (id, v) FROM STDIN", Data: []byte("2000\tx\n20"), More: true},
		event.Operation{Kind: event.OpCopy, Data: []byte("01\ty\n"), Digest: event.Digest{Affected: 2}},
		text("UPDATE t SET v = 'z' WHERE id = 2001"),
	)
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT count(*) FROM t", "103")
	r.want("SELECT id, v, n, b, d AT TIME ZONE 'UTC' FROM t WHERE id = 14", `14|r|1.00|\x00ff|2026-01-02 02:04:05`)
	r.want("SELECT id, n FROM t WHERE id < 10 ORDER BY id", "1|2.50 2|2.50")
	r.want("SELECT id, v FROM t WHERE id IN (10, 11, 12, 13, 999) ORDER BY id", "10|upserted 11|<NULL> 999|new")
	r.want("SELECT id, v FROM t WHERE id >= 2000 ORDER BY id", "2000|x 2001|z")
	r.want("SELECT id, v FROM log", "7|seven")
	r.want("SELECT last_value, is_called FROM log_id_seq", "7|t")
	if err := r.at(r.end()); err != nil {
		t.Fatal(err)
	}
	d := r.digests()[copied]
	if d == nil || d.Target != "standby" || len(d.Operations) != 2 || d.Operations[0].Affected != 2 || d.Operations[1].Affected != 1 || d.Operations[1].Index != 1 {
		t.Fatalf("digests of the COPY: %+v", d)
	}
	if d := r.digests()[copied-2]; len(d.Operations) != 1 || d.Operations[0].Affected != 100 || len(d.Operations[0].Hash) == 0 {
		t.Fatalf("digests of the INSERT of 100 rows: %+v", d)
	}
}

func TestI2AbortedIntentsMoveOnlySequences(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id serial PRIMARY KEY, v text)")
	a := r.agent("a1")
	mark := func(n int64) []event.SequenceMark {
		return []event.SequenceMark{{Schema: "public", Name: "t_id_seq", Value: n, Ascending: true}}
	}
	kept, lost := text("INSERT INTO t VALUES (1, 'kept')"), text("INSERT INTO t VALUES (9, 'lost')")
	kept.Sequences, lost.Sequences = mark(1), mark(9)
	k, l := a.intend(kept), a.intend(lost)
	a.decide(false, l)
	a.decide(true, k)
	gone := text("INSERT INTO gone VALUES (1)")
	gone.Sequences = []event.SequenceMark{{Schema: "public", Name: "never_made", Value: 4, Ascending: true}}
	a.decide(false, a.intend(gone))
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT id, v FROM t", "1|kept")
	r.want("SELECT last_value FROM t_id_seq", "9")
	if err := r.at(r.end()); err != nil {
		t.Fatal(err)
	}
}

// A transaction that failed before it drew from a sequence leaves a mark of the
// value before the first, which no setval takes.
func TestMarksOfSequencesThatWereNeverDrawn(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE SEQUENCE up INCREMENT 3", "CREATE SEQUENCE down INCREMENT -1")
	a := r.agent("a1")
	a.commit(event.Operation{Kind: event.OpSequence, Sequences: []event.SequenceMark{
		{Schema: "public", Name: "up", Value: -2, Ascending: true}, {Schema: "public", Name: "down", Value: 0}}})
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT nextval('up'), nextval('down')", "1|-1")
}

// A sequence made with CYCLE goes where the latest draw was, and not back to one that comes late.
func TestMarksOfSequencesThatComeRound(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE SEQUENCE small MAXVALUE 5 CYCLE", "CREATE SEQUENCE large MAXVALUE 99999 CYCLE",
		"CREATE SEQUENCE down INCREMENT -1 MINVALUE -99999 CYCLE", "CREATE SEQUENCE whole MINVALUE -9223372036854775808 CYCLE", "CREATE SEQUENCE ends")
	a := r.agent("a1")
	draws := func(name string, want string, values ...int64) {
		t.Helper()
		for _, v := range values {
			a.commit(event.Operation{Kind: event.OpSequence, Sequences: []event.SequenceMark{{Schema: "public", Name: name, Value: v, Ascending: name != "down"}}})
			if err := r.replay(); err != nil {
				t.Fatal(err)
			}
		}
		r.want("SELECT last_value FROM "+name, want)
	}
	draws("small", "2", 4, 5, 1, 2)
	draws("small", "1", 3, 4, 5, 1)
	draws("large", "99998", 99990, 99998, 99997)
	draws("large", "3", 99999, 1, 3, 99999, 2)
	draws("large", "70000", 50000, 70000)
	draws("down", "-2", -99998, -99999, -2, -1, -99999)
	draws("whole", "-9223372036854775807", 9223372036854775806, -9223372036854775807, 9223372036854775807)
	draws("ends", "9", 9, 3)
}

func TestOpenIntentBlocksWhatDependsOnIt(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (id int PRIMARY KEY)")
	r.start()
	a := r.agent("a1")
	open := a.intend(text("INSERT INTO t VALUES (1)"))
	parallel := a.tx(text("INSERT INTO t VALUES (2)"))
	parallel.DependsOn = 0
	a.add(parallel)
	a.commit(text("INSERT INTO t VALUES (3)")) // depends on the open one
	other := r.agent("a2", a)
	testkit.Eventually(t, patience, func() error {
		if got := r.query("SELECT id FROM t ORDER BY id"); got != "2" {
			return fmt.Errorf("rows %q, expected 2", got)
		}
		return nil
	})
	other.decide(true, open) // settled by another agent
	other.decide(true, open) // and once more
	r.caughtUp()
	r.want("SELECT id FROM t ORDER BY id", "1 2 3")
}

func TestContextTravels(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE SCHEMA s1", "CREATE SCHEMA s2", "CREATE TABLE s1.t (d timestamptz)", "CREATE TABLE s2.t (d timestamptz)")
	a := r.agent("a1")
	in := func(path, zone string, ops ...event.Operation) {
		tx := a.tx(ops...)
		tx.Context.Settings = []event.Setting{{Name: "TimeZone", Value: zone}, {Name: "search_path", Value: path}}
		a.add(tx)
	}
	insert := text("INSERT INTO t VALUES ('2026-01-01 00:00')")
	for range 3 {
		in("s1", "UTC", insert)
		in("s2", "Asia/Tokyo", insert)
	}
	in("s1", "UTC", insert, event.Operation{Kind: event.OpSet, Settings: []event.Setting{{Name: "search_path", Value: "s2"}}}, insert)
	tx := a.tx(text("INSERT INTO t VALUES ('2026-06-01')"))
	tx.Context = event.Context{User: "s2", Settings: []event.Setting{{Name: "search_path", Value: `"$user", public`}, {Name: "TimeZone", Value: "UTC"}}}
	a.add(tx)
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	r.want("SELECT d AT TIME ZONE 'UTC', count(*) FROM s1.t GROUP BY 1 ORDER BY 1", "2026-01-01 00:00:00|4")
	r.want("SELECT d AT TIME ZONE 'UTC', count(*) FROM s2.t GROUP BY 1 ORDER BY 1", "2025-12-31 15:00:00|3 2026-01-01 00:00:00|1 2026-06-01 00:00:00|1")
}
