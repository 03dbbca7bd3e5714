package apply

import (
	"context"
	"fmt"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// read gives the topic's records to the scheduler. An error of what it reads
// does not end the lanes: what came before is applied first.
func (st *stream) read(ctx context.Context, next nextFunc, until int64) error {
	err := st.readAll(ctx, next, until)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		st.status.trouble(err)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.ended, st.stopped = true, err
	st.signal()
	return nil
}

func (st *stream) readAll(ctx context.Context, next nextFunc, until int64) error {
	for {
		if err := st.room(ctx, until); err != nil {
			return err
		}
		m, err := next(ctx)
		if err != nil {
			return err
		}
		if m.Offset >= until {
			return nil
		}
		st.status.read(m.Offset, m.Timestamp)
		if err := st.add(ctx, m); err != nil {
			return err
		}
		if m.Offset == until-1 {
			return nil
		}
	}
}

func (st *stream) add(ctx context.Context, m topics.Message) error {
	// I6: a record that cannot be read stops the stream.
	record, err := st.deps.Codec.DecodeRecord(m.Value)
	if err != nil {
		return st.recordError(m.Offset, err)
	}
	st.mu.Lock()
	idle := st.scheduler.Idle()
	err = st.scheduler.Add(m.Offset, footprint(m.Value), avro.Hash(m.Value), record)
	settled := st.settled()
	if idle && !st.scheduler.Idle() {
		st.signal() // else somebody knows already, and will look
	}
	st.mu.Unlock()
	if err != nil {
		return st.recordError(m.Offset, err)
	}
	return st.hand(ctx, settled)
}

// footprint estimates what a record takes in memory once it is decoded.
func footprint(value []byte) int { return 1024 + 3*len(value) }

// settled takes what is to be finished without execution; mu is held.
func (st *stream) settled() []finishing {
	var list []finishing
	for _, tx := range st.scheduler.Settled() {
		list = append(list, finishing{Tx: tx})
	}
	return list
}

// room waits until the scheduler can take another record. When it is full of
// what waits for intents without an outcome, their outcomes lie further on: then
// the topic is searched for them (I7).
func (st *stream) room(ctx context.Context, until int64) error {
	for {
		st.mu.Lock()
		full, quiet, changed, from := st.scheduler.Full(), st.scheduler.Quiet(), st.changed, st.scheduler.Read()
		st.mu.Unlock()
		if !full {
			return nil
		}
		if quiet {
			if err := st.lookAhead(ctx, from, until); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// lookAhead searches the topic from an offset on for the outcome of an open
// intent, at most up to offset until. What it passes is checked when it is read
// in order.
func (st *stream) lookAhead(ctx context.Context, from, until int64) error {
	st.log.Warn("full of transactions that wait for an intent without outcome; searching further on for it")
	reader, err := topics.NewReader(ctx, st.deps.Topics, st.topic, from)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }() // it only reads
	for {
		m, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		record, err := st.deps.Codec.DecodeRecord(m.Value)
		if err != nil {
			return st.recordError(m.Offset, err)
		}
		if outcomes, ok := record.Body.(*event.Outcomes); ok {
			found, err := st.foresee(ctx, m.Offset, outcomes)
			if found || err != nil {
				return err
			}
		}
		if m.Offset >= until-1 {
			return fmt.Errorf("source %s: what waits for an intent without outcome, at offset %d, is more than may be held (memory), "+
				"and there is no outcome up to offset %d; settle it with opmux indoubt, or raise memory", st.source, st.firstOpen(), until)
		}
	}
}

// firstOpen returns the offset of the first intent without an outcome.
func (st *stream) firstOpen() int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	if open := st.scheduler.Open(); len(open) > 0 {
		return open[0].Offset
	}
	return -1
}

func (st *stream) foresee(ctx context.Context, offset int64, outcomes *event.Outcomes) (bool, error) {
	hit := false
	st.mu.Lock()
	for _, o := range outcomes.List {
		found, err := st.scheduler.Foresee(offset, o)
		if err != nil {
			st.mu.Unlock()
			return false, st.recordError(offset, err)
		}
		hit = hit || found
	}
	settled := st.settled()
	st.signal()
	st.mu.Unlock()
	return hit, st.hand(ctx, settled)
}
