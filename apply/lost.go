package apply

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/apply/position"
)

// lostError says that a target that was followed has rows and no position any more.
type lostError struct{ source, table string }

func (e *lostError) Error() string {
	return fmt.Sprintf("stream %s: the target has no position any more (schema opmux was dropped or emptied there, or not restored with the rest), and it has rows (in %s): "+
		"from the stream's beginning transactions would take effect twice; fill the target again with opmux snapshot, or opmux replay into an empty one", e.source, e.table)
}

// notLost fails where a target has rows without a position although its workers have
// applied the stream before: what of it these rows have is not known (I4). The consumer
// group tells, whose offsets decide nothing else.
func (st *stream) notLost(ctx context.Context, conn *pgx.Conn) error {
	all, err := position.Read(ctx, conn)
	if err != nil {
		return err
	}
	if _, ok := all[st.source]; ok || st.committed == nil {
		return nil
	}
	offset, err := st.committed(ctx)
	if err != nil || offset <= 0 {
		return err
	}
	table, err := firstRow(ctx, conn)
	if err != nil || table == "" {
		return err
	}
	return &lostError{source: st.source, table: table}
}

// firstRow names a table of the target's that has rows; "" where none has.
func firstRow(ctx context.Context, conn *pgx.Conn) (string, error) {
	rows, err := conn.Query(ctx, `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND n.nspname NOT IN ('opmux', 'information_schema') AND n.nspname NOT LIKE 'pg\_%' AND has_table_privilege(c.oid, 'SELECT')
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1`)
	if err != nil {
		return "", fmt.Errorf("looking for rows of the target: %w", err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", fmt.Errorf("looking for rows of the target: %w", err)
	}
	for _, table := range tables {
		var some bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+table+")").Scan(&some); err != nil {
			return "", fmt.Errorf("looking for rows of the target: %w", err)
		}
		if some {
			return table, nil
		}
	}
	return "", nil
}
