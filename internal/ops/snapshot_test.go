package ops

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

func TestSnapshotFillsAnEmptyTarget(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "CREATE TABLE t (id serial PRIMARY KEY, v text)", "INSERT INTO t (v) SELECT 'v' || i FROM generate_series(1, 5000) i")
	b.fence("a1")
	_, done := b.intent("a1", "one")
	open, ref := b.intent("a1", "two")
	b.outcome("a1", done, true)
	out, progress, err := b.run("snapshot", "--config", b.agent, "--to", b.worker)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, progress)
	}
	if !strings.Contains(out, "target standby holds source orders") || !strings.Contains(out, "1 table, 5000 rows") {
		t.Error(out)
	}
	testkit.SameRows(t, "SELECT * FROM t ORDER BY id", b.pg, b.primary, b.pg, b.target)
	testkit.SameRows(t, "SELECT nextval('t_id_seq')", b.pg, b.primary, b.pg, b.target)
	positions, err := apply.ReadPosition(t.Context(), b.pg.DSN(b.target))
	if err != nil {
		t.Fatal(err)
	}
	// I1: the open intent's outcome is still to come, so reading begins there.
	if p := positions["orders"]; p.Low != open {
		t.Errorf("the target begins at %d, want %d", p.Low, open)
	}
	list := lines(t, b.must("tail", "--config", b.agent, "--json"))
	mark := list[len(list)-1]
	if mark.Mark == nil || mark.Mark.Phase != event.MarkSnapshot || mark.Mark.Target != "standby" || mark.Mark.Start != open {
		t.Errorf("the topic ends with %+v", mark)
	}
	row := b.pg.Query(t, b.target, "SELECT start, mark FROM opmux.snapshot")
	if want := [][]string{{fmt.Sprint(open), fmt.Sprint(mark.Offset)}}; len(row) != 1 || row[0][0] != want[0][0] || row[0][1] != want[0][1] {
		t.Errorf("opmux.snapshot has %v, want %v", row, want)
	}
	b.outcome("a1", ref, true)
	b.fails(exit.Runtime, "the target already has tables of the primary (public.t)", "snapshot", "--config", b.agent, "--to", b.worker)
}

func TestSnapshotThatFailsLeavesTheTargetAlone(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "CREATE TABLE a (i int)", "CREATE TABLE t (i int CHECK (i < 10 OR current_database() = '"+b.primary+"'))", "INSERT INTO t VALUES (11)")
	b.fails(exit.Runtime, "the target is as it was", "snapshot", "--config", b.agent, "--to", b.worker)
	if rows := b.pg.Query(t, b.target, "SELECT relname FROM pg_class WHERE relname IN ('a', 't')"); len(rows) > 0 {
		t.Errorf("the target has %v", rows)
	}
	if p, err := apply.ReadPosition(t.Context(), b.pg.DSN(b.target)); err != nil || len(p) > 0 {
		t.Errorf("the target has position %v, %v", p, err)
	}
}

func TestSnapshotWantsTheSameEncoding(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, "postgres", "DROP DATABASE "+b.primary, "CREATE DATABASE "+b.primary+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'LATIN1'")
	b.fails(exit.Runtime, "its database has encoding UTF8 and the primary's has LATIN1", "snapshot", "--config", b.agent, "--to", b.worker)
}

func TestSnapshotWantsTheSameSource(t *testing.T) {
	b := newBench(t)
	other := b.write(t.TempDir(), "other.yaml", strings.Replace(read(t, b.worker), "name: orders", "name: stock", 1))
	b.fails(exit.Usage, "expected orders, the source of", "snapshot", "--config", b.agent, "--to", other)
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// answering is an agent of gate none that answers Marks.
func answering(ctx context.Context, b *bench, r *topics.Reader) {
	for {
		m, err := r.Next(ctx)
		if err != nil {
			return
		}
		rec, err := b.codec.DecodeRecord(m.Value)
		if err != nil {
			return
		}
		if mark, ok := rec.Body.(*event.Mark); ok && mark.Phase == event.MarkAsk {
			b.append("a1", &event.Transaction{FirstChunk: -1}) // it committed before the answer
			b.append("a1", &event.Mark{ID: mark.ID, Phase: event.MarkAnswer})
		}
	}
}

func TestGateNoneIsAskedByMark(t *testing.T) {
	b := newBench(t).withTopics()
	b.fence("a1")
	b.beat(topics.Heartbeat{Role: topics.RoleAgent, Source: "orders", Name: "a1", Gate: "none", Time: time.Now().Add(time.Hour), Ready: true})
	k := &kafka{Config: b.kafka, codec: b.codec}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := k.behindCommits(short, "orders"); err == nil || !strings.Contains(err.Error(), "agent a1 has not answered") {
		t.Errorf("nobody answers: %v", err)
	}
	r, err := topics.NewReader(t.Context(), b.kafka, b.kafka.Names().Ops("orders"), 2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); answering(ctx, b, r) }()
	end, err := k.behindCommits(t.Context(), "orders")
	stop()
	<-ended
	_ = r.Close()
	if err != nil || end != 5 { // FENCE, ask, ask, transaction, answer
		t.Errorf("behind offset %d, %v; want 5", end, err)
	}
	b.beat(topics.Heartbeat{Role: topics.RoleAgent, Source: "orders", Name: "a1", Gate: "none", Time: time.Now().Add(-time.Hour)})
	if end, err := k.behindCommits(t.Context(), "orders"); err != nil || end != 5 {
		t.Errorf("with a dead agent: %d, %v", end, err)
	}
}
