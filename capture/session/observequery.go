package session

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// observeQuery looks at the statements of a Query and sends it on whole.
func (s *Session) observeQuery(ctx context.Context, m pgwire.Message) error {
	raw, err := pgwire.QueryText(m.Body())
	if err != nil {
		return clientError(err)
	}
	if s.piped {
		if ignored, err := s.queryInPipeline(ctx); err != nil {
			return err
		} else if ignored {
			return s.sendRaw(m, nil)
		}
	} else if err := s.settle(ctx); err != nil {
		return err
	}
	s.locked(func() { s.dropStatement(s.statements[""]) })
	text, unread, err := s.readText(raw, false)
	if err != nil {
		return s.planFailed(err, false)
	}
	if unread != nil {
		return s.observeUnparsable(m, errors.New(unread.message))
	}
	statements, err := s.deps.Classifier.Split(text)
	if err != nil {
		return s.observeUnparsable(m, err)
	}
	looks := make([]look, len(statements))
	for i, st := range statements {
		if looks[i], err = s.lookAt(ctx, st.Text, nil, false); err != nil {
			return s.planFailed(err, false)
		}
	}
	return s.observeStatements(ctx, m, looks)
}

// observeUnparsable sends a text on that no parser of opmux's knows. An agent would
// refuse it, unless the server does.
func (s *Session) observeUnparsable(m pgwire.Message, cause error) error {
	e := &entry{kind: answerQuery}
	s.changes(unknownEffect, e)
	e.onDone = func() { s.tell(look{err: cause}, 1) }
	e.onFail = func() { s.tell(look{plan: mustFailSyntax}, 1) }
	return s.sendRaw(m, e)
}

var mustFailSyntax = &classify.Plan{Kind: classify.MustFail, Class: mustFail.Class, ClientColumns: -1,
	Construct: "statement", Reason: "the server has rejected it, and opmux cannot parse it either"}

// observeStatements sends a Query on and tells of its statements. Those that stand
// behind one that alters what they mean are looked at again once all have run.
func (s *Session) observeStatements(ctx context.Context, m pgwire.Message, looks []look) error {
	late := len(looks)
	if i := slices.IndexFunc(looks, func(l look) bool { return l.alters() }); i >= 0 {
		late = i + 1
	}
	copies := slices.ContainsFunc(looks, func(l look) bool { return l.plan == nil || l.plan.Construct == constructCopy })
	e := &entry{kind: answerQuery, holdReady: copies || late < len(looks) || s.made() || slices.ContainsFunc(looks, catalogMoves)}
	var effects []func(string)
	for _, l := range looks {
		var one entry
		if err := s.follow(l, &one); err != nil {
			return err
		}
		effects = append(effects, one.onTag)
	}
	ran := 0 // statements; the back counts, and has ended when it is read
	e.onTag = func(tag string) {
		if ran < len(effects) && effects[ran] != nil {
			effects[ran](tag)
		}
		ran++
	}
	if !copies {
		for _, l := range looks[:late] {
			s.tell(l, 1)
		}
	}
	if err := s.sendRaw(m, e); err != nil {
		return err
	}
	if copies || late < len(looks) {
		if err := s.observeCopies(ctx, looks); err != nil {
			return err
		}
	}
	if copies {
		for _, l := range looks[:late] {
			s.tell(l, 1)
		}
	}
	if !e.holdReady {
		return nil
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.lookAgain(ctx, looks, late, ran); err != nil {
		return s.planFailed(err, false)
	}
	return s.release(ctx)
}

// catalogMoves tells what the next statement of any session must not be planned
// without.
func catalogMoves(l look) bool { return l.plan == nil || l.plan.CatalogChanges }

// lookAgain tells of the statements of a Query from late on, which stood behind one
// that alters what they mean; ran of all have run.
func (s *Session) lookAgain(ctx context.Context, looks []look, late, ran int) error {
	now := slices.Clone(looks)
	for i := late; i < min(ran, len(looks)); i++ {
		if contextFree(looks[i].text) {
			continue
		}
		var err error
		if now[i], err = s.lookAt(ctx, looks[i].text, nil, false); err != nil {
			return err
		}
		var one entry
		if err := s.follow(now[i], &one); err != nil {
			return err
		}
		if one.onTag != nil {
			s.locked(func() { one.onTag("") })
		}
	}
	for i := late; i < len(looks); i++ {
		if i >= ran || contextFree(looks[i].text) {
			s.tell(looks[i], 1)
			continue
		}
		s.tell(together(looks, now, i), 1)
	}
	return nil
}

func (l *look) is(kinds ...classify.Kind) bool {
	return l.plan != nil && slices.Contains(kinds, l.plan.Kind)
}

// together chooses between what a statement looked like before its Query and what
// it looks like behind it: neither need be what it met, where others altered that in
// between.
func together(before, now []look, i int) look {
	settings := slices.ContainsFunc(before[:i], func(l look) bool { return l.plan == nil || l.plan.ContextChanges })
	moved := false
	for k := i + 1; k < len(before); k++ {
		l := &before[k]
		if l.is(classify.MustFail) {
			l = &now[k] // it was made in this Query
		}
		moved = moved || l.alters() || settings && endsBlock(l.plan)
	}
	was, is := before[i], now[i]
	switch {
	case !moved && !is.is(classify.MustFail):
		return is
	case is.is(classify.DDL, classify.Standalone):
		return is
	case was.is(classify.DDL, classify.Standalone), was.is(classify.Refused) && is.is(classify.Refused, classify.MustFail):
		return was
	}
	return look{text: was.text, prepared: cmp.Or(is.prepared, was.prepared), err: errTogether}
}
