package session_test

import (
	"fmt"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

func upstreamAddress(pg *testkit.PG) string { return pg.Address() }

// committedOf puts together what a worker would apply.
func committedOf(records []record) ([]event.Operation, error) {
	outcomes := map[event.Ref]bool{}
	chunks := map[event.TxID][]event.Operation{}
	for _, r := range records {
		switch b := r.Body.(type) {
		case *event.Outcomes:
			for _, o := range b.List {
				ref := o.Ref
				if ref.Agent == "" {
					ref.Agent, ref.Epoch = r.Agent, r.Epoch
				}
				outcomes[ref] = o.Committed
			}
		case *event.Chunk:
			chunks[b.Tx] = append(chunks[b.Tx], b.Operations...)
		}
	}
	var ops []event.Operation
	for _, r := range records {
		tx, ok := r.Body.(*event.Transaction)
		if !ok {
			continue
		}
		if tx.Intent {
			committed, known := outcomes[event.Ref{Agent: r.Agent, Epoch: r.Epoch, N: r.N}]
			if !known {
				return nil, fmt.Errorf("the intent at offset %d has no outcome", r.offset)
			}
			if !committed {
				continue
			}
		}
		ops = append(ops, chunks[tx.ID]...)
		ops = append(ops, tx.Operations...)
	}
	return ops, nil
}
