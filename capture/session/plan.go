package session

import (
	"context"
	"strings"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// plan classifies one statement as the session stands. Where the settings are
// not known, the server is asked first, and what was sent before is waited for.
func (s *Session) plan(ctx context.Context, text string, oids []uint32, extended bool) (*classify.Plan, error) {
	return s.planAgain(ctx, text, oids, extended, nil)
}

// planAgain is plan, also of the text that PREPARE has sent for a statement: it does not go
// to the server again, where it is parsed, and has the hidden columns that it has.
func (s *Session) planAgain(ctx context.Context, text string, oids []uint32, extended bool, of *statement) (*classify.Plan, error) {
	failed := s.transactionStatus() == pgwire.StatusFailed
	if !failed && !contextFree(text) {
		ok, err := s.ensureContext(extended)
		if err != nil {
			return nil, err
		}
		failed = !ok
	}
	if err := s.forgetOwnObjects(ctx); err != nil {
		return nil, err
	}
	s.mu.Lock()
	c := s.context
	if c == nil {
		c = s.lastContext
	}
	s.lastContext, s.wasLenient = c, s.wasLenient || c.lenient || makesLenient(text)
	in := classify.Input{SQL: text, ParamOIDs: oids, Level: s.cfg.Level, Schemas: c.schemas,
		Settings: event.Context{User: c.user, Settings: c.settings},
		Inline:   !extended, InHex: s.inHex(), Lenient: s.wasLenient,
		InBlock: s.status != pgwire.StatusIdle || s.wrapped || s.begun}
	if of != nil && of.plan.Inner != nil {
		in.InHex = of.plan.Inner.InHex
	}
	own, chars := s.looksItself(s.tx), s.charset()
	s.mu.Unlock()
	if failed {
		return s.planFailedBlock(ctx, in)
	}
	if own {
		in.Querier = querier{s: s, extended: extended}
	}
	if c.garbled && !contextFree(text) {
		return refusedPlan(text, encodingRefusal(chars)), nil
	}
	p, err := s.deps.Classifier.Classify(ctx, in)
	if err == nil && p.Lock != "" {
		if in.Unlockable, err = s.unlockable(ctx, extended); err == nil && in.Unlockable {
			p, err = s.deps.Classifier.Classify(ctx, in)
		}
	}
	if err != nil {
		return nil, err
	}
	r, err := s.cannotIn(ctx, chars, p, in, of)
	if err != nil {
		return nil, err
	}
	if r != nil {
		refused := refusedPlan(text, r)
		refused.Construct, refused.CopyIn = p.Construct, p.CopyIn // a stream follows a COPY
		return refused, nil
	}
	if s.cfg.Flag && p.Computes != nil {
		p = computedOfDiverged(p)
	}
	return s.rebuilds(ctx, p)
}

// cannotIn says what keeps a plan from being carried in the session's encoding; of as for
// planAgain.
func (s *Session) cannotIn(ctx context.Context, c charset, p *classify.Plan, in classify.Input, of *statement) (*classify.Refusal, error) {
	if of == nil {
		if r := c.cannot(p, in.SQL); r != nil {
			return r, nil
		}
	}
	if c.name != utf8Name && (captured(p) || p.Kind == classify.Prepare) {
		return s.converts(ctx, in.Querier, c)
	}
	return nil, nil
}

// computedOfDiverged gives a materialized view up under policy flag: a table that it
// reads, through however many views, may have been given up, and the backups would
// compute it of what they have.
func computedOfDiverged(p *classify.Plan) *classify.Plan {
	refused := refusedPlan(p.SQL, &classify.Refusal{Construct: p.Construct, Reason: "under on_unsafe: flag a table that it reads may have diverged, and the backups compute it of what they have",
		Hint: "Run it on each server, or use a table."})
	refused.Diverged = p.Tables
	refused.CatalogChanges, refused.Defines = p.CatalogChanges, p.CatalogChanges
	return refused
}

// looksItself tells whether names are to be looked up on the session: its open
// transaction has changed the catalogue. Callers hold s.mu, or the back is idle.
func (s *Session) looksItself(tx *txn) bool {
	return s.ownObjects || (tx != nil && tx.ownDDL)
}

// forgetOwnObjects lets the agent's own connection look names up again once what
// the session made is committed, or gone; its cache must know of it first.
func (s *Session) forgetOwnObjects(ctx context.Context) error {
	s.mu.Lock()
	over := s.ownObjects && s.status == pgwire.StatusIdle && len(s.queue) == 0 && !s.begun && !s.wrapped
	s.mu.Unlock()
	if !over {
		return nil
	}
	if _, err := s.deps.Catalog.Version(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.ownObjects = false
	s.mu.Unlock()
	return nil
}

// contextFree tells statements that mean the same under any settings. They are
// planned without a look at them: it would be a query, before which some of them
// must run (SET TRANSACTION).
func contextFree(text string) bool {
	var room [longestFree]byte
	switch string(firstWord(room[:0], text)) {
	case "begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "set", "reset", "show",
		"discard", "deallocate", "listen", "unlisten", "notify":
		return true
	}
	return false
}

// longestFree is longer than each of those words.
const longestFree = len("deallocate") + 1

// firstWord appends the word that a text begins with to into, in lower case, as far as there is room.
func firstWord(into []byte, text string) []byte {
	for _, c := range []byte(strings.TrimLeft(text, " \t\r\n")) {
		c |= 0x20
		if c < 'a' || c > 'z' || len(into) == cap(into) {
			break
		}
		into = append(into, c)
	}
	return into
}

// planFailedBlock tells transaction control from the rest, which a failed block
// refuses.
func (s *Session) planFailedBlock(ctx context.Context, in classify.Input) (*classify.Plan, error) {
	p, err := s.deps.Classifier.Classify(ctx, in)
	if err == nil {
		switch p.Kind {
		case classify.Commit, classify.Rollback, classify.RollbackTo:
			return p, nil
		}
	}
	return &classify.Plan{Kind: classify.Pass, Class: event.ClassNone, SQL: in.SQL, ClientColumns: -1}, nil
}

func refusedPlan(text string, r *classify.Refusal) *classify.Plan {
	return &classify.Plan{Kind: classify.Refused, Class: event.ClassRefused, Construct: r.Construct, Reason: r.Reason, SQL: text, Refusal: r,
		Diverged: []string{"*"}, ClientColumns: -1}
}
