package verify

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

const (
	// A worker that did not beat for silentAfter is not alive.
	silentAfter = 10 * time.Second
	// One look at an old heartbeat does not tell a dead worker from one whose
	// clock is behind; a second look after unsureFor does.
	unsureFor = 5 * time.Second
	beatsFor  = time.Second // how long heartbeats that were read are used
	// After a pause of pauseFor in reading heartbeats, silence and standstill are
	// measured anew: Kafka may have been away, and nobody could beat.
	pauseFor = 5 * time.Second
)

// beat is the last heartbeat of one worker about one source.
type beat struct {
	target    string
	low       int64
	ready     bool
	lastError string
	stamp     time.Time // the worker's clock
	first     time.Time // our clock, as are the following: when it was first seen
	changed   time.Time // when stamp was last seen to change; zero: never
	moved     time.Time // when low was last seen to change
}

// evidence is what was known of a source's targets at one time; it does not change.
type evidence struct {
	beats map[string]beat  // by key of the heartbeat
	marks map[string]int64 // highest offset of a snapshot Mark, by target
}

// judge says what it means that a target's digest of the transaction at offset
// is not there, although its time is up.
func (ev *evidence) judge(target string, offset int64, timeout time.Duration, now time.Time) absence {
	if mark, ok := ev.marks[target]; ok && offset < mark {
		return absence{Verdict: event.VerdictSkipped, Reason: fmt.Sprintf("before the snapshot that %s was filled with (Mark at offset %d)", target, mark)}
	}
	missing := func(format string, args ...any) absence {
		return absence{Verdict: event.VerdictMissing, Reason: fmt.Sprintf(format, args...)}
	}
	b, known := ev.newest(target)
	switch {
	case !known:
		return missing("no apply-worker of %s follows this source", target)
	case b.changed.IsZero() && now.Sub(b.first) < unsureFor:
		return absence{Hold: true}
	case b.low > offset:
		return missing("%s is past the transaction (everything below offset %d is applied) and published no digest of it", target, b.low)
	case b.changed.IsZero() || now.Sub(b.changed) > silentAfter:
		return missing("%s has not applied it yet (offset %d of %d), and its apply-worker is silent since %s", target, b.low, offset, b.stamp.UTC().Format(time.RFC3339))
	case !b.ready:
		return missing("%s has not applied it yet (offset %d of %d), and its apply-worker is not ready: %s", target, b.low, offset, b.lastError)
	case now.Sub(b.moved) > timeout:
		return missing("%s has not applied it yet (offset %d of %d), and has not moved for %s", target, b.low, offset, now.Sub(b.moved).Round(time.Second))
	}
	return absence{Hold: true} // alive and on its way
}

// newest returns the heartbeat of the target that changed last.
func (ev *evidence) newest(target string) (newest beat, known bool) {
	for _, b := range ev.beats {
		if b.target != target {
			continue
		}
		if !known || b.changed.After(newest.changed) || b.changed.Equal(newest.changed) && b.stamp.After(newest.stamp) {
			newest, known = b, true
		}
	}
	return newest, known
}

// tracker follows the heartbeats of apply-workers and the snapshot Marks of
// sources, and only while somebody asks. It is safe for concurrent use.
type tracker struct {
	cfg   topics.Config
	codec *avro.Codec
	read  func(context.Context) (map[string]topics.Heartbeat, error)

	mu    sync.Mutex
	asked time.Time
	beats map[string]map[string]beat // by source, key
	marks map[string]*markBook       // by source
}

func newTracker(cfg topics.Config, codec *avro.Codec) *tracker {
	return &tracker{
		cfg: cfg, codec: codec,
		read:  func(ctx context.Context) (map[string]topics.Heartbeat, error) { return topics.ReadHeartbeats(ctx, cfg) },
		beats: map[string]map[string]beat{}, marks: map[string]*markBook{},
	}
}

// note takes heartbeats that were read at now.
func (t *tracker) note(all map[string]topics.Heartbeat, now time.Time) {
	paused := now.Sub(t.asked) > pauseFor
	t.asked = now
	for key, h := range all {
		if h.Role != topics.RoleWorker {
			continue
		}
		for source, position := range h.Positions {
			if t.beats[source] == nil {
				t.beats[source] = map[string]beat{}
			}
			old, known := t.beats[source][key]
			if paused && h.Time.Equal(old.stamp) {
				known = false
			}
			t.beats[source][key] = next(old, known, h, position.Low, now)
		}
	}
}

func next(old beat, known bool, h topics.Heartbeat, low int64, now time.Time) beat {
	b := beat{target: h.Target, low: low, ready: h.Ready, lastError: h.LastError, stamp: h.Time, first: old.first, changed: old.changed, moved: old.moved}
	switch {
	case !known:
		b.first, b.moved, b.changed = now, now, time.Time{}
		if age := now.Sub(h.Time); age < silentAfter && age > -silentAfter {
			b.changed = now
		}
	case !h.Time.Equal(old.stamp):
		b.changed = now
	}
	if known && low != old.low {
		b.moved = now
	}
	return b
}

// evidence gathers what is known of a source's targets now; oldest is the lowest
// offset that will be asked about.
func (t *tracker) evidence(ctx context.Context, source string, oldest int64, now time.Time) (*evidence, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.asked) >= beatsFor {
		all, err := t.read(ctx)
		if err != nil {
			return nil, err
		}
		t.note(all, now)
	}
	book := t.marks[source]
	if book == nil {
		book = &markBook{marks: map[string]int64{}}
		t.marks[source] = book
	}
	if err := book.read(ctx, t.cfg, t.codec, source, oldest); err != nil {
		return nil, err
	}
	ev := &evidence{beats: map[string]beat{}, marks: map[string]int64{}}
	for key, b := range t.beats[source] {
		ev.beats[key] = b
	}
	for target, offset := range book.marks {
		ev.marks[target] = offset
	}
	return ev, nil
}
