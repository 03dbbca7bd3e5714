package session

import (
	"context"
	"errors"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// observeCopies relays the data of every COPY … FROM STDIN of a Query until it is
// answered, and looks whether an agent could have carried it.
func (s *Session) observeCopies(ctx context.Context, looks []look) error {
	next := 0
	for {
		if err := s.awaitCopyIn(); err != nil {
			return err
		}
		if !s.takesCopyData() {
			return nil
		}
		for next < len(looks) && (looks[next].plan == nil || !looks[next].plan.CopyIn) {
			next++
		}
		var of *look
		if next < len(looks) {
			of = &looks[next]
			next++
		}
		if err := s.observeCopy(ctx, of); err != nil {
			return err
		}
	}
}

// observeCopy relays the data of one COPY.
func (s *Session) observeCopy(ctx context.Context, of *look) error {
	if of == nil || of.plan == nil || of.plan.Kind != classify.Copy {
		return s.copyData(ctx, nil)
	}
	tx, err := newTxn(s.share)
	if err != nil {
		return err
	}
	x := s.newExecution(tx, of.plan, nil)
	x.passing = true
	if err := s.copyData(ctx, x); err != nil {
		return err
	}
	s.mu.Lock()
	broken := tx.broken
	s.mu.Unlock()
	var cannot *classify.Refusal
	var large *pgwire.TooLargeError
	switch {
	case errors.As(broken, &cannot):
		of.plan = refusedPlan(of.text, cannot)
		of.plan.Construct, of.plan.Reason = cannot.Construct, cannot.Reason
	case errors.As(broken, &large):
		of.plan = refusedAlways(of.text, constructCopy, tooLarge(large))
	}
	return nil
}
