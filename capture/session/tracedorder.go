package session

import (
	"errors"
	"hash/maphash"
	"slices"
	"strconv"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// The server runs the triggers behind a statement's rows when it has written all of
// them. opmux.take_6 puts images into the order of the writes as far as the commands that
// wrote them tell it. The rest is here.
//
// Two things make an order a right one: each image comes behind that which the row was
// made by, and a key is taken when it is free. Then each finds its own row by its key, and
// leaves what the row is in the end. The first of these is certain: a row's place in its table
// (ctid) is no other row's within a transaction. The second is so wherever the
// commands' order is known, and looked at where it is not.

// maxHolders bounds the keys of early rows that are remembered (I7): of tables with more of
// them, whether a key was free is not known.
const maxHolders = 1 << 17

// errNoOrder says that images are not such as the server can have kept.
var errNoOrder = errors.New("the order in which its rows were written is not known")

// reorder puts the rows in the order of the writes, or says that it cannot: by either policy,
// since there is nothing then that may be carried. Callers hold s.mu.
func (t *take) reorder() {
	rows, err := inWriteOrder(t.rows)
	if err != nil {
		rows = nil
		if t.err == nil {
			t.err = &classify.Refusal{Construct: t.construct(), Reason: err.Error(), Hint: oneAtATime}
		}
	}
	t.rows = rows
}

const oneAtATime = "Write the rows one at a time, or have the trigger change NEW in place of writing its own table."

var holderSeed = maphash.MakeSeed()

// keyHolders says which version of a row has a key that early rows had: 0 is none.
type keyHolders struct {
	holders map[uint64]uint64
	// unremembered are tables of which there are too many such rows.
	unremembered map[string]bool
}

// follows says that an image goes on from what was carried before: the key that it is found
// by is its row's, and the one that it takes is free.
func (t *take) follows(table *tracedTable, row *taken, before, after []event.Value) bool {
	if table.key == nil { // the row itself is what it is found by, and equal ones are the same
		return true
	}
	was, became := version(row, row.was), version(row, row.became)
	if before == nil {
		return t.holds(table, row, after, 0, became)
	}
	if after == nil {
		return t.holds(table, row, before, was, 0)
	}
	if slices.EqualFunc(at(before, table.keyAt), at(after, table.keyAt), sameValue) {
		return t.holds(table, row, before, was, became)
	}
	return t.holds(table, row, before, was, 0) && t.holds(table, row, after, 0, became)
}

// holds says that a key may be a version's, and notes whose it is from now on.
func (h *keyHolders) holds(table *tracedTable, row *taken, values []event.Value, was, becomes uint64) bool {
	early, of := row.note == catalog.NoteEarly, table.root.Qualified()
	if !early && len(h.holders) == 0 {
		return true
	}
	key := maphash.String(holderSeed, of+"\x00"+keyText(at(values, table.keyAt)))
	holder, known := h.holders[key]
	switch {
	case known && holder != was, !known && !early && h.unremembered[of]:
		return false
	case !known && !early:
		return true
	case !known && len(h.holders) >= maxHolders:
		if h.unremembered == nil {
			h.unremembered = map[string]bool{}
		}
		h.unremembered[of] = true
		return true
	}
	if h.holders == nil {
		h.holders = map[uint64]uint64{}
	}
	h.holders[key] = becomes
	return true
}

// version names the version of a row at a place. Behind a TRUNCATE places come again.
func version(row *taken, place string) uint64 {
	return maphash.String(holderSeed, row.schema+"\x00"+row.table+"\x00"+strconv.Itoa(row.emptied)+"\x00"+place) | 1
}

func sameValue(a, b event.Value) bool { return a.Null == b.Null && string(a.Text) == string(b.Text) }

// writeOrder puts rows in front of those that were made of them.
type writeOrder struct {
	rows     []taken
	done     []bool
	makers   map[uint64]int // of each version, the row that made it
	commands map[string]*rowsOfCommand
	out      []taken
}

// rowsOfCommand are the rows of one command in the order in which it wrote them.
type rowsOfCommand struct {
	rows  []int
	next  int // the first that has no place yet
	begun bool
}

// inWriteOrder leaves the order as it is but for rows that came before what they
// are made of, which they are put behind. What a command wrote before comes with it. And all
// that a command's rows were made of was there when it began: it sees nothing that came later.
//
// It fails where that cannot be: the commands are not what they seem.
func inWriteOrder(rows []taken) ([]taken, error) {
	w := &writeOrder{rows: rows, done: make([]bool, len(rows)), makers: map[uint64]int{}, commands: map[string]*rowsOfCommand{}, out: make([]taken, 0, len(rows))}
	emptied := map[string]int{}
	for i := range rows {
		row := &rows[i]
		if row.what == catalog.TakenTruncate {
			emptied[row.schema+"\x00"+row.table]++
		}
		row.emptied = emptied[row.schema+"\x00"+row.table]
		if row.became != "" {
			w.makers[version(row, row.became)] = i
		}
		if row.command != "" {
			c := w.commands[row.command]
			if c == nil {
				c = &rowsOfCommand{}
				w.commands[row.command] = c
			}
			c.rows = append(c.rows, i)
		}
	}
	for i := range rows {
		w.place(i)
	}
	return w.out, w.check()
}

// check looks whether every row comes behind that which made it.
func (w *writeOrder) check() error {
	seen := make(map[uint64]bool, len(w.makers))
	for i := range w.out {
		row := &w.out[i]
		if row.was != "" {
			v := version(row, row.was)
			if _, made := w.makers[v]; made && !seen[v] {
				return errNoOrder
			}
		}
		if row.became != "" {
			seen[version(row, row.became)] = true
		}
	}
	return nil
}

// place gives a row its place, behind what has to come before it.
func (w *writeOrder) place(i int) {
	if w.done[i] {
		return
	}
	c := w.commands[w.rows[i].command]
	if c == nil {
		w.done[i] = true
		w.placeMaker(i)
		w.out = append(w.out, w.rows[i])
		return
	}
	if !c.begun {
		c.begun = true
		for _, row := range c.rows {
			w.placeMaker(row)
		}
	}
	for c.next < len(c.rows) && !w.done[i] {
		row := c.rows[c.next]
		c.next++
		w.done[row] = true
		w.out = append(w.out, w.rows[row])
	}
}

// placeMaker gives the row that made what a row was its place.
func (w *writeOrder) placeMaker(i int) {
	if row := &w.rows[i]; row.was != "" {
		if maker, ok := w.makers[version(row, row.was)]; ok {
			w.place(maker)
		}
	}
}
