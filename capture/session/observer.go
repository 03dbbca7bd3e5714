package session

import (
	"context"
	"errors"
	"slices"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// Observer hears of what passes where sessions only look on: with one in Deps
// nothing is captured, wrapped or refused, and what the client sends goes upstream
// as it came. Its methods are called by many sessions at once, some with the
// session's lock held: they must not block.
type Observer interface {
	// Session hears of a session whose statements will be told, on the server of that
	// system identifier.
	Session(systemID string)
	// Unobserved hears of a session that is relayed untold, and why, in a few words
	// without a name in them.
	Unobserved(why string)
	// Statement hears of a statement before the client has its answer.
	Statement(o Observation)
}

// Observation is what an Observer hears of one statement.
type Observation struct {
	// SQL is the client's text with all that is in it; Prepared is, where it is an
	// EXECUTE, the PREPARE that made what it runs. Both may be "": not known.
	SQL, Prepared string
	// Plan is what an agent would have done with it, nil where Err says why that
	// cannot be told (*classify.SyntaxError: no parser of opmux's knows the text).
	Plan *classify.Plan
	Err  error
	// Runs is how often the client asks for it to be run: 0 where it only prepares.
	Runs int64
}

// look is what a session that looks on makes of a statement.
type look struct {
	text, prepared string
	plan           *classify.Plan
	err            error
	counted        bool // of a portal: its Execute was told
}

// errTogether says that the state which a statement of a Query met is gone.
var errTogether = errors.New("in one message with others that change settings or objects before and behind it: opmux explain tells, or send it alone")

// errNotKnown says that the session did not see how a statement was made.
var errNotKnown = errors.New("its text did not pass in a message that was kept (capture.max_message)")

// inFailedBlock stands for what the server refuses unread.
var inFailedBlock = &classify.Plan{Kind: classify.MustFail, Class: event.ClassNone, ClientColumns: -1,
	Reason: "sent in a transaction that had failed, where the server refuses it"}

func (s *Session) tell(l look, runs int64) {
	s.deps.Observer.Statement(Observation{SQL: l.text, Prepared: l.prepared, Plan: l.plan, Err: l.err, Runs: runs})
}

// lookAt plans a statement as an agent would. An error is one that the client's
// session cannot go on from as if nothing had been asked.
func (s *Session) lookAt(ctx context.Context, text string, oids []uint32, extended bool) (look, error) {
	l := look{text: text}
	plan, err := s.plan(ctx, text, oids, extended)
	if err == nil && plan.Kind == classify.Execute {
		if st := s.statementNamed(plan.Name); st != nil {
			l.prepared = st.text
		}
		plan, err = s.lookThrough(ctx, text, plan, extended)
	}
	var side *sideError
	var answered *serverError
	if errors.As(err, &side) || errors.As(err, &answered) {
		return l, err
	}
	l.plan, l.err = plan, err
	if err == nil && s.failing() && !endsBlock(plan) {
		l.plan = inFailedBlock
	}
	return l, nil
}

// lookThrough returns the plan of what an EXECUTE runs.
func (s *Session) lookThrough(ctx context.Context, text string, plan *classify.Plan, extended bool) (*classify.Plan, error) {
	one, r, err := s.resolveExecute(ctx, part{plan: plan}, extended)
	if err != nil {
		return nil, err
	}
	if r != nil {
		return refusedAlways(text, plan.Construct, r), nil
	}
	return one.plan, nil
}

// refusedAlways is the plan of what a session refuses whatever the policy.
func refusedAlways(text, construct string, r *refusal) *classify.Plan {
	p := refusedPlan(text, &classify.Refusal{Construct: construct, Reason: r.message, Hint: r.hint, Always: true})
	p.Construct, p.Reason = construct, r.message
	return p
}

// endsBlock tells what runs in a failed block too.
func endsBlock(p *classify.Plan) bool {
	return p.Kind == classify.Commit || p.Kind == classify.Rollback || p.Kind == classify.RollbackTo
}

// rowConstructs change rows alone.
var rowConstructs = []string{"SELECT", "INSERT", "UPDATE", "DELETE", constructCopy}

// alters tells whether what comes behind a statement may be planned otherwise than before it.
func (l *look) alters() bool {
	p := l.plan
	if p == nil {
		return true
	}
	switch p.Kind {
	case classify.Begin:
		return false // its options change no statement's meaning
	case classify.Prepare, classify.Deallocate, classify.RollbackTo:
		return true
	case classify.MustFail:
		// Where it runs nevertheless, what it names was made before it in its Query.
		return p.ContextChanges || !slices.Contains(rowConstructs, p.Construct)
	}
	return p.ContextChanges || p.DiscardsStatements || p.CatalogChanges
}

// follow has the session know, once a statement is done, what it has changed.
func (s *Session) follow(l look, e *entry) error {
	if l.plan == nil {
		s.changes(unknownEffect, e)
		return nil
	}
	switch l.plan.Kind {
	case classify.Begin, classify.Savepoint, classify.Release:
		return nil
	case classify.RollbackTo:
		e.onTag = func(string) {
			if s.contextChanged {
				s.context = nil
			}
		}
		return nil
	}
	return s.hook(l.plan, l.text, e)
}

// unknownEffect is what a statement that could not be planned may have changed.
var unknownEffect = &classify.Plan{ContextChanges: true, CatalogChanges: true}

// made tells whether the session has changed the catalogue in what is not settled yet.
func (s *Session) made() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ownObjects
}

// release tells the client that its session is ready, once the catalogue's cache
// knows what the session has changed: what another session sends from then on is
// planned by it.
func (s *Session) release(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.forgetOwnObjects(ctx); err != nil {
		s.log.Debug("the catalogue's version could not be read; the next statement asks again", zapError(err))
	}
	return s.ready(s.transactionStatus())
}

// observe deals with one message of the client's where the session looks on.
func (s *Session) observe(ctx context.Context, m pgwire.Message) error {
	switch m.Type {
	case pgwire.Query:
		return s.observeQuery(ctx, m)
	case pgwire.Parse:
		return s.observeParse(ctx, m)
	case pgwire.Bind:
		return s.observeBind(ctx, m)
	case pgwire.Describe:
		return s.sendRaw(m, &entry{kind: answerDescribe})
	case pgwire.Execute:
		return s.observeExecute(ctx, m)
	case pgwire.Close:
		return s.onClose(ctx, m)
	case pgwire.Sync:
		return s.observeSync(ctx, m)
	case pgwire.FunctionCall:
		l := look{plan: refusedAlways("", "fast-path function call", fastPath)}
		s.tell(l, 1)
		e := &entry{kind: answerFunction}
		s.changes(unknownEffect, e)
		e.onDone = func() { e.onTag("") }
		return s.sendRaw(m, e)
	}
	return s.die(&refusal{code: stateProtocol, message: "message type " + string(rune(m.Type)) + " is not one of the protocol's"})
}
