package schedule

// entry is one record between the position and the reader, or a run of such
// records that are all finished.
type entry struct {
	offset   int64 // of the first one
	finished bool
	// steps are what the records do to the chains; of a run only the last one of
	// each epoch counts.
	steps []step

	next, prev *entry
}

// window is the records from the position to the reader, in order. Neighbours
// that are finished become one entry, so that what is behind a transaction that
// stays open for long takes no memory (I7).
type window struct {
	first, last *entry
	len         int
}

func (w *window) push(offset int64, s step) *entry {
	e := &entry{offset: offset, steps: []step{s}, prev: w.last}
	if w.last != nil {
		w.last.next = e
	} else {
		w.first = e
	}
	w.last = e
	w.len++
	return e
}

// finish marks an entry as finished and returns the one that it is now part of.
func (w *window) finish(e *entry) *entry {
	e.finished = true
	if p := e.prev; p != nil && p.finished {
		w.join(p, e)
		e = p
	}
	if n := e.next; n != nil && n.finished {
		w.join(e, n)
	}
	return e
}

// join makes b, which follows a, a part of a.
func (w *window) join(a, b *entry) {
	for _, s := range b.steps {
		a.add(s)
	}
	w.remove(b)
}

func (e *entry) add(s step) {
	for i := range e.steps {
		have := &e.steps[i]
		if have.ref != s.ref || have.outside || s.outside {
			continue
		}
		// In the place of the older one: whatever ended the epoch stays behind it.
		s.closes = s.closes || have.closes
		if len(have.ended) > 0 {
			s.ended = append(have.ended[:len(have.ended):len(have.ended)], s.ended...)
		}
		*have = s
		return
	}
	if !s.outside {
		e.steps = append(e.steps, s)
	}
}

func (w *window) remove(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		w.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		w.last = e.prev
	}
	e.next, e.prev = nil, nil
	w.len--
}
