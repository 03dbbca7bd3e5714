package execute

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/apply/position"
)

const (
	connectTimeout = 10 * time.Second
	// idleTimeout ends a session whose worker is frozen in mid-transaction, so
	// that its locks do not hold up others for long.
	idleTimeout = 20 * time.Second
)

// ParseDSN reads a target's DSN and adds what opmux's sessions need.
func ParseDSN(dsn, application string) (*pgconn.Config, error) {
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("dsn of the target: %w", err)
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	for name, value := range map[string]string{
		"application_name":                    application,
		"idle_in_transaction_session_timeout": strconv.FormatInt(idleTimeout.Milliseconds(), 10),
		"statement_timeout":                   "0",
		"lock_timeout":                        "0",
		"default_transaction_isolation":       "read committed",
		"default_transaction_read_only":       "off",
		// What the worker looks up of a table is planned anew for each, and not worth
		// compiling: where the target takes it for dear, that took seconds each time.
		"jit": "off",
		// The worker's own texts have backslashes; so may what the transactions say.
		"standard_conforming_strings": "on",
		// I6: where row security would hide rows from the worker, fail instead.
		"row_security": "off",
		// As on the primary, where a transaction does not say otherwise.
		"timezone_abbreviations": "Default",
		// The primary has checked a function's body, against its temporary tables too.
		"check_function_bodies": "off",
		// Whatever the transaction says: see notApplied.
		"xmloption": "content",
	} {
		cfg.RuntimeParams[name] = value
	}
	return cfg, nil
}

// sessionSQL turns off what would end a waiting session, in versions that have
// it, and asks how triggers fire: they do what foreign keys need.
const sessionSQL = `SELECT pg_catalog.current_setting('session_replication_role'),
	(SELECT count(pg_catalog.set_config(name, '0', false)) FROM pg_catalog.pg_settings
		WHERE name IN ('transaction_timeout', 'idle_session_timeout'))`

func (l *Lane) prepareSession(ctx context.Context) error {
	rows, err := l.rows(ctx, sessionSQL)
	if err != nil {
		return err
	}
	if len(rows) != 1 || string(rows[0][0]) != "origin" {
		return fmt.Errorf("the target's session_replication_role is %s for the worker's role, expected origin, "+
			"without which foreign keys do not cascade; ALTER ROLE … RESET session_replication_role", rows[0][0])
	}
	return nil
}

// connect makes sure of a connection and of where the lane's row stands.
func (l *Lane) connect(ctx context.Context) error {
	if l.conn != nil && !l.conn.IsClosed() {
		if l.losses == l.cfg.Shared.Losses() {
			return nil
		}
		l.disconnect() // another's was lost: this one may be to a server that is no longer the target's
		l.lost = false
	}
	l.disconnect()
	if l.lost { // told once, or each try that fails would have the other lanes connect anew
		l.cfg.Shared.Lose()
		l.lost = false
	}
	losses := l.cfg.Shared.Losses()
	cfg, err := ParseDSN(l.cfg.DSN, position.Application(l.cfg.Source))
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	l.conn, l.losses = conn, losses
	l.statements, l.types, l.tables = newStatements(), map[string]uint32{}, map[string]map[string]string{}
	l.ties, l.shapes = map[string]*ties{}, newShapes()
	l.schema = l.cfg.Shared.schema.Load()
	err = l.prepareSession(ctx)
	if err == nil {
		err = l.cfg.Shared.Check(ctx, conn, l.cfg.Source, l.cfg.Fence)
	}
	if err == nil {
		err = l.look(ctx)
	}
	if err != nil {
		if err != errCommitted { //nolint:errorlint // look returns it as it is
			l.disconnect()
		}
		return err
	}
	return nil
}

func (l *Lane) disconnect() {
	if l.conn == nil {
		return
	}
	l.pid = l.conn.PID()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = l.conn.Close(ctx) // nothing on it is of use any more
	l.conn, l.lost = nil, true
}

// look reads the lane's row, behind whatever the connection before still does:
// it may have been lost in mid-COMMIT. It returns errCommitted where that commit
// took place. (I4)
func (l *Lane) look(ctx context.Context) error {
	if l.pid != 0 {
		_, err := l.rows(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1::int AND application_name = $2`,
			strconv.FormatUint(uint64(l.pid), 10), position.Application(l.cfg.Source))
		if err != nil {
			return err
		}
	}
	rows, err := l.rows(ctx, `SELECT fence, seq FROM opmux.position WHERE stream = $1 AND lane = $2::int FOR UPDATE`,
		l.cfg.Source, strconv.Itoa(l.cfg.Lane))
	if err != nil {
		return err
	}
	fenced := &position.FencedError{Source: l.cfg.Source, Fence: l.cfg.Fence}
	if len(rows) != 1 || string(rows[0][0]) != strconv.FormatInt(l.cfg.Fence, 10) {
		return fenced
	}
	seq, err := strconv.ParseInt(string(rows[0][1]), 10, 64)
	if err != nil {
		return fmt.Errorf("opmux.position on the target: seq: %w", err)
	}
	switch {
	case !l.known:
		l.seq, l.known = seq, true
	case seq == l.seq:
	case seq == l.seq+1 && l.unsure:
		return errCommitted
	default:
		return fmt.Errorf("opmux.position on the target: seq of stream %s, lane %d is %d, expected %d: who changed it? %w",
			l.cfg.Source, l.cfg.Lane, seq, l.seq, fenced)
	}
	return nil
}

// rows runs a query with text parameters and returns its rows.
func (l *Lane) rows(ctx context.Context, sql string, args ...string) ([][][]byte, error) {
	params := make([][]byte, len(args))
	for i, a := range args {
		params[i] = []byte(a)
	}
	result := l.conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
	return result.Rows, result.Err
}

// exec runs statements without results.
func (l *Lane) exec(ctx context.Context, sql string) error {
	_, err := l.conn.Exec(ctx, sql).ReadAll()
	return err
}

// recover makes the connection usable after an attempt that failed, or gives it
// up.
func (l *Lane) recover(ctx context.Context) {
	if l.conn.IsClosed() || ctx.Err() != nil {
		l.disconnect()
		return
	}
	if err := l.exec(ctx, "ROLLBACK; DEALLOCATE ALL"); err != nil {
		l.disconnect()
		return
	}
	l.statements.clear()
}

// refresh forgets statements, types and tables from before the schema last changed.
func (l *Lane) refresh(ctx context.Context) error {
	now := l.cfg.Shared.schema.Load()
	if l.schema == now {
		return nil
	}
	if err := l.exec(ctx, "DEALLOCATE ALL"); err != nil {
		l.disconnect()
		return err
	}
	l.statements.clear()
	clear(l.types)
	clear(l.tables)
	clear(l.ties)
	l.shapes = newShapes()
	l.schema = now
	return nil
}
