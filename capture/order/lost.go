package order

import (
	"context"
	"fmt"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

const (
	// maxLost bounds the lost commits that are named; all are counted (I7).
	maxLost = 10_000
	// lostBatch is how many transactions the primary is asked about at once.
	lostBatch = 1000
)

// LostCommit is a transaction that the stream says is committed and the primary
// does not have: targets are ahead by it.
type LostCommit struct {
	event.Ref
	Offset int64
	Tx     event.TxID
	XID    uint64
	// Time is when its ticket was taken, by its agent's clock.
	Time time.Time
}

// Lost is what a primary has lost of a stream.
type Lost struct {
	// Commits are the first of them, in the order of their commits.
	Commits []LostCommit
	Count   int
	// Epochs had such commits.
	Epochs []event.EpochRef
}

// loser tells which committed transactions the primary does not have.
type loser interface {
	Lost(ctx context.Context, of []event.PostgresTx, end uint64) ([]bool, error)
}

// lostReader looks through records for commits that the primary does not have.
type lostReader struct {
	feed   Feed
	topic  string
	codec  *avro.Codec
	server loser
	// ran tells whether a server's transactions are looked at; what they wrote
	// behind end is lost.
	ran func(event.Primary) bool
	end uint64

	start   int64 // first offset of the topic
	epochs  map[event.EpochRef]bool
	open    map[event.Ref]committing
	batch   []committing
	lost    Lost
	flagged map[event.EpochRef]bool
}

// committing is a transaction that has committed or may yet.
type committing struct {
	LostCommit
	tx event.PostgresTx
}

// read goes through the topic from an offset to its end as of the call.
func (r *lostReader) read(ctx context.Context, from int64) (*Lost, error) {
	r.epochs, r.flagged = map[event.EpochRef]bool{}, map[event.EpochRef]bool{}
	r.open = map[event.Ref]committing{}
	end, err := r.bounds(ctx)
	if err != nil {
		return nil, err
	}
	from = max(from, r.start)
	reader, err := r.feed.Open(ctx, r.topic, from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reader.Close() }() // it only reads
	for at := from; at < end; {
		m, err := reader.Next(ctx)
		if err != nil {
			return nil, err
		}
		at = m.Offset + 1
		rec, err := r.codec.DecodeRecord(m.Value)
		if err != nil {
			return nil, fmt.Errorf("topic %s, offset %d: %w", m.Topic, m.Offset, err)
		}
		if err := r.record(ctx, m.Offset, rec); err != nil {
			return nil, err
		}
	}
	return &r.lost, r.ask(ctx)
}

// bounds finds the topic's first offset and returns its end.
func (r *lostReader) bounds(ctx context.Context) (end int64, err error) {
	reader, err := r.feed.Open(ctx, r.topic, topics.Latest)
	if err != nil {
		return 0, err
	}
	defer func() { _ = reader.Close() }() // it only reads
	if r.start, err = reader.Start(ctx); err != nil {
		return 0, err
	}
	return reader.End(ctx)
}

func (r *lostReader) record(ctx context.Context, offset int64, rec *event.Record) error {
	switch b := rec.Body.(type) {
	case *event.Fence:
		if opening(rec) {
			r.epochs[event.EpochRef{Agent: rec.Agent, Epoch: offset}] = r.ran(b.Primary)
		}
	case *event.Transaction:
		ref := event.Ref{Agent: rec.Agent, Epoch: rec.Epoch, N: rec.N}
		c := committing{tx: b.Postgres, LostCommit: LostCommit{Ref: ref, Offset: offset, Tx: b.ID, XID: b.Postgres.XID, Time: time.UnixMicro(b.Commit).UTC()}}
		concerned, err := r.concerned(ctx, event.EpochRef{Agent: rec.Agent, Epoch: rec.Epoch})
		if err != nil || !concerned {
			return err
		}
		if b.Intent {
			r.open[ref] = c
			return nil
		}
		return r.committed(ctx, c)
	case *event.Outcomes:
		for i := range b.List {
			c, known := r.open[b.List[i].Ref]
			delete(r.open, b.List[i].Ref)
			if !known || !b.List[i].Committed {
				continue
			}
			if err := r.committed(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// concerned tells whether an epoch's transactions ran on the server in question. An
// epoch whose FENCE retention has removed is taken for one of its.
func (r *lostReader) concerned(ctx context.Context, ref event.EpochRef) (bool, error) {
	if is, known := r.epochs[ref]; known {
		return is, nil
	}
	is := true
	if ref.Epoch >= r.start {
		f, err := fenceAt(ctx, r.feed, r.topic, r.codec, ref)
		if err != nil {
			return false, err
		}
		is = r.ran(f.Primary)
	}
	r.epochs[ref] = is
	return is, nil
}

func (r *lostReader) committed(ctx context.Context, c committing) error {
	if r.batch = append(r.batch, c); len(r.batch) < lostBatch {
		return nil
	}
	return r.ask(ctx)
}

// ask asks about what has gathered.
func (r *lostReader) ask(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	list := make([]event.PostgresTx, len(r.batch))
	for i := range r.batch {
		list[i] = r.batch[i].tx
	}
	gone, err := r.server.Lost(ctx, list, r.end)
	if err != nil {
		return err
	}
	for i, c := range r.batch {
		if !gone[i] {
			continue
		}
		r.lost.Count++
		if len(r.lost.Commits) < maxLost {
			r.lost.Commits = append(r.lost.Commits, c.LostCommit)
		}
		if ref := (event.EpochRef{Agent: c.Agent, Epoch: c.Epoch}); !r.flagged[ref] {
			r.flagged[ref] = true
			r.lost.Epochs = append(r.lost.Epochs, ref)
		}
	}
	r.batch = r.batch[:0]
	return nil
}
