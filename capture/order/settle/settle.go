// Package settle finds out at the primary, PostgreSQL, how a transaction ended
// whose agent cannot say so: it ends the backend, waits for a definite status, and
// knows what a status is worth after a crash of the server.
package settle

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/event"
)

// Recovery says that the server's start at Started (microseconds since the Unix
// epoch), as the primary of a timeline, found its log intact up to LSN.
type Recovery struct {
	Timeline int32
	Started  int64
	LSN      uint64
}

// TimelineEnd says where the stream's timeline ended when timeline Next took its
// place, as an operator has accepted.
type TimelineEnd struct {
	Next int32
	LSN  uint64
}

// Intent is a transaction whose end is asked for.
type Intent struct {
	// ID tells the attempts at one prepared transaction apart.
	ID event.TxID
	Tx event.PostgresTx
	// Primary is the server that it ran on, as its epoch's FENCE names it.
	Primary event.Primary
	// Recoveries and Ends are those that the stream tells of.
	Recoveries []Recovery
	Ends       []TimelineEnd
}

// State is how a transaction stands.
type State string

// The states.
const (
	Committed State = "committed"
	Aborted   State = "aborted"
	// Pending: not decided yet; ask again.
	Pending State = "in progress"
	// InDoubt: this server cannot tell; an operator must, from what is known elsewhere.
	InDoubt State = "in doubt"
	// Undrawn is a status alone: the server has not given the id to any transaction.
	Undrawn State = "not drawn"
)

// Verdict is what the primary says of a transaction.
type Verdict struct {
	State State
	// By says how it was found out, for Outcome.By.
	By string
	// Reason is set for Pending and InDoubt.
	Reason string
}

func doubt(format string, args ...any) Verdict {
	return Verdict{State: InDoubt, Reason: fmt.Sprintf(format, args...)}
}

// The values of Verdict.By.
const (
	byStatus   = "xid status"
	byRecovery = "end of recovery"
	byTimeline = "end of timeline"
	// byXID: the transaction's id was free again behind a recovery.
	byXID = "id not drawn"
)

// Settle makes one attempt at finding out how a transaction ended; it does not
// wait for a backend that it has told to end. An error means that the server could
// not be asked.
func (s *Server) Settle(ctx context.Context, i Intent) (Verdict, error) {
	if i.Tx.XID == 0 {
		return doubt("the transaction has no transaction id that could be looked up"), nil
	}
	var v Verdict
	err := s.with(ctx, func(ctx context.Context, conn *pgx.Conn, id Identity) error {
		var err error
		v, err = Judge(ctx, asker{conn}, id, i)
		return err
	})
	return v, err
}

// Primary is what Judge asks of a server.
type Primary interface {
	// Terminate ends the backend that ran a transaction, if it is there. The note
	// says why it could not.
	Terminate(ctx context.Context, tx event.PostgresTx) (running bool, note string, err error)
	// Status says how the transaction that has an id now ended.
	Status(ctx context.Context, xid uint64) (Verdict, error)
	// Attempt says what a status (Committed, or Pending where the intent's backend is
	// gone) means for the intent, whose transaction may have been prepared.
	Attempt(ctx context.Context, i Intent, status Verdict) (Verdict, error)
}

// asker asks over a connection.
type asker struct{ conn *pgx.Conn }

func (a asker) Terminate(ctx context.Context, tx event.PostgresTx) (running bool, note string, err error) {
	return terminate(ctx, a.conn, tx)
}

func (a asker) Status(ctx context.Context, xid uint64) (Verdict, error) {
	return status(ctx, a.conn, xid)
}

// Judge finds out how a transaction ended from what the server of an identity says.
func Judge(ctx context.Context, server Primary, id Identity, i Intent) (Verdict, error) {
	p := i.Primary
	if id.SystemID != p.SystemID {
		return doubt("it ran on system %s, and the primary is system %s", p.SystemID, id.SystemID), nil
	}
	if id.Timeline > p.Timeline {
		return afterFailover(ctx, server, id, i)
	}
	if id.Timeline < p.Timeline {
		return doubt("it ran on timeline %d, and the primary is on timeline %d", p.Timeline, id.Timeline), nil
	}
	if i.Tx.BackendStart < id.Started {
		return afterRestart(ctx, server, id, i)
	}
	running, note, err := server.Terminate(ctx, i.Tx)
	if err != nil {
		return Verdict{}, err
	}
	v, err := ended(ctx, server, i, !running)
	if err != nil {
		return Verdict{}, err
	}
	switch {
	case v.State == Undrawn:
		return doubt("the server does not know transaction id %d", i.Tx.XID), nil
	case v.State == Pending && v.Reason == "":
		if running && note == "" {
			note = "its backend was told to end"
		}
		v.Reason = note
		if !running {
			v.Reason = "its backend is gone, and the server still says in progress"
		}
	}
	return v, nil
}

// afterRestart settles a transaction that ran before the server's present start.
// Its backend is gone. What it wrote behind the end of that recovery is lost, and
// its transaction id may have been drawn again, so that the status tells of
// another transaction; below, the status is its own. Of several recoveries the first
// counts, which no agent may have seen: then a log that has grown past it since makes
// the transaction look as if it had survived. That its id had not been drawn behind
// the recovery that is known shows otherwise.
func afterRestart(ctx context.Context, server Primary, id Identity, i Intent) (Verdict, error) {
	switch {
	case i.Tx.ProbeLSN > id.CheckpointLSN:
		// Every checkpoint since lies at or behind the end of the first recovery.
		return Verdict{State: Aborted, By: byRecovery}, nil
	case i.Tx.XID >= id.NextXID:
		return Verdict{State: Aborted, By: byXID}, nil
	}
	end := firstRecovery(i, Recovery{Timeline: id.Timeline, Started: id.Started, LSN: id.RecoveryLSN})
	switch {
	case end == 0:
		return doubt("the server has started anew since, and no agent saw where its recovery ended"), nil
	case i.Tx.ProbeLSN > end:
		return Verdict{State: Aborted, By: byRecovery}, nil
	}
	return endedBefore(ctx, server, i, "the server has started anew since")
}

// endedBefore is how an intent of a server's earlier life ended.
func endedBefore(ctx context.Context, server Primary, i Intent, since string) (Verdict, error) {
	v, err := ended(ctx, server, i, true)
	switch {
	case v.State == Undrawn:
		v = Verdict{State: Aborted, By: byXID}
	case v.State == Pending && v.Reason == "":
		v = doubt("%s, and still says in progress", since)
	}
	return v, err
}

// firstRecovery returns where the first recovery after a transaction ended, 0 where
// nobody saw it. A start that no agent saw served no captured transaction.
func firstRecovery(i Intent, present Recovery) uint64 {
	first := present
	for _, r := range i.Recoveries {
		switch {
		case r.Timeline != present.Timeline || r.Started <= i.Tx.BackendStart || r.Started > first.Started:
		case r.Started < first.Started:
			first = r
		case first.LSN == 0: // the same start, seen in time by another agent
			first.LSN = r.LSN
		}
	}
	return first.LSN
}

// terminate ends the backend that ran the transaction, if it is there: the same
// process id and the same start, since ids are used again. The note says why it
// could not.
func terminate(ctx context.Context, conn *pgx.Conn, tx event.PostgresTx) (running bool, note string, err error) {
	const look = `SELECT coalesce((extract(epoch FROM backend_start) * 1000000)::bigint, 0)
		FROM pg_catalog.pg_stat_activity WHERE pid = $1`
	var started int64
	err = conn.QueryRow(ctx, look, tx.BackendPID).Scan(&started)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, "", nil
	case err != nil:
		return false, "", fmt.Errorf("looking for backend %d: %w", tx.BackendPID, err)
	case started == 0:
		return true, "the catalogue login may not see other backends: grant it pg_monitor", nil
	case started != tx.BackendStart:
		return false, "", nil
	}
	if _, err := conn.Exec(ctx, `SELECT pg_catalog.pg_terminate_backend($1)`, tx.BackendPID); err != nil {
		var server *pgconn.PgError
		if errors.As(err, &server) && server.Code == "42501" {
			return true, fmt.Sprintf("the catalogue login may not end backend %d: grant it pg_signal_backend (superusers' backends need a superuser)", tx.BackendPID), nil
		}
		return true, "", fmt.Errorf("ending backend %d: %w", tx.BackendPID, err)
	}
	return true, "", nil
}

// status asks for the status of a transaction id. In progress is not aborted: a
// commit that waits for a standby is in progress, and may end either way.
func status(ctx context.Context, conn *pgx.Conn, xid uint64) (Verdict, error) {
	var said *string
	err := conn.QueryRow(ctx, `SELECT pg_catalog.pg_xact_status($1::text::pg_catalog.xid8)`, fmt.Sprint(xid)).Scan(&said)
	var server *pgconn.PgError
	if errors.As(err, &server) && server.Code == "22023" {
		return Verdict{State: Undrawn}, nil // "is in the future"
	}
	switch {
	case err != nil:
		return Verdict{}, fmt.Errorf("asking for the status of transaction %d: %w", xid, err)
	case said == nil:
		return doubt("transaction id %d is too old for the server to know", xid), nil
	case *said == "committed":
		return Verdict{State: Committed, By: byStatus}, nil
	case *said == "aborted":
		return Verdict{State: Aborted, By: byStatus}, nil
	}
	return Verdict{State: Pending}, nil
}
