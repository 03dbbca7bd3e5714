package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// What changes under statements, and the statements: $t is a table, $c a column, $n a number.
var (
	movingSchema = []string{
		`CREATE FUNCTION number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'`,
		`CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := (random() * 1000000)::int; RETURN NEW; END $$`,
		`CREATE TABLE moving_0 (id serial PRIMARY KEY, a int, b int, n int DEFAULT 1)`, `CREATE TABLE moving_1 (id serial PRIMARY KEY, a int, b int, n int DEFAULT 1)`,
		`CREATE TABLE stays (id int PRIMARY KEY)`, `INSERT INTO stays SELECT generate_series(1, 5)`, `CREATE VIEW seen AS SELECT id, a, b FROM moving_0`,
	}
	movingDDL = []string{
		`ALTER TABLE moving_$t ALTER n SET DEFAULT 1`,
		`ALTER TABLE moving_$t ALTER n SET DEFAULT (random() * 1000000)::int`,
		`ALTER TABLE moving_$t ALTER n SET DEFAULT number()`,
		`ALTER TABLE moving_$t ALTER n SET DEFAULT extract(microseconds FROM clock_timestamp())`,
		`CREATE OR REPLACE FUNCTION number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $n'`,
		`CREATE OR REPLACE FUNCTION number() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT (random() * 1000000)::int'`,
		`ALTER FUNCTION number() IMMUTABLE`, `ALTER FUNCTION number() VOLATILE`,
		`ALTER TABLE moving_$t ADD COLUMN c_$c int DEFAULT $n`, `ALTER TABLE moving_$t DROP COLUMN c_$c`,
		`ALTER TABLE moving_$t ADD COLUMN IF NOT EXISTS c_$c int DEFAULT $n`,
		`CREATE OR REPLACE TRIGGER touch BEFORE INSERT OR UPDATE ON moving_$t FOR EACH ROW EXECUTE FUNCTION touch()`, `DROP TRIGGER touch ON moving_$t`,
		`DO $$ BEGIN ALTER TABLE moving_$t RENAME a TO x;ALTER TABLE moving_$t RENAME b TO a;ALTER TABLE moving_$t RENAME x TO b;END $$`,
		`DROP TABLE IF EXISTS moving_1; CREATE TABLE moving_1 (b int, n int DEFAULT 1, a int, id serial PRIMARY KEY)`,
		`DROP TABLE IF EXISTS moving_1; CREATE TABLE moving_1 (id serial PRIMARY KEY, a int, b int, n int DEFAULT 1)`,
		`ALTER TABLE moving_$t DROP CONSTRAINT moving_$t_pkey`, `ALTER TABLE moving_$t ADD PRIMARY KEY (id)`,
		`CREATE UNIQUE INDEX IF NOT EXISTS moving_$t_a ON moving_$t (a)`, `DROP INDEX IF EXISTS moving_$t_a`,
		`ALTER TABLE moving_$t ALTER b TYPE bigint`, `ALTER TABLE moving_$t ALTER b TYPE int`,
		`CREATE OR REPLACE VIEW seen AS SELECT id, a, b FROM moving_0`,
		`CREATE OR REPLACE RULE also AS ON INSERT TO moving_0 DO ALSO INSERT INTO stays SELECT max(id) + 1 FROM stays`, `DROP RULE IF EXISTS also ON moving_0`,
		`TRUNCATE moving_$t`,
		`CREATE TEMP TABLE mine_$c (id int)`, `DROP TABLE mine_$c`,
		`CREATE TEMP TABLE moving_$t (id int, a int, b int, n int)`, `DROP TABLE pg_temp.moving_$t`,
	}
	movingWrites = []string{
		`INSERT INTO moving_$t (a, b) VALUES ($n, 2)`, `INSERT INTO moving_$t DEFAULT VALUES`, `INSERT INTO moving_$t (a) VALUES ($n) RETURNING id, n`,
		`INSERT INTO moving_$t (a, b) SELECT id, $n FROM stays`, `INSERT INTO moving_$t (a, n) VALUES ($n, number())`,
		`UPDATE moving_$t SET a = $n WHERE id = (SELECT min(id) FROM moving_$t)`, `UPDATE moving_$t SET b = b + 1 WHERE id = $n`, `UPDATE moving_$t SET n = DEFAULT WHERE id < $n`,
		`UPDATE moving_$t SET a = b, b = a WHERE a > $n`, `DELETE FROM moving_$t WHERE id = $n`, `DELETE FROM moving_$t WHERE a < b`,
		`INSERT INTO moving_$t (id, a, b) VALUES ($n, 1, 1) ON CONFLICT (id) DO UPDATE SET a = moving_$t.a + 1`,
		`INSERT INTO seen (a, b) VALUES ($n, 7)`, `UPDATE seen SET a = $n WHERE id = $n`,
		`DO $$ BEGIN INSERT INTO moving_$t (a) VALUES ($n);UPDATE moving_$t SET b = 5 WHERE a = $n;END $$`,
		`SELECT count(*) FROM moving_$t`,
	}
)

// mover is a session that runs statements and DDL as chance has it.
type mover struct {
	b         *bench
	conn      *pgx.Conn
	random    *rand.Rand
	ran       []string // with what came of it
	committed int
}

// exec runs one statement in any mode; in a block it takes back what failed.
func (m *mover) exec(sql string) {
	modes := []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement}
	mode := modes[m.random.IntN(len(modes))]
	block := m.conn.PgConn().TxStatus() == 'T'
	if block {
		_, _ = m.conn.Exec(m.b.ctx, "SAVEPOINT each", mode) // what they do to each other are errors
	}
	_, err := m.conn.Exec(m.b.ctx, sql, mode)
	if err != nil && block {
		_, _ = m.conn.Exec(m.b.ctx, "ROLLBACK TO each", mode)
	}
	m.ran = append(m.ran, fmt.Sprintf("%s: %v", sql, err))
}

// one runs one of some forms.
func (m *mover) one(forms []string) {
	values := strings.NewReplacer("$t", strconv.Itoa(m.random.IntN(2)), "$c", strconv.Itoa(m.random.IntN(3)), "$n", strconv.Itoa(m.random.IntN(40)))
	for sql := range strings.SplitSeq(values.Replace(forms[m.random.IntN(len(forms))]), "; ") {
		m.exec(sql)
	}
}

// block runs a transaction.
func (m *mover) block() {
	levels := []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"}
	_, err := m.conn.Exec(m.b.ctx, "BEGIN ISOLATION LEVEL "+levels[m.random.IntN(len(levels))])
	for range 1 + m.random.IntN(5) {
		if m.random.IntN(4) == 0 {
			m.one(movingDDL)
		} else {
			m.one(movingWrites)
		}
	}
	tag, committed := m.conn.Exec(m.b.ctx, "COMMIT")
	if err == nil && committed == nil && tag.String() == "COMMIT" {
		m.committed++
	}
	m.ran = append(m.ran, fmt.Sprintf("COMMIT: %s, %v", tag, committed))
}

func (m *mover) run(rounds int) {
	for range rounds {
		switch m.random.IntN(3) {
		case 0:
			m.one(movingDDL)
		case 1:
			m.one(movingWrites)
		default:
			m.block()
		}
		if m.conn.PgConn().TxStatus() != 'I' {
			_, _ = m.conn.Exec(m.b.ctx, "ROLLBACK")
		}
	}
}

// Whatever is changed under statements, by their own transaction or by others, at any isolation level:
// what commits is on the backup what it is on the primary (I3, I6). OPMUX_UNDER_DDL_SEED
// and OPMUX_UNDER_DDL_ROUNDS run others, and more of them.
func TestI6StatementsUnderDDL(t *testing.T) {
	seed, rounds := fromEnv(t, "OPMUX_UNDER_DDL_SEED", 1), fromEnv(t, "OPMUX_UNDER_DDL_ROUNDS", 30)
	b := up(t, rig.Config{AgentYAML: triggersOn}, movingSchema...)
	b.unlike = true // compared while DDL is under way
	movers := make([]*mover, 5)
	var wait sync.WaitGroup
	for i := range movers {
		m := &mover{b: b, conn: testkit.Connect(t, b.agent("a1").DSN()), random: rand.New(rand.NewPCG(uint64(i), uint64(seed)))}
		movers[i] = m
		wait.Go(func() { m.run(rounds) })
	}
	wait.Wait()
	t.Cleanup(func() {
		for i, m := range movers {
			if t.Failed() {
				t.Logf("session %d\n%s", i, strings.Join(m.ran, "\n"))
			}
		}
	})
	committed := 0
	for _, m := range movers {
		committed += m.committed
	}
	if committed < len(movers) {
		t.Errorf("%d transactions were committed", committed)
	}
	b.identical()
	b.sequencesFollow()
	b.sameCatalogue()
}

// fromEnv is a number that the environment may change.
func fromEnv(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
