package order

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
)

// line numbers an epoch's records, chains them by hash and hands them to the
// producer in the order of their numbers. A place may be taken before its body is
// known (gate none: the record follows the commit); records behind an empty place
// wait in memory.
type line struct {
	agent  string
	epoch  int64
	encode func(*event.Record) ([]byte, error)
	// produce never blocks and calls done later, from another goroutine.
	produce func(value []byte, done func(offset int64, err error))
	// broken is told, once, that the chain cannot go on. It must not wait for the line.
	broken func(error)

	high  atomic.Int64 // the highest n taken
	bytes atomic.Int64 // of waiting bodies (estimated) and unacknowledged values

	failure atomic.Pointer[error]

	mu    sync.Mutex
	prev  []byte  // hash of the last value produced
	sent  int64   // n of the last value produced
	queue []place // of sent+1 … high, those before the first empty one are gone
}

// place is a number that was taken and whose record has not been produced.
type place struct {
	body event.Body // nil while empty
	size int64      // estimate that is in line.bytes
	done acknowledge
}

// acknowledge is told the offset of record n, or its definite failure. It may be
// called before put has returned n.
type acknowledge func(n, offset int64, err error)

// tooLargeError says that a record does not fit.
type tooLargeError struct{ size, limit int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the record of the transaction would have %d bytes, of %d that the topic takes", e.size, e.limit)
}

// start begins behind the opening FENCE, whose value is given.
func (l *line) start(epoch int64, fence []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch, l.prev = epoch, avro.Hash(fence)
}

// put takes the next number for a body and produces it in its turn. With a limit
// above 0 nothing is taken, and *tooLargeError returned, if its value is longer.
func (l *line) put(body event.Body, limit int, done acknowledge) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.err(); err != nil {
		return 0, err
	}
	n := l.high.Load() + 1
	follow(body, n)
	if len(l.queue) > 0 { // gate none: its hash is not known before its turn
		size, err := l.measure(n, body, limit)
		if err != nil {
			return 0, err
		}
		l.bytes.Add(size)
		l.queue = append(l.queue, place{body: body, size: size, done: done})
		l.high.Store(n)
		return n, nil
	}
	value, err := l.encode(&event.Record{Agent: l.agent, Epoch: l.epoch, N: n, Prev: l.prev, Body: body})
	if err := fits(value, err, limit); err != nil {
		return 0, err
	}
	l.high.Store(n)
	l.send(value, done)
	return n, nil
}

// follow has number n depend on those before it at most: which these are is known
// only here, where numbers are given one at a time (event.BehindAll).
func follow(body event.Body, n int64) {
	if tx, ok := body.(*event.Transaction); ok {
		tx.DependsOn = min(tx.DependsOn, n-1)
	}
}

func fits(value []byte, err error, limit int) error {
	if err == nil && limit > 0 && len(value) > limit {
		return &tooLargeError{size: len(value), limit: limit}
	}
	return err
}

// reserve takes the next number for a body that is known (its size is checked as
// by put) but must not be produced before fill says how it ended.
func (l *line) reserve(body event.Body, limit int) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.err(); err != nil {
		return 0, err
	}
	n := l.high.Load() + 1
	follow(body, n)
	size, err := l.measure(n, body, limit)
	if err != nil {
		return 0, err
	}
	l.bytes.Add(size)
	l.queue = append(l.queue, place{size: size})
	l.high.Store(n)
	return n, nil
}

// takes says whether a record that is put later will fit.
func (l *line) takes(body event.Body, limit int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.err(); err != nil {
		return err
	}
	_, err := l.measure(l.high.Load()+1, body, limit)
	return err
}

// measure estimates the size of a record whose turn has not come, and sees that it
// fits. Callers hold mu.
func (l *line) measure(n int64, body event.Body, limit int) (int64, error) {
	size := int64(sizeOf(body))
	if limit <= 0 || size <= int64(limit)/2 {
		return size, nil
	}
	value, err := l.encode(&event.Record{Agent: l.agent, Epoch: l.epoch, N: n, Prev: l.prev, Body: body})
	return int64(len(value)), fits(value, err, limit)
}

// fill gives the reserved number n its body and produces what can go.
func (l *line) fill(n int64, body event.Body, done acknowledge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err() != nil {
		return
	}
	p := &l.queue[n-l.sent-1]
	p.body, p.done = body, done
	for len(l.queue) > 0 && l.queue[0].body != nil {
		p := l.queue[0]
		value, err := l.encode(&event.Record{Agent: l.agent, Epoch: l.epoch, N: l.sent + 1, Prev: l.prev, Body: p.body})
		if err != nil { // the body was of a size that fits: this cannot be skipped, or n would have a gap
			l.fail(fmt.Errorf("encoding record %d: %w", l.sent+1, err))
			return
		}
		l.queue[0] = place{}
		l.queue = l.queue[1:]
		l.bytes.Add(-p.size)
		l.send(value, p.done)
	}
}

// send produces the value of record sent+1. Callers hold mu.
func (l *line) send(value []byte, done acknowledge) {
	l.sent++
	l.prev = avro.Hash(value)
	n, size := l.sent, int64(len(value))
	l.bytes.Add(size)
	l.produce(value, func(offset int64, err error) {
		l.bytes.Add(-size)
		if err != nil {
			l.fail(err)
		}
		if done != nil {
			done(n, offset, err)
		}
	})
}

// fail ends the chain: every later put and reserve returns the first error. It
// takes no lock, since producers may call it from anywhere.
func (l *line) fail(err error) {
	if l.failure.CompareAndSwap(nil, &err) {
		l.broken(err)
	}
}

// seal puts the last record of the epoch, behind which nothing is taken any more:
// later calls return err.
func (l *line) seal(body event.Body, err error, done acknowledge) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.err(); err != nil {
		return err
	}
	if len(l.queue) > 0 {
		return fmt.Errorf("%d places of the epoch are not filled", len(l.queue))
	}
	n := l.high.Load() + 1
	value, failed := l.encode(&event.Record{Agent: l.agent, Epoch: l.epoch, N: n, Prev: l.prev, Body: body})
	if failed != nil {
		return failed
	}
	l.high.Store(n)
	l.send(value, done)
	l.stop(err)
	return nil
}

// stop is fail for an epoch that is over: nothing was lost.
func (l *line) stop(err error) { l.failure.CompareAndSwap(nil, &err) }

func (l *line) err() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}
