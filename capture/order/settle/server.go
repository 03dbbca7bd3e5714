package settle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/event"
)

// Identity is which server a connection leads to, and since when it runs.
type Identity struct {
	event.Primary
	// Postmaster is the start of the server program. Primary.Started is later where
	// the server recovered from the crash of a backend without a new program.
	Postmaster int64
	// RecoveryLSN is where the recovery at this start ended; 0 where it is not known,
	// since a later checkpoint has taken its place in the control file.
	RecoveryLSN uint64
	// CheckpointLSN is at or behind that end.
	CheckpointLSN uint64
	// NextXID is the first transaction id that had not been drawn at that checkpoint,
	// of those that this start of the server knows of.
	NextXID uint64
}

// ErrStandby says that the server is a standby.
var ErrStandby = errors.New("the primary is in recovery: it is a standby, or still starts")

// Server asks one primary, over a connection that it opens anew when it is lost.
// It is safe for concurrent use; questions are asked one after the other.
type Server struct {
	cfg *pgx.ConnConfig

	mu     sync.Mutex
	conn   *pgx.Conn // nil: none
	id     Identity  // of conn
	closed bool
}

// askTimeout bounds one question.
const askTimeout = 5 * time.Second

// Open returns a Server for the catalogue login's DSN. It does not connect.
func Open(dsn string) (*Server, error) {
	cfg, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	return &Server{cfg: cfg}, nil
}

func parse(dsn string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("catalog.dsn: %w", err) // pgx leaves the password out
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "opmux order"
	}
	cfg.RuntimeParams["standard_conforming_strings"] = "on"
	// Taking a claim from an attempt that is over writes, and has to be flushed.
	cfg.RuntimeParams["default_transaction_read_only"], cfg.RuntimeParams["synchronous_commit"] = "off", "on"
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = askTimeout
	}
	return cfg, nil
}

// Identify returns which server the primary is now. A lost connection is opened
// again first.
func (s *Server) Identify(ctx context.Context) (Identity, error) {
	var id Identity
	err := s.with(ctx, func(ctx context.Context, conn *pgx.Conn, of Identity) error {
		id = of
		return conn.Ping(ctx)
	})
	return id, err
}

// with runs ask on the connection. An error that is not the server's own answer
// costs the connection.
func (s *Server) with(ctx context.Context, ask func(context.Context, *pgx.Conn, Identity) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("the settler is closed")
	}
	for attempt := 0; ; attempt++ {
		fresh := s.conn == nil
		if err := s.connect(ctx); err != nil {
			return err
		}
		err := ask(ctx, s.conn, s.id)
		if err == nil || !s.conn.IsClosed() {
			return err
		}
		s.drop()
		if fresh || attempt > 0 || ctx.Err() != nil { // an old connection may have been dead already
			return err
		}
	}
}

// connect opens the connection where there is none. Callers hold mu.
func (s *Server) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	conn, err := pgx.ConnectConfig(ctx, s.cfg)
	if err != nil {
		return fmt.Errorf("connecting to the primary for settling: %w", err)
	}
	id, err := identify(ctx, conn)
	if err != nil {
		_ = conn.Close(ctx) // the first error counts
		return fmt.Errorf("identifying the primary: %w", err)
	}
	s.conn, s.id = conn, id
	return nil
}

// drop gives the connection up. Callers hold mu.
func (s *Server) drop() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // it is of no use any more
	s.conn = nil
}

// Close closes the connection. It may be called twice.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.drop()
	return nil
}

// identitySQL: the checkpointer is started before recovery (in PostgreSQL 14 and
// older right behind it), in each start of the server and after the crash of a backend, which leaves the postmaster's start as
// it was. Seeing it takes pg_monitor.
//
// A checkpoint whose redo position is its own was made while nobody else wrote,
// which is at the end of a recovery or at a shutdown: no later one has taken its
// place. (At wal_level minimal an idle server's can look alike.)
const identitySQL = `SELECT pg_catalog.current_setting('server_version'),
	(SELECT system_identifier::text FROM pg_catalog.pg_control_system()),
	pg_catalog.current_database(),
	('x' || pg_catalog.lpad(pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8), 8, '0'))::bit(32)::int,
	(extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint,
	coalesce((SELECT (extract(epoch FROM max(backend_start)) * 1000000)::bigint
		FROM pg_catalog.pg_stat_activity WHERE backend_type = 'checkpointer'), 0),
	pg_catalog.pg_wal_lsn_diff(redo_lsn, '0/0')::bigint,
	checkpoint_lsn = redo_lsn AND pg_catalog.current_setting('wal_level') <> 'minimal',
	pg_catalog.split_part(next_xid, ':', 1)::bigint << 32 | pg_catalog.split_part(next_xid, ':', 2)::bigint
	FROM pg_catalog.pg_control_checkpoint()`

func identify(ctx context.Context, conn *pgx.Conn) (Identity, error) {
	var standby bool
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.pg_is_in_recovery()`).Scan(&standby); err != nil {
		return Identity{}, err
	}
	if standby {
		return Identity{}, ErrStandby
	}
	id := Identity{}
	id.Make = "postgres"
	var checkpointer, redo, nextXID int64
	var first bool
	err := conn.QueryRow(ctx, identitySQL).Scan(&id.Version, &id.SystemID, &id.Database, &id.Timeline,
		&id.Postmaster, &checkpointer, &redo, &first, &nextXID)
	if err != nil {
		return Identity{}, err
	}
	id.Started = max(id.Postmaster, checkpointer)
	id.CheckpointLSN, id.NextXID = uint64(redo), uint64(nextXID)
	if first {
		id.RecoveryLSN = id.CheckpointLSN
	}
	return id, nil
}
