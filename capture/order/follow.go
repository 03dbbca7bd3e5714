package order

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// maxOwn bounds the records whose meaning is remembered until they are read back.
const maxOwn = 1 << 16

// ownRecord is what a record of this epoch says to the view, remembered at its
// acknowledgement so that it need not be decoded when it is read back. The zero
// value says nothing.
type ownRecord struct {
	n        int64
	id       event.TxID
	time     int64
	intent   *event.PostgresTx // nil: not an intent
	outcomes *event.Outcomes
}

// follower reads the ops topic and the status topic behind the agents' backs and
// keeps what they say.
type follower struct {
	cfg Config

	mu      sync.Mutex
	view    *view
	silence silence
	own     map[int64]ownRecord // by offset
	// diverged and suspect are carried in heartbeats until somebody clears them.
	diverged []topics.Diverged
}

func (f *follower) init(cfg Config) {
	f.cfg = cfg
	f.view = newView(0)
	f.silence.init()
	f.own = map[int64]ownRecord{}
}

// own remembers what an acknowledged record of this epoch says.
func (l *Ledger) own(offset int64, r ownRecord) {
	f := &l.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	if offset >= f.view.pos && len(f.own) < maxOwn {
		f.own[offset] = r
	}
}

// follower's readers are opened by Open and handed to Run.
type readers struct {
	ops    Reader
	status Reader
}

func (r *readers) close() {
	for _, reader := range []Reader{r.ops, r.status} {
		if reader != nil {
			_ = reader.Close() // it only reads
		}
	}
}

// followOps reads the ops topic until ctx is done or nobody can follow it.
func (l *Ledger) followOps(ctx context.Context, r Reader) error {
	for {
		m, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if err := l.read(m); err != nil {
			return err
		}
	}
}

// read takes the next message of the ops topic.
func (l *Ledger) read(m topics.Message) error {
	known, err := l.readOwn(m.Offset)
	if known || err != nil {
		return err
	}
	rec, err := l.deps.Codec.DecodeRecord(m.Value)
	if err != nil {
		return fmt.Errorf("topic %s, offset %d: %w", m.Topic, m.Offset, err)
	}
	return l.readRecord(m.Offset, rec)
}

// readOwn takes a record of this epoch whose meaning is remembered.
func (l *Ledger) readOwn(offset int64) (known bool, err error) {
	f := &l.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	r, known := f.own[offset]
	if !known {
		return false, nil
	}
	delete(f.own, offset)
	f.view.pos = offset + 1
	ref := event.Ref{Agent: f.cfg.Agent, Epoch: l.line.epoch, N: r.n}
	switch {
	case r.intent != nil:
		f.view.intent(offset, ref, r.id, r.time, *r.intent)
	case r.outcomes != nil:
		err = f.view.outcomes(offset, r.outcomes)
	}
	return true, err
}

// readRecord takes a decoded record and acts on what it asks of this agent.
func (l *Ledger) readRecord(offset int64, rec *event.Record) error {
	f := &l.follow
	f.mu.Lock()
	delete(f.own, offset)
	err := f.view.record(offset, rec)
	if rec.Body.Kind() != event.KindFence {
		f.silence.heard(event.EpochRef{Agent: rec.Agent, Epoch: rec.Epoch})
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	if !l.opened {
		return nil // checkStream looks at what is there before
	}
	if f, ok := rec.Body.(*event.Fence); ok && succeeds(l.primary, f.Primary) {
		l.end(&PrimaryChangedError{Have: l.primary, Want: f.Primary})
	}
	if offset == l.line.epoch {
		l.settling.wake() // its FENCE has ended the agent's former epochs
	}
	if offset <= l.line.epoch {
		return nil // from before this epoch: nobody waits for it
	}
	switch b := rec.Body.(type) {
	case *event.Fence:
		l.settling.wake()
		l.fenced(offset, rec, b)
	case *event.Mark:
		l.marked(b)
	}
	return nil
}

// fenced looks for the end of this epoch in a FENCE behind its own.
func (l *Ledger) fenced(offset int64, rec *event.Record, f *event.Fence) {
	if rec.Agent == l.cfg.Agent {
		if opening(rec) {
			l.end(&EndedError{By: rec.Agent, Offset: offset, Replaced: true})
		}
		return
	}
	for _, e := range f.Ended {
		if e.Agent == l.cfg.Agent && e.Epoch == l.line.epoch {
			l.end(&EndedError{By: rec.Agent, Offset: offset})
			return
		}
	}
}

// marked answers those who ask: under gate none behind everything that has a
// ticket, since records keep the order of their numbers.
func (l *Ledger) marked(m *event.Mark) {
	switch m.Phase {
	case event.MarkAsk:
		answer := &event.Mark{ID: m.ID, Phase: event.MarkAnswer}
		if _, err := l.line.put(answer, 0, l.acknowledged); err != nil {
			l.log.Warn("a mark could not be answered") // the epoch has ended; whoever asked reads that
		}
	case event.MarkSnapshot:
		l.cure(m.Start)
	}
}

// cure forgets divergences below a snapshot's start: what its target has is new.
// Other targets remember their own.
func (l *Ledger) cure(start int64) {
	f := &l.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	left := f.diverged[:0]
	for _, d := range f.diverged {
		if d.Offset >= start {
			left = append(left, d)
		}
	}
	f.diverged = left
}

// followStatus reads the agents' heartbeats until ctx is done.
func (l *Ledger) followStatus(ctx context.Context, r Reader) error {
	for {
		m, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if len(m.Value) == 0 {
			continue
		}
		var h topics.Heartbeat
		if err := json.Unmarshal(m.Value, &h); err != nil {
			l.log.Warn("the status topic has a heartbeat that is not one")
			continue
		}
		l.heard(h)
	}
}

// heard takes a heartbeat.
func (l *Ledger) heard(h topics.Heartbeat) {
	if h.Role != topics.RoleAgent || h.Source != l.cfg.Source || h.Epoch < 0 {
		return
	}
	f := &l.follow
	f.mu.Lock()
	defer f.mu.Unlock()
	ref := event.EpochRef{Agent: h.Name, Epoch: h.Epoch}
	if h.Name == l.cfg.Agent {
		if h.Epoch == l.line.epoch {
			f.silence.beat()
		}
		return
	}
	f.silence.heard(ref)
	if newest, known := f.view.newest[ref.Agent]; known && newest < ref.Epoch {
		f.view.epochOf(ref) // its FENCE lies below where reading began
	}
}
