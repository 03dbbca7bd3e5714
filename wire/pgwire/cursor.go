package pgwire

import (
	"bytes"
	"encoding/binary"
)

// cursor takes a message's body apart; after a short read bad stays set and
// every further read returns zero values.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	p := c.b[:n:n]
	c.b = c.b[n:]
	return p
}

func (c *cursor) int16() int {
	p := c.take(2)
	if p == nil {
		return 0
	}
	return int(binary.BigEndian.Uint16(p))
}

func (c *cursor) int32() int32 {
	p := c.take(4)
	if p == nil {
		return 0
	}
	return int32(binary.BigEndian.Uint32(p))
}

func (c *cursor) byte() byte {
	p := c.take(1)
	if p == nil {
		return 0
	}
	return p[0]
}

func (c *cursor) cstring() string {
	i := bytes.IndexByte(c.b, 0)
	if c.bad || i < 0 {
		c.bad = true
		return ""
	}
	s := string(c.b[:i])
	c.b = c.b[i+1:]
	return s
}

// value reads a length-prefixed value; null for length -1.
func (c *cursor) value() (v []byte, null bool) {
	n := c.int32()
	if n == -1 {
		return nil, true
	}
	return c.take(int(n)), false
}

// done returns an error unless the body has been read exactly.
func (c *cursor) done(message string) error {
	if c.bad {
		return &ProtocolError{message + " message is cut short"}
	}
	if len(c.b) > 0 {
		return &ProtocolError{message + " message has bytes left over"}
	}
	return nil
}

func appendInt16(b []byte, v int) []byte   { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func appendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func appendCString(b []byte, s string) []byte {
	return append(append(b, s...), 0)
}
func appendValue(b []byte, v []byte, null bool) []byte {
	if null {
		return appendInt32(b, -1)
	}
	return append(appendInt32(b, int32(len(v))), v...)
}
