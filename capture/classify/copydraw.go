package classify

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgencoding"
)

// CopyDraw is how a COPY goes that leaves out columns whose defaults are drawn
// (serial, now()): the session draws their values for the rows that the client has
// sent, and the server gets a COPY that names these columns first, so that primary
// and backups store the same (class pinned). Standing first they leave the server's
// errors on the other fields as they are.
type CopyDraw struct {
	// Text is the COPY with the drawn columns in front of the client's.
	Text   string
	draws  string
	width  int
	format copyFormat
}

// SQL draws the values for n rows.
func (d *CopyDraw) SQL(n int) string {
	return fmt.Sprintf("SELECT %s FROM pg_catalog.generate_series(1, %d)", d.draws, n)
}

// Empty is a stream without rows, to end a COPY that was only opened.
func (d *CopyDraw) Empty() []byte {
	if !d.format.binary {
		return nil
	}
	return append(slices.Clone(binaryHeader), binaryEnd...)
}

// drawCopy plans a COPY that leaves out columns whose default is drawn.
func (j *job) drawCopy(n *pg.Node, t *catalog.Table, given []string, drawn []*catalog.Column) error {
	d := &CopyDraw{width: len(drawn), format: j.plan.copyFormat}
	construct := "COPY into " + t.Qualified() + " without column " + drawn[0].Name
	const give = "Give the column in the stream, or use INSERT."
	if why := j.undrawable(n.GetCopyStmt()); why != "" {
		return j.refuse(construct, -1, why, give)
	}
	names := make([]string, len(drawn))
	draws := make([]string, len(drawn))
	for i, c := range drawn {
		names[i] = c.Name
		expr := c.Default
		switch {
		case c.Identity != "" && c.Sequence != nil:
			seq := catalog.QuoteIdent(c.Sequence.Schema) + "." + catalog.QuoteIdent(c.Sequence.Name)
			expr = "pg_catalog.nextval(" + catalog.QuoteLiteral(seq) + "::pg_catalog.regclass)"
		case expr == "":
			return j.refuse(construct, -1, "the default is its domain's", give)
		}
		draws[i] = "(" + expr + ")::" + unbounded(c.Type)
		if d.format.binary {
			send := binarySend[c.TypeOID]
			if send == "" {
				return j.refuse(construct, -1, "opmux does not know the binary form of type "+c.Type, "Use the text format, or give the column in the stream.")
			}
			draws[i] = "pg_catalog.encode(pg_catalog." + send + "(" + draws[i] + "), 'hex')"
		}
	}
	d.draws = strings.Join(draws, ", ")
	if err := j.exact(t, names); err != nil {
		return err
	}
	text, err := j.giveFirst(n, slices.Concat(names, given))
	if err != nil {
		return j.refuse(construct, -1, err.Error(), give)
	}
	d.Text = text
	if d.format.binary {
		first := make([]uint32, len(drawn))
		for i, c := range drawn {
			first[i] = binaryType(c)
		}
		j.plan.CopyTypes = slices.Concat(first, j.plan.CopyTypes)
	}
	j.plan.CopyDraw = d
	return nil
}

// undrawable says why opmux could not add columns to the stream of a COPY.
func (j *job) undrawable(st *pg.CopyStmt) string {
	for _, o := range st.Options {
		e := o.GetDefElem()
		switch value := strings.ToLower(optionValue(e)); {
		case e.Defname == "header" && value == "match":
			return "HEADER MATCH would have to match the added column"
		case e.Defname == "encoding" && value != "utf8" && value != "utf-8":
			return "its stream is in another encoding"
		}
	}
	// The default's text is read on the session, where pg_catalog is to come first.
	for _, schema := range j.in.Schemas {
		if schema == "pg_catalog" {
			break
		}
		if !strings.HasPrefix(schema, "pg_temp") {
			return "a schema stands before pg_catalog in search_path"
		}
	}
	return ""
}

// giveFirst is the COPY with its columns named in that order.
func (j *job) giveFirst(n *pg.Node, columns []string) (string, error) {
	n = proto.Clone(n).(*pg.Node)
	st := n.GetCopyStmt()
	st.Attlist = nil
	for _, c := range columns {
		st.Attlist = append(st.Attlist, pg.MakeStrNode(c))
	}
	st.Options = slices.DeleteFunc(st.Options, func(o *pg.Node) bool { return o.GetDefElem().GetDefname() == "freeze" })
	return deparse(j.grammar, n)
}

// unbounded is a type without the bound that the column itself will check.
func unbounded(name string) string {
	switch {
	case strings.HasPrefix(name, "character(") && !strings.HasSuffix(name, "[]"):
		return "pg_catalog.bpchar"
	case strings.HasPrefix(name, "bit(") && !strings.HasSuffix(name, "[]"):
		return "pg_catalog.varbit"
	}
	if open, end := strings.IndexByte(name, '('), strings.IndexByte(name, ')'); !strings.HasPrefix(name, `"`) && open > 0 && end > open {
		return name[:open] + name[end+1:]
	}
	return name
}

// binarySend names the functions that give the binary form of built-in types.
var binarySend = map[uint32]string{
	16: "boolsend", 17: "byteasend", 20: "int8send", 21: "int2send", 23: "int4send", 25: "textsend", 114: "json_send",
	700: "float4send", 701: "float8send", 1042: "bpcharsend", 1043: "varcharsend", 1082: "date_send", 1083: "time_send",
	1114: "timestamp_send", 1184: "timestamptz_send", 1186: "interval_send", 1266: "timetz_send", 1700: "numeric_send",
	2950: "uuid_send", 3802: "jsonb_send",
}

// prefix appends the drawn values of one row as the fields that begin it.
func (d *CopyDraw) prefix(b []byte, values []event.Value, encoding string) ([]byte, error) {
	if len(values) != d.width {
		return nil, fmt.Errorf("%d values were drawn for a row of COPY, expected %d", len(values), d.width)
	}
	for _, v := range values {
		var err error
		switch f := d.format; {
		case f.binary:
			b, err = appendBinary(b, v)
		case v.Null:
			b = append(append(b, f.null...), f.delim)
		case f.csv:
			b = append(appendQuoted(b, v.Text, f, pgencoding.Masked(encoding)), f.delim)
		default:
			if b, err = appendEscaped(b, v.Text, f, pgencoding.Masked(encoding)); err == nil {
				b = append(b, f.delim)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendBinary(b []byte, v event.Value) ([]byte, error) {
	if v.Null {
		return binary.BigEndian.AppendUint32(b, 0xffffffff), nil
	}
	b = binary.BigEndian.AppendUint32(b, uint32(hex.DecodedLen(len(v.Text))))
	return hex.AppendDecode(b, v.Text)
}

// appendQuoted writes a field of CSV; what is quoted is never NULL.
func appendQuoted(b, text []byte, f copyFormat, mask *pgencoding.Mask) []byte {
	b = append(b, f.quote)
	for _, c := range text {
		if bare := mask.Next(c); bare == f.quote || bare == f.escape {
			b = append(b, f.escape)
		}
		b = append(b, c)
	}
	return append(b, f.quote)
}

// appendEscaped writes a field of the text format.
func appendEscaped(b, text []byte, f copyFormat, mask *pgencoding.Mask) ([]byte, error) {
	start := len(b)
	for _, c := range text {
		switch mask.Next(c) {
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\\', f.delim:
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	if !bytes.Equal(b[start:], []byte(f.null)) {
		return b, nil
	}
	if len(text) == 0 || b[start] == '\\' {
		return nil, fmt.Errorf("the drawn value %q reads as NULL in this COPY; use another NULL option", text)
	}
	first := b[start]
	rest := slices.Clone(b[start+1:])
	return append(fmt.Appendf(b[:start], "\\%03o", first), rest...), nil
}
