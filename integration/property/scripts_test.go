package property

import (
	"context"
	"fmt"
	"strings"
)

// change alters the schema, empties a table, or both.
func (c *client) change(ctx context.Context) error {
	t := pick(c.r, c.s.tables...)
	sql := pick(c.r,
		"ALTER TABLE %s ADD COLUMN IF NOT EXISTS x1 int DEFAULT 5", "ALTER TABLE %s DROP COLUMN IF EXISTS x1",
		"ALTER TABLE %s ADD COLUMN IF NOT EXISTS x2 text", "ALTER TABLE %s DROP COLUMN IF EXISTS x2",
		"ALTER TABLE %s ALTER COLUMN n SET DEFAULT 11", "ALTER TABLE %s ALTER COLUMN n DROP DEFAULT",
		"CREATE INDEX IF NOT EXISTS %[1]s_extra ON %[1]s (n)", "DROP INDEX IF EXISTS %s_extra",
		"TRUNCATE %s CASCADE", "TRUNCATE %s RESTART IDENTITY CASCADE",
		"CREATE TABLE IF NOT EXISTS made_%[1]s (id serial PRIMARY KEY, v text DEFAULT now()::text)", "DROP TABLE IF EXISTS made_%s",
		"INSERT INTO made_%s (v) VALUES ('a'), (DEFAULT)", "UPDATE %s SET x1 = 3 WHERE n = 1", "COMMENT ON TABLE %s IS 'property'")
	st := stmt{kind: "ddl", sql: fmt.Sprintf(sql, t.name), fields: 0, mayRefuse: "DDL"}
	if t.key != nil && strings.HasPrefix(sql, "UPDATE") {
		st.mayRefuse = ""
	}
	if chance(c.r, 60) {
		_, err := c.exec(ctx, st)
		return err
	}
	if ok, err := c.control(ctx, "BEGIN"); !ok || err != nil {
		return err
	}
	for _, st := range []stmt{c.s.draw(c.r), st, c.s.draw(c.r)} {
		if _, err := c.exec(ctx, st); err != nil {
			return err
		}
	}
	return c.end(ctx)
}

// discardAll forgets prepared statements, among the rest.
const discardAll = "DISCARD ALL"

// settings changes what statements mean, runs some, and changes it back.
func (c *client) settings(ctx context.Context) error {
	set := pick(c.r, "SET search_path = other, public", "SET TimeZone = 'America/New_York'", "SET DateStyle = 'ISO, DMY'",
		"SET IntervalStyle = 'iso_8601'", "SET bytea_output = 'escape'", "SET default_transaction_isolation = 'repeatable read'",
		"SET xmlbinary = hex", "SET statement_timeout = '30s'", discardAll, "SET lock_timeout = '200ms'")
	if _, err := c.control(ctx, set); err != nil {
		return err
	}
	for range 1 + c.r.IntN(3) {
		if _, err := c.exec(ctx, c.s.draw(c.r)); err != nil {
			return err
		}
	}
	if chance(c.r, 50) {
		if err := c.block(ctx); err != nil || c.conn == nil {
			return err
		}
	}
	_, err := c.control(ctx, "RESET ALL")
	return err
}

// temporary uses a table of its own.
func (c *client) temporary(ctx context.Context) error {
	t := pick(c.r, c.s.tables...)
	for _, sql := range []string{"CREATE TEMP TABLE IF NOT EXISTS mine (n int)", "INSERT INTO mine VALUES (1), (2)",
		fmt.Sprintf("UPDATE %s SET n = mine.n FROM mine WHERE %s.n = mine.n + 3", t.name, t.name), "DROP TABLE mine"} {
		st := stmt{kind: "temporary", sql: sql}
		if t.key == nil && strings.HasPrefix(sql, "UPDATE") {
			st.mayRefuse = "no key"
		}
		if _, err := c.exec(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// cursor reads by a cursor and changes the row it stands on.
func (c *client) cursor(ctx context.Context) error {
	t := pick(c.r, c.s.tables...)
	if ok, err := c.control(ctx, "BEGIN"); !ok || err != nil {
		return err
	}
	current := stmt{kind: "cursor", sql: "UPDATE " + t.name + " SET n = n + 1 WHERE CURRENT OF cur"}
	if t.key == nil || t.by != "" {
		current.mayRefuse = "no key"
	}
	for _, st := range []stmt{{sql: "DECLARE cur CURSOR FOR SELECT * FROM " + t.name + " WHERE n > 3 FOR UPDATE", kind: "cursor"},
		{sql: "FETCH 2 FROM cur", kind: "cursor", fields: anyFields}, current, {sql: "CLOSE cur", kind: "cursor"}} {
		if _, err := c.exec(ctx, st); err != nil {
			return err
		}
	}
	return c.end(ctx)
}

// sqlPrepared prepares and executes by SQL.
func (c *client) sqlPrepared(ctx context.Context) error {
	st := c.s.draw(c.r)
	for len(st.params) == 0 || st.mayRefuse != "" {
		st = c.s.draw(c.r)
	}
	args := stmt{sql: "$" + strings.Join(strings.Split(strings.Repeat("x", len(st.params)), ""), ", $"), params: st.params}
	for i := range st.params {
		args.sql = strings.Replace(args.sql, "$x", fmt.Sprintf("$%d", i+1), 1)
	}
	if ok, err := c.control(ctx, "PREPARE mine AS "+st.sql); !ok || err != nil {
		return err
	}
	for range 1 + c.r.IntN(3) {
		execute := stmt{kind: "execute", sql: "EXECUTE mine (" + args.inline() + ")", fields: st.fields}
		if _, err := c.exec(ctx, execute); err != nil {
			return err
		}
	}
	_, err := c.control(ctx, "DEALLOCATE mine")
	return err
}

// standalone runs what cannot run in a block, or says nothing of rows.
func (c *client) standalone(ctx context.Context) error {
	t := pick(c.r, c.s.tables...)
	sql := pick(c.r, "VACUUM %s", "ANALYZE %s", "CREATE INDEX CONCURRENTLY IF NOT EXISTS %s_conc ON %s (n, n)", "DROP INDEX CONCURRENTLY IF EXISTS %s_conc",
		"CREATE INDEX IF NOT EXISTS %s_conc ON %s (n, n)", "DROP INDEX IF EXISTS %s_conc",
		"CHECKPOINT", "CREATE UNLOGGED TABLE IF NOT EXISTS made_%s_u (LIKE %s)", "CREATE TABLE made_%s AS SELECT n FROM %s", "EXPLAIN UPDATE %s SET n = 1",
		"LOCK TABLE %s IN SHARE MODE", "CLUSTER %s", "REINDEX TABLE %s", "REINDEX INDEX %s_conc", "VACUUM FULL %s", "EXPLAIN ANALYZE SELECT * FROM %s")
	if t.by != "" && strings.HasPrefix(sql, "CREATE INDEX CONCURRENTLY") {
		sql = "ANALYZE %s" // the server makes no index of a partitioned table that way
	}
	_, err := c.exec(ctx, stmt{kind: "standalone", sql: strings.ReplaceAll(sql, "%s", t.name), fields: anyFields, mayRefuse: "not ordinary"})
	return err
}

// leave closes the connection, with a block open or without.
func (c *client) leave(ctx context.Context) error {
	if chance(c.r, 50) {
		if _, err := c.control(ctx, "BEGIN"); err != nil {
			return err
		}
		if _, err := c.exec(ctx, c.s.draw(c.r)); err != nil {
			return err
		}
	}
	_, err := c.do(ctx, action{verb: leaves})
	return err
}
