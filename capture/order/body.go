package order

import (
	"fmt"

	"github.com/opmux/opmux/event"
)

// Pack encodes a transaction that will take its place later, perhaps with another
// agent. It must fit into one record then.
func (l *Ledger) Pack(tx *event.Transaction) ([]byte, error) {
	value, err := l.deps.Codec.EncodeRecord(&event.Record{Agent: l.cfg.Agent, Epoch: l.line.epoch, Body: tx})
	if err := fits(value, err, l.cfg.RecordBytes); err != nil {
		return nil, &RefusedError{Reason: "the transaction cannot be recorded", Err: err}
	}
	return value, nil
}

// Unpack decodes what any agent has packed.
func (l *Ledger) Unpack(value []byte) (*event.Transaction, error) {
	rec, err := l.deps.Codec.DecodeRecord(value)
	if err != nil {
		return nil, fmt.Errorf("reading a prepared transaction: %w", err)
	}
	tx, ok := rec.Body.(*event.Transaction)
	if !ok {
		return nil, fmt.Errorf("reading a prepared transaction: a %s is there", rec.Body.Kind())
	}
	return tx, nil
}
