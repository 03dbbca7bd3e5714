package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/opmux/opmux/topics"
)

// flight is a record on its way.
type flight struct {
	key, value []byte
	done       func(offset int64, err error)
}

// producer behaves as topics.Producer on an idempotent client does: one batch of a
// topic under way at a time, tried until the broker has it, a duplicate answered
// with the offset of the first, and no record behind one that was refused for good.
type producer struct {
	p     *process
	rng   *rand.Rand
	lines map[string]*sendLine // guarded by w.mu, as is all below
	beats map[string]bool
	// refuse makes the broker refuse the next batch of the ops topic for good.
	refuse bool
}

type sendLine struct {
	topic   string
	waiting []flight
	flying  []flight
	sending bool
	closed  bool
	failed  error
}

var (
	errRefused = errors.New("the broker refuses the record for good")
	errAway    = errors.New("kafka is away")
)

func newProducer(p *process) *producer {
	return &producer{p: p, rng: p.w.rng("producer " + p.name), lines: map[string]*sendLine{}, beats: map[string]bool{}}
}

func (k *producer) Produce(topic string, key, value []byte, _ []topics.Header, done func(offset int64, err error)) {
	w := k.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if k.p.dead {
		return
	}
	l := k.lines[topic]
	if l == nil {
		l = &sendLine{topic: topic}
		k.lines[topic] = l
	}
	if l.failed != nil {
		err := l.failed
		w.actors.Go(func() { done(-1, err) })
		return
	}
	l.waiting = append(l.waiting, flight{key, value, done})
	if !l.sending {
		l.sending = true
		w.actors.Go(func() { k.send(l) })
	}
}

// send sends batch after batch, until nothing waits.
func (k *producer) send(l *sendLine) {
	w, counts := k.p.w, 0
	if l.topic == names.Ops(source) {
		counts = 1
	}
	for {
		w.mu.Lock()
		l.flying, l.waiting = l.waiting, nil
		if len(l.flying) == 0 || k.p.dead || l.closed {
			l.sending = false
			w.mu.Unlock()
			return
		}
		w.broker.flying += counts
		w.mu.Unlock()
		first, err := k.deliver(l)
		w.mu.Lock()
		w.broker.flying -= counts
		batch := l.flying
		if err != nil && !l.closed && counts > 0 {
			l.failed = err
		}
		if l.failed != nil {
			batch, l.waiting = append(batch, l.waiting...), nil
		}
		mute := k.p.dead || l.closed
		l.flying = nil
		w.mu.Unlock()
		for i := range batch {
			switch {
			case mute:
			case err != nil:
				batch[i].done(-1, err)
			default:
				batch[i].done(first+int64(i), nil)
			}
		}
	}
}

// deliver brings a batch to the broker and its answer back.
func (k *producer) deliver(l *sendLine) (first int64, err error) {
	w := k.p.w
	appended := false
	for {
		time.Sleep(latency(k.rng))
		if !k.p.alive() {
			// What was in the socket arrives all the same, perhaps much later.
			if !appended && k.rng.IntN(2) == 0 {
				time.Sleep(between(k.rng, 0, 3*time.Second))
				w.mu.Lock()
				w.broker.append(l.topic, l.flying)
				w.mu.Unlock()
			}
			return 0, errKilled
		}
		w.mu.Lock()
		reached := w.broker.reachable(k.p)
		switch {
		case !reached:
		case k.refuse && !appended && l.topic == names.Ops(source):
			k.refuse = false
			w.mu.Unlock()
			return 0, errRefused
		case !appended && w.broken(AcknowledgedIsLost) && k.rng.IntN(40) == 0:
			first, appended = int64(len(w.broker.topic(l.topic).log)), true
		case !appended || w.broken(DuplicatesAccepted):
			k.shuffle(l)
			first, appended = w.broker.append(l.topic, l.flying), true
		}
		w.mu.Unlock()
		// The answer may be lost with the broker; then the batch is sent again.
		if reached && k.rng.IntN(25) > 0 {
			time.Sleep(latency(k.rng))
			return first, nil
		}
		time.Sleep(between(k.rng, 5*time.Millisecond, 40*time.Millisecond))
	}
}

// shuffle is a broken rule: records of one producer overtake each other.
func (k *producer) shuffle(l *sendLine) {
	if n := len(l.flying); n > 1 && k.p.w.broken(RecordsOvertake) {
		l.flying[0], l.flying[n-1] = l.flying[n-1], l.flying[0]
	}
}

func (k *producer) PublishHeartbeat(h topics.Heartbeat) error {
	w := k.p.w
	w.mu.Lock()
	busy := k.beats[h.Key()]
	k.beats[h.Key()] = true
	w.mu.Unlock()
	if busy {
		return nil
	}
	value, err := json.Marshal(h)
	if err != nil {
		return err
	}
	k.Produce(names.Status(), []byte(h.Key()), value, nil, func(int64, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(k.beats, h.Key())
	})
	return nil
}

func (k *producer) RemoveHeartbeat(key string) {
	k.Produce(names.Status(), []byte(key), nil, nil, func(int64, error) {})
}

func (k *producer) Up() bool { return k.LastError() == nil }

func (k *producer) LastError() error {
	k.p.w.mu.Lock()
	defer k.p.w.mu.Unlock()
	if k.p.w.broker.reachable(k.p) {
		return nil
	}
	return errAway
}

func (k *producer) Flush(ctx context.Context) error {
	for !k.idle() {
		if err := k.p.pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (k *producer) idle() bool {
	k.p.w.mu.Lock()
	defer k.p.w.mu.Unlock()
	for _, l := range k.lines {
		if len(l.waiting)+len(l.flying) > 0 && l.sending {
			return false
		}
	}
	return true
}

// Reset begins anew: what was under way ends with an error and may arrive.
func (k *producer) Reset() error {
	w := k.p.w
	w.mu.Lock()
	old := k.lines
	k.lines = map[string]*sendLine{}
	var ended []flight
	for _, l := range old {
		l.closed = true
		ended = append(ended, l.flying...)
		ended = append(ended, l.waiting...)
		l.waiting = nil
	}
	w.mu.Unlock()
	for i := range ended {
		ended[i].done(-1, topics.ErrProducerClosed)
	}
	return nil
}
