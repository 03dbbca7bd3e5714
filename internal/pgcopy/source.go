package pgcopy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Source is the database that is copied: an open snapshot of it.
type Source struct {
	dsn      string
	conn     *pgx.Conn
	tables   []Table
	version  int    // server_version_num
	exported string // pg_export_snapshot
	schema   *archive
	// Visible is pg_current_snapshot() of the snapshot.
	Visible string
}

// Table is one table whose rows are copied.
type Table struct {
	Schema, Name string
	columns      []string
	where        string // of an extension's configuration table
	Bytes        int64  // on disk, for progress
}

func (t Table) String() string { return t.Schema + "." + t.Name }

// Tables are the tables whose rows are copied.
func (s *Source) Tables() []Table { return s.tables }

// Bytes is the size of all tables on disk, for progress.
func (s *Source) Bytes() int64 {
	var sum int64
	for _, t := range s.tables {
		sum += t.Bytes
	}
	return sum
}

// ErrBusy says that the tables could not be locked for reading in time.
var ErrBusy = errors.New("the tables could not be locked for reading")

// listTables lists what holds rows: not opmux's own and not the servers'. Of an
// extension's tables only the configuration is data, as pg_dump has it. What is in
// unlogged ones does not survive a crash, and is not followed.
const listTables = `SELECT n.nspname, c.relname, coalesce(e.condition, ''), pg_table_size(c.oid),
	array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e'
LEFT JOIN LATERAL (SELECT x.extcondition[i] AS condition FROM pg_extension x, generate_subscripts(x.extconfig, 1) i
	WHERE x.oid = d.refobjid AND x.extconfig[i] = c.oid) e ON true
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname NOT IN ('opmux', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'
	AND (d.objid IS NULL OR e.condition IS NOT NULL)
ORDER BY 1, 2`

// OpenSource locks every table against changes of its form, calls before, then
// opens and exports a snapshot and dumps the schema. Until Close, statements that
// need the tables alone (ALTER TABLE, TRUNCATE) wait; commits never do. A table
// made meanwhile makes it begin again, and so does a statement that began to wait
// for these locks before pg_dump had its own: the three would wait for each other,
// unnoticed by the server.
func OpenSource(ctx context.Context, dsn string, before func(context.Context) error) (*Source, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("the connection string of the primary cannot be read")
	}
	cfg.RuntimeParams["application_name"] = "opmux snapshot"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("primary: %w", err)
	}
	s := &Source{dsn: dsn, conn: conn}
	for attempt := 1; ; attempt++ {
		done, err := s.open(ctx, before)
		switch {
		case err == nil && done:
			return s, nil
		case err != nil && (!errors.Is(err, ErrBusy) || attempt == 10), err == nil && attempt == 10:
			if err == nil {
				err = fmt.Errorf("%w: tables are made and dropped all the time; try again when it is calmer", ErrBusy)
			}
			return nil, errors.Join(err, s.Close())
		}
		if err := s.dropSchema(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		if _, err := conn.Exec(ctx, "ROLLBACK"); err != nil {
			return nil, errors.Join(fmt.Errorf("primary: %w", err), s.Close())
		}
	}
}

// session is how the copying session is set up: no timeouts while it waits for
// the target, and the one text form that any server reads the same way.
const session = `SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET row_security = off;
SET DateStyle = ISO; SET IntervalStyle = postgres; SET extra_float_digits = 1; SET bytea_output = hex; SET synchronize_seqscans = off`

func (s *Source) open(ctx context.Context, before func(context.Context) error) (bool, error) {
	if _, err := s.conn.Exec(ctx, session+"; SET lock_timeout = '5s'"); err != nil {
		return false, fmt.Errorf("primary: %w", err)
	}
	if err := s.conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&s.version); err != nil {
		return false, fmt.Errorf("primary: %w", err)
	}
	expected, err := s.list(ctx)
	if err != nil {
		return false, err
	}
	if _, err := s.conn.Exec(ctx, "BEGIN READ ONLY, ISOLATION LEVEL REPEATABLE READ"); err != nil {
		return false, fmt.Errorf("primary: %w", err)
	}
	// LOCK TABLE takes no snapshot: the one below sees all that the locks waited for.
	for _, t := range expected {
		if _, err := s.conn.Exec(ctx, "LOCK TABLE ONLY "+pgx.Identifier{t.Schema, t.Name}.Sanitize()+" IN ACCESS SHARE MODE"); err != nil {
			return false, lockError(t, err)
		}
	}
	if err := before(ctx); err != nil {
		return false, err
	}
	if err := s.conn.QueryRow(ctx, "SELECT pg_export_snapshot(), pg_current_snapshot()::text").Scan(&s.exported, &s.Visible); err != nil {
		return false, fmt.Errorf("primary: opening a snapshot: %w", err)
	}
	s.tables, err = s.list(ctx)
	if err != nil {
		return false, err
	}
	same := slices.EqualFunc(expected, s.tables, func(a, b Table) bool {
		return a.String() == b.String() && slices.Equal(a.columns, b.columns)
	})
	if !same {
		return false, nil
	}
	s.schema, err = dumpSchema(ctx, s)
	return err == nil, err
}

// dropSchema removes the dump of the schema.
func (s *Source) dropSchema() error {
	if s.schema == nil {
		return nil
	}
	a := s.schema
	s.schema = nil
	return a.remove()
}

func lockError(t Table, err error) error {
	var server *pgconn.PgError
	if errors.As(err, &server) {
		switch server.Code {
		case "55P03", "42P01", "40P01": // lock timeout, dropped meanwhile, deadlock: again
			return fmt.Errorf("%w: %s: %s", ErrBusy, t, server.Message)
		case "42501":
			return fmt.Errorf("primary: %s: %s: the login of catalog.dsn needs SELECT on every table (GRANT pg_read_all_data)", t, server.Message)
		}
	}
	return fmt.Errorf("primary: locking %s: %w", t, err)
}

func (s *Source) list(ctx context.Context) ([]Table, error) {
	rows, err := s.conn.Query(ctx, listTables)
	if err != nil {
		return nil, fmt.Errorf("primary: listing tables: %w", err)
	}
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Table, error) {
		var t Table
		err := row.Scan(&t.Schema, &t.Name, &t.where, &t.Bytes, &t.columns)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("primary: listing tables: %w", err)
	}
	return tables, nil
}

// ownTriggers lists opmux's event triggers, which pg_dump does not know as such.
func (s *Source) ownTriggers(ctx context.Context) ([]string, error) {
	rows, err := s.conn.Query(ctx, `SELECT e.evtname::text FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
		JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1`, OwnSchema)
	if err != nil {
		return nil, fmt.Errorf("primary: listing event triggers: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("primary: listing event triggers: %w", err)
	}
	return names, nil
}

// sequence is how far a sequence has come.
type sequence struct {
	Schema, Name string
	Value        int64
	Called       bool
}

// sequences reads every sequence now, not as of the snapshot: sequences are not
// transactional, and only a value that is too high is harmless, since what follows
// in the stream moves them forward only.
func (s *Source) sequences(ctx context.Context) ([]sequence, error) {
	rows, err := s.conn.Query(ctx, `SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname NOT IN ('opmux', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'`)
	if err != nil {
		return nil, fmt.Errorf("primary: listing sequences: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (sequence, error) {
		var q sequence
		err := row.Scan(&q.Schema, &q.Name)
		return q, err
	})
	if err != nil {
		return nil, fmt.Errorf("primary: listing sequences: %w", err)
	}
	for i := range list {
		q := &list[i]
		err := s.conn.QueryRow(ctx, "SELECT last_value, is_called FROM "+pgx.Identifier{q.Schema, q.Name}.Sanitize()).Scan(&q.Value, &q.Called)
		if err != nil {
			return nil, fmt.Errorf("primary: reading sequence %s.%s: %w", q.Schema, q.Name, err)
		}
	}
	return list, nil
}

// Close ends the snapshot and the connection. It may be called twice.
func (s *Source) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.dropSchema()
	if s.conn.IsClosed() {
		return err
	}
	if e := s.conn.Close(ctx); e != nil {
		err = errors.Join(err, fmt.Errorf("primary: closing: %w", e))
	}
	return err
}
