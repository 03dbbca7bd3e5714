package ops

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/topics"
)

func TestUsage(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{nil, exit.Usage, "a command is required"},
		{[]string{"nonsense"}, exit.Usage, `unknown command "nonsense"`},
		{[]string{"topics"}, exit.Usage, "topics: expected create behind it"},
		{[]string{"indoubt", "x"}, exit.Usage, "expected list or settle"},
		{[]string{"tail"}, exit.Usage, "--config is required"},
		{[]string{"tail", "--nope"}, exit.Usage, "unknown flag --nope"},
		{[]string{"tail", "--config", b.agent, "more"}, exit.Usage, `unexpected argument "more"`},
		{[]string{"tail", "--config", b.agent, "--from", "soon"}, exit.Usage, "expected beginning, an offset"},
		{[]string{"tail", "--config", "nowhere.yaml"}, exit.Usage, "nowhere.yaml: cannot read the configuration"},
		{[]string{"tail", "--config", b.agent, "--source", "x"}, exit.Usage, "the configuration names [orders]"},
		{[]string{"wait", "--config", b.agent}, exit.Usage, "this looks like the configuration of a capture-agent"},
		{[]string{"wait", "--config", b.worker, "--timeout", "-1s"}, exit.Usage, "--timeout: expected a duration above 0"},
		{[]string{"indoubt", "settle", "--config", b.agent, "--source", "orders", "--offset", "1", "--as", "maybe"}, exit.Usage, "expected committed or aborted"},
		{[]string{"snapshot", "--config", b.agent}, exit.Usage, "--to is required"},
		{[]string{"verdicts", "--config", b.worker}, exit.Usage, "this looks like the configuration of an apply-worker"},
		{[]string{"broker"}, exit.Usage, "--listen is required"},
	} {
		b.fails(c.code, c.say, c.args...)
	}
	for _, args := range [][]string{{"help"}, {"--help"}} {
		if out := b.must(args...); !strings.Contains(out, "indoubt settle") {
			t.Errorf("%v: %s", args, out)
		}
	}
}

func TestMissingTopicsNameTheCommand(t *testing.T) {
	b := newBench(t)
	b.fails(exit.Runtime, "opmux topics create", "tail", "--config", b.agent)
	b.fails(exit.Runtime, "opmux topics create", "snapshot", "--config", b.agent, "--to", b.worker)
}

func TestTopicsCreateTwice(t *testing.T) {
	b := newBench(t)
	if out := b.must("topics", "create", "--config", b.agent); !strings.Contains(out, "created  opmux.orders.ops") {
		t.Error(out)
	}
	if out := b.must("topics", "create", "--config", b.agent); !strings.Contains(out, "exists   opmux.orders.ops") {
		t.Error(out)
	}
}

// lines decodes JSON lines.
func lines(t *testing.T, text string) []tailLine {
	t.Helper()
	var list []tailLine
	for line := range strings.Lines(text) {
		var l tailLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, l)
	}
	return list
}

func TestTailJoinsOutcomes(t *testing.T) {
	b := newBench(t).withTopics()
	epoch := b.fence("a1")
	_, one := b.intent("a1", "INSERT INTO t VALUES (1)")
	_, two := b.intent("a1", "INSERT INTO t VALUES (2)")
	b.intent("a1", "INSERT INTO t VALUES (3)")
	b.outcome("a1", two, false)
	last := b.outcome("a1", one, true)
	list := lines(t, b.must("tail", "--config", b.verifier, "--json"))
	var got []string
	for _, l := range list {
		got = append(got, string(l.Kind)+" "+l.Outcome)
	}
	if want := "fence |transaction committed|transaction aborted|transaction open|outcomes |outcomes "; strings.Join(got, "|") != want {
		t.Errorf("got %v", got)
	}
	tx := list[1]
	if tx.Epoch != epoch || tx.N != 1 || tx.Agent != "a1" || tx.Source != "orders" || len(tx.Operations) != 1 {
		t.Errorf("got %+v", tx)
	}
	if o := tx.Operations[0]; o.Class != "text" || o.Reason != "pinned by its key" || o.Text != "INSERT INTO t VALUES (1)" || o.Tables[0] != "public.t" {
		t.Errorf("got %+v", o)
	}
	if list[0].Epoch != epoch {
		t.Errorf("the opening FENCE shows epoch %d", list[0].Epoch)
	}
	text := b.must("tail", "--config", b.agent)
	for _, want := range []string{"transaction committed, 1 operation, user app", "INSERT INTO t VALUES (3)", "pinned by its key", "fence: opens an epoch"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if list := lines(t, b.must("tail", "--config", b.agent, "--json", "--from", "4")); list[0].Offset != 4 || list[len(list)-1].Offset != last {
		t.Errorf("from 4: %+v", list)
	}
	if out := b.must("tail", "--config", b.agent, "--json", "--from", time.Now().Add(time.Hour).Format(time.RFC3339)); out != "" {
		t.Errorf("from the future: %s", out)
	}
	b.fails(exit.Usage, "has offsets 0 to 5", "tail", "--config", b.agent, "--from", "99")
}

func TestTailHoldsBoundedMemory(t *testing.T) {
	b := newBench(t).withTopics()
	b.fence("a1")
	_, first := b.intent("a1", "first")
	for range 20 {
		_, ref := b.intent("a1", "next")
		b.outcome("a1", ref, true)
	}
	b.outcome("a1", first, true)
	var got []string
	k := &kafka{Config: b.kafka, codec: b.codec}
	tail := &tailer{kafka: k, source: "orders", limit: 5, print: func(_ string, h *held) error {
		if h.record.Body.Kind() == event.KindTransaction {
			got = append(got, h.outcome)
		}
		return nil
	}}
	if err := tail.run(t.Context(), beginning); err != nil {
		t.Fatal(err)
	}
	if len(got) != 21 || strings.Contains(strings.Join(got, ""), "open") {
		t.Errorf("got %v", got)
	}
}

func TestInDoubtIsListedAndSettled(t *testing.T) {
	b := newBench(t).withTopics()
	b.fence("a1")
	offset, _ := b.intent("a1", "INSERT INTO t VALUES (1)")
	b.fence("a1") // a new epoch of the same agent ends the one before
	if out := b.must("indoubt", "list", "--config", b.worker); !strings.Contains(out, "offset 1 ") || !strings.Contains(out, "INSERT INTO t VALUES (1)") {
		t.Error(out)
	}
	var list []doubtful
	if err := json.Unmarshal([]byte(b.must("indoubt", "list", "--config", b.worker, "--json")), &list); err != nil || len(list) != 1 || list[0].Offset != offset {
		t.Errorf("%v, %v", list, err)
	}
	settle := []string{"indoubt", "settle", "--config", b.worker, "--source", "orders", "--as", "committed", "--offset"}
	b.fails(exit.Usage, "found a record of kind fence", append(settle, "0")...)
	b.fails(exit.Usage, "has offsets 0 to 2", append(settle, "77")...)
	b.must(append(settle, "1")...)
	if out := b.must(append(settle, "1")...); !strings.Contains(out, "already") {
		t.Error(out)
	}
	b.fails(exit.Runtime, "is committed", "indoubt", "settle", "--config", b.worker, "--source", "orders", "--as", "aborted", "--offset", "1")
	if out := b.must("indoubt", "list", "--config", b.worker); !strings.Contains(out, "nothing is in doubt") {
		t.Error(out)
	}
	if list := lines(t, b.must("tail", "--config", b.agent, "--json")); list[1].Outcome != "committed" {
		t.Errorf("got %+v", list[1])
	}
}

func TestSettlingWhatADeadAgentLeft(t *testing.T) {
	b := newBench(t).withTopics()
	epoch := b.fence("a1")
	offset, _ := b.intent("a1", "CREATE TABLE public.t (id int PRIMARY KEY)")
	settle := []string{"indoubt", "settle", "--config", b.agent, "--source", "orders", "--as", "committed", "--offset", fmt.Sprint(offset)}
	h := topics.Heartbeat{Role: topics.RoleAgent, Source: "orders", Name: "a1", Epoch: epoch, Gate: "recorded", Time: time.Now().Add(time.Minute)}
	b.beat(h)
	if out := b.must("indoubt", "list", "--config", b.agent); !strings.Contains(out, "nothing is in doubt") {
		t.Errorf("the agent lives: %s", out)
	}
	b.fails(exit.Runtime, "has not ended", settle...)
	h.Time = time.Now().Add(-time.Minute)
	b.beat(h)
	if out := b.must("indoubt", "list", "--config", b.agent); !strings.Contains(out, "agent a1 is silent") {
		t.Error(out)
	}
	b.must(settle...)
	b.must("replay", "--config", b.worker, "--from", "beginning") // the chains are whole
	if rows := b.pg.Query(t, b.target, "SELECT count(*) FROM t"); rows[0][0] != "0" {
		t.Errorf("got %v", rows)
	}
}

func TestWait(t *testing.T) {
	b := newBench(t).withTopics()
	b.fence("a1")
	b.fails(exit.Timeout, "it has no position yet", "wait", "--config", b.worker, "--timeout", "1500ms")
	h := topics.Heartbeat{Role: topics.RoleWorker, Target: "standby", Name: "w1", Time: time.Now(), LastError: "offset 7: duplicate key"}
	b.beat(h) // of a worker that was killed: it says nothing of the one at work
	b.fails(exit.Timeout, "no position yet", "wait", "--config", b.worker, "--timeout", "3s")
	defer b.beats(h)()
	b.fails(exit.Runtime, "offset 7: duplicate key", "wait", "--config", b.worker, "--timeout", "20s")
}

func TestStatusOfAnyConfiguration(t *testing.T) {
	b := newBench(t).withTopics()
	b.fence("a1")
	b.intent("a1", "INSERT INTO t VALUES (1)")
	b.beat(topics.Heartbeat{Role: topics.RoleAgent, Source: "orders", Name: "a1", Time: time.Now(), Epoch: 0, Gate: "recorded", Ready: true,
		Diverged: []topics.Diverged{{Table: "public.t", Reason: "user trigger", Statement: "UPDATE t SET a = $1", Offset: 5}},
		Suspect:  []event.EpochRef{{Agent: "a0", Epoch: 3}}})
	b.beat(topics.Heartbeat{Role: topics.RoleWorker, Target: "standby", Name: "w1", Time: time.Now(), LastError: "offset 7: duplicate key",
		Positions: map[string]topics.Position{"orders": {Low: 1, End: 2, LagTransactions: 1, LagSeconds: 2.5}}})
	for _, path := range []string{b.agent, b.worker, b.verifier} {
		var s report
		if err := json.Unmarshal([]byte(b.must("status", "--config", path, "--json")), &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Suspect) != 1 || s.Suspect[0] != (suspectEpoch{"orders", "a0", 3}) || s.Lag != (lag{1, 2.5}) || s.LastError != "offset 7: duplicate key" {
			t.Errorf("%s: %+v", path, s)
		}
		if path == b.agent && (len(s.Diverged) != 1 || s.Diverged[0].Table != "public.t" || s.Diverged[0].Reason != "user trigger") {
			t.Errorf("diverged: %+v", s.Diverged)
		}
		if out := b.must("status", "--config", path); !strings.Contains(out, "SUSPECT") || !strings.Contains(out, "w1") {
			t.Error(out)
		}
	}
}

// TestSuspectUntilFilledAgain: a target that was filled after an epoch had ended
// lacks nothing of it.
func TestSuspectUntilFilledAgain(t *testing.T) {
	b := newBench(t).withTopics()
	epoch := b.fence("a1")
	b.intent("a1", "INSERT INTO t VALUES (1)")
	beside := b.fence("a2") // of another agent, while the epoch goes on
	within := b.append("a1", &event.Outcomes{})
	b.fence("a1")
	after := b.append("a1", &event.Outcomes{})
	b.beat(topics.Heartbeat{Role: topics.RoleAgent, Source: "orders", Name: "a1", Time: time.Now(), Gate: "none", Ready: true,
		Suspect: []event.EpochRef{{Agent: "a1", Epoch: epoch}}})
	at, err := (&kafka{Config: b.kafka, codec: b.codec}).bounds(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[int64]bool{0: true, beside: true, within: true, within + 1: false, after: false, after + 1: false} {
		if err := apply.Reset(t.Context(), b.pg.DSN(b.target), "orders", at.id, origin); err != nil {
			t.Fatal(err)
		}
		if out := b.must("status", "--config", b.worker); strings.Contains(out, "SUSPECT") != want {
			t.Errorf("target that begins at %d: suspect expected %t:\n%s", origin, want, out)
		}
	}
	if out := b.must("status", "--config", b.agent); !strings.Contains(out, "SUSPECT") {
		t.Errorf("nothing is known of all targets:\n%s", out)
	}
}

func TestStatusKeysAreAlwaysThere(t *testing.T) {
	b := newBench(t).withTopics()
	out := b.must("status", "--config", b.worker, "--json")
	for _, want := range []string{`"diverged":[]`, `"suspect":[]`, `"lag":{"transactions":0,"seconds":0}`, `"last_error":""`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in %s", want, out)
		}
	}
}

func TestVerdictsOfNothing(t *testing.T) {
	b := newBench(t).withTopics()
	if out := b.must("verdicts", "--config", b.verifier, "--json"); strings.TrimSpace(out) != `{"match":0,"mismatch":0,"missing":0,"skipped":0}` {
		t.Error(out)
	}
}
