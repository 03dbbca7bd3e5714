package property

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// mayFail are the SQLSTATEs that statements of the scripts come upon.
var mayFail = strings.Fields(`
	23505 23503 23502 23514 21000
	40001 40P01 55P03 57014 25P02
	22000 22001 22003 22007 22008 2200H 22012 22021 22023 2202E 22P02
	42701 42703 42704 42710 42809 42P01 42P03 42P05 42P07 428C9
	24000 25001 25006 25P01 26000 34000 3B001 55000 55006`)

// ledger is what all clients have seen.
type ledger struct {
	mu       sync.Mutex
	done     map[string]int // by kind
	failed   map[string]int // by SQLSTATE
	refused  map[string]int // by message
	example  map[string]string
	sessions map[*client]*pgconn.PgConn
}

func newLedger() *ledger {
	return &ledger{done: map[string]int{}, failed: map[string]int{}, refused: map[string]int{}, example: map[string]string{},
		sessions: map[*client]*pgconn.PgConn{}}
}

func (l *ledger) connected(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sessions[c] = c.conn
}

func (l *ledger) gone(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, c)
}

// judge counts how a statement ended and tells whether it may end so.
func (l *ledger) judge(st stmt, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.done[st.kind]++
		return nil
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return findingf("%s: %v", st.inline(), err)
	}
	l.failed[pg.Code]++
	if strings.HasPrefix(pg.Message, "opmux: ") {
		return l.judgeRefusal(st, pg)
	}
	if pg.Code == "0A000" && strings.HasPrefix(pg.Message, "cached plan") {
		return nil
	}
	if strings.HasPrefix(pg.Message, "cannot PREPARE a transaction that has ") {
		return nil // it has used temporary objects
	}
	if !slices.Contains(mayFail, pg.Code) {
		return findingf("%s: %v (%s)", st.inline(), err, pg.Detail)
	}
	return nil
}

// judgeRefusal: a gate or a catalogue that moved may refuse anything; else a
// statement must be one that may be refused.
func (l *ledger) judgeRefusal(st stmt, pg *pgconn.PgError) error {
	key := st.kind + ": " + pg.Code + " " + pg.Message
	l.refused[key]++
	l.example[key] = st.inline()
	if strings.Contains(pg.Message, "special date word") && st.kind == "control" {
		return nil // a COPY before it had one
	}
	if st.kind == "execute" && strings.Contains(pg.Message, "prepared under another search_path or other tables") {
		return nil // DDL of another client came between PREPARE and EXECUTE
	}
	if strings.Contains(pg.Message, "is invalid, from a CREATE INDEX CONCURRENTLY") {
		return nil // one of another client was cancelled
	}
	if st.mayRefuse == "" && pg.Code != "40001" {
		return findingf("refused: %s: %v", st.inline(), pg)
	}
	return nil
}

// String tells what ran.
func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	b.WriteString("done:")
	for _, k := range sortedKeys(l.done) {
		fmt.Fprintf(&b, " %s %d,", k, l.done[k])
	}
	b.WriteString("\nfailed:")
	for _, k := range sortedKeys(l.failed) {
		fmt.Fprintf(&b, " %s %d,", k, l.failed[k])
	}
	for _, k := range sortedKeys(l.refused) {
		fmt.Fprintf(&b, "\nrefused %d times: %s\n  such as %s", l.refused[k], k, l.example[k])
	}
	return b.String()
}
