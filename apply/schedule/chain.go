package schedule

import (
	"bytes"
	"fmt"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/event"
)

// maxEnded bounds how many ended epochs keep their chain's head (I7). A record
// that lands behind so many younger ones stops the stream.
const maxEnded = 128

// ChainError says that a record does not continue its epoch's chain: something
// was lost, doubled or changed on the way (I6).
type ChainError struct {
	Offset int64
	event.Ref
	Reason string
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("record at offset %d (agent %s, epoch %d, n %d): %s; the stream stops here, since records are lost or were changed: "+
		"look at the topic with opmux tail, and fill the target again with opmux snapshot",
		e.Offset, e.Agent, e.Epoch, e.N, e.Reason)
}

// ReaderVersionError says that the records from here on need a newer worker.
type ReaderVersionError struct {
	Offset     int64
	Have, Need int32
}

func (e *ReaderVersionError) Error() string {
	return fmt.Sprintf("record at offset %d: what follows needs record format version %d, this build reads up to %d; upgrade the workers first",
		e.Offset, e.Need, e.Have)
}

// step is what one record does to the chains of a topic.
type step struct {
	ref     event.EpochRef
	n       int64
	hash    []byte
	offset  int64
	closes  bool             // the writer's own epoch
	ended   []event.EpochRef // of others
	outside bool             // of every chain
}

// chains follows the chains of a topic's epochs.
type chains struct {
	heads  position.Heads
	origin int64 // epochs below it are taken up where they are first seen
}

// stepOf says what a record does to the chains.
func stepOf(offset int64, hash []byte, r *event.Record) step {
	s := step{
		ref:    event.EpochRef{Agent: r.Agent, Epoch: r.Epoch},
		n:      r.N,
		hash:   hash,
		offset: offset,
	}
	switch body := r.Body.(type) {
	case *event.Mark:
		// Operators' commands ask outside of any epoch.
		s.outside = len(r.Prev) == 0
	case *event.Fence:
		s.closes = body.Clean
		s.ended = body.Ended
		if !body.Clean {
			s.ref.Epoch = offset
		}
	}
	return s
}

// check says whether a record is the next one of its epoch.
func (c *chains) check(s *step, r *event.Record) error {
	if s.outside {
		return nil
	}
	fail := func(format string, args ...any) error {
		return &ChainError{
			Offset: s.offset,
			Ref:    event.Ref{Agent: s.ref.Agent, Epoch: s.ref.Epoch, N: s.n},
			Reason: fmt.Sprintf(format, args...),
		}
	}
	fence, isFence := r.Body.(*event.Fence)
	if isFence && !fence.Clean {
		if s.n != 0 {
			return fail("a FENCE that opens an epoch has n 0")
		}
		if fence.LowestReader > event.ReaderVersion {
			return &ReaderVersionError{Offset: s.offset, Have: event.ReaderVersion, Need: fence.LowestReader}
		}
		return nil
	}
	head, known := c.heads[s.ref]
	switch {
	case !known && s.ref.Epoch < c.origin:
		return nil
	case !known:
		return fail("its epoch was not opened by a FENCE at that offset, or ended long ago")
	case s.n != head.N+1:
		return fail("the record before it in its epoch had n %d", head.N)
	case !bytes.Equal(r.Prev, head.Hash):
		return fail("it names %x as the hash of the record before it, which has %x", r.Prev, head.Hash)
	}
	return nil
}

// advance notes that a record was passed.
func (c *chains) advance(s *step) {
	if s.outside {
		return
	}
	head := position.Head{N: s.n, Hash: s.hash, Ended: c.heads[s.ref].Ended}
	if s.closes {
		head.Ended = s.offset
	}
	c.heads[s.ref] = head
	for _, ref := range s.ended {
		if h, ok := c.heads[ref]; ok && h.Ended == 0 {
			h.Ended = s.offset
			c.heads[ref] = h
		}
	}
	if s.closes || len(s.ended) > 0 {
		c.prune()
	}
}

func (c *chains) prune() {
	for {
		var oldest event.EpochRef
		ended := 0
		for ref, h := range c.heads {
			if h.Ended == 0 {
				continue
			}
			ended++
			o := c.heads[oldest]
			if o.Ended == 0 || h.Ended < o.Ended || h.Ended == o.Ended && ref.Epoch < oldest.Epoch {
				oldest = ref
			}
		}
		if ended <= maxEnded {
			return
		}
		delete(c.heads, oldest)
	}
}
