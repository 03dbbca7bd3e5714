// Package digest turns responses into what can be compared between servers: a
// hash of returned rows that does not depend on their order, and the digests of
// a transaction's operations under the numbering that all sides share. Agent,
// worker and verifier use it, so that they cannot disagree about either.
package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/opmux/opmux/event"
)

// Size is the length of a Sum in bytes.
const Size = 16

// Rows accumulates returned rows. Its sum depends on which rows were added and
// how often, not on their order: servers may return the rows of one statement in
// any order. The zero value is ready; it uses the same memory for any number of
// rows (I7). It is not safe for concurrent use.
//
// Each row is hashed by SHA-256 over its values, each one as its length and its
// bytes, so that no two rows share a form; the hashes are added modulo 2^256, so
// that a row that comes twice does not cancel itself out.
type Rows struct {
	sum   [4]uint64 // little-endian limbs
	count uint64
	hash  hash.Hash
	buf   [sha256.Size]byte // scratch of Add: hash.Hash makes locals escape
}

// nullLength stands in for the length of NULL, which no text can have.
const nullLength = ^uint32(0)

// Add adds one row. Values are in the server's text form; it keeps none of them.
func (r *Rows) Add(values []event.Value) {
	if r.hash == nil {
		r.hash = sha256.New()
	}
	r.hash.Reset()
	length := r.buf[:4]
	binary.BigEndian.PutUint32(length, uint32(len(values)))
	r.hash.Write(length)
	for i := range values {
		v := &values[i]
		if v.Null {
			binary.BigEndian.PutUint32(length, nullLength)
			r.hash.Write(length)
			continue
		}
		binary.BigEndian.PutUint32(length, uint32(len(v.Text)))
		r.hash.Write(length)
		r.hash.Write(v.Text)
	}
	r.add(r.hash.Sum(r.buf[:0]))
}

func (r *Rows) add(row []byte) {
	var carry uint64
	for i := range r.sum {
		limb := binary.LittleEndian.Uint64(row[8*i:])
		sum := r.sum[i] + limb
		overflow := sum < limb
		sum += carry
		if sum < carry {
			overflow = true
		}
		carry = 0
		if overflow {
			carry = 1
		}
		r.sum[i] = sum
	}
	r.count++
}

// Count returns how many rows were added.
func (r *Rows) Count() int64 { return int64(r.count) }

// Sum returns the hash, Size bytes, of what was added so far; more may be added
// after. No rows have a sum as well, so that "returned no row" differs from "has
// no hash".
func (r *Rows) Sum() []byte {
	var b [8 * 5]byte
	for i, limb := range r.sum {
		binary.LittleEndian.PutUint64(b[8*i:], limb)
	}
	binary.LittleEndian.PutUint64(b[32:], r.count)
	sum := sha256.Sum256(b[:])
	return sum[:Size:Size]
}
