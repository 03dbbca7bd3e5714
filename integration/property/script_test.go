package property

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// script runs one random thing that an application does; at its end no block is
// open, or the connection is closed.
func (c *client) script(ctx context.Context) error {
	switch n := c.r.IntN(100); {
	case n < 38:
		_, err := c.exec(ctx, c.s.draw(c.r))
		return err
	case n < 66:
		return c.block(ctx)
	case n < 78:
		return c.pipeline(ctx)
	case n < 87:
		return c.several(ctx)
	case n < 92:
		return c.copyIn(ctx)
	case n < 95:
		return c.change(ctx)
	case n < 98:
		return c.settings(ctx)
	case n < 99:
		return pick(c.r, c.temporary, c.cursor, c.sqlPrepared, c.standalone)(ctx)
	}
	return c.leave(ctx)
}

var begins = []string{"BEGIN", "BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN ISOLATION LEVEL SERIALIZABLE"}

// block runs a transaction with savepoints and errors.
func (c *client) block(ctx context.Context) error {
	if ok, err := c.control(ctx, pick(c.r, begins...)); !ok || err != nil {
		return err
	}
	c.savepoints = 0
	for range 1 + c.r.IntN(6) {
		if err := c.inBlock(ctx); err != nil {
			return err
		}
		if c.conn.TxStatus() == idle {
			return nil
		}
	}
	return c.end(ctx)
}

// inBlock runs one step inside of a block.
func (c *client) inBlock(ctx context.Context) error {
	if c.conn.TxStatus() == aborted {
		if c.savepoints > 0 && chance(c.r, 75) {
			_, err := c.control(ctx, fmt.Sprintf("ROLLBACK TO SAVEPOINT sp%d", c.r.IntN(c.savepoints)+1))
			return err
		}
		_, err := c.exec(ctx, c.s.draw(c.r))
		return err
	}
	switch n := c.r.IntN(100); {
	case n < 14:
		c.savepoints++
		_, err := c.control(ctx, fmt.Sprintf("SAVEPOINT sp%d", c.savepoints))
		return err
	case n < 20 && c.savepoints > 0:
		_, err := c.control(ctx, fmt.Sprintf("ROLLBACK TO sp%d", c.savepoints))
		return err
	case n < 23 && c.savepoints > 0:
		c.savepoints--
		_, err := c.control(ctx, fmt.Sprintf("RELEASE SAVEPOINT sp%d", c.savepoints+1))
		return err
	case n < 25:
		_, err := c.control(ctx, pick(c.r, "SET LOCAL search_path = other, public", "SET LOCAL TimeZone = 'Asia/Tokyo'",
			"SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL DEFERRED"))
		return err
	case n < 27:
		return c.copyIn(ctx)
	}
	_, err := c.exec(ctx, c.s.draw(c.r))
	return err
}

// end ends a block in one of the ways there are.
func (c *client) end(ctx context.Context) error {
	switch n := c.r.IntN(100); {
	case n < 78:
		_, err := c.control(ctx, "COMMIT")
		return c.ended(err)
	case n < 92:
		_, err := c.control(ctx, pick(c.r, "ROLLBACK", "ABORT"))
		return c.ended(err)
	case n < 97:
		if _, err := c.control(ctx, pick(c.r, "COMMIT AND CHAIN", "ROLLBACK AND CHAIN")); err != nil || c.conn.TxStatus() != block {
			return err
		}
		if _, err := c.exec(ctx, c.s.draw(c.r)); err != nil {
			return err
		}
		_, err := c.control(ctx, "END")
		return c.ended(err)
	}
	c.close()
	return nil
}

// ended makes sure that a block is over; a cancel may have hit its end.
func (c *client) ended(err error) error {
	if err != nil || c.conn.TxStatus() == idle {
		return err
	}
	if _, err := c.control(context.Background(), "ROLLBACK"); err != nil {
		return err
	}
	if c.conn.TxStatus() != idle {
		_, err = c.control(context.Background(), "ROLLBACK")
	}
	return err
}

// pipeline sends many statements before it reads an answer.
func (c *client) pipeline(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	p := c.conn.StartPipeline(ctx)
	var sent []stmt
	send := func(st stmt) {
		sent = append(sent, st)
		p.SendQueryParams(st.sql, st.values(), nil, nil, c.formats())
	}
	open := false
	for range 1 + c.r.IntN(3) {
		for range 1 + c.r.IntN(2) {
			if !open && chance(c.r, 50) {
				send(stmt{kind: "control", sql: pick(c.r, begins...), fields: anyFields})
				open = true
			}
			for range c.r.IntN(4) {
				send(c.s.draw(c.r))
			}
			if open && chance(c.r, 70) {
				send(stmt{kind: "control", sql: pick(c.r, "COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"), fields: anyFields})
				open = false
			}
		}
		sent = append(sent, stmt{kind: "sync"})
		p.SendPipelineSync()
	}
	if err := p.Flush(); err != nil {
		return findingf("sending a pipeline: %v", err)
	}
	if err := c.results(p, sent); err != nil {
		return err
	}
	if err := p.Close(); err != nil && code(err) == "" {
		return findingf("closing a pipeline: %v", err)
	}
	if c.conn.TxStatus() != idle {
		_, err := c.control(ctx, "COMMIT")
		return c.ended(err)
	}
	return nil
}

// results reads what a pipeline answers, up to its last Sync.
func (c *client) results(p *pgconn.Pipeline, sent []stmt) error {
	at := 0
	for at < len(sent) {
		result, err := p.GetResults()
		if err != nil {
			c.note(sent[at], "", err)
			if finding := c.ledger.judge(sent[at], err); finding != nil {
				return finding
			}
			for sent[at].kind != "sync" {
				at++
			}
			continue
		}
		switch result := result.(type) {
		case *pgconn.PipelineSync:
			if sent[at].kind != "sync" {
				return findingf("a pipeline synchronised before it answered %s", sent[at].inline())
			}
			at++
		case *pgconn.ResultReader:
			n, tag, err := answer(result)
			c.note(sent[at], tag, err)
			if finding := c.ledger.judge(sent[at], err); finding != nil {
				return finding
			}
			if err != nil {
				for sent[at].kind != "sync" {
					at++
				}
				continue
			}
			if sent[at].fields != anyFields && n != sent[at].fields {
				return findingf("%d result columns in a pipeline, want %d: %s", n, sent[at].fields, sent[at].inline())
			}
			at++
		default:
			return findingf("a pipeline answered %T", result)
		}
	}
	return nil
}

// several sends more than one statement in one Query.
func (c *client) several(ctx context.Context) error {
	var parts []string
	var mayRefuse string
	open := chance(c.r, 40)
	if open {
		parts = append(parts, pick(c.r, begins...))
	}
	for range 2 + c.r.IntN(3) {
		st := c.s.draw(c.r)
		parts = append(parts, st.inline())
		mayRefuse += st.mayRefuse
	}
	if open && chance(c.r, 85) {
		parts = append(parts, pick(c.r, "COMMIT", "COMMIT", "ROLLBACK"))
		if chance(c.r, 30) {
			parts = append(parts, c.s.draw(c.r).inline())
			mayRefuse += "what follows"
		}
	}
	st := stmt{kind: "several", sql: strings.Join(parts, "; "), mayRefuse: mayRefuse}
	ctx, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	_, err := c.conn.Exec(ctx, st.sql).ReadAll()
	fmt.Fprintf(c.log, "%s [several] %s -- %v\n", time.Now().Format("15:04:05.000"), strings.ReplaceAll(st.sql, "\n", "\\n"), err)
	// A text with $ in it is no placeholder here.
	st.sql, st.params = placeholder.ReplaceAllString(st.sql, "…"), nil
	if finding := c.ledger.judge(st, err); finding != nil {
		return finding
	}
	if c.conn.TxStatus() != idle {
		return c.end(ctx)
	}
	return nil
}

// copyIn loads a few rows.
func (c *client) copyIn(ctx context.Context) error {
	t := pick(c.r, c.s.tables...)
	b := &builder{r: c.r}
	cols := b.given(t)
	for _, col := range t.cols {
		if col.def != "" && !col.always && !strings.Contains(names(cols)+",", col.name+",") {
			cols = append(cols, col)
		}
	}
	var data strings.Builder
	for range 1 + c.r.IntN(6) {
		var fields []string
		for _, col := range cols {
			if !col.notNull && chance(c.r, 8) {
				fields = append(fields, `\N`)
				continue
			}
			fields = append(fields, escape.Replace(value(c.r, col.typ)))
		}
		data.WriteString(strings.Join(fields, "\t") + "\n")
	}
	if chance(c.r, 10) {
		data.WriteString("not\ta\trow\n")
	}
	st := stmt{kind: "copy", sql: fmt.Sprintf("COPY %s (%s) FROM STDIN", t.name, names(cols)), mayRefuse: "a default that is left out is drawn"}
	if !c.drawn(t, cols) && !strings.Contains(data.String(), "now") && !strings.Contains(data.String(), "today") {
		st.mayRefuse = ""
	}
	ctx, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	tag, err := c.conn.CopyFrom(ctx, strings.NewReader(data.String()), st.sql)
	st.kind = "copy"
	fmt.Fprintf(c.log, "%s [copy] %s: %q -- %s %v\n", time.Now().Format("15:04:05.000"), st.sql, data.String(), tag, err)
	if code(err) == "22P04" {
		return nil // the row that is none
	}
	return c.ledger.judge(st, err)
}

// drawn tells whether a column with a drawn value is left out.
func (c *client) drawn(t *table, cols []*column) bool {
	for _, col := range t.cols {
		if col.def != "" && !strings.Contains(" "+names(cols)+",", " "+col.name+",") {
			return true
		}
	}
	return false
}

var escape = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

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

// settings changes what statements mean, runs some, and changes it back.
func (c *client) settings(ctx context.Context) error {
	set := pick(c.r, "SET search_path = other, public", "SET TimeZone = 'America/New_York'", "SET DateStyle = 'ISO, DMY'",
		"SET IntervalStyle = 'iso_8601'", "SET bytea_output = 'escape'", "SET default_transaction_isolation = 'repeatable read'",
		"SET xmlbinary = hex", "SET statement_timeout = '30s'", "DISCARD ALL", "SET lock_timeout = '200ms'")
	if _, err := c.control(ctx, set); err != nil {
		return err
	}
	if set == "DISCARD ALL" {
		c.prepared = map[string]*pgconn.StatementDescription{}
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
		"CHECKPOINT", "CREATE UNLOGGED TABLE IF NOT EXISTS made_%s_u (LIKE %s)", "CREATE TABLE made_%s AS SELECT n FROM %s", "EXPLAIN UPDATE %s SET n = 1",
		"LOCK TABLE %s IN SHARE MODE", "CLUSTER %s", "EXPLAIN ANALYZE SELECT * FROM %s")
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
	c.close()
	return nil
}

// pester cancels what any client runs, again and again: most cancels come too
// late, or hit what an agent does in between.
func (l *ledger) pester(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		l.mu.Lock()
		var conn *pgconn.PgConn
		for _, conn = range l.sessions {
			break // any
		}
		l.mu.Unlock()
		if conn == nil {
			continue
		}
		if err := conn.CancelRequest(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			continue // the client has gone
		}
	}
}
