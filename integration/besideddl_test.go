package integration

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// besideWrites are statements that are planned before another session's DDL.
var besideWrites = []string{
	`INSERT INTO $t (id, n) VALUES ($n, 1)`,
	`UPDATE $t SET n = n + 1 WHERE id = 1`,
	`UPDATE $t SET v = random()::text WHERE id < 3`,
	`DELETE FROM $t WHERE id = 4`,
	`INSERT INTO $t (id, n) SELECT $n, count(*) FROM q`,
	`INSERT INTO $t VALUES ($n, 1, 'x') ON CONFLICT ON CONSTRAINT $t_pkey DO NOTHING`,
}

// besideDDL is that DDL: $t is the table that is written, $p one that it points to, $c one that may point to it, $o
// another one. moved are the places of the writes that may not commit behind it; after says that it runs, too, while a
// transaction holds the lock of its write, and waits that it ends only behind that.
var besideDDL = []struct {
	ddl          string
	moved        []int
	after, waits bool
}{
	{ddl: `ALTER TABLE $t ADD COLUMN added int`, moved: []int{4, 5}}, // images of rows lack it
	{ddl: `ALTER TABLE $t ADD COLUMN added int DEFAULT 5`, moved: []int{4, 5}},
	{ddl: `ALTER TABLE $t ADD COLUMN added text NOT NULL DEFAULT length('five')`, moved: []int{4, 5}},
	{ddl: `ALTER TABLE $t ADD COLUMN added timestamptz DEFAULT now()`, moved: []int{0, 4, 5}},
	{ddl: `ALTER TABLE $t ALTER spare SET DEFAULT own()`, moved: []int{0, 1, 2, 3, 4, 5}}, // own() may have been another
	{ddl: `ALTER TABLE $t ADD COLUMN added int GENERATED ALWAYS AS (n * 2) STORED`, moved: []int{0, 1, 2, 3, 4, 5}},
	{ddl: `ALTER TABLE $t DROP COLUMN spare`, moved: []int{4, 5}}, // which their images ask for,
	{ddl: `ALTER TABLE $t RENAME COLUMN spare TO spared`, moved: []int{4, 5}},
	{ddl: `CREATE INDEX $t_n ON $t (n)`},
	{ddl: `CREATE UNIQUE INDEX $t_u ON $t (spare)`},
	{ddl: `CREATE UNIQUE INDEX $t_u ON $t ((spare + 1))`, moved: []int{0, 1, 2, 3, 4, 5}},
	{ddl: `CREATE INDEX CONCURRENTLY $t_n ON $t (n)`, after: true, waits: true},
	{ddl: `CREATE UNIQUE INDEX CONCURRENTLY $t_u ON $t (spare)`, after: true, waits: true},
	{ddl: `ALTER INDEX $t_n_id_key RENAME TO $t_renamed`, moved: []int{0, 1, 2, 3, 4, 5}, after: true}, // ON CONSTRAINT means another
	{ddl: `ALTER TABLE $t DROP CONSTRAINT $t_n_id_key`, moved: []int{0, 1, 2, 3, 4, 5}},
	{ddl: `ALTER TABLE $t ADD CONSTRAINT checks CHECK (n > -5) NOT VALID`},
	{ddl: `ALTER TABLE $t VALIDATE CONSTRAINT unsure`, after: true},
	{ddl: `ALTER TABLE $t ADD CONSTRAINT points FOREIGN KEY (w) REFERENCES $p`},
	{ddl: `ALTER TABLE $t ADD CONSTRAINT points FOREIGN KEY (w) REFERENCES $p ON DELETE CASCADE NOT VALID`},
	{ddl: `ALTER TABLE $c ADD CONSTRAINT points FOREIGN KEY (t) REFERENCES $t`},
	{ddl: `ALTER TABLE $c ADD CONSTRAINT points FOREIGN KEY (t) REFERENCES $t ON DELETE CASCADE`, moved: []int{3}},
	{ddl: `ALTER TABLE $t DROP CONSTRAINT older`},
	{ddl: `ALTER TABLE $t ALTER CONSTRAINT older DEFERRABLE INITIALLY DEFERRED`, moved: []int{0, 1, 2, 3, 4, 5}},
	{ddl: `CREATE TRIGGER on_truncate BEFORE TRUNCATE ON $t EXECUTE FUNCTION suppress_redundant_updates_trigger()`, moved: []int{0, 1, 2, 3, 4, 5}},
	{ddl: `ALTER TABLE $t ALTER n SET DEFAULT 6`},
	{ddl: `ALTER TABLE $t ALTER spare SET DEFAULT 6`},
	{ddl: `ALTER TABLE $t ALTER spare SET DEFAULT random() * 1000`, moved: []int{0}},
	{ddl: `ALTER TABLE $t ALTER n DROP DEFAULT`},
	{ddl: `ALTER TABLE $t ALTER n SET NOT NULL`},
	{ddl: `ALTER TABLE $t ALTER n TYPE bigint`, moved: []int{0, 1, 2, 3, 4, 5}},
	{ddl: `ALTER TABLE $t ALTER v SET STATISTICS 50`, after: true},
	{ddl: `ALTER TABLE $o RENAME TO $o_renamed`, after: true},
	{ddl: `CREATE TABLE $t_part PARTITION OF parts FOR VALUES IN ($n)`, after: true},
	{ddl: `COMMENT ON TABLE $t IS 'commented'`, after: true},
	{ddl: `CREATE VIEW $t_view AS SELECT * FROM $t`, after: true},
}

func besideSchema() []string {
	return []string{`CREATE TABLE q (id int PRIMARY KEY)`, `CREATE TABLE parts (id int) PARTITION BY LIST (id)`, `CREATE FUNCTION own() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 7'`,
		fmt.Sprintf(`DO $$ BEGIN FOR i IN 1 .. %d LOOP
		EXECUTE format('CREATE TABLE p_%%1$s (id int PRIMARY KEY);CREATE TABLE o_%%1$s (id int PRIMARY KEY);
			CREATE TABLE t_%%1$s (id int PRIMARY KEY, n int DEFAULT 1, v text, spare int, w int NOT NULL DEFAULT 0 CONSTRAINT older REFERENCES p_%%1$s, UNIQUE (n, id));CREATE TABLE c_%%1$s (id int PRIMARY KEY, t int);
			INSERT INTO p_%%1$s VALUES (0);INSERT INTO t_%%1$s SELECT i, i, i::text, i FROM generate_series(1, 5) i;INSERT INTO c_%%1$s VALUES (1, 1);
			ALTER TABLE t_%%1$s ADD CONSTRAINT unsure CHECK (n < 1000) NOT VALID', i);
		END LOOP; END $$`, 2*len(besideDDL)*len(besideWrites))}
}

// A transaction that was planned before another session's DDL, and ran behind or beside it, commits where the DDL
// changes nothing of what it did and what is published of it (I5), and only there: its rows are the same on the backup (I6),
// and so is what its record says of its tables.
func TestI6TransactionsBesideDDL(t *testing.T) {
	b := up(t, rig.Config{}, besideSchema()...)
	n := 0
	for _, c := range besideDDL {
		for i, write := range besideWrites {
			moved := slices.Contains(c.moved, i)
			if !c.waits { // which commits no transaction
				n++
				b.behindDDL(n, c.ddl, write, moved)
			}
			if c.after {
				n++
				b.beforeDDL(n, c.ddl, write, moved)
			}
		}
	}
	b.identical()
	b.sameCatalogue()
}

// besidePair is a session that writes and one with DDL. Protocol and isolation level differ from one round to the next.
func (b *bench) besidePair(n int) (writer, other *pgx.Conn, fill *strings.Replacer) {
	id := fmt.Sprint(n)
	fill = strings.NewReplacer("$t", "t_"+id, "$p", "p_"+id, "$o", "o_"+id, "$c", "c_"+id, "$n", fmt.Sprint(n+1000))
	return testkit.Connect(b.t, b.agent("a1").DSN()), testkit.Connect(b.t, b.agent("a1").DSN()), fill
}

func besideMode(n int) pgx.QueryExecMode {
	return []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeCacheStatement}[n%3]
}

func besideBegin(n int, ddl string) string {
	if strings.Contains(ddl, "STORED") || strings.Contains(ddl, "TYPE bigint") {
		return `BEGIN` // they write the table anew, and under an old snapshot it is empty then
	}
	return []string{`BEGIN`, `BEGIN ISOLATION LEVEL REPEATABLE READ`}[n%2]
}

// behindDDL has a statement wait for DDL that is not committed, where they exclude each other.
func (b *bench) behindDDL(n int, ddl, write string, moved bool) {
	b.t.Helper()
	writer, other, fill := b.besidePair(n)
	b.runParts(writer, besideMode(n), besideBegin(n, ddl))
	b.runParts(writer, besideMode(n), `SELECT 1`) // its snapshot
	b.runParts(other, pgx.QueryExecModeSimpleProtocol, "BEGIN; "+fill.Replace(ddl))
	done := make(chan error, 1)
	go func() { done <- execute(b.ctx, writer, besideMode(n), fill.Replace(write)) }()
	b.endsOrWaits(writer, done)
	b.runParts(other, pgx.QueryExecModeSimpleProtocol, "COMMIT")
	err := <-done
	if err == nil {
		err = execute(b.ctx, writer, besideMode(n), "COMMIT")
	}
	if besideMode(n) == pgx.QueryExecModeCacheStatement {
		moved = err != nil && moved // it may have waited when it was prepared, and be planned anew before it ran
	}
	b.cameTo(err, moved, fill.Replace(write), "behind "+fill.Replace(ddl))
	b.closeAll(writer, other)
}

// beforeDDL has a transaction commit behind DDL, or while it waits, that comes when its statement has run.
func (b *bench) beforeDDL(n int, ddl, write string, moved bool) {
	b.t.Helper()
	writer, other, fill := b.besidePair(n)
	b.runParts(writer, besideMode(n), besideBegin(n, ddl))
	b.runParts(writer, besideMode(n), fill.Replace(write))
	done := b.beside(other, fill.Replace(ddl))
	b.endsOrWaits(other, done)
	b.cameTo(execute(b.ctx, writer, besideMode(n), "COMMIT"), moved, fill.Replace(write), "before "+fill.Replace(ddl))
	b.must(<-done)
	b.closeAll(writer, other)
}

// endsOrWaits returns when a statement has been answered, or its server process waits for a lock.
func (b *bench) endsOrWaits(conn *pgx.Conn, done <-chan error) {
	b.t.Helper()
	sql := fmt.Sprintf(`SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND wait_event_type = 'Lock'`, conn.PgConn().PID())
	testkit.Eventually(b.t, 20*time.Second, func() error {
		if len(done) == 0 && b.onPrimary(sql)[0][0] != "1" {
			return errors.New("it has neither ended nor waits for a lock")
		}
		return nil
	})
}

func (b *bench) cameTo(err error, moved bool, write, ddl string) {
	b.t.Helper()
	var refused *pgconn.PgError
	if got := errors.As(err, &refused); got != moved || !moved && err != nil || moved && refused.Code != "40001" && refused.Code != "42703" {
		b.t.Errorf("%s %s: %v", write, ddl, err)
	}
}

func (b *bench) closeAll(conns ...*pgx.Conn) {
	for _, conn := range conns {
		b.must(conn.Close(b.ctx))
	}
}

// Rows of two tables are written by many sessions while foreign keys between them, keys, columns and defaults come and go, and
// applied on many lanes: no child goes before its parent, no lane waits for another without end, and the backup is the same (I3, I5, I6).
func TestI3LanesBesideDDL(t *testing.T) {
	rounds := testkit.FromEnv(t, "OPMUX_BESIDE_ROUNDS", 60)
	b := up(t, rig.Config{Parallelism: 8}, `CREATE TABLE par (id int PRIMARY KEY, n int DEFAULT 0)`, `CREATE TABLE kid (id bigserial PRIMARY KEY, par int, n int)`, `INSERT INTO par SELECT generate_series(1, 10)`)
	b.unlike = true // a definition is published with the first write behind it
	b.must(b.agent("a2").Start(b.ctx))
	ddl := []string{
		`ALTER TABLE kid ADD CONSTRAINT of FOREIGN KEY (par) REFERENCES par NOT VALID`, `ALTER TABLE kid VALIDATE CONSTRAINT of`, `ALTER TABLE kid DROP CONSTRAINT of`,
		`ALTER TABLE par ADD COLUMN more int DEFAULT 3`, `ALTER TABLE par ALTER n SET DEFAULT 4`, `ALTER TABLE kid ADD CONSTRAINT of FOREIGN KEY (par) REFERENCES par ON DELETE CASCADE NOT VALID`,
		`ALTER TABLE kid ADD CONSTRAINT also UNIQUE (n, id)`, `ALTER TABLE par DROP COLUMN more`, `ALTER TABLE kid DROP CONSTRAINT also`, `ALTER TABLE kid DROP CONSTRAINT of`, `CREATE UNIQUE INDEX CONCURRENTLY swift ON par (n, id)`, `DROP INDEX CONCURRENTLY swift`,
	}
	writes := []string{
		`INSERT INTO par (id) VALUES ($k) ON CONFLICT (id) DO UPDATE SET n = 7`, `INSERT INTO kid (par) VALUES ($k)`, `DELETE FROM kid WHERE par = $k`, `DELETE FROM par WHERE id = $k`, `UPDATE par SET n = n + 1 WHERE id = $k`,
		`INSERT INTO par VALUES ($k) ON CONFLICT DO NOTHING; INSERT INTO kid (par, n) VALUES ($k, 1)`, `UPDATE kid SET par = $k WHERE id % 7 = 0`, `DELETE FROM kid WHERE par = $k; DELETE FROM par WHERE id = $k`,
	}
	var tally besideTally
	b.writersBeside(rounds, func(conn *pgx.Conn, w, i int) {
		sql := strings.ReplaceAll(writes[(w*3+i)%len(writes)], "$k", fmt.Sprint((w+i*i)%10+1))
		tally.count(t, sql, execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, "BEGIN; "+sql+"; COMMIT"))
		_ = execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, "ROLLBACK") // what is left of the block, if it is
	}, func(conn *pgx.Conn, i int) {
		tally.count(t, ddl[i%len(ddl)], execute(b.ctx, conn, pgx.QueryExecModeSimpleProtocol, ddl[i%len(ddl)]))
	})
	t.Logf("%d committed, %d were refused (40001), %d failed by a foreign key", tally.committed.Load(), tally.refused.Load(), tally.broken.Load())
	if tally.committed.Load() < int64(2*rounds) {
		t.Error("few transactions were committed")
	}
	b.identical()
	b.sameCatalogue()
}

type besideTally struct{ committed, refused, broken atomic.Int64 }

func (a *besideTally) count(t *testing.T, sql string, err error) {
	var answer *pgconn.PgError
	switch {
	case err == nil:
		a.committed.Add(1)
	case !errors.As(err, &answer):
		t.Errorf("%s: %v", sql, err)
	case answer.Code == "40001" || answer.Code == "40P01":
		a.refused.Add(1)
	case answer.Code[:2] == "23" || answer.Code[:2] == "42": // a violation, or a column or constraint that is not there
		a.broken.Add(1)
	default:
		t.Errorf("%s: %v", sql, err)
	}
}
