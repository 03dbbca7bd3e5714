package verify

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

const (
	// warmRecords are read again before the group's offset, see joiner.endWarmUp.
	warmRecords = 10_000
	stepEvery   = 100 * time.Millisecond
	stepRecords = 256 // at most, between two steps
	// retryAfter is the pause after a question that Kafka did not answer.
	retryAfter = time.Second
	askTimeout = 30 * time.Second
	// maxUnacked bounds the encoded verdicts that wait for Kafka, in bytes.
	maxUnacked = 4 << 20
	// Look-ups are gathered for a while, since one sweep answers many.
	lookupEvery = 500 * time.Millisecond
	lookupBatch = 2000
)

// partition works on one partition of a digests topic while it is this
// verifier's: it feeds the joiner, answers its questions, publishes its verdicts
// and marks the group's offset. It is one goroutine but for pump and acks.
type partition struct {
	v        *Verifier
	source   Source
	topic    string
	id       int32
	j        *joiner
	position int64 // the next offset to read
	marked   int64 // as the group's offset
	proof    *evidence
	wanted   []*entry
	askAt    time.Time // not before: confirm
	lookAt   time.Time // not before: look-ups
	acks     acks
	err      error // of say
	gauge    pendingGauge
}

// acks are the verdicts that Kafka has acknowledged since they were last looked at.
type acks struct {
	mu     sync.Mutex
	places []*place
	err    error
	size   int64 // in flight, bytes
	news   chan struct{}
}

func (a *acks) sent(size int64) {
	a.mu.Lock()
	a.size += size
	a.mu.Unlock()
}

func (a *acks) done(pl *place, size int64, err error) {
	a.mu.Lock()
	a.size -= size
	if err == nil {
		a.places = append(a.places, pl)
	} else if a.err == nil {
		a.err = fmt.Errorf("publishing a verdict: %w", err)
	}
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default: // already told
	}
}

func (a *acks) take() (places []*place, inFlight int64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	places, a.places = a.places, nil
	return places, a.size, a.err
}

// run works until ctx ends or something cannot go on. next reads on from the
// group's offset.
func (p *partition) run(ctx context.Context, next nextFunc) error {
	first, err := next(ctx)
	if err != nil {
		return err
	}
	p.begin(first.Offset)
	defer p.gauge.set(0, 0)
	if err := p.warmUp(ctx, first.Offset); err != nil {
		return err
	}
	if err := p.take(&first); err != nil {
		return err
	}
	src := startPump(ctx, next, func() {})
	defer func() { src.stop() }()
	ticker := time.NewTicker(stepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m, ok := <-src.out:
			if !ok {
				return src.err
			}
			if err := p.takeSome(&m, src); err != nil {
				return err
			}
		case <-ticker.C:
		}
		if err := p.step(ctx); err != nil {
			return err
		}
		if offset, ok := p.j.rewind(); ok {
			src.stop()
			again, err := p.again(ctx, offset)
			if err != nil {
				return err
			}
			src = again
		}
	}
}

// begin makes the joiner; the group's offset is where the first record is.
func (p *partition) begin(committed int64) {
	p.acks.news = make(chan struct{}, 1)
	p.position, p.marked = committed, committed
	p.j = newJoiner(p.v.cfg, p.source.Targets, p.v.memory(), committed)
	p.j.say = p.say
	p.j.absent = func(target string, offset int64, now time.Time) absence {
		return p.proof.judge(target, offset, p.v.cfg.Timeout, now)
	}
}

// warmUp reads what is just below the group's offset.
func (p *partition) warmUp(ctx context.Context, committed int64) error {
	if committed == 0 {
		return nil
	}
	r, m, err := openAt(ctx, p.v.deps.Topics, p.topic, p.id, max(0, committed-warmRecords))
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only reading: nothing can be lost
	for m.Offset < committed {
		rec, err := p.decode(&m)
		if err != nil {
			return err
		}
		p.j.take(m.Offset, rec, time.Now())
		if m, err = r.Next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// again reads the partition from an offset that was passed over before.
func (p *partition) again(ctx context.Context, offset int64) (*pump, error) {
	p.v.metrics.rereads.WithLabelValues(p.source.Name).Inc()
	p.v.deps.Log.Warn("reading digests again that memory had no room for",
		zap.String("topic", p.topic), zap.Int32("partition", p.id), zap.Int64("offset", offset))
	r, err := topics.NewPartitionsReader(ctx, p.v.deps.Topics, p.topic, map[int32]int64{p.id: offset})
	if err != nil {
		return nil, err
	}
	p.position = offset
	return startPump(ctx, r.Next, func() { _ = r.Close() }), nil
}

func (p *partition) decode(m *topics.Message) (*event.DigestRecord, error) {
	rec, err := p.v.deps.Codec.DecodeDigest(m.Value)
	if err != nil {
		return nil, fmt.Errorf("topic %s, partition %d, offset %d: a digest record was expected: %w", m.Topic, m.Partition, m.Offset, err)
	}
	return rec, nil
}

func (p *partition) take(m *topics.Message) error {
	rec, err := p.decode(m)
	if err != nil {
		return err
	}
	p.position = m.Offset + 1
	now := time.Now()
	p.v.metrics.read(p.source.Name, rec, now)
	p.j.take(m.Offset, rec, now)
	return p.err
}

func (p *partition) takeSome(m *topics.Message, src *pump) error {
	for range stepRecords {
		if err := p.take(m); err != nil {
			return err
		}
		select {
		case next, ok := <-src.out:
			if !ok {
				return src.err
			}
			m = &next
		default:
			return nil
		}
	}
	return p.take(m)
}

// step does what is due beside reading.
func (p *partition) step(ctx context.Context) error {
	now := time.Now()
	p.j.tick(now)
	if len(p.j.doubtful) > 0 && len(p.j.suspects) == 0 && now.After(p.askAt) {
		p.confirm(ctx, now)
	}
	p.j.advance(p.position, now)
	p.lookUp(ctx, now)
	for {
		places, inFlight, err := p.acks.take()
		for _, pl := range places {
			p.j.acked(pl)
		}
		if p.err != nil || err != nil {
			return firstError(p.err, err)
		}
		if inFlight <= maxUnacked {
			break
		}
		select { // Kafka is slower than the joiner
		case <-ctx.Done():
			return ctx.Err()
		case <-p.acks.news:
		}
	}
	p.gauge.set(len(p.j.pending), p.j.bytes)
	if floor := p.j.floor(p.position); floor != p.marked {
		p.marked = floor
		p.v.commit(p.topic, p.id, floor)
	}
	return nil
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// confirm gathers what is known about the targets, and then, in this order, the
// partition's end: a target that said that it is past a transaction had its
// digest acknowledged before.
func (p *partition) confirm(ctx context.Context, now time.Time) {
	p.askAt = now.Add(retryAfter)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	oldest := int64(-1)
	for _, e := range p.j.doubtful {
		if o := e.offset(); oldest < 0 || o >= 0 && o < oldest {
			oldest = o
		}
	}
	proof, err := p.v.evidence(ctx, p.source.Name, oldest)
	if err != nil {
		p.v.deps.Log.Debug("cannot tell yet whether digests are missing", zap.String("topic", p.topic), zap.Error(err))
		return
	}
	end, err := partitionEnd(ctx, p.v.deps.Topics, p.topic, p.id)
	if err != nil {
		p.v.deps.Log.Debug("cannot tell yet whether digests are missing", zap.String("topic", p.topic), zap.Error(err))
		return
	}
	p.proof = proof
	p.j.confirm(end)
}

// lookUp asks the ops topic for the primary's side of transactions that only a
// target has reported.
func (p *partition) lookUp(ctx context.Context, now time.Time) {
	p.wanted = append(p.wanted, p.j.takeWanted()...)
	if len(p.wanted) == 0 || now.Before(p.lookAt) && len(p.wanted) < lookupBatch {
		return
	}
	p.lookAt = now.Add(lookupEvery)
	batch := p.wanted[:min(len(p.wanted), lookupBatch)]
	found, err := p.v.lookUp(ctx, p.source.Name, p.j.lastLevel, batch)
	if err != nil {
		p.lookAt = now.Add(retryAfter)
		p.v.deps.Log.Debug("cannot look transactions up yet", zap.String("source", p.source.Name), zap.Error(err))
		return
	}
	for _, e := range batch {
		f := found[e.tx]
		p.v.metrics.lookups.WithLabelValues(p.source.Name, f.state.String()).Inc()
		p.j.looked(e, f)
	}
	p.wanted = append(p.wanted[:0:0], p.wanted[len(batch):]...)
}

// say reports a verdict and publishes it.
func (p *partition) say(rec *event.VerdictRecord, pl *place) {
	rec.Time = time.Now().UnixMicro()
	value, err := p.v.deps.Codec.EncodeVerdict(rec)
	if err != nil {
		p.err = fmt.Errorf("encoding the verdict on the transaction at offset %d of source %s: %w", rec.Offset, rec.Source, err)
		return
	}
	p.v.report(rec)
	size := int64(len(value))
	p.acks.sent(size)
	p.v.producer.Produce(p.v.verdicts, digest.Key(rec.Source, rec.Tx), value, nil, func(_ int64, err error) {
		p.acks.done(pl, size, err)
	})
}
