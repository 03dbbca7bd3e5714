package integration

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// I3, I6: a function that generated columns and checks are computed by is replaced under an open transaction
// that has used it, which locks nothing: backups would compute by the new one. The transaction may not commit.
func TestI6FunctionReplacedUnderWrites(t *testing.T) {
	b := up(t, rig.Config{}, `CREATE FUNCTION inner_factor() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'`,
		`CREATE FUNCTION times(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1 * inner_factor(); END $$`, `CREATE FUNCTION most() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1000'`, `CREATE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
		`CREATE DOMAIN small AS int CHECK (VALUE < most())`, `CREATE TABLE computed (id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (times(a)) STORED)`, `CREATE TABLE checked (id int PRIMARY KEY, s small)`, `INSERT INTO computed VALUES (100, 1)`)
	for i, c := range []struct {
		writes, theirs string
		moved          bool
	}{
		{`INSERT INTO computed (id, a) VALUES ($n, 5)`, `CREATE OR REPLACE FUNCTION times(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN $1 * inner_factor() + $n; END $$`, true},
		{`INSERT INTO computed (id, a) SELECT $n, count(*) FROM pg_class`, `CREATE OR REPLACE FUNCTION inner_factor() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $n'`, true},
		{`UPDATE computed SET a = 7`, `CREATE OR REPLACE FUNCTION inner_factor() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $n'`, true},
		{`INSERT INTO computed (id, a) VALUES ($n, 5)`, `CREATE OR REPLACE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT $n'`, false},
		{`INSERT INTO checked VALUES ($n, 900)`, `CREATE OR REPLACE FUNCTION most() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 800'`, true},
	} {
		replace := strings.NewReplacer("$n", strconv.Itoa(i))
		writer, other := testkit.Connect(t, b.agent("a1").DSN()), testkit.Connect(t, b.agent("a1").DSN())
		b.runParts(writer, pgx.QueryExecModeSimpleProtocol, `BEGIN; `+replace.Replace(c.writes))
		b.runParts(other, pgx.QueryExecModeSimpleProtocol, replace.Replace(c.theirs))
		var refused *pgconn.PgError
		_, err := writer.Exec(b.ctx, `COMMIT`)
		if moved := errors.As(err, &refused) && refused.Code == "40001"; moved != c.moved || !moved && err != nil {
			t.Errorf("beside %s: %s commits with %v", c.theirs, c.writes, err)
		}
		b.identical()
	}
}
