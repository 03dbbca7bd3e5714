package verify

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

func TestJudge(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	alive := beat{target: "standby", low: 50, ready: true, stamp: now, first: now.Add(-time.Hour), changed: now.Add(-time.Second), moved: now.Add(-time.Second)}
	with := func(change func(*beat)) beat {
		b := alive
		change(&b)
		return b
	}
	for _, c := range []struct {
		name   string
		beats  []beat
		offset int64
		hold   bool
		reason string
	}{
		{"nobody", nil, 60, false, "no apply-worker of standby"},
		{"of another target", []beat{with(func(b *beat) { b.target = "other" })}, 60, false, "no apply-worker of standby"},
		{"on its way", []beat{alive}, 60, true, ""},
		{"at it", []beat{alive}, 50, true, ""},
		{"past it", []beat{alive}, 49, false, "is past the transaction"},
		{"silent", []beat{with(func(b *beat) { b.changed = now.Add(-time.Minute) })}, 60, false, "silent since"},
		{"stopped", []beat{with(func(b *beat) { b.ready, b.lastError = false, "ERROR: no table" })}, 60, false, "not ready: ERROR: no table"},
		{"stuck", []beat{with(func(b *beat) { b.moved = now.Add(-time.Minute) })}, 60, false, "has not moved for 1m0s"},
		{"an old heartbeat seen just now", []beat{with(func(b *beat) { b.first, b.changed = now, time.Time{} })}, 60, true, ""},
		{"an old heartbeat that does not change", []beat{with(func(b *beat) { b.first, b.changed = now.Add(-unsureFor), time.Time{} })}, 60, false, "silent since"},
		{"a dead worker's beside its successor's", []beat{with(func(b *beat) { b.changed, b.low = now.Add(-time.Hour), 70 }), alive}, 60, true, ""},
	} {
		ev := &evidence{beats: map[string]beat{}}
		for i, b := range c.beats {
			ev.beats[string(rune('a'+i))] = b
		}
		a := ev.judge("standby", c.offset, 30*time.Second, now)
		if a.Hold != c.hold || !strings.Contains(a.Reason, c.reason) || !c.hold && a.Verdict != event.VerdictMissing {
			t.Errorf("%s: %+v", c.name, a)
		}
	}
	ev := &evidence{beats: map[string]beat{"w": alive}, marks: map[string]int64{"standby": 100}}
	if a := ev.judge("standby", 99, time.Second, now); a.Verdict != event.VerdictSkipped || a.Hold {
		t.Errorf("below the snapshot's Mark: %+v", a)
	}
	if a := ev.judge("standby", 101, time.Hour, now); !a.Hold {
		t.Errorf("above the snapshot's Mark: %+v", a)
	}
}

func TestTrackerUsesItsOwnClock(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	h := topics.Heartbeat{Role: topics.RoleWorker, Target: "standby", Name: "w", Ready: true,
		Time: now.Add(-time.Hour), Positions: map[string]topics.Position{"orders": {Low: 1}}}
	tr := newTracker(topics.Config{}, nil)
	tr.read = func(context.Context) (map[string]topics.Heartbeat, error) {
		return map[string]topics.Heartbeat{h.Key(): h}, nil
	}
	see := func() absence {
		all, err := tr.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tr.note(all, now)
		return (&evidence{beats: tr.beats["orders"]}).judge("standby", 5, 30*time.Second, now)
	}
	if !see().Hold {
		t.Error("a worker with a slow clock is called silent at first sight")
	}
	for range 60 { // it beats, an hour behind, and applies
		now, h.Time = now.Add(time.Second), h.Time.Add(time.Second)
		h.Positions["orders"] = topics.Position{Low: h.Positions["orders"].Low}
		if now.Unix()%20 == 0 {
			h.Positions["orders"] = topics.Position{Low: h.Positions["orders"].Low + 1}
		}
		if a := see(); !a.Hold {
			t.Fatalf("a worker on its way is called missing: %s", a.Reason)
		}
	}
	now = now.Add(time.Hour) // nobody looked, or Kafka was away
	if a := see(); !a.Hold {
		t.Errorf("a worker that nobody looked at: %+v", a)
	}
	for range 2 * silentAfter / time.Second {
		now = now.Add(time.Second)
		see()
	}
	if a := see(); a.Hold || !strings.Contains(a.Reason, "silent") {
		t.Errorf("a silent worker: %+v", a)
	}
}
