package simulation

import (
	"math/rand/v2"
	"time"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/apply/schedule"
	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
)

// worker is one life of an apply-worker: the real scheduler, and around it what
// package apply does with connections.
type worker struct {
	*process
	rng      *rand.Rand
	producer *producer
	fence    int64

	// guarded by w.mu
	scheduler *schedule.Scheduler
	changed   chan struct{}
	running   map[*schedule.Group]map[string]bool // rows, true: written
	stopped   error
}

// startWorker starts a worker, which takes the stream over from any other.
func (w *world) startWorker() {
	w.mu.Lock()
	w.lives++
	k := &worker{process: w.process("worker " + time.Now().Format("05.000000000")), changed: make(chan struct{}), running: map[*schedule.Group]map[string]bool{}}
	w.worker = k
	w.mu.Unlock()
	k.producer = newProducer(k.process)
	k.rng = w.rng(k.name)
	w.actors.Go(k.live)
}

func (k *worker) live() {
	w := k.w
	if k.pause(k.ctx, latency(k.rng)) != nil {
		return
	}
	p, fence := w.target.takeOver(w.Lanes)
	k.fence = fence
	w.mu.Lock()
	w.takeOvers++
	k.scheduler = schedule.New(schedule.Config{GroupTransactions: 1 + k.rng.IntN(6), GroupBytes: 6000, Ranges: 8, Window: 60}, p, nil)
	w.mu.Unlock()
	for lane := range w.Lanes {
		w.actors.Go(func() { k.lane(lane) })
	}
	w.actors.Go(k.keep)
	if err := k.read(p.Low); err != nil && k.ctx.Err() == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		k.stopped = err
		w.violate("I6: the stream stopped: %v", err)
	}
}

// read gives the topic's records to the scheduler.
func (k *worker) read(from int64) error {
	r, err := (&feed{k.process, k.w.rng("feed " + k.name)}).Open(k.ctx, names.Ops(source), from)
	if err != nil {
		return err
	}
	for {
		m, err := r.Next(k.ctx)
		if err != nil {
			return err
		}
		rec, err := codec.DecodeRecord(m.Value)
		if err != nil {
			return err
		}
		if err := k.room(); err != nil {
			return err
		}
		k.w.mu.Lock()
		err = k.scheduler.Add(m.Offset, 1024+len(m.Value), avro.Hash(m.Value), rec)
		settled := k.scheduler.Settled()
		k.signal()
		k.w.mu.Unlock()
		if err != nil {
			return err
		}
		for _, tx := range settled {
			k.finish(tx, nil)
		}
	}
}

// room waits until the scheduler takes another record, and looks ahead for outcomes
// where all that it holds waits for them.
func (k *worker) room() error {
	for {
		k.w.mu.Lock()
		full, quiet, changed := k.scheduler.Full(), k.scheduler.Quiet(), k.changed
		var settled []*schedule.Tx
		var err error
		if full && quiet {
			settled, err = k.lookAhead()
		}
		k.w.mu.Unlock()
		if !full || err != nil {
			return err
		}
		for _, tx := range settled {
			k.finish(tx, nil)
		}
		if quiet {
			if err := k.pause(k.ctx, 20*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-k.ctx.Done():
			return k.ctx.Err()
		}
	}
}

// lookAhead searches for the outcome of an open intent behind the reader; w.mu is held.
func (k *worker) lookAhead() ([]*schedule.Tx, error) {
	log := k.w.broker.topic(names.Ops(source)).log
	for _, m := range log[min(k.scheduler.Read(), int64(len(log))):] {
		rec, err := codec.DecodeRecord(m.Value)
		if err != nil {
			return nil, err
		}
		list, ok := rec.Body.(*event.Outcomes)
		if !ok {
			continue
		}
		hit := false
		for _, o := range list.List {
			found, err := k.scheduler.Foresee(m.Offset, o)
			if err != nil {
				return nil, err
			}
			hit = hit || found
		}
		if hit {
			k.w.foreseen++
			k.signal()
			return k.scheduler.Settled(), nil
		}
	}
	return nil, nil
}

// signal wakes whoever waits for the scheduler; w.mu is held.
func (k *worker) signal() {
	close(k.changed)
	k.changed = make(chan struct{})
}

// keep stores the position now and then.
func (k *worker) keep() {
	for k.pause(k.ctx, between(k.rng, 50*time.Millisecond, 300*time.Millisecond)) == nil {
		k.w.mu.Lock()
		p := k.scheduler.Position(nil)
		r, t := k.w.target.lanes[position.Keeper], k.w.target
		if r.fence == k.fence || k.w.broken(FenceIgnored) {
			t.store(position.Keeper, r, p)
		}
		fenced := r.fence != k.fence
		k.w.mu.Unlock()
		if fenced && !k.w.broken(FenceIgnored) {
			k.kill()
			return
		}
	}
}

// finish does what follows a transaction's end on the target: its sequence marks,
// then its digests, and with their acknowledgement the scheduler moves on.
func (k *worker) finish(tx *schedule.Tx, x *work) {
	w := k.w
	w.mu.Lock()
	if x == nil {
		x = k.load(tx)
	}
	fence := w.target.lanes[position.Keeper].fence
	for i := range x.ops {
		for _, m := range x.ops[i].Sequences {
			if fence == k.fence {
				w.target.sequence = max(w.target.sequence, uint64(m.Value))
			}
		}
	}
	done := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		k.scheduler.Finish(tx)
		k.signal()
	}
	w.mu.Unlock()
	if !tx.Committed {
		done()
		return
	}
	record := &event.DigestRecord{Source: source, Tx: x.id, Offset: tx.Offset, Target: "standby", Level: event.LevelFull, Skipped: tx.Skip}
	value, err := codec.EncodeDigest(record)
	if err != nil {
		w.violate("%v", err)
		return
	}
	k.producer.Produce(names.Digests(source), digest.Key(source, x.id), value, nil, func(_ int64, err error) {
		if err == nil {
			done()
		}
	})
}
