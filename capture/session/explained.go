package session

import (
	"bytes"
	"regexp"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/wire/pgwire"
)

// EXPLAIN ANALYZE lists the triggers that fired, and those of the agent's fired only
// because the agent had woken them: without it, they would not be in the list.

// ownTriggers match what PostgreSQL prints of one such trigger (manual, EXPLAIN), in text,
// where it is a row of its own, and in each of the other formats, where it is a part of the
// only row. The first of a list in JSON takes the comma behind it along.
var ownTriggers = func() []*regexp.Regexp {
	name := regexp.QuoteMeta(catalog.TriggerName) + `(?:_\w+)?`
	return []*regexp.Regexp{
		regexp.MustCompile(`\A\s*Trigger ` + name + `(?: on .*)?: (?:time=[\d.]+ )?calls=\d+\z`),
		regexp.MustCompile(`\n *\{\n *"Trigger Name": "` + name + `",[^{}]*\},`),
		regexp.MustCompile(`,?\n *\{\n *"Trigger Name": "` + name + `",[^{}]*\}`),
		regexp.MustCompile(`\n *<Trigger>\n *<Trigger-Name>` + name + `</Trigger-Name>(?:\n *<[\w-]+>[^<]*</[\w-]+>)*\n *</Trigger>`),
		regexp.MustCompile(`\n *- Trigger Name: "` + name + `"(?:\n *(?:Schema|Relation|Time|Calls): .*)*`),
	}
}()

// withoutOwnTriggers is a row of EXPLAIN's without the agent's own triggers; false where
// they are all that is in it.
func withoutOwnTriggers(row []byte) ([]byte, bool) {
	for _, own := range ownTriggers {
		if !own.Match(row) {
			continue
		}
		if row = own.ReplaceAllLiteral(row, nil); len(row) == 0 {
			return nil, false
		}
	}
	return row, true
}

// explains tells whether the rows are what EXPLAIN says of a statement for which the
// triggers are awake.
func (e *entry) explains() bool { return e.exec != nil && e.exec.plan.Explains }

// explainRow forwards a row of EXPLAIN's.
func (s *Session) explainRow(e *entry, m pgwire.Message) error {
	if e.silent {
		return nil
	}
	_, values, err := s.row.split(m.Body(), 0)
	if err != nil {
		return upstreamError(err)
	}
	defer s.row.done()
	if len(values) != 1 || values[0].Null {
		return s.pass(e, m)
	}
	row, ok := withoutOwnTriggers(values[0].Value)
	switch {
	case !ok:
		return nil
	case bytes.Equal(row, values[0].Value):
		return s.pass(e, m)
	}
	return s.toClient(m.Type, pgwire.AppendDataRow(nil, row))
}
