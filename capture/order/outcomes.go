package order

import (
	"sync"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/crashpoint"
)

// maxOutcomes bounds one record's list.
const maxOutcomes = 2000

// outcomes gathers the ends of intents, so that many share a record, which goes with the
// next intents where they come in time. Clients never wait for outcomes, and should not
// wait behind a request that has nothing else in it.
type outcomes struct {
	ledger *Ledger

	// So that a flush has everything in the line, and told, that was put before.
	flushing, telling sync.Mutex

	mu     sync.Mutex
	list   []concluded
	untold []concluded // committed and written, their digests are not published
	timer  *time.Timer // to the flush of what nothing took along; nil while list is empty
}

// concluded is an outcome that has no record yet, and what is published with it.
type concluded struct {
	event.Outcome
	tx     *event.Transaction // nil: no digest is known
	offset int64              // of the intent
	ticket *Ticket            // of a standalone command, to be told; nil for all others
}

func (o *outcomes) init(l *Ledger) { o.ledger = l }

// add takes the end of one of the agent's own tickets.
func (o *outcomes) add(t *Ticket, committed bool, by string) {
	c := concluded{Outcome: event.Outcome{
		Ref:       event.Ref{Agent: o.ledger.cfg.Agent, Epoch: o.ledger.line.epoch, N: t.N},
		Committed: committed, Time: time.Now().UnixMicro(), By: by,
	}, tx: t.tx, offset: t.place()}
	if !committed {
		o.ledger.digests.take(t.tx.ID)
		c.tx = nil
	}
	if t.tx.Standalone {
		c.ticket = t
	}
	o.put(c)
	if t.tx.Standalone {
		o.flush() // its place is here, and others wait for it
	}
}

// put takes an end; the flush follows within OutcomeDelay.
func (o *outcomes) put(c concluded) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, c)
	if o.timer == nil {
		o.timer = time.AfterFunc(o.ledger.cfg.OutcomeDelay, o.flush)
	}
}

// Accompany writes the outcomes that have gathered for half of OutcomeDelay, since records
// of the ops topic are about to be sent: one record for each outcome would cost the topic
// more than requests of their own. Intents do not wait for digests, which are dear to make.
func (l *Ledger) Accompany() {
	if l.outcomes.ripe() && l.outcomes.record() {
		go l.outcomes.tell()
	}
}

func (o *outcomes) ripe() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list) > 0 && time.Now().UnixMicro()-o.list[0].Time >= o.ledger.cfg.OutcomeDelay.Microseconds()/2
}

// flush writes what has gathered, and digests.
func (o *outcomes) flush() {
	o.record()
	o.tell()
}

// record writes what has gathered. True: there are digests to tell.
func (o *outcomes) record() bool {
	o.flushing.Lock()
	defer o.flushing.Unlock()
	o.mu.Lock()
	list := o.list
	o.list = nil
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
	o.mu.Unlock()
	told := false
	for len(list) > 0 {
		part := list[:min(len(list), maxOutcomes)]
		list = list[len(part):]
		told = o.write(part) || told
	}
	return told
}

// write puts one record in the line. True: there are digests to tell.
func (o *outcomes) write(part []concluded) bool {
	body := &event.Outcomes{List: make([]event.Outcome, len(part))}
	l := o.ledger
	for i := range part {
		body.List[i] = part[i].Outcome
		l.metrics.outcomes.WithLabelValues(ended(part[i].Committed)).Inc()
	}
	crashpoint.At(crashpoint.OutcomeBefore)
	told := standalones(part)
	_, err := l.line.put(body, 0, func(_, offset int64, err error) {
		if err == nil {
			crashpoint.At(crashpoint.OutcomeAfter)
			l.own(offset, ownRecord{outcomes: body})
		}
		told()
	})
	if err != nil {
		told()
		return false // the chain is broken; the next epoch's agent settles these intents at the primary
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range part {
		if c := &part[i]; c.Committed && c.tx != nil {
			o.untold = append(o.untold, *c)
		}
	}
	return len(o.untold) > 0
}

// standalones tells the tickets of standalone commands that their ends are written.
func standalones(part []concluded) (told func()) {
	var tickets []*Ticket
	for i := range part {
		if part[i].ticket != nil {
			tickets = append(tickets, part[i].ticket)
		}
	}
	return func() {
		for _, t := range tickets {
			t.told()
		}
	}
}

// tell publishes the digests of what is written.
func (o *outcomes) tell() {
	o.telling.Lock()
	defer o.telling.Unlock()
	o.mu.Lock()
	list := o.untold
	o.untold = nil
	o.mu.Unlock()
	for i := range list {
		o.ledger.publishDigest(list[i].tx, list[i].offset)
	}
}
