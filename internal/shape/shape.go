// Package shape says what a statement does that writes one row with its
// parameters alone, so that many of the same shape can become one statement over
// arrays. The classifier, which owns the parser, fills it in; apply uses it.
package shape

import (
	"strconv"

	"github.com/opmux/opmux/event"
)

// Source is the name under which a statement's parts know the arrays' rows.
const Source = "opmux_v"

// Column is how a statement's parts name parameter n.
func Column(n int) string { return "opmux_p" + strconv.Itoa(n) }

// Statement is an INSERT of one row of values, or an UPDATE or DELETE of the rows
// that equal parameters in some columns. Each part is a function of parameters,
// constants and columns of the row itself.
type Statement struct {
	Action event.Action
	// Relation is the table as the statement names it, quoted.
	Relation string
	// Target is the table with ONLY and alias, for an INSERT with its columns and
	// OVERRIDING.
	Target string
	// Name is what a column of the table is qualified with, quoted.
	Name string
	// Set is what an UPDATE assigns, or an INSERT's values in order.
	Set []Item
	// Where is what rows must equal.
	Where []Item
	// Reads are the columns that values name.
	Reads []string
	// Uses says how often each parameter is named.
	Uses map[int]int
}

// Item is one part of a statement.
type Item struct {
	// Column is what is assigned or compared; "" in an INSERT that names none.
	Column string
	// Expr is the value, in which parameter n is Source.Column(n).
	Expr string
	Kind Kind
	// Param is the one parameter of any kind but Other.
	Param int
}

// Kind says what an item's value is.
type Kind uint8

// The kinds of values.
const (
	Other Kind = iota
	Value      // the parameter
	Plus       // the column itself plus the parameter
	Minus      // the column itself minus the parameter
)
