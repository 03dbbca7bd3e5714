package session

import (
	"sync/atomic"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// share is what all sessions of a listener hold of their open transactions (I7).
type share struct {
	held *atomic.Int64 // bytes, in the metrics
	most int64
}

const (
	// defaultOpenBytes is Config.OpenBytes where it is 0.
	defaultOpenBytes = 32 << 20
	// crowdedChunk is how much of a transaction is held before it is written out
	// while all together hold more than they may, in bytes.
	crowdedChunk = 16 << 10
	// itemBytes is what a step of a transaction takes beside its operations.
	itemBytes = 96
	// maxPlans and maxPlanBytes bound the plans that are kept of one transaction;
	// a plan has its statement's text, and planBytes beside it.
	maxPlans     = 1000
	maxPlanBytes = 4 << 20
	planBytes    = 1 << 10
)

func newShare(most int, held *atomic.Int64) *share {
	if most <= 0 {
		most = defaultOpenBytes
	}
	return &share{held: held, most: int64(most)}
}

// piece is how much one transaction may hold before it is written out.
func (s *Session) piece() int {
	if s.share.held.Load() > s.share.most {
		return min(crowdedChunk, s.cfg.ChunkBytes)
	}
	return s.cfg.ChunkBytes
}

// withheld is how much one transaction may hold at most where it cannot be
// written out, because a portal before it is suspended.
func (s *Session) withheld() int {
	if s.share.held.Load() > 2*s.share.most {
		return s.cfg.ChunkBytes
	}
	return heldBack * s.cfg.ChunkBytes
}

// count notes that the log has grown by n bytes.
func (t *txn) count(n int) {
	if t.ended {
		return
	}
	t.bytes += n
	t.share.held.Add(int64(n))
}

// keepPlan remembers a plan for as long as the transaction is open, or that there
// were more than are kept.
func (t *txn) keepPlan(p *classify.Plan) {
	t.ran++
	size, most := planBytes+len(p.SQL), maxPlanBytes
	if t.share.held.Load() > t.share.most {
		most = crowdedChunk
	}
	if len(t.plans) < maxPlans && t.planBytes+size <= most {
		t.plans[p] = struct{}{}
		t.noted = append(t.noted, p)
		t.holdPlans(size)
		return
	}
	if p.Kind == classify.DDL {
		return // it is what moved the catalogue
	}
	if !t.manyPlans || p.CatalogVersion < t.unkept {
		t.unkept = p.CatalogVersion
	}
	t.manyPlans = true
}

// renewPlan puts a plan in place of one that is kept.
func (t *txn) renewPlan(at int, now *classify.Plan) {
	delete(t.plans, t.noted[at])
	t.noted[at], t.plans[now] = now, struct{}{}
	t.catalogVersion = max(t.catalogVersion, now.CatalogVersion)
}

// dropPlans forgets the plans that came behind the first n: what they did was rolled
// back, and need not hold. What is written out already runs on targets all the same.
func (t *txn) dropPlans(n int) {
	if t.spilled {
		return
	}
	for _, p := range t.noted[n:] {
		delete(t.plans, p)
		t.holdPlans(-planBytes - len(p.SQL))
	}
	t.noted = t.noted[:n]
}

func (t *txn) holdPlans(n int) {
	if t.ended {
		return
	}
	t.planBytes += n
	t.share.held.Add(int64(n))
}

// end takes the transaction out of what is held. It may be called again.
func (t *txn) end() {
	if t == nil || t.ended {
		return
	}
	t.ended = true
	t.expected.Over()
	t.share.held.Add(-int64(t.bytes + t.kept + t.planBytes))
}

// keep notes n bytes of rows or data that are not made operations yet.
func (x *execution) keep(n int) {
	x.kept += n
	if !x.tx.ended {
		x.tx.kept += n
		x.tx.share.held.Add(int64(n))
	}
}

// made forgets rows and data that were made operations, or are lost.
func (x *execution) made() {
	x.keep(-x.kept)
	x.rows, x.several, x.data = nil, nil, nil
}

func (item *logItem) size() int { return itemBytes + sizeOf(item.ops) }

// put adds operations that nobody else has.
func (item *logItem) put(ops []event.Operation) {
	if len(item.ops) == 0 {
		item.ops = ops
		return
	}
	item.ops = append(item.ops, ops...)
}

// add puts an item on the log.
func (t *txn) add(item *logItem) {
	t.log = append(t.log, item)
	t.count(item.size())
}

// idle tells whether an item says nothing any more.
func (item *logItem) idle() bool {
	return item.exec == nil && item.context == nil && item.savepoint == "" && len(item.ops) == 0 && !item.cut
}
