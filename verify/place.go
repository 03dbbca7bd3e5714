package verify

import "container/list"

// places are the offsets of a partition that are still needed: the group's
// offset stays below the lowest one, so that a restart reads it again.
type places struct {
	list *list.List // of *place, by offset
}

// place is one offset and the number of reasons to keep it.
type place struct {
	offset  int64
	holds   int
	element *list.Element
}

// hold makes a place with one reason. Offsets come in order but for a rewind.
func (p *places) hold(offset int64) *place {
	pl := &place{offset: offset, holds: 1}
	at := p.list.Back()
	for at != nil && at.Value.(*place).offset > offset {
		at = at.Prev()
	}
	if at == nil {
		pl.element = p.list.PushFront(pl)
	} else {
		pl.element = p.list.InsertAfter(pl, at)
	}
	return pl
}

// release takes one reason away.
func (p *places) release(pl *place) {
	if pl.holds--; pl.holds == 0 {
		p.list.Remove(pl.element)
	}
}

// lowest returns the lowest offset that is kept.
func (p *places) lowest() (offset int64, ok bool) {
	front := p.list.Front()
	if front == nil {
		return 0, false
	}
	return front.Value.(*place).offset, true
}
