package session

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

func bare() *Session {
	s := &Session{portals: map[string]*portal{}}
	s.empty = sync.NewCond(&s.mu)
	return s
}

// An entry is used again only once nobody waits for its answer, and then says nothing
// of what it was.
func TestEntriesAreUsedAgainWhenTheyHaveEnded(t *testing.T) {
	s := bare()
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		waiting := map[*entry]bool{}
		for _, e := range s.queue {
			waiting[e] = true
		}
		switch r.IntN(3) {
		case 0:
			e := s.plainEntry(answerDescribe, r.IntN(2) == 0)
			if waiting[e] {
				t.Fatal("an entry was handed out whose answer is awaited")
			}
			if e.describes != nil || e.onError != nil || e.skipped || e.holdReady {
				t.Fatalf("an entry comes with what it was before: %+v", e)
			}
			e.describes, e.onError, e.holdReady = &statement{}, func([]pgwire.Field) bool { return true }, true
			s.push(e)
		case 1:
			s.push(&entry{kind: answerExecute, silent: true}) // someone else knows of it
		default:
			if len(s.queue) == 0 {
				continue
			}
			e := s.queue[0]
			was := *e
			s.locked(func() { s.pop(); s.spare(e) })
			if known := !was.plain; known && !e.silent {
				t.Fatal("an entry that someone else knows of was altered")
			}
		}
		if len(s.spares) > queueRoom {
			t.Fatalf("%d entries are kept", len(s.spares))
		}
	}
}

// What the server skips behind an error fails before its entry is used again.
func TestSkippedBindGivesTheNameBack(t *testing.T) {
	s := bare()
	first, second := &portal{name: "p"}, &portal{name: "p"}
	s.push(s.setPortal(first))
	s.locked(func() { e := s.queue[0]; e.done(); s.pop(); s.spare(e) })
	s.push(s.setPortal(second))
	s.push(s.plainEntry(answerDescribe, false))
	s.push(s.plainEntry(answerSync, false))
	s.locked(s.skip)
	if s.portals["p"] != first || !second.gone {
		t.Errorf("behind a Bind that was skipped the name is %+v, want the portal before", s.portals["p"])
	}
	if len(s.queue) != 1 || s.queue[0].kind != answerSync {
		t.Errorf("%d entries are left, want the Sync's", len(s.queue))
	}
	for _, e := range s.spares {
		if e.binds != nil || e.skipped {
			t.Errorf("a spare entry keeps %+v", e)
		}
	}
}

// The queue's memory is used again: messages of a usual length take none.
func TestTheQueueTakesNoMemory(t *testing.T) {
	s := bare()
	if n := testing.AllocsPerRun(100, func() {
		for range 4 {
			s.push(s.plainEntry(answerDescribe, false))
		}
		for range 4 {
			s.locked(func() { e := s.queue[0]; s.pop(); s.spare(e) })
		}
	}); n != 0 {
		t.Errorf("%v allocations for a pipeline", n)
	}
}

// A long pipeline leaves nothing behind.
func TestTheQueueKeepsNothing(t *testing.T) {
	s := bare()
	for range 3 * queueRoom {
		s.push(&entry{kind: answerExecute})
	}
	for range 3 * queueRoom {
		s.locked(s.pop)
	}
	s.push(s.plainEntry(answerSync, false))
	s.locked(s.pop)
	if cap(s.queue) != queueRoom {
		t.Errorf("the queue keeps room for %d entries", cap(s.queue))
	}
	for _, e := range s.room[:cap(s.room)] {
		if e != nil {
			t.Fatal("the queue keeps an entry that has ended")
		}
	}
}

// A context is known again by its row, and by no other row.
func TestContextIsTold(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	row := func() []pgwire.DataRowValue {
		out := make([]pgwire.DataRowValue, contextColumn+r.IntN(3))
		for i := range out {
			out[i].Value = []byte([]string{"", "a", "ab", "b"}[r.IntN(4)])
		}
		return out
	}
	told := 0
	for range 20_000 {
		a, b := row(), row()
		want := rawContext(a) == rawContext(b)
		if c := (&sessionContext{raw: rawContext(a)}); c.tells(b) != want {
			t.Fatalf("%q tells %q: %v, want %v", rawContext(a), rawContext(b), !want, want)
		}
		if want {
			told++
		}
	}
	if told == 0 {
		t.Error("no rows were the same")
	}
}

func TestSettingsAtALevelAreMadeOnce(t *testing.T) {
	c := &sessionContext{settings: []event.Setting{{Name: "TimeZone", Value: "UTC"}, {Name: "x", Value: "1"}}}
	one, again := c.withIsolation("serializable"), c.withIsolation("serializable")
	if &one[0] != &again[0] || cap(one) != len(one) {
		t.Error("the same settings were made twice, or could be appended to")
	}
	other := c.withIsolation("repeatable read")
	for _, l := range [][]event.Setting{one, other} {
		if len(l) != 3 || l[0].Name != "TimeZone" || l[1].Name != "transaction_isolation" {
			t.Errorf("settings are %v", l)
		}
	}
	if one[1].Value != "serializable" || other[1].Value != "repeatable read" {
		t.Errorf("levels are %q and %q", one[1].Value, other[1].Value)
	}
}

func TestContextsAreSharedWhereTheyAreTheSame(t *testing.T) {
	var c contexts
	keys := []contextKey{{raw: "a"}, {raw: "b"}, {raw: "a", database: "LATIN1"}, {raw: "a", async: true}, {raw: "a", garbled: true}}
	made := map[*sessionContext]bool{}
	for _, k := range keys {
		first := c.same(k, &sessionContext{})
		if made[first] {
			t.Errorf("%+v is taken for another one", k)
		}
		made[first] = true
		if c.same(k, &sessionContext{}) != first {
			t.Errorf("%+v is not known again", k)
		}
	}
	for i := range 10 * maxContexts {
		c.same(contextKey{raw: fmt.Sprint(i)}, &sessionContext{})
	}
	if len(c.known) > maxContexts {
		t.Errorf("%d contexts are kept", len(c.known))
	}
}

func TestContextFreeByTheFirstWord(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "  \n\tCommit": true, "BEGIN;": true, "rollback to a": true, "SET/**/x": true, "DEALLOCATE ALL": true, "set": true,
		"deallocatex": false, "setx": false, "SELECT 1": false, "1": false, "/* a */ BEGIN": false, "s\xc3\xa9t": false, "@SET": false,
		"`set": false, "se\x94": false, "s\x45t": true, "\x13et": false, "UPDATE t SET v = 1": false, strings.Repeat("set", 1000): false,
	} {
		if got := contextFree(text); got != want {
			t.Errorf("%.20q means the same under any settings: %v, want %v", text, got, want)
		}
	}
	if n := testing.AllocsPerRun(10, func() { contextFree("UPDATE pgbench_accounts SET abalance = 1") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOperationsAreCountedByClassAndKind(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	ops := []event.Operation{{Class: event.ClassText, Kind: event.OpStatement}, {Class: event.ClassRows, Kind: event.OpRows},
		{Class: event.ClassRows, Kind: event.OpRows, More: true}, {Class: event.ClassText, Kind: event.OpStatement}}
	m.count(ops)
	m.count(ops[:1])
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "opmux_capture_operations_total" {
			continue
		}
		for _, c := range f.GetMetric() {
			got[c.GetLabel()[0].GetValue()+" "+c.GetLabel()[1].GetValue()] = c.GetCounter().GetValue()
		}
	}
	if want := map[string]float64{"text statement": 3, "rows rows": 1}; !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// A parameter does not change with the message that it came in, nor when another one
// is appended to.
func TestParametersAreCopied(t *testing.T) {
	message := []byte("abc")
	long := make([]byte, 2*smallParam)
	given := []pgwire.Param{{Value: message[:1]}, {Null: true}, {Value: []byte{}}, {Value: long}, {Value: message[1:], Binary: true}}
	got := eventParams(given, []uint32{25})
	copy(message, "xyz")
	long[0] = 1
	_ = append(got[0].Value, '!')
	if string(got[0].Value) != "a" || string(got[4].Value) != "bc" || got[3].Value[0] != 0 || len(got[3].Value) != len(long) {
		t.Errorf("parameters became %q, %q", got[0].Value, got[4].Value)
	}
	if got[0].OID != 25 || !got[1].Null || got[2].Null || !got[4].Binary {
		t.Errorf("parameters are %+v", got)
	}
}

// A row that was large is not kept.
func TestRowsAreLetGo(t *testing.T) {
	var r splitRow
	body := []byte{0, 2, 0, 0, 0, 1, 'a', 0, 0, 0, 1, 'b'}
	kept, values, err := r.split(body, 1)
	if err != nil || string(kept) != "\x00\x01\x00\x00\x00\x01a" || len(values) != 1 || string(values[0].Value) != "b" {
		t.Fatalf("split into %q, %v, %v", kept, values, err)
	}
	r.done()
	if r.values[:1][0].Value != nil {
		t.Error("a row's bytes are kept behind its end")
	}
	r.body = make([]byte, 2*bufferSize)
	r.done()
	if r.body != nil {
		t.Error("the memory of a large row is kept")
	}
}
