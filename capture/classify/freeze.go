package classify

import (
	"cmp"
	"fmt"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// freezeKind says how Operations makes what is published.
type freezeKind uint8

const (
	freezeNothing freezeKind = iota
	freezeText               // text with params
	freezeRows               // row images
	freezeDDL                // text without parameters and count
	freezeSetval             // setvals with the sequences' values
	freezeDraw               // sequence marks alone
	freezeCopy               // text and the stream's bytes
	freezeUnnamed            // rows that are named by all of their columns
	freezeMade               // nothing: what it made is looked at behind it
)

// frozen is the form in which executions of a plan are published.
type frozen struct {
	kind freezeKind
	text string
	// params are the text's parameters; nil with asBound: as the client bound them,
	// and where timeAt is not 0 the pinned time as the parameter of that number.
	params  []source
	asBound bool
	timeAt  int
	// counted says that the command tells how many rows it hit.
	counted bool
	// rows that a pinned INSERT must give, 0: not checked; atMost bounds what text
	// pinned by a key may hit, 0: no bound.
	rows, atMost int
	images       images
	// then is a second statement to publish behind text, "" for none; marked says
	// that text holds timeMark.
	then   string
	marked bool
	// setvals are calls of setval, for the sequences of set in their order.
	setvals []string
	set     []SequenceRef
}

// source is where a parameter of frozen text comes from.
type source struct {
	from sourceKind
	// index is the client's parameter from 0, or the hidden column.
	index, row int
	oid        uint32
}

type sourceKind uint8

const (
	fromClient sourceKind = iota
	fromTime
	fromRow
)

// freezer edits a copy of a statement into its frozen form.
type freezer struct {
	stmt *pg.Node
	// grammar is the version of the grammar that parsed it.
	grammar int32
	// client is the number of the client's parameters; extra are those behind them.
	client int
	extra  []source
	clock  int32 // number of the pinned time, 0: not used yet
}

func (j *job) newFreezer(stmt *pg.Node) *freezer {
	return &freezer{stmt: proto.Clone(stmt).(*pg.Node), grammar: j.grammar, client: max(j.eff.maxParam, len(j.in.ParamOIDs))}
}

// add makes a parameter and returns its reference.
func (f *freezer) add(s source) *pg.Node {
	f.extra = append(f.extra, s)
	return param(int32(f.client + len(f.extra)))
}

// pinTime puts the pinned time in place of now() and its like. pinned says that
// there was one.
func (f *freezer) pinTime() (pinned bool) {
	_ = walk(f.stmt, func(m proto.Message) (bool, error) { // visit makes no errors
		n, ok := m.(*pg.Node)
		if !ok || n.GetFuncCall() == nil && n.GetSqlvalueFunction() == nil {
			return true, nil
		}
		number := f.clock
		if number == 0 {
			number = int32(f.client + len(f.extra) + 1)
		}
		in := pinnedTime(n, number)
		if in == nil {
			return true, nil
		}
		if f.clock == 0 {
			f.clock = number
			f.extra = append(f.extra, source{from: fromTime, oid: oidTimestamptz})
		}
		n.Node = in.Node
		return false, nil
	})
	return f.clock != 0
}

// setReturning replaces the RETURNING list.
func (f *freezer) setReturning(list []*pg.Node) {
	switch s := f.stmt.Node.(type) {
	case *pg.Node_InsertStmt:
		s.InsertStmt.ReturningList = list
	case *pg.Node_UpdateStmt:
		s.UpdateStmt.ReturningList = list
	case *pg.Node_DeleteStmt:
		s.DeleteStmt.ReturningList = list
	}
}

// finish numbers the parameters without gaps, since the server cannot infer the
// type of one that is not used, and writes the text.
func (f *freezer) finish() (string, []source, error) {
	used := make([]int32, f.client+len(f.extra)+1)
	params := []source{}
	_ = walk(f.stmt, func(m proto.Message) (bool, error) {
		if p, ok := m.(*pg.ParamRef); ok && p.Number > 0 && int(p.Number) < len(used) {
			used[p.Number] = 1
		}
		return true, nil
	})
	for n := 1; n < len(used); n++ {
		if used[n] == 0 {
			continue
		}
		if n <= f.client {
			params = append(params, source{from: fromClient, index: n - 1})
		} else {
			params = append(params, f.extra[n-f.client-1])
		}
		used[n] = int32(len(params))
	}
	_ = walk(f.stmt, func(m proto.Message) (bool, error) {
		if p, ok := m.(*pg.ParamRef); ok && p.Number > 0 && int(p.Number) < len(used) {
			p.Number = used[p.Number]
		}
		return true, nil
	})
	text, err := deparse(f.grammar, f.stmt)
	return text, params, err
}

// deparse writes a tree as text and reads it back: what comes out must be the
// tree again, or the text does not say what was meant.
func deparse(grammar int32, stmt *pg.Node) (string, error) {
	text, err := pg.Deparse(&pg.ParseResult{Version: grammar, Stmts: []*pg.RawStmt{{Stmt: stmt}}})
	if err != nil {
		return "", fmt.Errorf("write the frozen statement: %w", err)
	}
	back, err := pg.Parse(text)
	if err != nil {
		return "", fmt.Errorf("read the frozen statement back: %w", err)
	}
	want := proto.Clone(stmt).(*pg.Node)
	clearLocations(want.ProtoReflect())
	if len(back.Stmts) != 1 {
		return "", fmt.Errorf("read the frozen statement back: %d statements", len(back.Stmts))
	}
	got := back.Stmts[0].Stmt
	clearLocations(got.ProtoReflect())
	if !proto.Equal(want, got) {
		return "", fmt.Errorf("the frozen statement reads differently: %s", text)
	}
	return text, nil
}

// clearLocations removes where in a text nodes stand.
func clearLocations(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() == protoreflect.Int32Kind && !f.IsList() && (f.Name() == "location" || f.Name() == "arg_location"):
			m.Clear(f)
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range v.List().Len() {
				clearLocations(v.List().Get(i).Message())
			}
		default:
			clearLocations(v.Message())
		}
		return true
	})
}

// Frozen is the text that the plan publishes, for people and tests; "" where it
// publishes none.
func (p *Plan) Frozen() string { return cmp.Or(p.frozen.text, strings.Join(p.frozen.setvals, "; ")) }
