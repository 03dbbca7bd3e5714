package classify

import (
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// How an UPDATE or DELETE of a table travels that names no row by a full unique key
// (ADR 24).
const (
	CarryRows = "rows" // as images of the rows that it hit
	CarryLock = "lock" // as text, where nobody else can write the table beside it
	CarryText = "text" // as text, since the user says that it hits the same rows anyhow
)

// Predicates says how such statements of some tables travel. Tables is schema.table,
// where * stands for any characters.
type Predicates struct{ Tables, Carry string }

// The reasons of what travels as text.
const (
	becauseKey  = "a function of its literals, parameters and the rows it names by key"
	becauseLock = "a function of its literals, parameters and the rows of its table, which was locked before it"
	becauseWith = "it has a WITH clause"
	becauseText = "capture.predicates says that it hits the same rows on every server"
)

// carrying is a rule of Predicates.
type carrying struct {
	tables *regexp.Regexp
	carry  string
}

func carryings(list []Predicates) []carrying {
	var out []carrying
	for _, p := range list {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(p.Tables), `\*`, `.*`)
		out = append(out, carrying{regexp.MustCompile(`^(?s:` + pattern + `)$`), p.Carry})
	}
	return out
}

// CarryOf is what the first rule says that is about a table, schema.table.
func CarryOf(list []Predicates, table string) string { return carryOf(carryings(list), table) }

func carryOf(list []carrying, table string) string {
	for _, r := range list {
		if r.tables.MatchString(table) {
			return r.carry
		}
	}
	return CarryRows
}

func (c *Classifier) carry(t *catalog.Table) string { return carryOf(c.carryings, t.Qualified()) }

// modified is an UPDATE or DELETE of a table.
type modified struct {
	table  *catalog.Table
	rel    *pg.RangeVar
	where  *pg.Node
	others []*pg.Node // FROM, USING
	with   *pg.WithClause
	// set and assigned are what SET does; client is the client's RETURNING.
	set      []*pg.Node
	assigned []string
	client   []*pg.Node
}

func (m *modified) scope() scope { return scope{table: m.table, rel: relName(m.rel)} }

// modify plans an UPDATE or DELETE as text where it names one row by a key, or where
// its table's policy has it travel whole; otherwise images plan its rows.
func (j *job) modify(n *pg.Node, m *modified, images func(why string) error) error {
	if j.imagesFor != "" {
		return images(j.imagesFor)
	}
	why, err := j.unpinned(m)
	if why == "" && err == nil {
		why, err = j.unsafeSet(m)
	}
	if err != nil {
		return err
	}
	if why == "" {
		err = j.text(m.table, m.rel, n, m.client, becauseKey)
		j.plan.frozen.atMost = 1
		return err
	}
	carry, err := j.carriedBy(m)
	switch {
	case err != nil:
		return err
	case carry == CarryLock:
		// It conflicts with whatever writes, until the transaction ends.
		j.plan.Lock = "LOCK TABLE " + catalog.QuoteIdent(m.table.Schema) + "." + catalog.QuoteIdent(m.table.Name) + " IN SHARE ROW EXCLUSIVE MODE"
		return j.text(m.table, m.rel, n, m.client, becauseLock)
	case carry == CarryText:
		return j.text(m.table, m.rel, n, m.client, becauseText)
	}
	return images(why)
}

// carriedBy says how a statement travels that names no row by a key. As text it must
// do to each row what its literals, its parameters and the row itself say, whatever
// the order of the rows.
func (j *job) carriedBy(m *modified) (string, error) {
	carry := j.c.carry(m.table)
	if carry == CarryRows || carry == CarryLock && j.in.Unlockable ||
		len(m.others) > 0 || m.with != nil || j.eff.subqueries || touchesUnique(m) {
		return CarryRows, nil
	}
	_, why, err := j.condition(m.where, m.scope())
	if why == "" && err == nil {
		why, err = j.unsafeSet(m)
	}
	if why != "" || err != nil {
		return CarryRows, err
	}
	return carry, nil
}

// touchesUnique tells whether an UPDATE may change what a unique index or exclusion
// constraint is about. Both are checked row by row, so that whether SET k = k + 1
// succeeds depends on the order in which a server finds the rows.
func touchesUnique(m *modified) bool {
	if len(m.assigned) == 0 {
		return false
	}
	return m.table.Exclusion || slices.ContainsFunc(m.table.Keys, func(k catalog.Key) bool {
		return k.Expression || k.Partial || slices.ContainsFunc(k.Columns, func(name string) bool {
			return m.table.Column(name).Generated || slices.Contains(m.assigned, name)
		})
	})
}
