package verify

import (
	"container/list"
	"hash/maphash"
	"strconv"
	"time"

	"github.com/opmux/opmux/event"
)

// said is what was told last of a transaction on a target.
type said uint8

const (
	saidNothing said = iota
	saidMissing
	saidSkipped
	saidCompared
)

// targetState is what is known of a transaction on one target.
type targetState struct {
	rec   *event.DigestRecord // nil: has not come
	print uint64              // of rec, to tell a duplicate from a second opinion
	said  said
}

// entry is one transaction that waits for something: its other side, or the time
// when that counts as missing.
type entry struct {
	tx      event.TxID
	size    int64 // bytes that it is counted with
	primary *event.DigestRecord
	// borrowed: primary was looked up in the ops topic, so that targets without
	// a digest here may have been told of before, by an earlier entry.
	borrowed bool
	lookup   lookupState
	targets  []targetState // beside joiner.targets

	// place keeps the group's offset before the entry's first record; nil while
	// it lingers.
	place   *place
	seen    time.Time
	due     time.Time // when to look at it next
	confirm int64     // it is missing once the partition was read up to here
	heap    int       // index in the heap, -1 outside
	closed  bool      // nothing more to wait for
	linger  *list.Element
}

type lookupState uint8

const (
	lookupNone lookupState = iota
	lookupWanted
	lookupDone
)

// offset is the transaction's place in the ops topic.
func (e *entry) offset() int64 {
	if e.primary != nil {
		return e.primary.Offset
	}
	for i := range e.targets {
		if e.targets[i].rec != nil {
			return e.targets[i].rec.Offset
		}
	}
	return -1
}

// complete says whether every target's real digest was compared, or there never
// will be more to compare.
func (e *entry) complete() bool {
	if e.primary == nil {
		return false
	}
	for i := range e.targets {
		t := &e.targets[i]
		if t.said == saidCompared || t.said == saidSkipped && e.primary.Skipped != "" {
			continue
		}
		return false
	}
	return true
}

// empty says that nothing of what is here could be compared, as of a transaction
// of sequence marks alone, which the primary's side does not report.
func (e *entry) empty() bool {
	for i := range e.targets {
		if rec := e.targets[i].rec; rec != nil && !nothing(rec) {
			return false
		}
	}
	return true
}

func nothing(rec *event.DigestRecord) bool {
	return rec.Count == 0 && len(rec.Operations) == 0
}

// dueHeap orders entries by when to look at them next.
type dueHeap []*entry

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = i, j
}
func (h *dueHeap) Push(x any) {
	e := x.(*entry)
	e.heap = len(*h)
	*h = append(*h, e)
}
func (h *dueHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.heap = -1
	return e
}

// The counted sizes of what Go keeps beside the bytes of a record's own texts.
const (
	entryOverhead     = 400
	recordOverhead    = 300
	operationOverhead = 120
)

// recordSize estimates the memory that a record holds, without its statements.
func recordSize(r *event.DigestRecord) int64 {
	n := int64(recordOverhead + len(r.Skipped))
	for i := range r.Operations {
		n += operationOverhead + int64(len(r.Operations[i].Hash)+len(r.Operations[i].Skipped))
	}
	return n
}

// maxInterned bounds the statements that are shared between records.
const maxInterned = 4096

// interner shares the texts of statements between records, which repeat a lot.
type interner map[string]string

// record replaces the record's texts by shared ones and returns the bytes of
// those that were not shared yet.
func (in interner) record(r *event.DigestRecord) int64 {
	var added int64
	for i := range r.Operations {
		text := &r.Operations[i].Statement
		if _, known := in[*text]; !known {
			added += int64(len(*text))
		}
		*text = in.text(*text)
	}
	return added
}

// text returns the shared form of a text, which is text where there was none.
func (in interner) text(text string) string {
	if shared, ok := in[text]; ok {
		return shared
	}
	if len(in) >= maxInterned {
		clear(in)
	}
	in[text] = text
	return text
}

// fingerprint tells one side's digests from other ones, whenever they were made.
func fingerprint(seed maphash.Seed, r *event.DigestRecord) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	text := func(s string) {
		h.WriteString(s)
		h.WriteByte(0xff) // no UTF-8 text has it
	}
	text(string(r.Level))
	text(r.Skipped)
	for i := range r.Operations {
		op := &r.Operations[i]
		text(strconv.Itoa(int(op.Index)))
		text(op.Skipped)
		text(op.SQLState)
		text(strconv.FormatInt(op.Affected, 10))
		h.Write(op.Hash)
		h.WriteByte(0xff)
	}
	return h.Sum64()
}
