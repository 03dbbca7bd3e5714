package settle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/event"
)

// afterFailover settles a transaction of an earlier timeline. What the former
// primary wrote behind the end of that timeline never reached this server, and its
// transaction ids are drawn again here; what lies below, this server has replayed,
// so that the status is the transaction's own.
func afterFailover(ctx context.Context, server Primary, id Identity, i Intent) (Verdict, error) {
	end, accepted := timelineEnd(i)
	if !accepted {
		return doubt("it ran on timeline %d, and the primary is on timeline %d, which nobody has accepted", i.Primary.Timeline, id.Timeline), nil
	}
	if crashed, found := crashedSince(i); found {
		switch {
		case crashed == 0:
			return doubt("its server started anew before the failover, and no agent saw where its recovery ended"), nil
		case i.Tx.ProbeLSN > crashed:
			return Verdict{State: Aborted, By: byRecovery}, nil
		}
	}
	if i.Tx.ProbeLSN > end {
		return Verdict{State: Aborted, By: byTimeline}, nil
	}
	return endedBefore(ctx, server, i, "the primary failed over since")
}

// timelineEnd returns where the transaction's timeline ended, as the acceptance of
// the first timeline behind it says.
func timelineEnd(i Intent) (uint64, bool) {
	var first *TimelineEnd
	for n := range i.Ends {
		e := &i.Ends[n]
		if e.Next > i.Primary.Timeline && (first == nil || e.Next < first.Next) {
			first = e
		}
	}
	if first == nil {
		return 0, false
	}
	return first.LSN, true
}

// crashedSince returns where the first recovery ended that the transaction's own
// server went through after it, while it was still the primary.
func crashedSince(i Intent) (uint64, bool) {
	var first *Recovery
	for n := range i.Recoveries {
		r := &i.Recoveries[n]
		if r.Timeline == i.Primary.Timeline && r.Started > i.Tx.BackendStart && (first == nil || r.Started < first.Started) {
			first = r
		}
	}
	if first == nil {
		return 0, false
	}
	return first.LSN, true
}

// HistoryError says that the primary's history does not pass through a timeline.
type HistoryError struct{ Want, Have int32 }

func (e *HistoryError) Error() string {
	return fmt.Sprintf("the history of the primary's timeline %d does not pass through timeline %d", e.Have, e.Want)
}

// TimelineEnd returns where an earlier timeline ended and the primary's present
// history left it, as the server's history file says. *HistoryError: the present
// timeline is not a successor of it.
func (s *Server) TimelineEnd(ctx context.Context, timeline int32) (uint64, error) {
	var end uint64
	err := s.with(ctx, func(ctx context.Context, conn *pgx.Conn, id Identity) error {
		var text string
		err := conn.QueryRow(ctx, `SELECT pg_catalog.pg_read_file($1)`, fmt.Sprintf("pg_wal/%08X.history", id.Timeline)).Scan(&text)
		var server *pgconn.PgError
		switch {
		case errors.As(err, &server) && server.Code == "42501":
			return errors.New("the catalogue login may not read the server's timeline history: use a superuser's catalog.dsn for this command, or GRANT EXECUTE ON FUNCTION pg_read_file(text) to it")
		case err != nil:
			return fmt.Errorf("reading the history of timeline %d: %w", id.Timeline, err)
		}
		end, err = historyEnd(text, timeline)
		if err == nil && end == 0 {
			return &HistoryError{Want: timeline, Have: id.Timeline}
		}
		return err
	})
	return end, err
}

// historyEnd finds where a timeline ended in a history file, 0 where it is not in
// it. Lines are "parent timeline, tab, end of it as X/X, tab, reason".
func historyEnd(text string, timeline int32) (uint64, error) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		parent, err := strconv.ParseInt(fields[0], 10, 32)
		if err != nil {
			return 0, fmt.Errorf("timeline history: %q: a timeline was expected first", lines.Text())
		}
		if int32(parent) == timeline {
			return parseLSN(fields[1])
		}
	}
	return 0, lines.Err()
}

// parseLSN reads PostgreSQL's form of a WAL position.
func parseLSN(text string) (uint64, error) {
	high, low, ok := strings.Cut(text, "/")
	h, errHigh := strconv.ParseUint(high, 16, 32)
	l, errLow := strconv.ParseUint(low, 16, 32)
	if !ok || errHigh != nil || errLow != nil {
		return 0, fmt.Errorf("WAL position %q: X/X in hexadecimal was expected", text)
	}
	return h<<32 | l, nil
}

// notCommittedSQL picks the transaction ids that the server does not say are
// committed. Ids that it has never given out are among them; those that are too old
// for it to know are not, since they ended long ago.
const notCommittedSQL = `SELECT x::text FROM (SELECT x::pg_catalog.xid8 AS x FROM pg_catalog.unnest($1::text[]) x) ids
	WHERE CASE WHEN x >= pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()) THEN true
		ELSE pg_catalog.pg_xact_status(x) IN ('aborted', 'in progress') END`

// Lost tells which of some transactions the primary does not have, although they
// were told to have committed. They ran on one server, of which all that was written
// behind end is lost.
func (s *Server) Lost(ctx context.Context, of []event.PostgresTx, end uint64) ([]bool, error) {
	lost := make([]bool, len(of))
	var ask []string
	for i, tx := range of {
		lost[i] = tx.ProbeLSN > end
		if !lost[i] && tx.XID != 0 { // without one there is nothing to look up
			ask = append(ask, strconv.FormatUint(tx.XID, 10))
		}
	}
	if len(ask) == 0 {
		return lost, nil
	}
	gone := map[string]bool{}
	err := s.with(ctx, func(ctx context.Context, conn *pgx.Conn, _ Identity) error {
		rows, err := conn.Query(ctx, notCommittedSQL, ask)
		if err != nil {
			return fmt.Errorf("asking for the status of transactions: %w", err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("asking for the status of transactions: %w", err)
		}
		for _, id := range ids {
			gone[id] = true
		}
		return nil
	})
	for i, tx := range of {
		lost[i] = lost[i] || gone[strconv.FormatUint(tx.XID, 10)]
	}
	return lost, err
}
