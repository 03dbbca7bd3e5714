package classify

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// images says how the hidden columns of a rows plan become row images.
type images struct {
	action                event.Action
	schema, table         string
	key, columns          []string
	keyTypes, columnTypes []string
	keyAt, columnAt       []int // places among the hidden columns
	returning             []string
	info                  string // the client's statement, for people
}

// hide adds columns of the target to what goes upstream, behind the client's own
// RETURNING, and says so in the plan. rel is the target's name or alias, which
// qualifies them: in UPDATE … FROM a bare name may be ambiguous. RETURNING is the
// last clause of the grammar, so it is put behind the text, on a line of its own
// since the text may end in a comment. It returns the text as a target can run it.
func (j *job) hide(t *catalog.Table, rel string, columns []string, client []*pg.Node) string {
	p := j.plan
	p.ClientColumns = -1
	if len(client) > 0 {
		p.ClientColumns = len(client)
	}
	if len(columns) == 0 {
		return j.body
	}
	p.Hidden, p.InHex = len(columns), j.in.InHex
	text := j.body + "\nRETURNING "
	if len(client) > 0 {
		text = j.body + "\n, "
	}
	var types strings.Builder
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = catalog.QuoteIdent(rel) + "." + catalog.QuoteIdent(c)
		of := t.Column(c)
		fmt.Fprintf(&types, "%s %d,", of.Type, of.TypeOID) // another type may have taken the name
	}
	p.HiddenTypes = types.String()
	plain := text + strings.Join(names, ", ")
	if p.SQL = plain; p.InHex {
		for i := range names {
			names[i] = catalog.Hex(names[i])
		}
		p.SQL = text + strings.Join(names, ", ")
	}
	p.hidden = names
	return plain
}

// relName is the name by which a statement's other clauses know its target.
func relName(rv *pg.RangeVar) string {
	if rv.Alias != nil {
		return rv.Alias.Aliasname
	}
	return rv.Relname
}

// returningNodes is a RETURNING list of columns for frozen text.
func returningNodes(rel string, columns []string) []*pg.Node {
	var list []*pg.Node
	for _, c := range columns {
		ref := pg.MakeColumnRefNode([]*pg.Node{pg.MakeStrNode(rel), pg.MakeStrNode(c)}, 0)
		list = append(list, &pg.Node{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Val: ref}}})
	}
	return list
}

func allColumns(t *catalog.Table) []string {
	list := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		list[i] = c.Name
	}
	return list
}

// stored are the columns that an INSERT can give.
func stored(t *catalog.Table) []string {
	var list []string
	for _, c := range t.Columns {
		if !c.Generated {
			list = append(list, c.Name)
		}
	}
	return list
}

// generated are the columns that the server computes.
func generated(t *catalog.Table) []string {
	given := stored(t)
	return slices.DeleteFunc(allColumns(t), func(c string) bool { return slices.Contains(given, c) })
}

// rows plans a statement whose row images are published: key and columns of each
// row come back by an added RETURNING. At level full every column does, since the
// digest covers them.
func (j *job) rows(t *catalog.Table, rv *pg.RangeVar, action event.Action, key, columns []string, client []*pg.Node, reason string) error {
	hidden := slices.Clone(key)
	for _, c := range columns {
		if !slices.Contains(hidden, c) {
			hidden = append(hidden, c)
		}
	}
	im := images{action: action, schema: t.Schema, table: t.Name, key: key, columns: columns, info: cut(j.body)}
	if j.in.Level == event.LevelFull {
		hidden = allColumns(t)
		im.returning = hidden
	}
	if err := j.access(t, hidden); err != nil {
		return err
	}
	if err := j.exact(t, hidden); err != nil {
		return err
	}
	im.keyAt, im.keyTypes = places(t, hidden, key)
	im.columnAt, im.columnTypes = places(t, hidden, columns)
	j.write(event.ClassRows, reason)
	j.hide(t, relName(rv), hidden, client)
	j.plan.frozen = frozen{kind: freezeRows, counted: true, images: im}
	return nil
}

func places(t *catalog.Table, hidden, columns []string) (at []int, types []string) {
	for _, c := range columns {
		at = append(at, slices.Index(hidden, c))
		types = append(types, t.Column(c).Type)
	}
	return at, types
}

// cut bounds text that is information only, at a character's border, and leaves out what
// is in another encoding.
func cut(s string) string {
	s = strings.TrimSpace(s)
	return strings.ToValidUTF8(s[:min(len(s), event.MaxInfoText)], "")
}

// text plans a statement that travels as text, for a reason: the client's own where it
// has no function of the time and no RETURNING.
func (j *job) text(t *catalog.Table, rv *pg.RangeVar, stmt *pg.Node, client []*pg.Node, reason string) error {
	var hidden []string
	if j.in.Level == event.LevelFull {
		hidden = allColumns(t)
	}
	if err := j.access(t, hidden); err != nil {
		return err
	}
	if err := j.exact(t, hidden); err != nil {
		return err
	}
	j.write(event.ClassText, reason)
	fr, err := j.freezeText(rv, stmt, client, hidden, j.hide(t, relName(rv), hidden, client))
	if err != nil {
		return j.refuse(j.plan.Construct, -1, "its frozen form cannot be written: "+err.Error(), "Write the statement in a simpler way, without functions of the time.")
	}
	if j.timed {
		j.plan.Class, j.plan.Reason = event.ClassPinned, "the transaction's time is pinned"
	}
	j.plan.frozen = fr
	return nil
}

// freezeText makes the frozen form of text that travels as text. Where only the
// time is to be pinned, the text itself is edited, which is cheaper than writing
// the tree.
func (j *job) freezeText(rv *pg.RangeVar, stmt *pg.Node, client []*pg.Node, hidden []string, text string) (frozen, error) {
	fr := frozen{kind: freezeText, counted: true, text: text}
	if len(client) == 0 && !j.timed {
		fr.asBound = true
		return fr, nil
	}
	number := max(j.eff.maxParam, len(j.in.ParamOIDs)) + 1
	if len(client) == 0 && j.located == j.in.SQL {
		if text, ok := spliceTime(fr.text, timeCalls(stmt), number); ok {
			fr.text, fr.asBound, fr.timeAt = text, true, number
			return fr, nil
		}
	}
	f := j.newFreezer(stmt)
	f.pinTime()
	f.setReturning(returningNodes(relName(rv), hidden))
	var err error
	fr.text, fr.params, err = f.finish()
	return fr, err
}
