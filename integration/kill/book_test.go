package kill

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// verdict is what a client was told of a transaction.
type verdict int

const (
	failed verdict = iota
	committed
	unknown
)

// told says what an error means to a client; asked: it had sent what commits. An
// ERROR is an answer: nothing has happened. Everything else that comes behind
// the question, a FATAL error too, leaves it open. (pgconn.SafeToRetry is not to be
// believed: of a connection that breaks under an answered Query it says true.)
func told(err error, asked bool) verdict {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return committed
	case !asked, errors.Is(err, pgx.ErrTxCommitRollback):
		return failed
	case errors.As(err, &pg) && pg.Severity == "ERROR":
		return failed
	}
	return unknown
}

// entry is one transaction in the book.
type entry struct {
	verdict verdict
	err     error
	began   time.Time
	ended   time.Time
}

func (e entry) String() string {
	words := [...]string{failed: "failed", committed: "committed", unknown: "unknown"}
	return fmt.Sprintf("%s (%s to %s, %v)", words[e.verdict], clock(e.began), clock(e.ended), e.err)
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// book is what clients were told of the tokens since the last count.
type book struct {
	mu      sync.Mutex
	open    map[string]entry
	total   map[verdict]int
	states  map[string]int // SQLSTATEs of failures
	written int64
}

func newBook() *book {
	return &book{open: map[string]entry{}, total: map[verdict]int{}, states: map[string]int{}}
}

func (b *book) note(token string, e entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[token] = e
	b.total[e.verdict]++
	if e.verdict == committed {
		b.written++
		return
	}
	b.states[state(e.err)]++
}

func state(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Severity + " " + pg.Code
	}
	return "no answer"
}

// commits is the number of transactions that clients know to be committed.
func (b *book) commits() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.written
}

// take returns the tokens since the last call and begins anew.
func (b *book) take() map[string]entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.open
	b.open = map[string]entry{}
	return list
}

// counts is a copy of the totals.
func (b *book) counts() (verdicts map[verdict]int, states map[string]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.total), maps.Clone(b.states)
}
