package order

import (
	"context"
	"fmt"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// OpenIntent is a transaction of a source without an outcome.
type OpenIntent struct {
	event.Ref
	Offset int64
	Tx     event.TxID
	XID    uint64
	// Time is when its ticket was taken, by its agent's clock.
	Time time.Time
	// Ended is true where its epoch has ended: an agent settles it, or cannot.
	Ended bool
	// InDoubt is why no agent could settle it, empty where none has said so.
	InDoubt string
}

// Scan is what a source's ops topic holds without an outcome.
type Scan struct {
	// End is the offset behind the last record as of the call.
	End int64
	// Oldest is the offset of the oldest open intent, End without any: whoever
	// reads on from there misses no transaction.
	Oldest int64
	// Open lists the open intents in the topic's order.
	Open []OpenIntent
}

// OpenIntents reads a source's ops topic, from where heartbeats say that everything
// below has an outcome, to its end as of the call.
func OpenIntents(ctx context.Context, cfg topics.Config, codec *avro.Codec, source string) (*Scan, error) {
	beats, err := topics.ReadHeartbeats(ctx, cfg)
	if err != nil {
		return nil, err
	}
	v, err := scan(ctx, kafka{cfg}, cfg.Names().Ops(source), codec, source, beats)
	if err != nil {
		return nil, err
	}
	return &Scan{End: v.pos, Oldest: v.scanFrom(), Open: openIntents(v, beats, source)}, nil
}

// openIntents lists a view's open intents with what agents say of them.
func openIntents(v *view, beats map[string]topics.Heartbeat, source string) []OpenIntent {
	doubts := map[int64]string{}
	for _, h := range beats {
		if !agentOf(h, source) {
			continue
		}
		for _, d := range h.InDoubt {
			doubts[d.Offset] = d.Reason
		}
	}
	var list []OpenIntent
	for _, i := range v.opened() {
		e := v.epochs[event.EpochRef{Agent: i.Agent, Epoch: i.Epoch}]
		list = append(list, OpenIntent{Ref: i.Ref, Offset: i.offset, Tx: i.id, XID: i.tx.XID,
			Time: time.UnixMicro(i.time).UTC(), Ended: e != nil && e.ended, InDoubt: doubts[i.offset]})
	}
	return list
}

// scan reads a source's topic to its end as of the call.
func scan(ctx context.Context, feed Feed, topic string, codec *avro.Codec, source string, beats map[string]topics.Heartbeat) (*view, error) {
	v := newView(0)
	for _, h := range beats {
		if agentOf(h, source) {
			v.pos = max(v.pos, h.ScanFrom)
		}
	}
	for _, h := range beats {
		if agentOf(h, source) && h.Epoch != noEpoch {
			v.epochOf(event.EpochRef{Agent: h.Name, Epoch: h.Epoch})
		}
	}
	r, err := feed.Open(ctx, topic, v.pos)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it only reads
	end, err := r.End(ctx)
	if err != nil {
		return nil, err
	}
	for v.pos < end {
		m, err := r.Next(ctx)
		if err != nil {
			return nil, err
		}
		rec, err := codec.DecodeRecord(m.Value)
		if err != nil {
			return nil, fmt.Errorf("topic %s, offset %d: %w", topic, m.Offset, err)
		}
		if err := v.record(m.Offset, rec); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// findPrimary finds which primary the stream is recorded on where no FENCE in the
// view says so: in those of the epochs that are known, the newest first.
func (v *view) findPrimary(ctx context.Context, feed Feed, topic string, codec *avro.Codec) error {
	for _, ref := range v.newestEpochs() {
		if v.primary != nil {
			return nil
		}
		f, err := fenceAt(ctx, feed, topic, codec, ref)
		if err != nil {
			return err
		}
		v.follows(f.Primary)
	}
	return nil
}

// fenceAt reads the FENCE that opened an epoch.
func fenceAt(ctx context.Context, feed Feed, topic string, codec *avro.Codec, ref event.EpochRef) (*event.Fence, error) {
	rec, err := readRecordAt(ctx, feed, topic, codec, ref.Epoch)
	if err != nil {
		return nil, err
	}
	fence, ok := rec.Body.(*event.Fence)
	if !ok || rec.Agent != ref.Agent {
		return nil, fmt.Errorf("the FENCE of agent %q was expected at offset %d, and a %s of agent %q is there", ref.Agent, ref.Epoch, rec.Body.Kind(), rec.Agent)
	}
	return fence, nil
}

// readRecordAt reads one record of an ops topic.
func readRecordAt(ctx context.Context, feed Feed, topic string, codec *avro.Codec, offset int64) (*event.Record, error) {
	r, err := feed.Open(ctx, topic, offset)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it only reads
	end, err := r.End(ctx)
	if err != nil {
		return nil, err
	}
	if offset >= end {
		return nil, fmt.Errorf("topic %s ends at offset %d: there is no record at %d", topic, end, offset)
	}
	m, err := r.Next(ctx)
	if err != nil {
		return nil, err
	}
	if m.Offset != offset {
		return nil, fmt.Errorf("topic %s: the record at offset %d is gone, the next one is at %d", topic, offset, m.Offset)
	}
	rec, err := codec.DecodeRecord(m.Value)
	if err != nil {
		return nil, fmt.Errorf("topic %s, offset %d: %w", topic, offset, err)
	}
	return rec, nil
}
