package schedule

import (
	"crypto/sha256"
	"fmt"

	"pgregory.net/rapid"

	"github.com/opmux/opmux/event"
)

// message is one record of a simulated topic.
type message struct {
	offset int64
	hash   []byte
	record *event.Record
}

// topic builds a topic whose records follow their writers' chains.
type topic struct {
	messages []message
	next     int64
	heads    map[event.EpochRef]message
}

func newTopic() *topic { return &topic{heads: map[event.EpochRef]message{}} }

func (p *topic) append(r *event.Record) message {
	hash := sha256.Sum256(fmt.Appendf(nil, "%d %s %d %d", p.next, r.Agent, r.Epoch, r.N))
	m := message{offset: p.next, hash: hash[:16], record: r}
	p.messages = append(p.messages, m)
	p.next++
	return m
}

func (p *topic) fence(agent string, ended ...event.EpochRef) event.EpochRef {
	m := p.append(&event.Record{Agent: agent, Body: &event.Fence{Gate: "recorded", Ended: ended, LowestReader: 1}})
	ref := event.EpochRef{Agent: agent, Epoch: m.offset}
	p.heads[ref] = m
	return ref
}

// add appends the next record of an epoch and returns its ref and offset.
func (p *topic) add(epoch event.EpochRef, body event.Body) (event.Ref, int64) {
	before := p.heads[epoch]
	n := before.record.N + 1
	m := p.append(&event.Record{Agent: epoch.Agent, Epoch: epoch.Epoch, N: n, Prev: before.hash, Body: body})
	p.heads[epoch] = m
	return event.Ref{Agent: epoch.Agent, Epoch: epoch.Epoch, N: n}, m.offset
}

func (p *topic) n(epoch event.EpochRef) int64 { return p.heads[epoch].record.N }

// history is a generated topic with what became of its transactions.
type history struct {
	*topic
	committed map[int64]bool // by offset; in doubt ones are missing
	txs       map[int64]*Tx  // by offset, as a test sees them
	outcomeAt map[int64]int64
}

// generate draws a history of several agents with intents, outcomes in any
// order, barriers, standalone commands, chunks and restarts.
func generate(t *rapid.T) *history {
	h := &history{topic: newTopic(), committed: map[int64]bool{}, txs: map[int64]*Tx{}, outcomeAt: map[int64]int64{}}
	epochs := []event.EpochRef{h.fence("a"), h.fence("b")}
	var undecided []*Tx
	for range rapid.IntRange(5, 60).Draw(t, "records") {
		i := rapid.IntRange(0, len(epochs)-1).Draw(t, "agent")
		epoch := epochs[i]
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		case 0, 1, 2, 3:
			tx := h.transaction(t, epoch)
			if tx.Transaction.Intent {
				undecided = append(undecided, tx)
			} else {
				h.committed[tx.Offset] = true
			}
		case 4, 5, 6:
			undecided = h.decide(t, epoch, undecided)
		case 7:
			h.add(epoch, &event.Void{})
		case 8:
			h.add(epoch, &event.Mark{Phase: event.MarkAnswer})
		case 9:
			epochs[i] = h.fence(epoch.Agent, epoch)
		}
	}
	// Most of what is open is settled at the end, by whoever is there.
	for len(undecided) > 0 && rapid.IntRange(0, 9).Draw(t, "settle") > 0 {
		undecided = h.decide(t, epochs[0], undecided)
	}
	return h
}

func (h *history) transaction(t *rapid.T, epoch event.EpochRef) *Tx {
	n := h.n(epoch)
	tx := &event.Transaction{
		Intent:     rapid.IntRange(0, 3).Draw(t, "intent") > 0,
		DependsOn:  max(0, n-int64(rapid.IntRange(0, 4).Draw(t, "parallel"))),
		Barrier:    rapid.IntRange(0, 9).Draw(t, "barrier") == 0,
		FirstChunk: -1,
	}
	if tx.Intent && rapid.IntRange(0, 9).Draw(t, "standalone") == 0 {
		tx.Standalone = true
	}
	if rapid.IntRange(0, 9).Draw(t, "chunked") == 0 {
		tx.Chunks, tx.FirstChunk = 1, h.next
		h.add(epoch, &event.Chunk{})
		tx.DependsOn = min(tx.DependsOn, n)
	}
	ref, offset := h.add(epoch, tx)
	sim := &Tx{Offset: offset, Ref: ref, Transaction: tx}
	h.txs[offset] = sim
	return sim
}

func (h *history) decide(t *rapid.T, epoch event.EpochRef, undecided []*Tx) []*Tx {
	var list []event.Outcome
	at := h.next
	for len(undecided) > 0 {
		i := rapid.IntRange(0, len(undecided)-1).Draw(t, "which")
		tx := undecided[i]
		undecided = append(undecided[:i:i], undecided[i+1:]...)
		committed := rapid.IntRange(0, 3).Draw(t, "commit") > 0
		h.committed[tx.Offset] = committed
		h.outcomeAt[tx.Offset] = at
		list = append(list, event.Outcome{Ref: tx.Ref, Committed: committed})
		if rapid.Bool().Draw(t, "one") {
			break
		}
	}
	if len(list) == 0 {
		return undecided
	}
	h.add(epoch, &event.Outcomes{List: list})
	if rapid.IntRange(0, 4).Draw(t, "again") == 0 {
		h.add(epoch, &event.Outcomes{List: list}) // settled by two agents alike
	}
	return undecided
}

// dependsOn says whether b may only be applied after a, by DESIGN §4.1.
func (h *history) dependsOn(b, a *Tx) bool {
	if a == b || !h.committed[a.Offset] {
		return false
	}
	pa, pb := h.place(a), h.place(b)
	if a.Transaction.Standalone || b.Transaction.Standalone || a.Transaction.Barrier || b.Transaction.Barrier {
		return pa < pb || pa == pb && a.Offset < b.Offset
	}
	if a.Offset > b.Offset {
		return false
	}
	if a.Ref.Agent != b.Ref.Agent || a.Ref.Epoch != b.Ref.Epoch {
		return true
	}
	return a.Ref.N <= b.Transaction.DependsOn
}

func (h *history) place(t *Tx) int64 {
	if t.Transaction.Standalone {
		return h.outcomeAt[t.Offset]
	}
	return t.Offset
}
