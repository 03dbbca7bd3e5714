package catalog

import (
	"context"
	"fmt"
)

const (
	// publicSQL reads the counter's OID, and whether every role may read the counter.
	publicSQL = `select oid::pg_catalog.text, pg_catalog.has_sequence_privilege('public', oid, 'SELECT')::pg_catalog.text
		from pg_catalog.pg_class where oid = pg_catalog.to_regclass('opmux.ddl_counter')`
	grantSQL = `grant select on sequence opmux.ddl_counter to public`
	// unmovedSQL fails where the counter stands elsewhere than its parameter says. By
	// OID it needs no right on schema opmux, and a function is cheaper than a scan.
	unmovedSQL = `SELECT CAST(CASE WHEN COALESCE(pg_catalog.pg_sequence_last_value(%s) OPERATOR(pg_catalog.+) 1, 1) ` +
		`OPERATOR(pg_catalog.=) $1::pg_catalog.int8 THEN '1' ELSE 'opmux: the catalogue has moved, looking again' END AS pg_catalog.int4)`
)

// UnmovedSQL is a statement that any session can run, with a version as its
// parameter: it fails where the DDL counter is at another one, and where the session
// may not read the counter. "": sessions cannot be asked.
func (c *Catalog) UnmovedSQL() string { return c.unmoved }

// publish lets every role read the counter, where the agent's login may allow that:
// the sessions that it relays are then asked by UnmovedSQL.
func (c *Catalog) publish(ctx context.Context) error {
	oid, public, err := c.public(ctx)
	if err == nil && !public && !c.cfg.ReadOnly {
		if err = c.lookups.Install(ctx, grantSQL); err == nil || notAllowed(err) {
			oid, public, err = c.public(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("let sessions read the DDL counter: %w", err)
	}
	if public {
		c.unmoved = fmt.Sprintf(unmovedSQL, oid)
	}
	return nil
}

func (c *Catalog) public(ctx context.Context) (oid string, public bool, err error) {
	rows, err := c.lookups.Query(ctx, publicSQL)
	if err != nil || len(rows) != 1 {
		return "", false, err
	}
	return string(rows[0][0].Text), string(rows[0][1].Text) == "true", nil
}
