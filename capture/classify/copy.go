package classify

import (
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// copy plans COPY in all its forms.
func (j *job) copy(n *pg.Node, st *pg.CopyStmt) error {
	switch {
	case st.IsProgram || st.Filename != "":
		return j.refuse("COPY with a file or program of the server", -1, "the backups' servers have other files", "Use COPY … FROM STDIN or TO STDOUT (psql: \\copy).")
	case st.IsFrom:
		return j.copyFrom(n, st)
	case st.Query == nil:
		return j.scan(st.Relation)
	case st.Query.GetSelectStmt() == nil:
		return j.refuse("COPY of a data-modifying statement", -1, "its rows go to the client as a stream", "Run the statement with RETURNING.")
	}
	if err := j.scan(st.Query); err != nil {
		return err
	}
	return j.finishRead()
}

// copyFormat is how the fields of a COPY stream are told apart.
type copyFormat struct {
	csv, header, binary  bool
	encoding             string // that of the stream, "" where the text does not say
	delim, quote, escape byte
	null                 string
}

func (j *job) copyFrom(n *pg.Node, st *pg.CopyStmt) error {
	j.plan.CopyIn = true
	if err := j.scan(nodes([]*pg.Node{st.WhereClause})...); err != nil {
		return err
	}
	t, err := j.target(st.Relation, catalog.TriggerInsert)
	if err != nil {
		return err
	}
	columns := stored(t)
	if len(st.Attlist) > 0 {
		columns = nil
		for _, a := range st.Attlist {
			columns = append(columns, a.GetString_().GetSval())
		}
	}
	drawn, err := j.copyDefaults(t, columns)
	if err != nil {
		return err
	}
	if j.unfollowed(t) {
		return j.unpublished(t, nil, false)
	}
	where, err := j.unsafe(st.WhereClause, "B", scope{table: t, rel: relName(st.Relation)})
	if err != nil {
		return err
	}
	if where != "" || j.timed {
		return j.refuse("COPY … WHERE", -1, "its condition is not the same everywhere", "Filter the rows before they are sent.")
	}
	freeze, err := j.copyOptions(t, st, columns)
	if err != nil {
		return err
	}
	text := j.body
	if freeze {
		// A target's table need not be as young as this one.
		if text, err = j.withoutFreeze(n); err != nil {
			return j.refuse("COPY … FREEZE", -1, err.Error(), "Leave FREEZE out.")
		}
	}
	if err := j.access(t, nil); err != nil {
		return err
	}
	j.plan.Kind, j.plan.Class, j.plan.Reason, j.plan.ClientColumns = Copy, event.ClassText, "the stream's bytes", -1
	if len(drawn) > 0 {
		if err := j.drawCopy(n, t, columns, drawn); err != nil {
			return err
		}
		text = j.plan.CopyDraw.Text
		j.plan.Class, j.plan.Reason = event.ClassPinned, "the stream's bytes with the default of column "+drawn[0].Name+" drawn on the primary"
	}
	j.plan.frozen = frozen{kind: freezeCopy, text: text, counted: true}
	return j.finishWrite(t, nil)
}

// copyDefaults lists the columns that a COPY leaves out and whose default is drawn.
func (j *job) copyDefaults(t *catalog.Table, columns []string) ([]*catalog.Column, error) {
	for _, c := range columns {
		if t.Column(c) == nil {
			return nil, fmt.Errorf("column %s: %w", c, errMustFail)
		}
	}
	var drawn []*catalog.Column
	for i := range t.Columns {
		c := &t.Columns[i]
		if slices.Contains(columns, c.Name) {
			continue
		}
		d, err := j.defaultOf(c)
		if err != nil {
			return nil, err
		}
		if t.Temp {
			d.draws = slices.DeleteFunc(d.draws, func(s SequenceRef) bool { return s.Schema == t.Schema })
		}
		j.eff.draws = append(j.eff.draws, d.draws...)
		if d.drawn {
			drawn = append(drawn, c)
		}
	}
	return drawn, nil
}

// copyOptions reads the options; freeze says that FREEZE is on.
func (j *job) copyOptions(t *catalog.Table, st *pg.CopyStmt, columns []string) (freeze bool, err error) {
	p := j.plan
	format := "text"
	p.copyFormat = copyFormat{delim: '\t', quote: '"', null: `\N`}
	null := ""
	for _, o := range st.Options {
		d := o.GetDefElem()
		value := optionValue(d)
		switch d.Defname {
		case "format":
			format = strings.ToLower(value)
		case "delimiter", "quote", "escape":
			if err := p.copyFormat.mark(d.Defname, value); err != nil {
				return false, err
			}
		case "header":
			p.copyFormat.header = d.Arg == nil || !slices.Contains([]string{"false", "off", "0"}, strings.ToLower(value))
		case "freeze":
			freeze = enabled(st.Options, "freeze")
		case "null":
			p.copyFormat.null, null = value, value
		case "encoding":
			p.copyFormat.encoding = value
		case "force_not_null", "force_null":
		default:
			return false, j.refuse("COPY option "+d.Defname, d.Location, "opmux does not know it", "Leave the option out.")
		}
	}
	switch format {
	case "csv":
		p.copyFormat.null = null
		if p.copyFormat.csv = true; !given(st.Options, "delimiter") {
			p.copyFormat.delim = ','
		}
		if p.copyFormat.escape == 0 {
			p.copyFormat.escape = p.copyFormat.quote
		}
	case "binary":
		p.copyFormat.binary = true
		return freeze, j.binaryColumns(t, columns)
	case "text":
	default:
		return false, fmt.Errorf("COPY format %s: %w", format, errMustFail)
	}
	found := false
	for _, name := range columns {
		c := t.Column(name)
		field := j.dateFieldOf(c)
		found = found || field != fieldPlain
		p.copyColumns = append(p.copyColumns, field)
	}
	if !found {
		p.copyColumns = nil
	}
	return freeze, nil
}

// mark takes an option that is one byte.
func (f *copyFormat) mark(name, value string) error {
	if len(value) != 1 {
		return fmt.Errorf("COPY %s of %d bytes: %w", name, len(value), errMustFail)
	}
	switch name {
	case "delimiter":
		f.delim = value[0]
	case "quote":
		f.quote = value[0]
	default:
		f.escape = value[0]
	}
	return nil
}

// given tells whether an option is there.
func given(options []*pg.Node, name string) bool {
	return slices.ContainsFunc(options, func(o *pg.Node) bool { return o.GetDefElem().GetDefname() == name })
}

// binaryColumns refuses columns whose binary form has numbers of the server's own.
func (j *job) binaryColumns(t *catalog.Table, columns []string) error {
	j.plan.CopyTypes = make([]uint32, 0, len(columns))
	for _, name := range columns {
		if c := t.Column(name); isOpaque(c) || c.Element >= firstUserOID || slices.Contains(objects, c.BaseOID) {
			return j.refuse("COPY … BINARY into "+t.Qualified(), -1, "column "+name+" holds numbers of types or objects, which differ between servers", "Use the text format.")
		}
		j.plan.CopyTypes = append(j.plan.CopyTypes, binaryType(t.Column(name)))
	}
	return nil
}

const oidText = 25

// binaryType is the type whose binary form a column's is: a domain's is that of the type
// under it, an enum's its label.
func binaryType(c *catalog.Column) uint32 {
	if c.Category == "E" {
		return oidText
	}
	return c.BaseOID
}

func (j *job) withoutFreeze(n *pg.Node) (string, error) {
	n = proto.Clone(n).(*pg.Node)
	st := n.GetCopyStmt()
	st.Options = slices.DeleteFunc(st.Options, func(o *pg.Node) bool { return o.GetDefElem().GetDefname() == "freeze" })
	return deparse(j.grammar, n)
}

// OwnEncoding says that a COPY names the encoding of its stream, so that the client's
// own does not count.
func (p *Plan) OwnEncoding() bool { return p.copyFormat.encoding != "" && !p.copyFormat.binary }

// UTF8Only says why a COPY cannot be followed under another client_encoding than UTF8,
// "" where it can.
func (p *Plan) UTF8Only() string {
	f := p.copyFormat
	switch {
	case p.CopyDraw != nil && (f.encoding != "" && !f.binary || strings.IndexFunc(f.null, func(c rune) bool { return c >= 0x80 }) >= 0):
		return "what is drawn for its rows comes in the client's encoding, and its stream or its NULL is in another"
	}
	return ""
}
