package session

import (
	"context"

	"github.com/opmux/opmux/wire/pgwire"
)

// beforeQuery waits for what came before, with rows that the unnamed portal holds,
// which goes with the Query.
func (s *Session) beforeQuery(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.drainPortal(""); err != nil || s.idle() {
		return err
	}
	return s.drainSynced()
}

// drainSynced waits for the answers of a pipeline of the agent's, with its Sync.
func (s *Session) drainSynced() error {
	if err := s.send(pgwire.Sync, nil, &entry{kind: answerSync, silent: true}); err != nil {
		return err
	}
	return s.drain()
}

// queryInPipeline deals with a Query that comes before the Sync of a pipeline: its
// end is the pipeline's too. What the agent began there goes on. True: the server
// ignores the Query, since the pipeline has failed.
func (s *Session) queryInPipeline(ctx context.Context) (bool, error) {
	if err := s.drain(); err != nil {
		return false, err
	}
	if s.skips() {
		return true, nil
	}
	// The unnamed portal goes with the Query; named ones outlive it in a block.
	if err := s.drainPortals(true); err != nil {
		return false, err
	}
	if s.skips() {
		return true, nil
	}
	if s.wrapped || s.begun {
		s.setStatus(pgwire.StatusBlock)
		return false, nil
	}
	return false, s.settle(ctx)
}
