package execute

import (
	"container/list"
	"encoding/binary"
	"hash/maphash"
	"strconv"
	"strings"
)

// Bounds of what a lane remembers of statements (I7).
const (
	maxPrepared  = 200
	maxSeen      = 2_000
	maxKeptBytes = 16 << 10 // longer texts are never prepared
)

// statement is a prepared statement.
type statement struct {
	name string
	key  string
	sql  string
	oids []uint32
	sent bool // its Parse was sent
}

// statements are the prepared statements of one connection. A text is prepared
// when it comes for the second time: most that come once never come again.
type statements struct {
	count    int
	prepared map[string]*list.Element // of *statement
	recent   *list.List               // the latest used in front
	seed     maphash.Seed
	seen     map[uint64]bool // hashes of keys
}

func newStatements() *statements {
	return &statements{prepared: map[string]*list.Element{}, recent: list.New(),
		seed: maphash.MakeSeed(), seen: map[uint64]bool{}}
}

// statementKey tells apart what may have another meaning: the text, the types
// of its parameters, and the context under which literals in it were read.
func statementKey(sql string, oids []uint32, context string) string {
	var b strings.Builder
	b.Grow(len(sql) + 4*len(oids) + len(context) + 2)
	b.WriteString(context)
	b.WriteByte(0)
	for _, oid := range oids {
		b.Write(binary.BigEndian.AppendUint32(nil, oid))
	}
	b.WriteByte(0)
	b.WriteString(sql)
	return b.String()
}

// get returns the prepared statement for a text, nil where it is not worth one.
// drop is one to be deallocated for it.
func (s *statements) get(sql string, oids []uint32, context string) (st, drop *statement) {
	if len(sql) > maxKeptBytes {
		return nil, nil
	}
	key := statementKey(sql, oids, context)
	if e, ok := s.prepared[key]; ok {
		s.recent.MoveToFront(e)
		return e.Value.(*statement), nil
	}
	hash := maphash.String(s.seed, key)
	if !s.seen[hash] {
		if len(s.seen) >= maxSeen {
			clear(s.seen)
		}
		s.seen[hash] = true
		return nil, nil
	}
	delete(s.seen, hash)
	if s.recent.Len() >= maxPrepared {
		last := s.recent.Back()
		drop = s.recent.Remove(last).(*statement)
		delete(s.prepared, drop.key)
	}
	s.count++
	st = &statement{name: "opmux" + strconv.Itoa(s.count), key: key, sql: sql, oids: oids}
	s.prepared[key] = s.recent.PushFront(st)
	return st, drop
}

// clear forgets all of them; the caller deallocates them.
func (s *statements) clear() {
	clear(s.prepared)
	clear(s.seen)
	s.recent.Init()
}
