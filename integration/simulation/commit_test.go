package simulation

import (
	"maps"
	"time"
)

// commit is COMMIT on its way to the server. The answer is true for committed; it
// does not come where the connection is lost before.
func (p *primary) commit(b *backend, toServer, flush, back time.Duration) <-chan bool {
	answer := make(chan bool, 1)
	p.w.actors.Go(func() {
		time.Sleep(toServer)
		tx, state := p.startCommit(b)
		if state == txCommitting {
			time.Sleep(flush)
			state = p.finishCommit(tx)
		}
		if tx == nil {
			return
		}
		time.Sleep(back)
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		if !b.lost {
			answer <- state == txCommitted
		}
	})
	return answer
}

func (p *primary) startCommit(b *backend) (*ptx, txState) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	tx := b.tx
	switch {
	case b.gone || tx == nil:
		return nil, txAborted
	case tx.failed:
		p.abort(tx)
		b.tx = nil
		return tx, txAborted
	}
	tx.state = txCommitting
	p.lsn += 10
	tx.lastLSN = p.lsn
	return tx, txCommitting
}

// finishCommit makes a commit whose record is on disk visible.
func (p *primary) finishCommit(tx *ptx) txState {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if tx.state == txCommitting { // else a crash has decided
		p.flushed = max(p.flushed, tx.lastLSN)
		p.settleCommit(tx)
		tx.backend.tx = nil
	}
	return tx.state
}

func (p *primary) settleCommit(tx *ptx) {
	tx.state = txCommitted
	for _, u := range tx.undo {
		p.committed[u.row] = p.rows[u.row]
	}
	p.history = append(p.history, tx)
	tx.giveBack(0)
}

// crash ends the server. Its log survives up to what was flushed, or somewhat
// further; transaction ids that it does not know of are drawn again.
func (p *primary) crash() {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if !p.up {
		return
	}
	p.up = false
	end := p.flushed + uint64(p.rng.Int64N(int64(p.lsn-p.flushed)+1))
	for _, b := range sorted(p.backends) {
		if b.tx != nil && b.tx.state == txCommitting {
			if b.tx.lastLSN <= end {
				p.settleCommit(b.tx)
			} else {
				b.tx.state = txActive
			}
		}
		p.end(b)
	}
	for a := range p.advisory {
		p.release(a)
	}
	last := uint64(99)
	maps.DeleteFunc(p.txs, func(_ uint64, tx *ptx) bool { return tx.firstLSN > end })
	for xid := range p.txs {
		last = max(last, xid)
	}
	p.nextXID = last + 1
	p.lsn, p.flushed = end+1, end+1
	p.checkpoint, p.recovery, p.checkpointXID = end, end, p.nextXID
}

// start ends the recovery behind a crash.
func (p *primary) start() {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if !p.up {
		p.up, p.started = true, time.Now().UnixMicro()
	}
}

// pass is a checkpoint: where the recovery ended is not in the control file any more.
func (p *primary) pass() {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.flushed = p.lsn
	p.checkpoint, p.recovery, p.checkpointXID = p.lsn, 0, p.nextXID
}
