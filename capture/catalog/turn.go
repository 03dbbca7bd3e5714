package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A command that runs outside of transactions (CREATE INDEX CONCURRENTLY) has its place
// in the order where its end is recorded. Between its end on the primary and its place in
// the record nothing may come that ran behind it; advisory locks on the primary tell
// every agent of the source that it is there (ADR 8).

// The keys of those locks, beside those of counter.go, which has the others of lockClass.
const (
	turnLock  = 4             // shared by commands on an index of a known name, else alone
	turnClass = lockClass + 1 // by the index's name, alone
	turnPID   = lockClass + 2 // by the process that runs the command
)

// maxIdentifier is the length in bytes from which on the server cuts a name, so that
// another one may mean the same.
const maxIdentifier = 63

// Turn is the right of a session to run a standalone command.
type Turn struct {
	mu   sync.Mutex
	conn *pgconn.PgConn
	pid  string
}

var (
	namedTurnSQL = fmt.Sprintf(`select case when pg_try_advisory_lock_shared(%d, %d) then
		case when pg_try_advisory_lock(%d, $2::int4) then pg_try_advisory_lock(%d, $1::int4) else false end else false end`, lockClass, turnLock, turnClass, turnPID)
	anyTurnSQL = fmt.Sprintf(`select case when pg_try_advisory_lock(%d, %d) then pg_try_advisory_lock(%d, $1::int4) else false end`, lockClass, turnLock, turnPID)
	// silentSQL keeps servers that end idle sessions (from version 14 on) from ending this one.
	silentSQL = `select set_config(name, '0', false) from pg_settings where name = 'idle_session_timeout'`
	heldSQL   = fmt.Sprintf(`select pg_advisory_unlock(%d, $1::int4)`, turnPID)

	// overSQL adds a process that there is none of, and that so is in no transaction.
	overSQL = fmt.Sprintf(`select pg_advisory_lock_shared(%d, 0)`, turnPID)

	// endedSQL reads all locks once. A command that runs, or waits for a lock, is in a
	// transaction, whose own lock is read before those of the main table: while that is
	// there, its end is to come.
	endedSQL = fmt.Sprintf(`with l as materialized (select locktype, database, classid, objid, objsubid, pid, granted from pg_catalog.pg_locks)
	select exists (select from l t where t.locktype = 'advisory' and t.classid = %d and t.objsubid = 2 and t.granted
		and t.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())
		and not exists (select from l v where v.locktype = 'virtualxid' and v.granted and v.pid = t.objid::pg_catalog.int8))`, turnPID)
)

// Turn waits until no other standalone command of any agent, whose end is not recorded,
// makes or drops an index of that name; empty: of any. pid is the process that is to run
// the command.
func (c *Catalog) Turn(ctx context.Context, pid int32, index string) (*Turn, error) {
	cfg := c.lookups.cfg.Copy()
	cfg.RuntimeParams["application_name"] = "opmux turn"
	cfg.RuntimeParams["tcp_keepalives_idle"] = "10" // it is silent for as long as the command runs
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("catalogue: connect to the primary for the turn of a command: %w", err)
	}
	t := &Turn{conn: conn, pid: fmt.Sprint(pid)}
	if err := t.take(ctx, index); err != nil {
		_ = conn.Close(context.WithoutCancel(ctx)) // the first error is the one to tell
		return nil, err
	}
	return t, nil
}

func (t *Turn) take(ctx context.Context, index string) error {
	if _, err := query(ctx, t.conn, silentSQL, nil); err != nil {
		return err
	}
	sql, args := anyTurnSQL, []string{t.pid}
	if index != "" && len(index) <= maxIdentifier {
		h := fnv.New32a()
		_, _ = h.Write([]byte(index)) // it never fails
		sql, args = namedTurnSQL, append(args, fmt.Sprint(int32(binary.BigEndian.Uint32(h.Sum(nil)))))
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		rows, err := query(ctx, t.conn, sql, args)
		if err != nil {
			return err
		}
		if string(rows[0][0].Text) == "t" {
			return nil
		}
		if _, err := query(ctx, t.conn, `select pg_advisory_unlock_all()`, nil); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// Over says that the command has ended, whatever its process does from now on. End tells
// where that fails, since the turn is lost then.
func (t *Turn) Over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	_, _ = query(ctx, t.conn, overSQL, nil)
}

// errTurnLost says that others may have taken their turns before a command had its place.
var errTurnLost = errors.New("the turn's connection to the primary was lost while the command ran")

// End gives the turn up. An error says that it may have been lost before.
func (t *Turn) End() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	defer cancel()
	rows, err := query(ctx, t.conn, heldSQL, []string{t.pid})
	_ = t.conn.Close(ctx) // nothing depends on a clean goodbye
	if err != nil {
		return errors.Join(errTurnLost, err)
	}
	if string(rows[0][0].Text) != "t" {
		return errTurnLost
	}
	return nil
}

// Unplaced tells whether a standalone command has ended, or is about to begin, that has
// no place yet.
func (c *Catalog) Unplaced(ctx context.Context) (bool, error) {
	s, err := one(ctx, c.versions, endedSQL)
	return s == "t", err
}
