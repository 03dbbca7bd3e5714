package classify

import (
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// A name is a table expression's only where that is in sight; before it, and where rows are
// written, it is the catalogue's (I6).
func TestI6NamesThatAreInSight(t *testing.T) {
	for sql, want := range map[string]string{
		`WITH t AS (SELECT * FROM t) SELECT * FROM t`:                                       "t t-",
		`WITH RECURSIVE t AS (SELECT 1 UNION SELECT * FROM t) SELECT * FROM t, s.t`:         "t- t- t",
		`WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM a, b`:            "b a- a- b-",
		`WITH t AS (SELECT 1) INSERT INTO t SELECT * FROM t`:                                "t t-",
		`WITH t AS (SELECT 1) UPDATE t SET x = 1 FROM t AS u`:                               "t t-",
		`WITH t AS (DELETE FROM t RETURNING *) DELETE FROM t USING u`:                       "t t u",
		`SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) x, t`:                         "t- t",
		`WITH t AS (SELECT 1) SELECT (SELECT 1 FROM t) FROM x WHERE EXISTS (SELECT FROM t)`: "t- x t-",
		`WITH t AS (SELECT 1) SELECT 1 UNION SELECT * FROM t`:                               "t-",
	} {
		tree, err := pg.Parse(sql)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		err = eachRelation(tree.Stmts[0].Stmt, nil, func(rv *pg.RangeVar, local bool) error {
			name := rv.Relname
			if local {
				name += "-"
			}
			got = append(got, name)
			return nil
		})
		if s := strings.Join(got, " "); s != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", sql, s, err, want)
		}
	}
}
