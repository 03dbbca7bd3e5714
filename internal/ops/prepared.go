package ops

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/internal/config"
)

// preparedTx is a transaction that an application has prepared on the primary, and
// nobody has ended yet.
type preparedTx struct {
	GID      string    `json:"gid"`
	Owner    string    `json:"owner"`
	Prepared time.Time `json:"prepared"`
	// State is kept (COMMIT PREPARED will publish it), ending (somebody is at that), or
	// past: it was prepared past opmux, and can only be rolled back through an agent.
	State string `json:"state"`
}

const preparedPast = "past"

// preparedTable is how a primary and the agent's table stand to two-phase commit.
type preparedTable struct {
	off   bool   // max_prepared_transactions is 0
	table string // usable, missing or forbidden, for this login
	// waiting is known where the table is usable, or missing: then all are past.
	waiting []preparedTx
}

func readPrepared(ctx context.Context, conn *pgx.Conn) (*preparedTable, error) {
	var most string
	t := &preparedTable{}
	if err := conn.QueryRow(ctx, prepared.StateSQL).Scan(&most, &t.table); err != nil {
		return nil, fmt.Errorf("opmux.prepared: %w", err)
	}
	t.off = most == "0"
	sql := prepared.WaitingSQL
	switch t.table {
	case "forbidden":
		return t, nil
	case "missing":
		sql = "SELECT gid, prepared, owner::text, '" + preparedPast + "' FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared, gid"
	}
	rows, err := conn.Query(ctx, sql)
	if err == nil {
		t.waiting, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (p preparedTx, err error) {
			err = row.Scan(&p.GID, &p.Prepared, &p.Owner, &p.State)
			p.Prepared = p.Prepared.UTC()
			return p, err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("prepared transactions: %w", err)
	}
	return t, nil
}

// prepared checks what applications need that commit in two phases.
func (c *primaryCheck) prepared(ctx context.Context) error {
	t, err := readPrepared(ctx, c.conn)
	if err != nil {
		return err
	}
	user := c.conn.Config().User
	may, err := one[bool](ctx, c.conn, "SELECT rolsuper OR has_database_privilege(current_database(), 'CREATE') FROM pg_roles WHERE rolname = current_user")
	switch {
	case err != nil:
		return err
	case t.off: // nobody can prepare anything
	case t.table == "forbidden":
		c.warn("primary", "GRANT USAGE ON SCHEMA opmux, and SELECT, INSERT, UPDATE, DELETE ON opmux.prepared, TO "+quote(user),
			"%s may not use opmux.prepared: PREPARE TRANSACTION is refused, and what is in doubt is not settled", user)
	case t.table == "missing" && !may:
		c.warn("primary", "start the agent once with catalog.dsn as a superuser, or set max_prepared_transactions to 0",
			"opmux.prepared is not there and %s may not create it: PREPARE TRANSACTION is refused", user)
	default:
		c.ok("primary", "transactions can be prepared; %s now", counted(len(t.waiting), "prepared transaction"))
	}
	var past []string
	for _, w := range t.waiting {
		if w.State == preparedPast {
			past = append(past, w.GID)
		}
	}
	if len(past) > 0 {
		c.warn("primary", "ROLLBACK PREPARED, or end them on the primary before the snapshot: what is committed there later is on no target",
			"%s prepared past opmux: %s", counted(len(past), "transaction"), some(past, 5))
	}
	return nil
}

// prepared lists what is prepared on an agent's primary.
func (r *statusReader) prepared(ctx context.Context, a *config.Agent) {
	if a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := connect(ctx, a.Catalog.DSN, "primary (catalog.dsn)")
	if err != nil {
		r.problem("prepared transactions: %v", err)
		return
	}
	defer disconnect(ctx, conn)
	t, err := readPrepared(ctx, conn)
	switch {
	case err != nil:
		r.problem("%v", err)
	case t.table == "forbidden":
		r.problem("prepared transactions: %s may not read opmux.prepared", conn.Config().User)
	default:
		r.out.Prepared = append(r.out.Prepared, t.waiting...)
	}
}
