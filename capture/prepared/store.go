package prepared

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/opmux/opmux/event"
)

// Store is the table of one primary. It is safe for concurrent use.
type Store struct {
	db  Database
	log *zap.Logger
	// state is how the table stands, nil before Open.
	state atomic.Pointer[state]
}

// state is what Open found.
type state struct {
	disabled bool  // the server prepares no transaction
	err      error // matches ErrUnusable; nil: it can be used
}

// New returns the store of a database. Open is called before it is used.
func New(db Database, log *zap.Logger) *Store { return &Store{db: db, log: log} }

// Open makes the table where the server prepares transactions, and clears it of what
// has ended. It is called at each start of the primary, since the setting may have
// changed. An error is of the connection; why the table cannot be used, Usable says.
func (s *Store) Open(ctx context.Context) error {
	most, table, err := s.look(ctx)
	if err != nil {
		return err
	}
	found := &state{disabled: most == "0"}
	if !found.disabled && table == "missing" {
		cannot := s.db.Install(ctx, tableSQL)
		if _, table, err = s.look(ctx); err != nil {
			return err
		}
		if table == "missing" {
			found.err = fmt.Errorf("%w: %w", ErrUnusable, cannot)
		}
	}
	if table == "forbidden" {
		found.err = fmt.Errorf("%w: GRANT USAGE ON SCHEMA opmux, and SELECT, INSERT, UPDATE, DELETE ON opmux.prepared, to the catalogue login", ErrUnusable)
	}
	s.state.Store(found)
	if table != "usable" {
		return nil
	}
	return s.sweep(ctx)
}

func (s *Store) look(ctx context.Context) (most, table string, err error) {
	rows, err := s.db.Query(ctx, StateSQL)
	if err != nil {
		return "", "", fmt.Errorf("looking for opmux.prepared: %w", err)
	}
	return string(rows[0][0].Text), string(rows[0][1].Text), nil
}

// Usable tells whether transactions can be kept: not where the server prepares none
// (disabled), nor where err, which matches ErrUnusable, says why.
func (s *Store) Usable() (disabled bool, err error) {
	st := s.state.Load()
	if st == nil {
		return false, fmt.Errorf("%w: it has not been looked for yet", ErrUnusable)
	}
	return st.disabled, st.err
}

// Kept is a prepared transaction.
type Kept struct {
	XID uint64
	GID string
	// Version is the catalogue's version that it was classified at, 0: at several.
	Version int64
	// Body is the record, and Promises are what must still hold where the catalogue
	// has moved since. Empty: there is nothing to record.
	Body, Promises []byte
}

// Keep writes a transaction down, durably, before it is prepared.
func (s *Store) Keep(ctx context.Context, k Kept) error {
	_, err := s.db.Query(ctx, keepSQL, strconv.FormatUint(k.XID, 10), k.GID, strconv.FormatInt(k.Version, 10), bytea(k.Body), bytea(k.Promises))
	if err != nil {
		return fmt.Errorf("writing the transaction to opmux.prepared: %w", err)
	}
	return nil
}

func bytea(b []byte) string { return `\x` + hex.EncodeToString(b) }

// Ended clears a transaction that has ended. One that is still prepared stays.
func (s *Store) Ended(ctx context.Context, xid uint64) error {
	_, err := s.db.Query(ctx, sweepSQL, strconv.FormatUint(xid, 10))
	return err
}

// sweep clears what agents have left behind that died. What was committed without an
// attempt went past every agent, and is on no target (I6).
func (s *Store) sweep(ctx context.Context) error {
	rows, err := s.db.Query(ctx, sweepSQL, "")
	if err != nil {
		return fmt.Errorf("clearing opmux.prepared: %w", err)
	}
	for _, r := range rows {
		s.log.Error("a transaction that was prepared through an agent was committed past all of them, and is on no target: run it there by hand, or take a snapshot",
			zap.ByteString("xid", r[0].Text))
	}
	return nil
}

// Standing is what was found under a name.
type Standing string

// The standings.
const (
	// Absent: nothing is prepared under that name, Elsewhere: in another database.
	Absent    Standing = "absent"
	Elsewhere Standing = "elsewhere"
	// Past: something is, which no agent has seen.
	Past Standing = "past"
	// Busy: another attempt has it, whose end is not known.
	Busy Standing = "busy"
	// Claimed: it is this attempt's.
	Claimed Standing = "claimed"
)

// Attempt is one COMMIT PREPARED or ROLLBACK PREPARED, and the backend that will run it.
type Attempt struct {
	ID           event.TxID
	BackendPID   int32
	BackendStart int64 // microseconds since the Unix epoch
}

// Claim is what an attempt got.
type Claim struct {
	Standing Standing
	Kept     // of Claimed
	// LSN is a WAL position behind that of PREPARE TRANSACTION, and flushed.
	LSN uint64
}

// Claim claims the transaction of a name for an attempt. Where another has it whose
// backend is gone, or is the attempt's own, that one will not commit any more.
func (s *Store) Claim(ctx context.Context, gid string, a Attempt) (Claim, error) {
	c, had, err := s.claim(ctx, gid, a, uuid.Nil.String())
	if err != nil {
		s.withdraw(ctx, gid, a)
		return c, err
	}
	if c.Standing != Busy || had.attempt == "" { // without one, it was claimed meanwhile
		return c, nil
	}
	if had.pid != strconv.Itoa(int(a.BackendPID)) || had.start != strconv.FormatInt(a.BackendStart, 10) {
		rows, err := s.db.Query(ctx, goneSQL, had.pid, had.start)
		if err != nil || string(rows[0][0].Text) != "true" {
			return c, err
		}
	}
	if c, _, err = s.claim(ctx, gid, a, had.attempt); err != nil {
		s.withdraw(ctx, gid, a)
	}
	return c, err
}

// withdraw takes back a claim that may have been made although its answer did not
// arrive: nobody else could end the transaction as long as the session lives.
func (s *Store) withdraw(ctx context.Context, gid string, a Attempt) {
	if _, err := s.db.Query(context.WithoutCancel(ctx), withdrawSQL, uuid.UUID(a.ID).String(), gid); err != nil {
		s.log.Warn("a prepared transaction may stay with an attempt that was given up until its session ends", zap.Int32("backend", a.BackendPID), zap.Error(err))
	}
}

// holder is the attempt that a transaction had.
type holder struct{ attempt, pid, start string }

func (s *Store) claim(ctx context.Context, gid string, a Attempt, from string) (Claim, holder, error) {
	rows, err := s.db.Query(ctx, claimSQL, gid, uuid.UUID(a.ID).String(), strconv.Itoa(int(a.BackendPID)), strconv.FormatInt(a.BackendStart, 10), from)
	if err != nil {
		return Claim{}, holder{}, fmt.Errorf("claiming the prepared transaction: %w", err)
	}
	r := rows[0]
	had := holder{string(r[2].Text), string(r[3].Text), string(r[4].Text)}
	switch {
	case r[0].Null:
		return Claim{Standing: Absent}, had, nil
	case string(r[0].Text) == "elsewhere":
		return Claim{Standing: Elsewhere}, had, nil
	case r[1].Null:
		return Claim{Standing: Past}, had, nil
	case r[5].Null:
		return Claim{Standing: Busy}, had, nil
	}
	c := Claim{Standing: Claimed, Kept: Kept{GID: gid}}
	if err := c.read(r); err != nil {
		return Claim{}, had, fmt.Errorf("opmux.prepared: %w", err)
	}
	return c, had, nil
}

// read takes what a claim returned.
func (c *Claim) read(r []event.Value) (err error) {
	if c.XID, err = strconv.ParseUint(string(r[1].Text), 10, 64); err != nil {
		return err
	}
	if c.LSN, err = strconv.ParseUint(string(r[5].Text), 10, 64); err != nil {
		return err
	}
	if c.Version, err = strconv.ParseInt(string(r[6].Text), 10, 64); err != nil {
		return err
	}
	if c.Body, err = fromBytea(r[7]); err != nil {
		return err
	}
	c.Promises, err = fromBytea(r[8])
	return err
}

func fromBytea(v event.Value) ([]byte, error) {
	return hex.DecodeString(strings.TrimPrefix(string(v.Text), `\x`))
}

// GiveUp takes a transaction from an attempt whose command was never sent, or was
// answered by an error. False: it is not prepared any more, and how it ended is not
// known here.
func (s *Store) GiveUp(ctx context.Context, xid uint64, attempt event.TxID) (bool, error) {
	id := uuid.UUID(attempt).String()
	rows, err := s.db.Query(ctx, GiveUpSQL, strconv.FormatUint(xid, 10), id)
	if err != nil {
		return false, fmt.Errorf("giving a prepared transaction up: %w", err)
	}
	return len(rows) == 1 && string(rows[0][0].Text) != id, nil
}
