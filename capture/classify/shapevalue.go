package classify

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/opmux/opmux/internal/shape"
)

// column is the name of the table's column that a reference names, "" for others.
func (b *shaper) column(c *pg.ColumnRef) string {
	fields := c.GetFields()
	if len(fields) == 2 && fields[0].GetString_().GetSval() == b.name {
		fields = fields[1:]
	}
	if len(fields) != 1 {
		return ""
	}
	return fields[0].GetString_().GetSval()
}

// item makes a part of a value for a column.
func (b *shaper) item(column string, n *pg.Node) (shape.Item, error) {
	item := shape.Item{Column: column}
	item.Kind, item.Param = b.kind(column, n)
	n = proto.Clone(n).(*pg.Node)
	if err := b.local(n); err != nil {
		return item, err
	}
	text, err := deparse(b.grammar, &pg.Node{Node: &pg.Node_SelectStmt{SelectStmt: &pg.SelectStmt{
		TargetList:  []*pg.Node{{Node: &pg.Node_ResTarget{ResTarget: &pg.ResTarget{Val: n}}}},
		LimitOption: pg.LimitOption_LIMIT_OPTION_DEFAULT, Op: pg.SetOperation_SETOP_NONE,
	}}})
	if err != nil {
		return item, err
	}
	expr, ok := strings.CutPrefix(text, "SELECT ")
	if !ok {
		return item, fmt.Errorf("a value is written as %q", text)
	}
	item.Expr = expr
	return item, nil
}

func (b *shaper) kind(column string, n *pg.Node) (shape.Kind, int) {
	if p := n.GetParamRef(); p != nil {
		return shape.Value, int(p.Number)
	}
	e := n.GetAExpr()
	if e == nil || e.Kind != pg.A_Expr_Kind_AEXPR_OP || column == "" || e.Lexpr.GetColumnRef() == nil || b.column(e.Lexpr.GetColumnRef()) != column {
		return shape.Other, 0
	}
	p := e.Rexpr.GetParamRef()
	switch {
	case p != nil && operator(e, "+"):
		return shape.Plus, int(p.Number)
	case p != nil && operator(e, "-"):
		return shape.Minus, int(p.Number)
	}
	return shape.Other, 0
}

// operator says that an expression's operator has one of the names, unqualified or
// PostgreSQL's own.
func operator(e *pg.A_Expr, names ...string) bool {
	schema, op := name(e.Name)
	return (schema == "" || schema == "pg_catalog") && slices.Contains(names, op)
}

// local checks that a value is made of parameters, constants and the row's columns
// by operators and casts of PostgreSQL's own, and puts the arrays' columns in the
// place of parameters.
func (b *shaper) local(n *pg.Node) error {
	if n == nil {
		return nil
	}
	switch v := n.Node.(type) {
	case *pg.Node_AConst:
		return nil
	case *pg.Node_ParamRef:
		b.uses[int(v.ParamRef.Number)]++
		n.Node = pg.MakeColumnRefNode([]*pg.Node{
			pg.MakeStrNode(shape.Source), pg.MakeStrNode(shape.Column(int(v.ParamRef.Number))),
		}, -1).Node
		return nil
	case *pg.Node_ColumnRef:
		column := b.column(v.ColumnRef)
		if column == "" {
			return errors.New("it names more than a column")
		}
		b.reads = append(b.reads, column)
		return nil
	case *pg.Node_TypeCast:
		if !builtin(v.TypeCast.TypeName) {
			return errors.New("it casts to a type that is not known")
		}
		return b.local(v.TypeCast.Arg)
	case *pg.Node_AExpr:
		if v.AExpr.Kind != pg.A_Expr_Kind_AEXPR_OP || !operator(v.AExpr, "+", "-", "*", "/", "%", "||") {
			return errors.New("it has an operator that is not known")
		}
		if err := b.local(v.AExpr.Lexpr); err != nil {
			return err
		}
		return b.local(v.AExpr.Rexpr)
	}
	return errors.New("a value is more than parameters, constants and columns")
}

var builtinTypes = strings.Fields(`int2 int4 int8 numeric float4 float8 bool text varchar bpchar bytea uuid json jsonb
	date time timetz timestamp timestamptz interval`)

func builtin(t *pg.TypeName) bool {
	schema, typ := name(t.Names)
	if slices.ContainsFunc(t.Typmods, func(n *pg.Node) bool { return n.GetAConst() == nil }) {
		return false // the grammar allows it, the server does not
	}
	return (schema == "" || schema == "pg_catalog") && len(t.ArrayBounds) == 0 && !t.Setof && !t.PctType && slices.Contains(builtinTypes, typ)
}
