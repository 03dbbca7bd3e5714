package simulation

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"time"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// quietLimit is how long everything may take to settle once nothing fails any more.
const quietLimit = 60 * time.Second

// awaitQuiet waits until the worker has finished everything that is in the topic and
// nothing more is coming.
func (w *world) awaitQuiet() {
	deadline := time.Now().Add(quietLimit)
	for still, before := 0, int64(-1); still < 8; {
		time.Sleep(200 * time.Millisecond)
		end, done := w.progress()
		if done && end == before {
			still++
		} else {
			still = 0
		}
		before = end
		if time.Now().After(deadline) {
			w.stuck()
			return
		}
		w.mu.Lock()
		k, served := w.worker, len(w.living) > 0
		dead := k.dead && k.stopped == nil
		w.mu.Unlock()
		if dead {
			w.startWorker()
		}
		if !served {
			w.revive(0)
		}
	}
}

// progress returns the topic's end, and whether the worker has come to it.
func (w *world) progress() (int64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	end := int64(len(w.broker.topic(names.Ops(source)).log))
	for _, a := range w.living {
		if a.ledger.Load() == nil {
			return end, false // between two epochs
		}
	}
	for _, b := range w.primary.backends {
		if b.tx != nil && b.tx.state == txCommitting {
			return end, false // under gate none its place is empty in the agent's memory
		}
	}
	return end, w.broker.flying == 0 && w.worker.scheduler != nil && w.worker.scheduler.Low() == end
}

// stuck says what did not come to an end.
func (w *world) stuck() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.worker; k.scheduler != nil {
		w.violate("not settled after %v: position %d of %d, %d intents are open, %d requests under way", quietLimit, k.scheduler.Low(),
			len(w.broker.topic(names.Ops(source)).log), len(k.scheduler.Open()), w.broker.flying)
	}
	for _, m := range w.broker.topic(names.Status()).log {
		var h topics.Heartbeat
		if json.Unmarshal(m.Value, &h) == nil && len(h.InDoubt) > 0 {
			w.violate("in doubt: %s", h.InDoubt[0].Reason)
			return
		}
	}
}

// story is what the ops topic says in the end.
type story struct {
	txs      map[event.TxID]event.Ref
	intents  map[event.Ref]event.TxID
	outcomes map[event.Ref]bool
	suspect  bool
}

func (w *world) read() *story {
	s := &story{txs: map[event.TxID]event.Ref{}, intents: map[event.Ref]event.TxID{}, outcomes: map[event.Ref]bool{}}
	h := fnv.New64a()
	for _, m := range w.broker.topic(names.Ops(source)).log {
		rec, err := codec.DecodeRecord(m.Value)
		if err != nil {
			w.violate("%v", err)
			continue
		}
		w.records++
		_, _ = h.Write([]byte(rec.Agent[:2] + string(rec.Body.Kind()))) // it never fails
		ref := event.Ref{Agent: rec.Agent, Epoch: rec.Epoch, N: rec.N}
		switch b := rec.Body.(type) {
		case *event.Transaction:
			if b.ID[0]+b.ID[1]+b.ID[2]+b.ID[3] == 0 || b.Postgres.XID == 0 {
				continue // sequence marks alone
			}
			_, _ = h.Write(b.ID[:]) // it never fails
			if _, twice := s.txs[b.ID]; twice {
				w.violate("I4: transaction %x is in the topic twice", b.ID)
			}
			s.txs[b.ID] = ref
			if b.Intent {
				s.intents[ref] = b.ID
			} else {
				s.outcomes[ref] = true
			}
		case *event.Outcomes:
			for _, o := range b.List {
				if first, known := s.outcomes[o.Ref]; known && first != o.Committed {
					w.violate("I2: %+v has ended both ways", o.Ref)
				}
				s.outcomes[o.Ref] = o.Committed
				if o.By != "" {
					w.settled++
				}
			}
		case *event.Fence:
			s.suspect = s.suspect || len(b.Suspect) > 0
		}
	}
	w.trace = h.Sum64()
	return s
}

// reported says whether any heartbeat names an epoch that is suspect.
func (w *world) reported() bool {
	for _, m := range w.broker.topic(names.Status()).log {
		var h topics.Heartbeat
		if json.Unmarshal(m.Value, &h) == nil && len(h.Suspect) > 0 {
			return true
		}
	}
	return false
}

// check compares primary, topic, target and what clients were told.
func (w *world) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.read()
	w.suspect = w.Gate == order.GateNone && (s.suspect || w.reported())
	truth := map[event.TxID]*ptx{}
	for _, tx := range w.primary.history {
		if len(tx.undo) > 0 {
			truth[tx.id] = tx
		}
	}
	w.committed = len(truth)
	for id := range truth {
		ref, there := s.txs[id]
		committed, known := s.outcomes[ref]
		switch {
		case !there && w.suspect: // lost, and said so
		case !there:
			w.violate("I1: transaction %x is committed (client told: %v) and not in the topic", id, w.told[id])
		case !known:
			w.violate("transaction %x has no outcome", id)
		case !committed:
			w.violate("I1: transaction %x is committed, and the topic says aborted", id)
		}
	}
	for id, ref := range s.txs {
		if s.outcomes[ref] && truth[id] == nil && !w.noEffect(id) {
			w.violate("I2: transaction %x (%+v) did not commit, and the topic says so", id, ref)
		}
	}
	w.checkTarget(s, truth)
	for _, a := range w.slots {
		if a.unexpected() {
			w.violate("agent %s stopped: %v", a.name, a.err)
		}
	}
}

// noEffect says whether a transaction has committed without having changed anything.
func (w *world) noEffect(id event.TxID) bool {
	for _, tx := range w.primary.history {
		if tx.id == id {
			return true
		}
	}
	return false
}

func (w *world) checkTarget(s *story, truth map[event.TxID]*ptx) {
	for id, n := range w.target.applied {
		if ref := s.txs[id]; !s.outcomes[ref] && id != (event.TxID{}) && truth[id] == nil && ref.Agent != "" {
			w.violate("I2: transaction %x was applied %d times and did not commit", id, n)
		}
		if n > 1 {
			w.violate("I4: transaction %x was applied %d times", id, n)
		}
	}
	drawn := uint64(0)
	for id, tx := range truth {
		if _, there := s.txs[id]; there && w.target.applied[id] == 0 {
			w.violate("I1: transaction %x was not applied", id)
		}
		for _, v := range tx.drawn {
			drawn = max(drawn, v)
		}
	}
	if w.suspect {
		return // what was lost is missing from all that follows
	}
	if w.target.sequence < drawn {
		w.violate("I1: the target's sequence is at %d, and %d was drawn on the primary", w.target.sequence, drawn)
	}
	for _, m := range w.target.misfits {
		w.violate("%s", m)
	}
	if len(w.sideBySide) > 0 {
		w.violate("I3: groups that share row %s ran side by side", w.sideBySide[0])
	}
	if !maps.Equal(w.target.rows, w.primary.committed) {
		w.violate("the target differs: %v, the primary has %v", w.target.rows, w.primary.committed)
	}
}
