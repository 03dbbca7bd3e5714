package simulation

import "time"

// rowLock is the lock of one row or table of the primary: one owner alone, or
// several that share it, and who waits, first come first served.
type rowLock struct {
	holders map[*ptx]bool // true: alone
	queue   []*waiter
}

type waiter struct {
	tx      *ptx
	alone   bool
	granted chan struct{}
}

// held is a lock that a transaction took, so that a savepoint can give it back.
type held struct {
	lock *rowLock
	// upgraded says that it was shared before.
	upgraded, had bool
}

// lockPatience is lock_timeout; it also ends deadlocks.
const lockPatience = 150 * time.Millisecond

// compatible says whether tx can have the lock beside its other holders.
func (l *rowLock) compatible(tx *ptx, alone bool) bool {
	for holder, strong := range l.holders {
		if holder != tx && (alone || strong) {
			return false
		}
	}
	return true
}

// take grants the lock now, or queues; w.mu is held. nil: granted.
func (l *rowLock) take(tx *ptx, alone bool) *waiter {
	strong, has := l.holders[tx]
	if has && (strong || !alone) {
		return nil
	}
	if l.compatible(tx, alone) && (has || len(l.queue) == 0) {
		l.grant(tx, alone)
		return nil
	}
	q := &waiter{tx: tx, alone: alone, granted: make(chan struct{})}
	l.queue = append(l.queue, q)
	return q
}

func (l *rowLock) grant(tx *ptx, alone bool) {
	strong, had := l.holders[tx]
	tx.locks = append(tx.locks, held{lock: l, had: had, upgraded: had && alone && !strong})
	l.holders[tx] = alone || strong
}

// leave takes a waiter out of the queue; w.mu is held.
func (l *rowLock) leave(q *waiter) {
	for i := range l.queue {
		if l.queue[i] == q {
			l.queue = append(l.queue[:i:i], l.queue[i+1:]...)
			break
		}
	}
	l.wake()
}

// wake grants what can be granted, in the order of the queue.
func (l *rowLock) wake() {
	for len(l.queue) > 0 {
		q := l.queue[0]
		if !l.compatible(q.tx, q.alone) {
			return
		}
		l.queue = l.queue[1:]
		l.grant(q.tx, q.alone)
		close(q.granted)
	}
}

// giveBack undoes the locks from the index on; w.mu is held.
func (tx *ptx) giveBack(from int) {
	for i := len(tx.locks) - 1; i >= from; i-- {
		h := tx.locks[i]
		switch {
		case h.upgraded:
			h.lock.holders[tx] = false
		case !h.had:
			delete(h.lock.holders, tx)
		}
	}
	freed := tx.locks[from:]
	tx.locks = tx.locks[:from:from]
	for _, h := range freed {
		h.lock.wake()
	}
}
