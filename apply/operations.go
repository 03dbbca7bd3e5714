package apply

import (
	"context"
	"fmt"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/apply/schedule"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// operations opens what a transaction does, in order.
func (st *stream) operations(ctx context.Context, tx *schedule.Tx) (execute.Operations, error) {
	ops := &operations{stream: st, tx: tx}
	if tx.Transaction.Chunks == 0 {
		return ops, nil
	}
	// Chunks are read from the topic once more, one at a time, so that a
	// transaction may be of any size (I7).
	reader, err := topics.NewReader(ctx, st.deps.Topics, st.topic, tx.Transaction.FirstChunk)
	if err != nil {
		return nil, &execute.ReadError{Err: err}
	}
	ops.reader = reader
	return ops, nil
}

// operations yields a transaction's operations: those of its chunks, then its own.
type operations struct {
	*stream
	tx     *schedule.Tx
	reader *topics.Reader // nil once all chunks are read
	chunks int32
	list   []event.Operation // of the chunk, or of the transaction itself
	own    bool              // list is the transaction's
	at     int
}

// Next implements execute.Operations.
func (o *operations) Next(ctx context.Context) (*event.Operation, error) {
	for o.at == len(o.list) {
		if o.own {
			return nil, nil
		}
		if err := o.more(ctx); err != nil {
			return nil, err
		}
	}
	op := &o.list[o.at]
	o.at++
	if o.deps.Rewriter == nil {
		return op, nil
	}
	changed, err := o.deps.Rewriter.Rewrite(ctx, o.source, o.tx.Transaction, op)
	if err != nil {
		return nil, fmt.Errorf("rewriting an operation of the transaction at offset %d of source %s: %w", o.tx.Offset, o.source, err)
	}
	return changed, nil
}

// more goes on to the next chunk, or to the transaction's own operations.
func (o *operations) more(ctx context.Context) error {
	o.at = 0
	if o.chunks == o.tx.Transaction.Chunks {
		o.list, o.own = o.tx.Transaction.Operations, true
		return nil
	}
	chunk, err := o.nextChunk(ctx)
	if err != nil {
		return err
	}
	if chunk.Index != o.chunks {
		return fmt.Errorf("transaction at offset %d of source %s: chunk %d came where chunk %d was expected", o.tx.Offset, o.source, chunk.Index, o.chunks)
	}
	o.chunks++
	o.list = chunk.Operations
	return nil
}

// nextChunk reads on to the transaction's next chunk.
func (o *operations) nextChunk(ctx context.Context) (*event.Chunk, error) {
	for {
		m, err := o.reader.Next(ctx)
		if err != nil {
			return nil, &execute.ReadError{Err: err}
		}
		if m.Offset >= o.tx.Offset {
			return nil, fmt.Errorf("transaction at offset %d of source %s names %d chunks, of which %d are in the topic", o.tx.Offset, o.source, o.tx.Transaction.Chunks, o.chunks)
		}
		record, err := o.deps.Codec.DecodeRecord(m.Value)
		if err != nil {
			return nil, o.recordError(m.Offset, err)
		}
		chunk, ok := record.Body.(*event.Chunk)
		if ok && chunk.Tx == o.tx.Transaction.ID && record.Agent == o.tx.Ref.Agent && record.Epoch == o.tx.Ref.Epoch {
			return chunk, nil
		}
	}
}

// Close implements execute.Operations.
func (o *operations) Close() error {
	if o.reader == nil {
		return nil
	}
	return o.reader.Close()
}
