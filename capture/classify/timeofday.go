package classify

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// A value of time with time zone that is made of one without an offset takes the offset
// that a zone has on the day when it is made: a backup that applies it behind the change
// to summer time makes another. Its type has a category of its own, in which nothing
// travels as text but what has the type already.
const (
	offsetTime = "Z"
	ofTheDay   = "a time takes the offset of the day on which it is read"
)

var (
	offsetTimes = []uint32{1266, 1270}
	timestamps  = []uint32{1114, 1184}
)

// unsafeTimeOfDay judges what a time with time zone is made of.
func (j *job) unsafeTimeOfDay(n *pg.Node, s scope) (string, error) {
	switch {
	case n.GetAConst() != nil && n.GetAConst().Isnull:
		return "", nil
	case n.GetParamRef() != nil:
		return j.unsafeParam(n.GetParamRef(), "D"), nil
	case n.GetColumnRef() != nil:
		if c := s.column(n.GetColumnRef()); c != nil && slices.Contains(offsetTimes, c.BaseOID) {
			return "", nil
		}
	case n.GetTypeCast() != nil:
		oid, err := j.typeOID(n.GetTypeCast().TypeName)
		if err != nil {
			return "", err
		}
		if slices.Contains(offsetTimes, oid) {
			return j.unsafeTimeOfDay(n.GetTypeCast().Arg, s)
		}
	case n.GetSqlvalueFunction() != nil && timeType(n.GetSqlvalueFunction()) == "timetz":
		return j.unsafe(n, "", s)
	}
	return ofTheDay, nil
}

// isTimestamp says that an expression is plainly a timestamp. AT TIME ZONE of a time of
// day takes the offset of the day, and what is not plainly another thing may be one.
func (j *job) isTimestamp(n *pg.Node, s scope) (bool, error) {
	switch {
	case n.GetColumnRef() != nil:
		c := s.column(n.GetColumnRef())
		return c != nil && slices.Contains(timestamps, c.BaseOID), nil
	case n.GetTypeCast() != nil:
		oid, err := j.typeOID(n.GetTypeCast().TypeName)
		return slices.Contains(timestamps, oid), err
	case n.GetSqlvalueFunction() != nil:
		return strings.HasPrefix(timeType(n.GetSqlvalueFunction()), "timestamp"), nil
	case n.GetAExpr() != nil: // with an interval
		return j.isTimestamp(n.GetAExpr().Lexpr, s)
	case n.GetFuncCall() != nil:
		f := n.GetFuncCall()
		if isTransactionTime(f) {
			return true, nil
		}
		if _, fn := name(f.Funcname); len(f.Args) < 2 || fn != "timezone" && fn != "date_trunc" {
			return false, nil
		}
		return j.isTimestamp(f.Args[1], s)
	}
	return false, nil
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

// hasOffset says that a text is read as the same time with time zone on every day: it
// ends in an offset of digits, or it is no time.
func hasOffset[T string | []byte](s T) bool {
	digits := false
	for i := range len(s) {
		switch {
		case s[i] >= '0' && s[i] <= '9':
			digits = true
		case s[i] == '+' || s[i] == '-':
			return !digits || offset(s[i+1:])
		case s[i] != ':' && s[i] != '.' && s[i] != ' ' && digits:
			return false
		}
	}
	return !digits
}

func offset[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] != ':' && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return len(s) > 0
}

// dateField is what a field of a COPY stream may hold.
type dateField uint8

const (
	fieldPlain  dateField = iota
	fieldDated            // special date words
	fieldOffset           // as well, and times whose offset is that of the day
)

func dateFieldOf(c *catalog.Column) dateField {
	switch {
	case slices.Contains(offsetTimes, c.BaseOID):
		return fieldOffset
	case mayBeDated(c):
		return fieldDated
	}
	return fieldPlain
}

// bad says that the field is read as a moment of the clock.
func (f dateField) bad(field []byte) bool {
	return hasDateWord(field) || f == fieldOffset && !hasOffset(field)
}
