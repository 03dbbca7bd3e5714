package session_test

import (
	"testing"

	"github.com/opmux/opmux/wire/pgwire"
)

const (
	makesCI = `CREATE INDEX CONCURRENTLY ci ON t (v)`
	dropsCI = `DROP INDEX CONCURRENTLY ci`
)

// TestI5StandaloneAnswersAreTheServersOwn: the command runs in a pipeline of the
// agent's, and the client sees what it would see of its own.
func TestI5StandaloneAnswersAreTheServersOwn(t *testing.T) {
	sameAnswers(t, map[string][]func(*rawClient){
		"conditions and errors": {
			q(makesCI), q(makesCI), q(`CREATE INDEX CONCURRENTLY i2 ON t (nothere)`), q(`CREATE INDEX CONCURRENTLY IF NOT EXISTS ci ON t (v)`), q(dropsCI), q(dropsCI), q(`DROP INDEX CONCURRENTLY IF EXISTS ci`),
			q(`DROP INDEX CONCURRENTLY IF EXISTS nowhere.ci`), q(`DROP INDEX CONCURRENTLY IF EXISTS ci, cj`), q(`CREATE UNIQUE INDEX CONCURRENTLY cu ON t ((1))`), q(`DROP INDEX cu`), q(`CREATE INDEX CONCURRENTLY ON t (v)`), q(`DROP INDEX CONCURRENTLY t_pkey`),
			q(`BEGIN`), q(makesCI), q(`SELECT 1`), q(`ROLLBACK`), q(`SELECT 1; ` + makesCI), q(`BEGIN; ` + makesCI), q(`ROLLBACK`), pipe(`BEGIN`, `|`, makesCI, `|`, `ROLLBACK`),
			q(`SET client_min_messages = error`), q(`CREATE INDEX CONCURRENTLY IF NOT EXISTS ci ON t (v)`), q(`SHOW client_min_messages`), q(`DROP INDEX CONCURRENTLY IF EXISTS t`), q(`SHOW client_min_messages`),
			q(`SET default_transaction_isolation = 'serializable'`), pipe(`DROP INDEX CONCURRENTLY IF EXISTS ci`), q(`SET ROLE pg_read_all_data`), pipe(`CREATE INDEX CONCURRENTLY IF NOT EXISTS ci ON t (v)`), q(`SHOW client_min_messages`),
		},
		"partitions": {
			q(`CREATE TABLE p (a int) PARTITION BY LIST (a)`), q(`CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)`), q(`CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)`), q(`CREATE INDEX CONCURRENTLY ON p (a)`),
			q(`ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY`), q(`ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY`), q(`ALTER TABLE IF EXISTS nothere DETACH PARTITION p2 CONCURRENTLY`), pipe(`ALTER TABLE p DETACH PARTITION p2 CONCURRENTLY`), q(`DROP TABLE p, p1, p2`),
		},
		"pipelines": {
			ext(makesCI, nil, 0), ext(makesCI, nil, 0), ext(dropsCI, nil, 0, "too many"), ext(dropsCI, nil, 1), ext(`CREATE INDEX CONCURRENTLY ci ON t (v) WHERE v > $1`, nil, 0, "1"), pipe(`SELECT nothere`, makesCI),
			do(func(c *rawClient) { c.parse("a", `SELECT nothere`).run(makesCI) }), do(func(c *rawClient) { c.parse("a", `SELECT 1`).bind("a", "a", nil).run(makesCI).execute("a", 0) }),
			pipe(`SELECT 1`, `|`, dropsCI, `|`, `INSERT INTO t (id) VALUES (5001)`, `|`, makesCI, `|`, makesCI, `|`, `SELECT 1`), pipe(dropsCI, `SELECT 1`), pipe(makesCI, `INSERT INTO t (id) VALUES (5002)`), q(dropsCI),
			func(c *rawClient) { c.run(makesCI).query(`SELECT 1`).ready() }, q(`SET client_min_messages = error`),
			pipe(`CREATE INDEX CONCURRENTLY IF NOT EXISTS i3 ON t (nothere)`, `SELECT 1`, `|`, `SHOW client_min_messages`), pipe(`SELECT nothere`, `DROP INDEX CONCURRENTLY IF EXISTS ci`, `|`, `SHOW client_min_messages`),
			func(c *rawClient) {
				c.parse("", dropsCI).bind("", "", nil).send(pgwire.Flush, nil).until(pgwire.BindComplete)
				c.execute("", 0).send(pgwire.Flush, nil).until(pgwire.CommandComplete)
				c.sync().ready()
			},
		},
		"statements and portals": {
			func(c *rawClient) { c.parse("s", makesCI).describe(false, "s").sync().ready() },
			func(c *rawClient) {
				c.bind("p", "s", nil).describe(true, "p").execute("p", 0).closePortal("p").sync().ready()
			}, q(dropsCI),
			func(c *rawClient) { c.bind("p", "s", nil).closeStatement("s").execute("p", 0).sync().ready() }, q(dropsCI), func(c *rawClient) { c.bind("", "s", nil).execute("", 0).sync().ready() },
			func(c *rawClient) { c.parse("", makesCI).sync().ready() }, func(c *rawClient) { c.bind("", "", nil).execute("", 0).sync().ready() }, func(c *rawClient) { c.bind("", "", nil).execute("", 0).sync().ready() },
		},
		"encodings": {
			q("SET client_encoding = LATIN1"), q("CREATE INDEX CONCURRENTLY \"\xe9\" ON t (v)"), pipe("CREATE INDEX CONCURRENTLY \"\xe9\" ON t (v)"), pipe("DROP INDEX CONCURRENTLY \"\xe9\""), q("SET client_min_messages = warning"), pipe("DROP INDEX CONCURRENTLY IF EXISTS \"\xe9\""), q("SHOW client_min_messages"),
		},
	})
}
