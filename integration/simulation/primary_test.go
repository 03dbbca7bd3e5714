package simulation

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/opmux/opmux/event"
)

// primary is the primary server: rows under locks, write-ahead log, crashes.
// world.mu guards it.
type primary struct {
	w   *world
	rng *rand.Rand

	up      bool
	started int64
	// lsn is the end of the log, flushed what a crash leaves at least.
	lsn, flushed         uint64
	checkpoint, recovery uint64
	checkpointXID        uint64 // the next one to be drawn at the checkpoint
	nextXID              uint64
	txs                  map[uint64]*ptx
	rows                 map[string]row
	committed            map[string]row // what reads without locks see
	locks                map[string]*rowLock
	backends             map[int32]*backend
	nextPID              int32
	sequence             uint64
	history              []*ptx // committed, in order
	advisory             map[*advisory]bool
}

type txState int

const (
	txActive txState = iota
	txCommitting
	txCommitted
	txAborted
)

// ptx is a transaction on the primary.
type ptx struct {
	id                event.TxID
	xid               uint64
	state             txState
	failed            bool
	undo              []before
	locks             []held
	firstLSN, lastLSN uint64
	drawn             []uint64
	backend           *backend
}

type before struct {
	row string
	was row
}

// backend is a connection's server process.
type backend struct {
	pid    int32
	start  int64
	server int64 // the server's start
	owner  *process
	tx     *ptx
	gone   bool
	closed chan struct{} // closed when the connection is lost
	lost   bool
}

var (
	errConnection = errors.New("the connection to the primary is lost")
	errLock       = errors.New("lock timeout")
	errFailed     = errors.New("the transaction is aborted")
)

func newPrimary(w *world) *primary {
	p := &primary{w: w, rng: w.rng("primary"), up: true, started: time.Now().UnixMicro(), lsn: 1000, flushed: 1000,
		checkpoint: 1000, recovery: 1000, checkpointXID: 100, nextXID: 100, txs: map[uint64]*ptx{}, rows: map[string]row{}, committed: map[string]row{},
		locks: map[string]*rowLock{}, backends: map[int32]*backend{}, advisory: map[*advisory]bool{}}
	for i := range w.Rows {
		p.rows[rowName(i)] = row{value: uint64(i), exists: true}
	}
	p.rows[table] = row{exists: true}
	for name, r := range p.rows {
		p.committed[name] = r
	}
	return p
}

// connect opens a connection for a process.
func (p *primary) connect(owner *process) (*backend, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if !p.up || owner.dead {
		return nil, errConnection
	}
	p.nextPID++
	b := &backend{pid: p.nextPID, start: time.Now().UnixMicro(), server: p.started, owner: owner, closed: make(chan struct{})}
	p.backends[b.pid] = b
	return b, nil
}

// lose ends the connection for its client; w.mu is held.
func (b *backend) lose() {
	if !b.lost {
		b.lost = true
		close(b.closed)
	}
}

// end ends a backend and what it has not committed; w.mu is held.
func (p *primary) end(b *backend) {
	if b.gone || b.tx != nil && b.tx.state == txCommitting {
		return
	}
	b.gone = true
	b.lose()
	delete(p.backends, b.pid)
	if b.tx != nil {
		p.abort(b.tx)
	}
}

// hangUp is the end of a connection from the client's side, which the server
// notices a while later.
func (p *primary) hangUp(b *backend, after time.Duration) {
	p.w.mu.Lock()
	b.lose()
	p.w.mu.Unlock()
	p.w.actors.Go(func() {
		for {
			time.Sleep(after + time.Microsecond)
			p.w.mu.Lock()
			p.end(b)
			gone := b.gone
			p.w.mu.Unlock()
			if gone {
				return
			}
		}
	})
}

// exec runs a statement in b's transaction, at the server, and waits for its locks.
func (p *primary) exec(b *backend, o *op) (value uint64, affected bool, err error) {
	w := p.w
	for _, name := range []string{table, o.on, o.row} {
		alone, needed := o.locks()[name]
		if !needed {
			continue
		}
		if err := p.lock(b, name, alone); err != nil {
			return 0, false, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	tx := b.tx
	switch {
	case b.gone || tx == nil:
		return 0, false, errConnection
	case tx.failed:
		return 0, false, errFailed
	}
	o.version = p.rows[table].value
	if o.kind == opDraw {
		p.sequence++
		o.arg = p.sequence
		tx.drawn = append(tx.drawn, o.arg)
	}
	ran := *o
	if o.kind == opCopy { // frozen: the value travels, not the read
		ran = op{kind: opSet, row: o.row, arg: mix(p.committed[o.on].value, 1), version: o.version}
		if !w.broken(ReadsNotFrozen) {
			*o = ran
		}
	}
	was := p.rows[o.row]
	if value, affected, err = ran.run(p.rows); err != nil {
		tx.failed = true
		return 0, false, err
	}
	if affected {
		tx.undo = append(tx.undo, before{o.row, was})
		p.assign(tx)
	}
	return value, affected, nil
}

// assign gives a transaction its id with its first write; w.mu is held.
func (p *primary) assign(tx *ptx) {
	p.lsn += 10
	if tx.xid != 0 {
		return
	}
	tx.xid, tx.firstLSN = p.nextXID, p.lsn
	p.nextXID++
	p.txs[tx.xid] = tx
}

// lock waits for a lock.
func (p *primary) lock(b *backend, name string, alone bool) error {
	w := p.w
	w.mu.Lock()
	if b.gone || b.tx == nil || b.tx.state != txActive {
		w.mu.Unlock()
		return errConnection
	}
	l := p.locks[name]
	if l == nil {
		l = &rowLock{holders: map[*ptx]bool{}}
		p.locks[name] = l
	}
	q := l.take(b.tx, alone)
	w.mu.Unlock()
	if q == nil {
		return nil
	}
	timer := time.NewTimer(lockPatience)
	defer timer.Stop()
	err := errLock
	select {
	case <-q.granted:
		return nil
	case <-b.closed:
		err = errConnection
	case <-timer.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-q.granted:
		return nil
	default:
	}
	q.tx.failed = true
	l.leave(q)
	return err
}

// abort undoes a transaction; w.mu is held.
func (p *primary) abort(tx *ptx) {
	if tx.state == txCommitted || tx.state == txAborted {
		return
	}
	p.undo(tx, 0)
	tx.state = txAborted
	tx.giveBack(0)
}

func (p *primary) undo(tx *ptx, from int) {
	for i := len(tx.undo) - 1; i >= from; i-- {
		p.rows[tx.undo[i].row] = tx.undo[i].was
	}
	tx.undo = tx.undo[:from:from]
}

// begin opens a transaction.
func (p *primary) begin(b *backend, id event.TxID) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if b.gone {
		return errConnection
	}
	b.tx = &ptx{id: id, backend: b}
	return nil
}

// savepoint is where a transaction can be rolled back to.
type savepoint struct{ undo, locks int }

func (p *primary) savepoint(b *backend) savepoint {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return savepoint{len(b.tx.undo), len(b.tx.locks)}
}

// rollbackTo gives back the locks that were taken behind the savepoint, as
// PostgreSQL does.
func (p *primary) rollbackTo(b *backend, s savepoint) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if b.gone {
		return errConnection
	}
	p.undo(b.tx, s.undo)
	b.tx.giveBack(s.locks)
	b.tx.failed = false
	return nil
}

// rollback ends the transaction without a trace.
func (p *primary) rollback(b *backend) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if b.tx != nil && !b.gone {
		p.abort(b.tx)
		b.tx = nil
	}
}

// probe is what the agent learns of the transaction with its first write. It is a
// query of the session's: one whose server has crashed meanwhile gets no answer, least
// of all one with the log's end behind the recovery.
func (p *primary) probe(b *backend) (event.PostgresTx, error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if b.gone {
		return event.PostgresTx{}, errConnection
	}
	pg := event.PostgresTx{BackendPID: b.pid, BackendStart: b.start, ProbeLSN: p.lsn}
	if b.tx != nil {
		pg.XID = b.tx.xid
	}
	return pg, nil
}

// read is a round trip that changes nothing.
func (p *primary) ping(ctx context.Context, of *process, rng *rand.Rand) error {
	if err := of.pause(ctx, latency(rng)); err != nil {
		return err
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if !p.up {
		return errConnection
	}
	return nil
}
