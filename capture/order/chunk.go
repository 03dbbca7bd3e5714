package order

import (
	"context"
	"time"

	"github.com/opmux/opmux/event"
)

// Append is a record on its way.
type Append struct {
	ledger *Ledger
	taken  time.Time
	done   chan struct{}
	offset int64 // valid, like err, once done is closed
	err    error
}

// Chunk appends a part of a transaction that is too large for one record.
// *RefusedError: nothing was taken; roll back.
func (l *Ledger) Chunk(c *event.Chunk) (*Append, error) {
	a := &Append{ledger: l, taken: time.Now(), done: make(chan struct{})}
	if err := l.refuse(); err != nil {
		return nil, err
	}
	// The digests are collected first, so that the ticket, which the session takes
	// later, finds them.
	l.digests.chunk(c)
	_, err := l.line.put(c, l.cfg.RecordBytes, func(_, offset int64, err error) {
		a.offset, a.err = offset, err
		close(a.done)
		if err == nil {
			l.own(offset, ownRecord{})
		}
	})
	if err != nil {
		return nil, &RefusedError{Reason: "a part of the transaction cannot be recorded", Err: err}
	}
	return a, nil
}

// Abandon forgets the chunks of a transaction that was rolled back before it had a
// ticket. Not calling it costs memory within a bound.
func (l *Ledger) Abandon(tx event.TxID) { l.digests.take(tx) }

// Wait returns the record's offset once it is acknowledged. *RefusedError: it was
// not within the gate's timeout, or never will be; roll back.
func (a *Append) Wait(ctx context.Context) (int64, error) {
	timer := time.NewTimer(a.ledger.cfg.Timeout - time.Since(a.taken))
	defer timer.Stop()
	select {
	case <-a.done:
	case <-timer.C:
		select {
		case <-a.done:
		default:
			return 0, &RefusedError{Reason: "Kafka did not acknowledge a part of the transaction within " + a.ledger.cfg.Timeout.String()}
		}
	case <-a.ledger.ended:
		return 0, a.ledger.refuseEnded()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if a.err != nil {
		return 0, &RefusedError{Reason: "Kafka refused a part of the transaction", Err: a.err}
	}
	return a.offset, nil
}
