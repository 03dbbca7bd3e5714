package pgcopy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Progress is told how far a copy has come; it must not block. Rows and Bytes
// are of all tables so far.
type Progress struct {
	Tables      atomic.Int64 // copied whole
	Rows, Bytes atomic.Int64
	table       atomic.Pointer[string]
}

// Table is the table being copied, "" outside of rows.
func (p *Progress) Table() string {
	if t := p.table.Load(); t != nil {
		return *t
	}
	return ""
}

// ExistsError says that a target is not empty.
type ExistsError struct{ Tables []string }

func (e *ExistsError) Error() string {
	names := e.Tables
	more := ""
	if len(names) > 5 {
		names, more = names[:5], fmt.Sprintf(" and %d more", len(e.Tables)-5)
	}
	return fmt.Sprintf("the target already has tables of the primary (%s%s): nothing was copied; drop them there, or give the target an empty database", strings.Join(names, ", "), more)
}

// Refuse fails with *ExistsError where the target has one of the tables.
func (s *Source) Refuse(ctx context.Context, target pgx.Tx) error {
	var schemas, names []string
	for _, t := range s.tables {
		schemas, names = append(schemas, t.Schema), append(names, t.Name)
	}
	rows, err := target.Query(ctx, `SELECT n.nspname || '.' || c.relname FROM unnest($1::text[], $2::text[]) AS t (s, r)
		JOIN pg_namespace n ON n.nspname = t.s JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.r
		WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1`, schemas, names)
	if err != nil {
		return fmt.Errorf("target: listing tables: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("target: listing tables: %w", err)
	}
	if len(found) > 0 {
		return &ExistsError{Tables: found}
	}
	return nil
}

// Report is what a copy left out or changed.
type Report struct {
	MissingRoles []string // owners and grants were left out, since the target lacks these roles
	LargeObjects int64    // not copied
}

// To copies everything into the target's transaction, which sees it once it
// commits. warnings of the report are the caller's to show.
func (s *Source) To(ctx context.Context, target pgx.Tx, progress *Progress) (Report, error) {
	var report Report
	triggers, err := s.ownTriggers(ctx)
	if err != nil {
		return report, err
	}
	return report, s.restore(ctx, target, s.schema, triggers, progress, &report)
}

func (s *Source) restore(ctx context.Context, target pgx.Tx, a *archive, triggers []string, progress *Progress, report *Report) error {
	var version int
	if err := target.QueryRow(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	var err error
	if report.MissingRoles, err = s.missingRoles(ctx, target); err != nil {
		return err
	}
	if err := s.conn.QueryRow(ctx, "SELECT count(*) FROM pg_largeobject_metadata").Scan(&report.LargeObjects); err != nil {
		return fmt.Errorf("primary: counting large objects: %w", err)
	}
	a.owned = len(report.MissingRoles) == 0
	rows, err := target.Query(ctx, "SELECT nspname::text FROM pg_namespace")
	if err != nil {
		return fmt.Errorf("target: listing schemas: %w", err)
	}
	schemas, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("target: listing schemas: %w", err)
	}
	a.skip = func(e entry) bool {
		return own(e, triggers) || (e.kind == "SCHEMA" && slices.ContainsFunc(schemas, func(n string) bool {
			return e.rest == "- "+n+" "+e.owner
		}))
	}
	if err := run(ctx, target, a, "pre-data", version); err != nil {
		return err
	}
	if err := s.rows(ctx, target, progress); err != nil {
		return err
	}
	if err := s.setSequences(ctx, target); err != nil {
		return err
	}
	return run(ctx, target, a, "post-data", version)
}

// missingRoles lists owners and grantees that the target does not have, or that
// its login may not act for.
func (s *Source) missingRoles(ctx context.Context, target pgx.Tx) ([]string, error) {
	rows, err := s.conn.Query(ctx, `WITH used AS (
		SELECT c.relowner AS role, c.relacl AS acl FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^(pg_|information_schema$|opmux$)'
		UNION ALL SELECT nspowner, nspacl FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$|opmux$)'
		UNION ALL SELECT p.proowner, p.proacl FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname !~ '^(pg_|information_schema$|opmux$)'
		UNION ALL SELECT t.typowner, t.typacl FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname !~ '^(pg_|information_schema$|opmux$)'
		UNION ALL SELECT defaclrole, defaclacl FROM pg_default_acl)
		SELECT DISTINCT r.rolname::text FROM (SELECT role FROM used UNION SELECT x.grantee FROM used, aclexplode(used.acl) x UNION SELECT x.grantor FROM used, aclexplode(used.acl) x) u
		JOIN pg_roles r ON r.oid = u.role WHERE r.rolname !~ '^pg_' ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("primary: listing owners: %w", err)
	}
	used, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("primary: listing owners: %w", err)
	}
	rows, err = target.Query(ctx, `SELECT name FROM unnest($1::text[]) AS name WHERE NOT EXISTS (
		SELECT FROM pg_roles r WHERE r.rolname = name AND pg_has_role(current_user, r.oid, 'MEMBER')) ORDER BY 1`, used)
	if err != nil {
		return nil, fmt.Errorf("target: looking for roles: %w", err)
	}
	missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("target: looking for roles: %w", err)
	}
	return missing, nil
}

// run restores one section of the schema.
func run(ctx context.Context, target pgx.Tx, a *archive, section string, version int) error {
	script, err := a.section(ctx, section)
	if err != nil {
		return err
	}
	if _, err := target.Conn().PgConn().Exec(ctx, forServer(script, version)).ReadAll(); err != nil {
		return fmt.Errorf("target: making the schema (%s): %w; nothing was copied", section, explain(err))
	}
	return nil
}

// explain adds what the server said beyond its message.
func explain(err error) error {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return err
	}
	for _, s := range []string{server.Detail, server.Hint, server.Where} {
		if s != "" {
			err = fmt.Errorf("%w (%s)", err, s)
		}
	}
	return err
}

func (s *Source) rows(ctx context.Context, target pgx.Tx, progress *Progress) error {
	if _, err := target.Exec(ctx, "SET LOCAL DateStyle = ISO; SET LOCAL IntervalStyle = postgres; SET LOCAL search_path = pg_catalog"); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	defer progress.table.Store(nil)
	for _, t := range s.tables {
		name := t.String()
		progress.table.Store(&name)
		n, err := s.copyTable(ctx, target, t, progress)
		if err != nil {
			return err
		}
		progress.Rows.Add(n)
		progress.Tables.Add(1)
	}
	return nil
}

// copyTable streams one table from server to server.
func (s *Source) copyTable(ctx context.Context, target pgx.Tx, t Table, progress *Progress) (int64, error) {
	quoted := make([]string, len(t.columns))
	for i, c := range t.columns {
		quoted[i] = pgx.Identifier{c}.Sanitize()
	}
	table := pgx.Identifier{t.Schema, t.Name}.Sanitize()
	columns := "(" + strings.Join(quoted, ", ") + ")"
	from := table + " " + columns
	if len(quoted) == 0 { // a table of generated columns, or of none
		columns, from = "", "(SELECT FROM ONLY "+table+")"
	}
	if t.where != "" {
		from = "(SELECT " + strings.Join(quoted, ", ") + " FROM ONLY " + table + " " + t.where + ")"
	}
	reader, writer := io.Pipe()
	var group sync.WaitGroup
	var first cause
	group.Go(func() {
		_, err := s.conn.PgConn().CopyTo(ctx, &counter{writer, &progress.Bytes}, "COPY "+from+" TO STDOUT (ENCODING 'UTF8')")
		first.set(err, "primary: reading %s: %w", t)
		_ = writer.CloseWithError(err) // always nil
	})
	tag, err := target.Conn().PgConn().CopyFrom(ctx, reader, "COPY "+table+" "+columns+" FROM STDIN (ENCODING 'UTF8')")
	first.set(err, "target: writing %s: %w", t)
	_ = reader.CloseWithError(err) // always nil
	group.Wait()
	return tag.RowsAffected(), first.err
}

// cause keeps the first error of two sides that take each other down.
type cause struct {
	once sync.Once
	err  error
}

func (c *cause) set(err error, format string, t Table) {
	if err != nil {
		c.once.Do(func() { c.err = fmt.Errorf(format, t, explain(err)) })
	}
}

// counter counts the bytes that pass.
type counter struct {
	w     io.Writer
	bytes *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (s *Source) setSequences(ctx context.Context, target pgx.Tx) error {
	list, err := s.sequences(ctx)
	if err != nil {
		return err
	}
	for _, q := range list {
		_, err := target.Exec(ctx, "SELECT pg_catalog.setval(pg_catalog.to_regclass($1), $2, $3)", pgx.Identifier{q.Schema, q.Name}.Sanitize(), q.Value, q.Called)
		if err != nil {
			return fmt.Errorf("target: setting sequence %s.%s: %w", q.Schema, q.Name, err)
		}
	}
	return nil
}
