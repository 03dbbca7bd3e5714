package ops

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/internal/config"
)

// targetCheck looks at a worker's target with the worker's login.
type targetCheck struct {
	*findings
	cfg  *config.Worker
	conn *pgx.Conn
}

func checkTarget(ctx context.Context, f *findings, k *kafka, cfg *config.Worker) {
	conn, err := connect(ctx, cfg.DSN, "target (dsn)")
	if err != nil {
		f.fatal("target", "start the server, or correct dsn, or let the login in (pg_hba.conf)", "%v", err)
		return
	}
	defer disconnect(ctx, conn)
	c := &targetCheck{findings: f, cfg: cfg, conn: conn}
	for _, check := range []func(context.Context) error{c.server, c.rights, c.settings, c.sessions} {
		if err := check(ctx); err != nil {
			f.broken("target", err)
		}
	}
	if k != nil {
		if err := c.position(ctx, k); err != nil {
			f.broken("target", err)
		}
	}
}

// position compares where the target stands with what the topics hold.
func (c *targetCheck) position(ctx context.Context, k *kafka) error {
	positions, err := apply.ReadPosition(ctx, c.cfg.DSN)
	if err != nil {
		return connectCause(err)
	}
	const anew = "opmux snapshot into an empty database"
	for _, source := range c.cfg.SourceNames() {
		b, err := k.bounds(ctx, source)
		if err != nil {
			return err
		}
		p, ok := positions[source]
		switch {
		case !ok && b.start > 0:
			c.fatal("target", anew, "no position in source %s, and the beginning of its topic is gone (it starts at offset %d)", source, b.start)
		case !ok:
			c.ok("target", "no position in source %s yet: the worker begins at the topic's beginning, unless opmux snapshot fills the target first", source)
		case p.Topic != b.id:
			c.fatal("target", anew, "the position in source %s belongs to topic id %s, and the topic's id is %s: it was made anew", source, p.Topic, b.id)
		case p.Low < b.start:
			c.fatal("target", anew+", and longer kafka.topics.retention", "the target needs source %s from offset %d on, and the topic starts at %d", source, p.Low, b.start)
		case p.Low > b.end:
			c.fatal("target", anew, "the position in source %s is offset %d, and the topic ends at %d: Kafka has lost records", source, p.Low, b.end)
		default:
			c.ok("target", "position in source %s: offset %d of %d", source, p.Low, b.end)
		}
	}
	return nil
}

func (c *targetCheck) server(ctx context.Context) error {
	version, err := serverVersion(ctx, c.findings, "target", c.conn)
	if err != nil {
		return err
	}
	recovery, err := one[bool](ctx, c.conn, "SELECT pg_is_in_recovery()")
	if err != nil {
		return err
	}
	if recovery {
		c.fatal("target", "let dsn name a server that can be written to", "the server is a standby (in recovery)")
	}
	encoding, err := one[string](ctx, c.conn, "SHOW server_encoding")
	if err != nil {
		return err
	}
	c.ok("target", "PostgreSQL %s, database %s, encoding %s", version, c.conn.Config().Database, encoding)
	return nil
}

func (c *targetCheck) rights(ctx context.Context) error {
	user := c.conn.Config().User
	has, err := one[bool](ctx, c.conn, "SELECT coalesce((SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'opmux'), has_database_privilege(current_database(), 'CREATE'))")
	if err != nil {
		return err
	}
	if !has {
		c.fatal("target", "GRANT CREATE ON DATABASE "+quote(c.conn.Config().Database)+" TO "+quote(user), "%s may not create schema opmux, where positions are kept", user)
	}
	super, err := one[bool](ctx, c.conn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
	if err != nil {
		return err
	}
	if !super {
		c.warn("target", "use a superuser, or make "+user+" owner of the tables and a member of the roles that the application sets",
			"%s is not a superuser: DDL and statements under SET ROLE may be refused, which stops the worker", user)
	}
	return nil
}

func (c *targetCheck) settings(ctx context.Context) error {
	settings, err := sessionSettings(ctx, c.conn, "default_transaction_read_only", "statement_timeout", "session_replication_role", "transaction_timeout")
	if err != nil {
		return err
	}
	user := c.conn.Config().User
	for _, s := range settings {
		if s.login != "" && s.login != user {
			continue // other roles' settings do not touch the worker
		}
		switch {
		case s.name == "default_transaction_read_only" && s.value == "on":
			c.fatal("target", "ALTER ROLE "+quote(user)+" SET default_transaction_read_only = off", "%s: the worker could not write", s)
		case s.name == "session_replication_role" && s.value != "origin":
			c.warn("target", "set it to origin", "%s: foreign keys with actions would not act", s)
		case s.name == "statement_timeout" || s.name == "transaction_timeout":
			if limit, err := parseMilliseconds(s.value); err == nil && limit > 0 {
				c.warn("target", "ALTER ROLE "+quote(user)+" SET "+s.name+" = 0", "%s: long statements that the primary has run would fail and stop the worker", s)
			}
		}
	}
	return nil
}

func (c *targetCheck) sessions(ctx context.Context) error {
	limit, err := one[int](ctx, c.conn, "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int")
	if err != nil {
		return err
	}
	if need := c.cfg.Parallelism * len(c.cfg.Sources); need > limit {
		c.fatal("target", "raise max_connections, or lower parallelism", "a worker needs about %d connections (parallelism for each source), max_connections leaves %d", need, limit)
	}
	return nil
}
