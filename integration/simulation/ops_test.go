package simulation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/opmux/opmux/event"
)

// op is one statement of a client. Statements don't commute: each makes a row's
// value from what was there, so that a wrong order shows in the value.
type op struct {
	kind string
	row  string
	on   string // the row that is read (copy) or referred to (ref)
	arg  uint64
	// version of the table's schema when it ran.
	version uint64
}

// The kinds of statements.
const (
	opMix    = "mix"    // UPDATE: a new value from the old one and a parameter
	opSet    = "set"    // UPDATE to a constant: what a frozen read becomes
	opCopy   = "copy"   // INSERT … SELECT: reads another row, without a lock
	opDelete = "delete" // DELETE
	opInsert = "insert" // INSERT
	opRef    = "ref"    // UPDATE of a child: its parent has to exist, share-locked
	opDDL    = "ddl"    // ALTER TABLE
	opDraw   = "draw"   // mix with a sequence's next value
)

// table is the row that stands for the table: its lock, and as its value the schema.
const table = "#table"

type row struct {
	value  uint64
	exists bool
}

var (
	errNoParent  = errors.New("foreign key: no parent")
	errDuplicate = errors.New("unique: the row exists")
)

// run executes a statement on rows, and says whether a row was affected.
func (o op) run(rows map[string]row) (value uint64, affected bool, err error) {
	r := rows[o.row]
	switch o.kind {
	case opInsert:
		if r.exists {
			return 0, false, errDuplicate
		}
		r = row{value: o.arg, exists: true}
	case opRef:
		if !rows[o.on].exists {
			return 0, false, errNoParent
		}
	case opDDL:
		r = row{value: r.value + 1, exists: true}
	}
	if !r.exists {
		return 0, false, nil
	}
	switch o.kind {
	case opMix, opDraw, opRef:
		r.value = mix(r.value, o.arg)
	case opSet:
		r.value = o.arg
	case opCopy:
		r.value = mix(rows[o.on].value, 1)
	case opDelete:
		r.exists = false
	}
	rows[o.row] = r
	return r.value, true, nil
}

func mix(value, arg uint64) uint64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.BigEndian, [2]uint64{value, arg}) // it never fails
	return h.Sum64()
}

// locks says which lock a statement needs of each row, true: alone.
func (o op) locks() map[string]bool {
	l := map[string]bool{table: o.kind == opDDL}
	if o.row != table {
		l[o.row] = true
	}
	if o.kind == opRef {
		l[o.on] = o.on == o.row
	}
	return l
}

func (o op) event(value uint64, sum bool) event.Operation {
	e := event.Operation{Kind: event.OpStatement, Class: event.ClassText, Tables: []string{"t"},
		Text:   fmt.Sprintf("%s %s %s %d %d", o.kind, o.row, o.on+".", o.arg, o.version),
		Digest: event.Digest{SQLState: "00000", Affected: 1}}
	if sum {
		e.Digest.Hash = binary.BigEndian.AppendUint64(nil, value)
	}
	return e
}

func parseOp(text string) (op, error) {
	var o op
	_, err := fmt.Sscanf(text, "%s %s %s %d %d", &o.kind, &o.row, &o.on, &o.arg, &o.version)
	if err != nil {
		return o, fmt.Errorf("statement %q: %w", text, err)
	}
	o.on = o.on[:len(o.on)-1]
	return o, nil
}
