package classify

import (
	pg "github.com/pganalyze/pg_query_go/v6"
)

// isTransactionTime says that a call returns the transaction's start time.
func isTransactionTime(f *pg.FuncCall) bool {
	schema, fn := name(f.Funcname)
	return (fn == "now" || fn == "transaction_timestamp") && (schema == "" || schema == "pg_catalog") && len(f.Args) == 0
}

// timeType is the type that CURRENT_DATE and its like return, "" for the others.
func timeType(f *pg.SQLValueFunction) string {
	switch f.Op {
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_DATE:
		return "date"
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME_N:
		return "timetz"
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP_N:
		return "timestamptz"
	case pg.SQLValueFunctionOp_SVFOP_LOCALTIME, pg.SQLValueFunctionOp_SVFOP_LOCALTIME_N:
		return "time"
	case pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP, pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP_N:
		return "timestamp"
	}
	return ""
}

// pinnedTime is what stands in frozen text for a function of the transaction's
// time: the pinned timestamptz, parameter number, cast under the session's time
// zone as the server does. Nil: the node is something else.
func pinnedTime(n *pg.Node, number int32) *pg.Node {
	if f := n.GetFuncCall(); f != nil && isTransactionTime(f) {
		return castTo(param(number), "timestamptz", -1)
	}
	f := n.GetSqlvalueFunction()
	if f == nil {
		return nil
	}
	typ := timeType(f)
	if typ == "" {
		return nil
	}
	pinned := castTo(param(number), "timestamptz", -1)
	if typ == "timestamptz" && precision(f) < 0 {
		return pinned
	}
	return castTo(pinned, typ, precision(f))
}

// precision is the number of digits of a second that are asked for, -1 for all.
func precision(f *pg.SQLValueFunction) int32 {
	switch f.Op {
	case pg.SQLValueFunctionOp_SVFOP_CURRENT_TIME_N, pg.SQLValueFunctionOp_SVFOP_CURRENT_TIMESTAMP_N,
		pg.SQLValueFunctionOp_SVFOP_LOCALTIME_N, pg.SQLValueFunctionOp_SVFOP_LOCALTIMESTAMP_N:
		return f.Typmod
	}
	return -1
}

func param(number int32) *pg.Node {
	return &pg.Node{Node: &pg.Node_ParamRef{ParamRef: &pg.ParamRef{Number: number}}}
}

// castTo writes arg::pg_catalog.type(precision).
func castTo(arg *pg.Node, typ string, precision int32) *pg.Node {
	t := &pg.TypeName{Names: []*pg.Node{pg.MakeStrNode("pg_catalog"), pg.MakeStrNode(typ)}, Typemod: -1}
	if precision >= 0 {
		t.Typmods = []*pg.Node{pg.MakeAConstIntNode(int64(precision), -1)}
	}
	return &pg.Node{Node: &pg.Node_TypeCast{TypeCast: &pg.TypeCast{Arg: arg, TypeName: t}}}
}
