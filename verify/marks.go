package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

const (
	// maxScan is how many records one call of markBook.read looks at.
	maxScan = 200_000
	// The book begins a bit before what is asked about, since partitions ask one
	// after the other about much the same part of the topic.
	scanBefore = 10_000
)

// errScanning says that a source's Marks are not all read yet: ask again.
var errScanning = errors.New("still reading the ops topic for snapshot Marks")

// markBook knows the snapshot Marks of a source from an offset on. A target has
// no digests of what it was filled with by a snapshot.
type markBook struct {
	known    bool
	from, to int64            // the records that were looked at
	marks    map[string]int64 // highest offset, by target
}

// read looks at the records from oldest to the topic's end that it did not see yet.
func (b *markBook) read(ctx context.Context, cfg topics.Config, codec *avro.Codec, source string, oldest int64) error {
	if !b.known || oldest < b.from {
		b.known, b.from = true, max(0, oldest-scanBefore)
		b.to = b.from
	}
	topic := cfg.Names().Ops(source)
	r, err := topics.NewReader(ctx, cfg, topic, b.to)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only reading: nothing can be lost
	start, err := r.Start(ctx)
	if err != nil {
		return err
	}
	if b.to < start { // retention took them; what they marked is older still
		b.to = start
		return errScanning
	}
	end, err := r.End(ctx)
	if err != nil {
		return err
	}
	for stop := b.to + maxScan; b.to < end; {
		if b.to >= stop {
			return errScanning
		}
		m, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if err := b.look(codec, &m); err != nil {
			return err
		}
		b.to = m.Offset + 1
	}
	return nil
}

func (b *markBook) look(codec *avro.Codec, m *topics.Message) error {
	rec, err := codec.DecodeRecord(m.Value)
	if err != nil {
		return fmt.Errorf("topic %s, offset %d: %w", m.Topic, m.Offset, err)
	}
	if mark, ok := rec.Body.(*event.Mark); ok && mark.Phase == event.MarkSnapshot {
		b.marks[mark.Target] = max(b.marks[mark.Target], m.Offset)
	}
	return nil
}
