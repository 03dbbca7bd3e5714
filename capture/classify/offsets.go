package classify

import (
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/capture/catalog"
)

// Constants of DDL are read once and for good. Which of them are times with time zone the
// text alone tells only where it says so (a cast, the type of the column whose default it
// is); whether others are is looked at behind the statement, in what the server has made
// of it (catalog.OffsetConstants).

const offsetHint = "Write its offset in digits: '10:00+01'."

// OffsetRefusal refuses DDL with a constant that is a time without its offset.
func (p *Plan) OffsetRefusal() *Refusal {
	return &Refusal{Construct: "a time with time zone without its offset in " + p.Construct, Reason: ofTheDay, Hint: offsetHint}
}

// domainLiterals looks at a domain's default.
func (j *job) domainLiterals(d *pg.CreateDomainStmt) error {
	oid, err := j.typeOID(d.TypeName)
	if err != nil || !slices.Contains(offsetTimes, oid) {
		return err
	}
	for _, n := range d.Constraints {
		if c := n.GetConstraint(); c.GetContype() == pg.ConstrType_CONSTR_DEFAULT {
			return j.literal(c.RawExpr.GetAConst(), offsetTime)
		}
	}
	return nil
}

// mayReadTimes notes that DDL which is carried has constants that may be times with time
// zone. CREATE INDEX CONCURRENTLY cannot be undone once it is known.
func (j *job) mayReadTimes(n *pg.Node) error {
	if j.plan.Kind != DDL && j.plan.Kind != Standalone {
		return nil
	}
	return walk(n, func(m proto.Message) (bool, error) {
		switch d := m.(type) {
		case *pg.TypeCast:
			oid, err := j.typeOID(d.TypeName)
			return oid == 0 || slices.Contains(offsetTimes, oid) || d.Arg.GetAConst() == nil, err
		case *pg.A_Const:
			switch {
			case !j.lacksOffset(d.GetSval().GetSval()):
			case j.plan.Kind == DDL:
				j.plan.Offsets = true
			case slices.ContainsFunc(j.plan.TableRefs, func(t *catalog.Table) bool { return slices.ContainsFunc(t.Columns, anyOffset) }):
				return false, j.plan.OffsetRefusal().at(d.Location)
			}
		}
		return true, nil
	})
}

func anyOffset(c catalog.Column) bool { return holdsOffset(&c) }

// lacksOffset says that a text, if it is read as a time with time zone, may take the offset
// of the day. Under a TimeZone that has one offset alone a text that names no zone does not.
func (j *job) lacksOffset(s string) bool {
	return !hasOffset(s) && (!j.context.fixedZone || namesZone(s))
}

// fixedZones are the zones that have one offset alone, as the server names them.
var fixedZones = words("UTC UCT GMT Universal Zulu Greenwich Etc/UTC Etc/UCT Etc/GMT Etc/Universal Etc/Zulu Etc/Greenwich")

// isFixedZone says that a TimeZone has one offset. Another form of such is what SET TIME
// ZONE makes of a number of hours: <+03>-03.
func isFixedZone(zone string) bool {
	if fixedZones[zone] {
		return true
	}
	name, offset, _ := strings.Cut(zone, ">")
	return strings.HasPrefix(name, "<") && offset != "" && strings.Trim(offset, "+-0123456789:") == ""
}

// namesZone says that a time may name a zone.
func namesZone(s string) bool {
	for i := 0; i < len(s); i++ {
		from := i
		for i < len(s) && letter(s[i]) {
			i++
		}
		switch strings.ToLower(s[from:i]) {
		case "", "am", "pm", "t":
		default:
			return true
		}
	}
	return false
}

// mayBeTime says that a text may be read as a time of the day: it has a colon between
// digits, or as many digits as hours and minutes have.
func mayBeTime(s string) bool {
	digits := 0
	for i := range len(s) {
		switch {
		case s[i] >= '0' && s[i] <= '9':
			if digits++; digits == len("hhmm") {
				return true
			}
		case s[i] == ':' && digits > 0:
			return true
		default:
			digits = 0
		}
	}
	return false
}

// hasOffset says that a text is read as the same time with time zone on every day, and so
// is each of those that it is put together of (an array, a row, a range): they end in an
// offset of digits, or are no times.
func hasOffset(s string) bool {
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(`,(){}[]"\\`, r) }) {
		part = part[len(isoDate.FindString(part)):]
		if mayBeTime(part) && !endsInOffset(part) {
			return false
		}
	}
	return true
}

// isoDate is a date that may stand before a time, and changes nothing of one with an offset.
var isoDate = regexp.MustCompile(`^ *[0-9]{4,}-[0-9][0-9]-[0-9][0-9][ T]?`)

// endsInOffset says that a time is followed by an offset of digits and by no name of a zone.
func endsInOffset(s string) bool {
	digits := false
	for i := range len(s) {
		switch {
		case s[i] >= '0' && s[i] <= '9':
			digits = true
		case s[i] == '+' || s[i] == '-':
			return digits && i+1 < len(s) && strings.Trim(s[i+1:], "0123456789:") == ""
		case s[i] != ':' && s[i] != '.' && s[i] != ' ' && digits:
			return false
		}
	}
	return false
}

// dateField is what a field of a COPY stream may hold.
type dateField uint8

const (
	fieldDated     dateField = 1 << iota // special date words
	fieldOffset                          // times whose offset may be that of the day
	fieldFixedZone                       // but not that of the session's zone
	fieldPlain     dateField = 0
)

func (j *job) dateFieldOf(c *catalog.Column) (f dateField) {
	if mayBeDated(c) {
		f |= fieldDated
	}
	if holdsOffset(c) {
		f |= fieldDated | fieldOffset
		if j.context.fixedZone {
			f |= fieldFixedZone
		}
	}
	return f
}

// bad says that the field is read as a moment of the clock.
func (f dateField) bad(field []byte) bool {
	if hasDateWord(field) {
		return true
	}
	return f&fieldOffset != 0 && !hasOffset(string(field)) && (f&fieldFixedZone == 0 || namesZone(string(field)))
}
