package ops

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// history writes a table and two rows, one of them aborted, to the topic.
func (b *bench) history() {
	b.fence("a1")
	for _, sql := range []string{"CREATE TABLE public.t (id int PRIMARY KEY)", "INSERT INTO public.t VALUES (1)", "INSERT INTO public.t VALUES (2)"} {
		_, ref := b.intent("a1", sql)
		b.outcome("a1", ref, !strings.Contains(sql, "(2)"))
	}
}

func TestReplayRebuildsAnEmptyTarget(t *testing.T) {
	b := newBench(t).withTopics()
	b.history()
	replay := []string{"replay", "--config", b.worker, "--from", "beginning"}
	if out := b.must(replay...); !strings.Contains(out, "target standby holds what was in the topic of orders") {
		t.Error(out)
	}
	want := [][]string{{"1"}}
	if rows := b.pg.Query(t, b.target, "SELECT id FROM t"); fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("the target has %v, want %v", rows, want)
	}
	b.must("wait", "--config", b.worker, "--timeout", "10s")
	b.fails(exit.Runtime, "has rows (in public.t) and a position", replay...)
	b.pg.Exec(t, b.target, "DROP TABLE t")
	b.must(replay...)
	if rows := b.pg.Query(t, b.target, "SELECT id FROM t"); fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("once more, the target has %v, want %v", rows, want)
	}
	b.fails(exit.Runtime, "replay stopped", append(replay, "--force")...) // the table is there
}

func TestReplayIsRefusedBesideAWorker(t *testing.T) {
	b := newBench(t).withTopics()
	b.history()
	h := topics.Heartbeat{Role: topics.RoleWorker, Target: "standby", Name: "w1", Time: time.Now(), Ready: true}
	b.beat(h)
	stop := b.beats(h)
	b.fails(exit.Runtime, "apply-worker w1 of target standby is running", "replay", "--config", b.worker, "--from", "beginning")
	stop()
	b.must("replay", "--config", b.worker, "--from", "0") // it has died since
	if rows := b.pg.Query(t, b.target, "SELECT count(*) FROM t"); rows[0][0] != "1" {
		t.Errorf("the target has %v rows", rows)
	}
}

func TestWaitCountsOpenIntents(t *testing.T) {
	b := newBench(t).withTopics()
	b.history()
	b.must("replay", "--config", b.worker, "--from", "beginning")
	_, ref := b.intent("a1", "INSERT INTO public.t VALUES (3)")
	b.fails(exit.Timeout, "it is at offset", "wait", "--config", b.worker, "--timeout", "5s")
	done := make(chan error, 1)
	go func() {
		_, _, err := b.run("wait", "--config", b.worker, "--timeout", "30s")
		done <- err
	}()
	b.outcome("a1", ref, true)
	b.pg.Exec(t, b.target, "DROP TABLE t")
	b.must("replay", "--config", b.worker, "--from", "beginning")
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSnapshotThenReplayOnlyAddsWhatItDoesNotShow(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "CREATE TABLE t (id int PRIMARY KEY)")
	b.fence("a1")
	// As an agent does: the record, then the commit, then the outcome.
	insert := func(id int, before func()) event.Ref {
		conn := b.pg.Connect(t, b.primary)
		tx, err := conn.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var xid uint64
		sql := fmt.Sprintf("INSERT INTO public.t VALUES (%d)", id)
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRow(t.Context(), "SELECT pg_current_xact_id()::text::bigint").Scan(&xid); err != nil {
			t.Fatal(err)
		}
		b.xid = xid
		_, ref := b.intent("a1", sql)
		before()
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		return ref
	}
	shown := insert(1, func() {})
	snap := func() {
		if out, progress, err := b.run("snapshot", "--config", b.agent, "--to", b.worker); err != nil {
			t.Fatalf("%v\n%s%s", err, out, progress)
		}
	}
	hidden := insert(2, snap) // under way while the snapshot is taken
	b.outcome("a1", shown, true)
	b.outcome("a1", hidden, true)
	if rows := b.pg.Query(t, b.target, "SELECT id FROM t"); fmt.Sprint(rows) != "[[1]]" {
		t.Fatalf("the snapshot has %v", rows)
	}
	b.apply()
	testkit.SameRows(t, "SELECT id FROM t ORDER BY id", b.pg, b.primary, b.pg, b.target)
}

func TestSnapshotBesideARunningWorker(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 1000)")
	b.fence("a1")
	w, err := apply.New(b.applies(), apply.Deps{Topics: b.kafka, Codec: b.codec, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	b.must("wait", "--config", b.worker, "--timeout", "30s") // it follows the stream
	b.must("snapshot", "--config", b.agent, "--to", b.worker)
	_, ref := b.intent("a1", "INSERT INTO public.t VALUES (2000)")
	b.outcome("a1", ref, true)
	b.must("wait", "--config", b.worker, "--timeout", "30s")
	if rows := b.pg.Query(t, b.target, "SELECT count(*), max(id) FROM t"); fmt.Sprint(rows) != "[[1001 2000]]" {
		t.Errorf("the target has %v", rows)
	}
}
