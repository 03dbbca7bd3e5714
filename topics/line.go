package topics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// line appends one topic's records: what waits is handed to kgo as a whole, and
// the next lot only when all of it is acknowledged. Lots grow with the load, so
// requests are few. kgo's own pipelining is not used since it does not tell of
// a failure before it takes further records, which would then land behind a gap.
type line struct {
	topic  string
	gather gathering
	before func() // adds what goes with a lot, nil: nothing
	sticky bool   // a failure stays
	client *kgo.Client
	stop   context.CancelFunc
	ended  chan struct{}
	wake   chan struct{}

	mu      sync.Mutex
	waiting []entry
	flying  int             // handed to kgo
	moved   time.Time       // when a record ended last, or came to an idle line
	failed  error           // the first definite failure
	over    bool            // run has ended
	id      TopicID         // zero until a probe saw it
	idle    []chan struct{} // closed when nothing waits or flies
}

// entry is a record and whom to tell of its end.
type entry struct {
	record *kgo.Record
	done   func(offset int64, err error)
}

func newLine(cfg Config, topic string, how making, sticky bool) (*line, error) {
	client, err := cfg.lastingClient(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// A lot goes out when Flush says so: kgo's linger (10 ms) is not waited for.
		kgo.ManualFlushing(),
		// Records wait in the caller's bounded buffer, never in a blocked call.
		kgo.MaxBufferedRecords(math.MaxInt32),
		kgo.ProducerBatchMaxBytes(maxBatchBytes),
		kgo.ProduceRequestTimeout(5*time.Second),
		// No retry limit and no delivery timeout, as by kgo's defaults. A topic
		// that does not exist is the exception.
		kgo.UnknownTopicRetries(20),
		kgo.StopProducerOnDataLossDetected(),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		// zstd would keep a quarter less, but a COPY of like rows unpacks to so many
		// times its size that what readers fetch at once breaks their bounds (I7).
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
	)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &line{topic: topic, gather: gathering{how: how.gather}, before: how.before, sticky: sticky, client: client, stop: stop,
		ended: make(chan struct{}), wake: make(chan struct{}, 1)}
	go l.run(ctx)
	return l, nil
}

func (l *line) append(e entry) {
	l.mu.Lock()
	if l.over {
		l.mu.Unlock()
		go e.done(-1, ErrProducerClosed) // never in the caller's goroutine, which may hold locks
		return
	}
	if l.flying+len(l.waiting) == 0 {
		l.moved = time.Now()
	}
	l.waiting = append(l.waiting, e)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run sends lot after lot.
func (l *line) run(ctx context.Context) {
	defer close(l.ended)
	for {
		select {
		case <-ctx.Done():
		case <-l.wake:
			l.gather.lot(ctx, l.wake) // ctx's end is looked at below
		}
		ended := ctx.Err() != nil
		if l.before != nil && !ended && l.waits() {
			l.before()
		}
		lot := l.take(ended)
		if !ended {
			l.learn(ctx)
		}
		if !ended && l.err() == nil {
			lot = l.send(ctx, lot)
		}
		for _, e := range lot {
			l.finish(e, -1, l.err())
		}
		if ended {
			l.client.Close()
			return
		}
	}
}

// waits says that there are records to send: a line also wakes for those that went
// with the last lot.
func (l *line) waits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting) > 0
}

// send sends a lot and waits until Kafka took all of it, or refused a record and
// with it those behind. It returns what was not sent, because of a failure.
func (l *line) send(ctx context.Context, lot []entry) []entry {
	n := len(lot)
	for i, e := range lot {
		if len(e.record.Key)+len(e.record.Value) > MaxRecordBytes {
			n = i // kgo would refuse this one and send those behind it
			break
		}
	}
	var sent sync.WaitGroup
	sent.Add(n)
	for _, e := range lot[:n] {
		l.client.Produce(context.Background(), e.record, func(r *kgo.Record, err error) {
			defer sent.Done()
			l.finish(e, r.Offset, err)
		})
	}
	if l.client.Flush(ctx) != nil { // ctx ended
		l.client.Close() // which ends what flies
	}
	sent.Wait()
	if n < len(lot) {
		r := lot[n].record
		_ = l.fail(fmt.Errorf("topic %s: a record of %d bytes was expected to be no larger than %d", l.topic, len(r.Key)+len(r.Value), MaxRecordBytes))
	}
	return lot[n:]
}

// take takes what waits, up to lotBytes; it counts as flying from here. Nothing is
// taken after the last.
func (l *line) take(last bool) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last {
		l.over = true
		if l.failed == nil {
			l.failed = ErrProducerClosed
		}
	}
	lot := l.waiting
	if n := fitting(lot); n < len(lot) && !last {
		// The clip keeps what follows from being overwritten by appends.
		lot, l.waiting = lot[:n:n], lot[n:]
		select {
		case l.wake <- struct{}{}:
		default: // it will look anyway
		}
	} else {
		l.waiting = nil
	}
	l.flying += len(lot)
	return lot
}

// fitting is how many of the records make one lot.
func fitting(waiting []entry) int {
	size := 0
	for i, e := range waiting {
		size += len(e.record.Key) + len(e.record.Value)
		if i > 0 && size > lotBytes {
			return i
		}
	}
	return len(waiting)
}

// finish tells a record's owner of its end.
func (l *line) finish(e entry, offset int64, err error) {
	switch {
	case err == nil:
	case errors.Is(err, kgo.ErrClientClosed):
		offset, err = -1, ErrProducerClosed
	default:
		offset, err = -1, l.fail(fmt.Errorf("topic %s: %w", l.topic, err))
	}
	e.done(offset, err)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moved = time.Now()
	if l.flying--; l.flying+len(l.waiting) == 0 {
		for _, c := range l.idle {
			close(c)
		}
		l.idle = nil
	}
}

// fail makes the first failure of a sticky line stay, and returns the one that
// applies.
func (l *line) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	if l.sticky {
		l.failed = err
	}
	return err
}

func (l *line) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// stalled is how long records have waited without any of them ending.
func (l *line) stalled() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flying+len(l.waiting) == 0 {
		return 0
	}
	return time.Since(l.moved)
}

// learn asks which topic it is before the first record goes there: the probes come
// now and then, and might see one that was made anew meanwhile as the first. Where
// Kafka does not say, the record waits for Kafka as well, and the next one asks again.
func (l *line) learn(ctx context.Context) {
	l.mu.Lock()
	known := l.id != (TopicID{})
	l.mu.Unlock()
	if known || !l.sticky {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	resp, err := metadata(l.topic).RequestWith(ctx, l.client)
	if err == nil && len(resp.Topics) == 1 && resp.Topics[0].ErrorCode == 0 {
		_ = l.identify(resp.Topics[0].TopicID) // it sticks, and is looked at before the lot is sent
	}
}

// identify notices a topic that was deleted and made anew: what is sent from
// now on would not continue what was sent before.
func (l *line) identify(id TopicID) error {
	l.mu.Lock()
	if l.id == (TopicID{}) || !l.sticky {
		l.id = id
	}
	same := l.id == id
	l.mu.Unlock()
	if same {
		return nil
	}
	return l.fail(&TopicGoneError{Topic: l.topic})
}

// wait waits until nothing waits or flies.
func (l *line) wait(ctx context.Context) error {
	l.mu.Lock()
	if l.flying+len(l.waiting) == 0 {
		l.mu.Unlock()
		return nil
	}
	idle := make(chan struct{})
	l.idle = append(l.idle, idle)
	l.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends the line; what is not acknowledged ends with ErrProducerClosed.
func (l *line) close() {
	l.stop()
	<-l.ended
}
