package session

import (
	"errors"
	"strconv"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// partRows are rows of one of the statements of a text that writes in WITH.
type partRows struct {
	rows [][]event.Value
	hash digest.Rows
}

// errManyParts says that the rows of several statements are more than may be held.
var errManyParts = errors.New("a statement with writes in its WITH changed more rows than are held at once (capture.chunk)")

// addToPart keeps a row with the part that it is of. Callers hold s.mu.
func (s *Session) addToPart(x *execution, row []event.Value) {
	at, own, _ := x.plan.PartOf(row)
	if at < 0 {
		return // of a table whose rows are not carried
	}
	if x.several == nil {
		x.several = make([]partRows, len(x.plan.Parts))
	}
	p := &x.several[at]
	p.rows = append(p.rows, own)
	x.keep(sizeOfRow(row)) // own is a piece of it
	if s.cfg.Level == event.LevelFull && !x.plan.Parts[at].Unnamed {
		p.hash.Add(own)
	}
	if x.kept >= s.cfg.ChunkBytes {
		x.tx.fail(errManyParts)
		x.made()
	}
}

// partsOf hands the rows of the parts over. Callers hold s.mu.
func (s *Session) partsOf(x *execution) []classify.PartRows {
	if len(x.plan.Parts) == 0 {
		return nil
	}
	list := make([]classify.PartRows, len(x.plan.Parts))
	for i := range x.several {
		p := &x.several[i]
		list[i].Rows = p.rows
		if s.cfg.Level == event.LevelFull && !x.plan.Parts[i].Unnamed {
			list[i].Hash = p.hash.Sum()
		}
	}
	x.several = nil
	return list
}

// clients tells whether a row of a statement with parts goes to the client, and counts its own.
func (x *execution) clients(hidden []pgwire.DataRowValue) bool {
	if len(x.plan.Parts) == 0 {
		return true
	}
	if !x.plan.OfClient(func(at int) bool { return hidden[at].Null }) {
		return false
	}
	x.own++
	return x.limit == 0 || x.own <= x.limit
}

// full says that so many rows came as the client's limit is, at which the server suspends a portal.
func (x *execution) full() bool { return x != nil && x.limit > 0 && x.own >= x.limit }

// tagOf is the command tag as the client expects it: that of a statement with parts counts
// the rows of all.
func (x *execution) tagOf(tag string) string {
	if x == nil || len(x.plan.Parts) == 0 {
		return tag
	}
	n := x.own
	x.own = 0
	return x.plan.TagOf(strconv.FormatInt(n, 10))
}

// limitedParts refuses another Execute behind one with a limit. The server would count rows that the
// client does not know of, so it gives all, and those behind the limit are not kept.
var limitedParts = &refusal{code: stateNotSupported, message: "another Execute, behind one with a row limit, of a statement with writes in its WITH",
	hint: "Fetch all of its rows at once."}
