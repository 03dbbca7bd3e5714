package ops

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/internal/agent"
)

// rights checks what the catalogue's login must be allowed to do.
func (c *primaryCheck) rights(ctx context.Context) error {
	user := c.conn.Config().User
	super, err := one[bool](ctx, c.conn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
	if err != nil {
		return err
	}
	if super {
		c.ok("primary", "the catalogue's login %s is a superuser", user)
		return nil
	}
	for _, role := range []struct{ name, needed string }{
		{"pg_signal_backend", "end the server process of an open intent"},
		{"pg_read_all_stats", "see when a server process started"},
	} {
		member, err := one[bool](ctx, c.conn, "SELECT pg_has_role(current_user, $1, 'USAGE')", role.name)
		if err != nil {
			return err
		}
		if !member {
			c.warn("primary", fmt.Sprintf("GRANT %s TO %s", role.name, quote(user)),
				"%s is not a member of %s: it cannot %s, so after a crash transactions may stay in doubt", user, role.name, role.needed)
		}
	}
	for _, function := range []string{"pg_control_checkpoint()", "pg_control_system()", "pg_current_wal_insert_lsn()", "pg_xact_status(xid8)", "pg_terminate_backend(integer,bigint)", "pg_terminate_backend(integer)"} {
		allowed, err := column[bool](ctx, c.conn, "SELECT has_function_privilege(current_user, f, 'EXECUTE') FROM to_regprocedure($1) f WHERE f IS NOT NULL", "pg_catalog."+function)
		if err != nil {
			return err
		}
		if len(allowed) == 1 && !allowed[0] {
			c.warn("primary", fmt.Sprintf("GRANT EXECUTE ON FUNCTION pg_catalog.%s TO %s", function, quote(user)),
				"%s may not call %s, which settling needs", user, function)
		}
	}
	return nil
}

// ddlCounter checks that changes of the schema are or can be counted.
func (c *primaryCheck) ddlCounter(ctx context.Context) error {
	present, err := column[string](ctx, c.conn,
		"SELECT e.evtenabled::text FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'opmux'")
	if err != nil {
		return err
	}
	usable, err := one[bool](ctx, c.conn, "SELECT coalesce((SELECT has_schema_privilege(n.oid, 'USAGE') AND has_sequence_privilege(c.oid, 'SELECT') FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid WHERE n.nspname = 'opmux' AND c.relname = 'ddl_counter'), false)")
	if err != nil {
		return err
	}
	super, err := one[bool](ctx, c.conn, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
	if err != nil {
		return err
	}
	asleep := false
	for _, enabled := range present {
		asleep = asleep || enabled != "A"
	}
	const remedy = "start the agent once with catalog.dsn as a superuser, which installs schema opmux and its event trigger; afterwards GRANT USAGE ON SCHEMA opmux and SELECT ON ALL SEQUENCES IN SCHEMA opmux suffice"
	switch {
	case len(present) > 0 && usable && !asleep:
		c.ok("primary", "opmux's event trigger counts DDL")
	case super:
		c.ok("primary", "opmux's event trigger is not there yet; the agent installs it at start")
	case asleep:
		c.warn("primary", "ALTER EVENT TRIGGER … ENABLE ALWAYS, or start the agent as a superuser", "opmux's event trigger is not enabled always: DDL of some sessions goes unnoticed")
	case len(present) > 0:
		c.warn("primary", "GRANT USAGE ON SCHEMA opmux and SELECT ON ALL SEQUENCES IN SCHEMA opmux TO "+quote(c.conn.Config().User), "the catalogue's login may not read schema opmux: a hash of the catalogue stands in for the count of DDL, which costs more")
	default:
		c.warn("primary", remedy, "opmux's event trigger is not there and %s may not create it: a hash of the catalogue stands in for the count of DDL, which costs more", c.conn.Config().User)
	}
	return nil
}

// durability finds settings under which the primary may lose a commit that it
// confirmed, and which the backups then have alone.
func (c *primaryCheck) durability(ctx context.Context) error {
	for _, s := range []struct{ name, bad, what string }{
		{"fsync", "off", "a crash of the primary's host may lose or damage what it confirmed"},
		{"full_page_writes", "off", "a crash of the primary's host may damage pages"},
		{"synchronous_commit", "off", "commits that are recorded are flushed all the same; what commits by itself, outside of transactions, may be lost in a crash of the primary"},
	} {
		settings, err := sessionSettings(ctx, c.conn, s.name)
		if err != nil {
			return err
		}
		for _, found := range settings {
			if found.value == s.bad {
				c.warn("primary", "set it on", "%s: %s", found, s.what)
			}
		}
	}
	return nil
}

// sessions compares how many sessions the agent takes with what the server does.
func (c *primaryCheck) sessions(ctx context.Context) error {
	limit, err := one[int](ctx, c.conn, "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int")
	if err != nil {
		return err
	}
	if c.cfg.Listen.MaxSessions > limit {
		// Only said, since the server's own refusal reaches the client unchanged.
		c.ok("primary", "max_connections leaves room for %d sessions (listen.max_sessions is %d)", limit, c.cfg.Listen.MaxSessions)
	}
	return nil
}

// tables lists what of the schema follows on_unsafe once it is written to.
func (c *primaryCheck) tables(ctx context.Context) error {
	const ordinary = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('opmux', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%' AND c.relkind IN ('r', 'p') AND "
	for _, s := range []struct{ where, what, remedy string }{
		{"c.relpersistence = 'u'", unloggedTables, "ALTER TABLE … SET LOGGED, or set capture.unlogged to skip"},
		{"c.relpersistence = 'p' AND NOT c.relispartition AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL)",
			withoutKey, "ALTER TABLE … ADD PRIMARY KEY, or set capture.predicates"},
		{"EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgname NOT IN ('!opmux', '!opmux_truncate', '!opmux_computed'))",
			"with triggers: writes cannot be carried, but where the triggers only compute columns of the row", "set capture.triggers to on, or carry out in the application what the triggers do"},
		{"c.relrowsecurity", "with row security: writes of users subject to it cannot be carried yet", "none; or ALTER TABLE … DISABLE ROW LEVEL SECURITY"},
		{"EXISTS (SELECT FROM pg_constraint k WHERE k.contype = 'c' AND (k.conrelid = c.oid OR k.contypid IN (SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = c.oid)) AND k.conbin::text ~ '" + readsClock + "')",
			"with a CHECK that reads the clock: a worker stops at a row for which it holds no more when it is applied", "compare columns in it, or drop the constraint on the targets"},
		{"EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid)", "with rules: writes cannot be carried yet", "DROP RULE"},
	} {
		if c.cfg.Capture.Triggers && strings.Contains(s.what, "yet") {
			continue // the capture triggers carry them
		}
		if s.what == unloggedTables && c.cfg.Capture.Unlogged == classify.UnloggedSkip {
			continue
		}
		names, err := column[string](ctx, c.conn, "SELECT n.nspname || '.' || c.relname "+ordinary+s.where+" ORDER BY 1 LIMIT 1001")
		if err != nil {
			return err
		}
		if s.what == withoutKey {
			names = slices.DeleteFunc(names, c.carriedByCondition)
		}
		if len(names) > 0 {
			c.warn("schema", s.remedy, "%s %s: %s", counted(len(names), "table"), s.what, some(names, 5))
		}
	}
	return nil
}

// readsClock finds now() and its like, and CURRENT_DATE and its like, in an expression's tree.
const readsClock = `:funcid (1299|2647|2648|2649) |\{SQLVALUEFUNCTION :op [0-8] `

const (
	withoutKey     = "without a usable unique key: UPDATE cannot be carried yet"
	unloggedTables = "unlogged: writes cannot be carried"
)

// carriedByCondition says whether a table's UPDATE needs no key.
func (c *primaryCheck) carriedByCondition(table string) bool {
	return classify.CarryOf(agent.Predicates(c.cfg), table) != classify.CarryRows
}

// some names the first n of a list.
func some(names []string, n int) string {
	if len(names) <= n {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:n], ", ") + fmt.Sprintf(" and %d more", len(names)-n)
}
