package execute

import (
	"fmt"
	"io"
	"strconv"

	"github.com/opmux/opmux/event"
)

// copyReader is the data of a COPY, read from the parts of its operation as they
// are needed (I7).
type copyReader struct {
	replay *replay
	rest   []byte
	more   bool
	last   *event.Operation // the part that was read last
	err    error
}

// Read implements io.Reader.
func (c *copyReader) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if !c.more {
			return 0, io.EOF
		}
		op, _, err := c.replay.next()
		if err == nil && op == nil {
			err = io.ErrUnexpectedEOF
		}
		if err == nil && op.Kind != event.OpCopy {
			err = fmt.Errorf("transaction at offset %d: a COPY is continued by a part of kind %s", c.replay.tx.Offset, op.Kind)
		}
		if err != nil {
			c.err = err
			return 0, err
		}
		c.rest, c.more, c.last = op.Data, op.More, op
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func parseOID(v event.Value) uint32 {
	if v.Null {
		return 0
	}
	oid, err := strconv.ParseUint(string(v.Text), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(oid)
}
