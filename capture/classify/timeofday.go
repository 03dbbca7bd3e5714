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

// holdsOffset says that values of a column are, or have in them, times with time zone.
func holdsOffset(c *catalog.Column) bool {
	return c.HoldsOffset || slices.Contains(offsetTimes, c.BaseOID)
}

// unsafeTimeOfDay judges what a time with time zone is made of.
func (j *job) unsafeTimeOfDay(n *pg.Node, s scope) (string, error) {
	switch {
	case n.GetAConst() != nil && n.GetAConst().Isnull:
		return "", nil
	case n.GetParamRef() != nil:
		return j.unsafeParam(n.GetParamRef(), "D"), nil
	case n.GetColumnRef() != nil:
		if c := s.column(n.GetColumnRef()); c != nil && holdsOffset(c) {
			return unsafeColumn(n.GetColumnRef(), s), nil
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
		switch _, fn := name(f.Funcname); {
		case fn == "to_timestamp", fn == "make_timestamp", fn == "make_timestamptz":
			return true, nil
		case len(f.Args) > 1 && (fn == "timezone" || fn == "date_trunc" || fn == "date_bin"):
			return j.isTimestamp(f.Args[1], s)
		}
	}
	return false, nil
}
