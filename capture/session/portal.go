package session

import (
	"context"
	"fmt"
	"strings"

	"github.com/opmux/opmux/wire/pgwire"
)

// beforeBind waits for what came before a Bind: what ended before its Sync takes its
// portals along, and a Parse before it may have failed.
func (s *Session) beforeBind(ctx context.Context, portal string) error {
	if err := s.settleSynced(ctx); err != nil || portal != "" { // a named one cannot be bound again
		return err
	}
	return s.drainPortal("")
}

// fetchMore executes a portal again that has been executed before.
func (s *Session) fetchMore(m pgwire.Message, p *portal) error {
	if p.plan.ClientColumns < 0 && p.plan.Hidden > 0 {
		// It ran to its end, and to the client it is one without rows.
		return s.refuseExtended(&refusal{code: stateNotPrepared, plain: true, message: fmt.Sprintf("portal %q cannot be run", p.name)})
	}
	if p.cut {
		return s.refuseExtended(limitedParts)
	}
	if _, err := s.ensureContext(true); err != nil { // its rows come in the encoding that is set by now
		return s.planFailed(err, true)
	}
	s.mu.Lock()
	p.suspended = false
	s.mu.Unlock()
	return s.sendRaw(m, &entry{kind: answerExecute, exec: p.exec, portal: p, plan: p.plan})
}

// unfetched tells whether a write's portal may hold rows that the client has not
// fetched. One that was never executed with a limit has run to its end.
func (s *Session) unfetched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.portals {
		if p.exec != nil && p.limited {
			return true
		}
	}
	return false
}

// drainPortals reads to the end what writes have returned and the client has
// not fetched, since their images are in it.
func (s *Session) drainPortals(extended bool) error {
	s.mu.Lock()
	var names []string
	for name, p := range s.portals {
		if p.exec != nil {
			names = append(names, name)
		}
	}
	s.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	for _, name := range names {
		if err := s.drainPortal(name); err != nil {
			return err
		}
	}
	if s.idle() {
		return nil
	}
	if !extended {
		return s.drainSynced()
	}
	return s.drain()
}

// ahead is how many answers a pipeline of writes may be ahead of (I7).
const ahead = 256

// drainPortal reads one portal to its end if it is a write's and holds more. A
// pipeline of writes through the unnamed portal is not waited for at each.
func (s *Session) drainPortal(name string) error {
	s.mu.Lock()
	p, awaited := s.portals[name], len(s.queue)
	s.mu.Unlock()
	if p == nil || p.exec == nil || (!p.limited && awaited < ahead) {
		return nil
	}
	if !s.idle() {
		if err := s.drain(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	suspended := p.suspended && !p.exec.dropped
	p.suspended = false
	s.mu.Unlock()
	if !suspended {
		return nil
	}
	if _, err := s.ensureContext(true); err != nil {
		return err
	}
	return s.send(pgwire.Execute, pgwire.ExecuteBody{Portal: name}.Append(nil),
		&entry{kind: answerExecute, silent: true, exec: p.exec, portal: p, plan: p.plan})
}

// reachedBySQL deals with FETCH and CLOSE, which reach the protocol's portals too.
// A write's rows would come with the hidden columns, and FETCH would run one that
// was not executed yet, unseen: it is refused. CLOSE lets the rows be read first.
func (s *Session) reachedBySQL(p part, extended bool) (*refusal, error) {
	closes := p.plan.Construct == "CLOSE PORTAL"
	if !closes && p.plan.Construct != "FETCH" {
		return nil, nil
	}
	text := strings.ToLower(p.text)
	var drain []string
	s.mu.Lock()
	for name, known := range s.portals {
		if name == "" || known.plan == nil || !captured(known.plan) || known.gone {
			continue
		}
		if !closes && strings.Contains(text, strings.ToLower(name)) {
			s.mu.Unlock()
			return &refusal{code: stateNotSupported, message: "FETCH from a portal that writes: its rows are the protocol's",
				hint: "Execute the portal by the protocol, or run the statement on its own."}, nil
		}
		drain = append(drain, name)
	}
	s.mu.Unlock()
	if !closes || len(drain) == 0 {
		return nil, nil
	}
	return nil, s.drainPortals(extended)
}

// boundElsewhere refuses a write whose portal was bound under other settings than it
// would run under: its names were resolved by those, its values are read by these.
func (s *Session) boundElsewhere(p *portal) (*refusal, error) {
	known, err := s.ensureContext(true)
	if err != nil || !known {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.context == nil || s.context != nil && p.context.raw == s.context.raw {
		return nil, nil
	}
	return &refusal{code: stateNotSupported, message: "Execute of a portal that was bound before settings were changed",
		hint: "Bind it again."}, nil
}
