package apply

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	dto "github.com/prometheus/client_model/go"

	"github.com/opmux/opmux/event"
)

var (
	setSeeds = flag.Int("seeds", 12, "random schemas and workloads of TestSetsDoWhatOperationsDo")
	setSeed  = flag.Uint64("seed", 0, "run TestSetsDoWhatOperationsDo with this seed alone")
)

// Random transactions that a real primary has committed are applied in sets to one
// target and one by one to another; half of the targets differ from the primary
// beforehand. Tables, digests and the error that stops the stream must be equal.
func TestSetsDoWhatOperationsDo(t *testing.T) {
	sets := 0.0
	for i := range *setSeeds {
		seed := uint64(i + 1)
		if *setSeed != 0 {
			seed = *setSeed
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { sets += compareSets(t, seed) })
		if *setSeed != 0 {
			break
		}
	}
	if sets < 100 && *setSeed == 0 {
		t.Errorf("%.0f operations ran in sets: nothing was tested", sets)
	}
}

func compareSets(t *testing.T, seed uint64) float64 {
	p := newSetPrimary(t, seed)
	failed := p.setsFailed()
	together, apart := p.rig, *p.rig
	apart.db = p.pg.CreateDB(t)
	for _, db := range []string{together.db, apart.db} {
		p.pg.Exec(t, db, p.schema...)
		p.pg.Exec(t, db, p.fill...)
	}
	a := p.agent("a1")
	for range 100 + p.rand.IntN(200) {
		if ops := p.transaction(); len(ops) > 0 {
			a.commit(ops...)
		}
	}
	tampers := p.rand.IntN(2) * (1 + p.rand.IntN(3))
	if strings.Contains(strings.Join(p.schema, " "), "DEFERRABLE") {
		tampers = 0 // what is refused only until a group ends depends on where it ends
	}
	for range tampers {
		sql := p.tamper()
		t.Log("on the targets: " + sql)
		for _, db := range []string{together.db, apart.db} {
			if err := p.try(db, sql); err != nil {
				t.Log(err)
			}
		}
	}
	w, errTogether := p.applied(together, "together", false)
	_, errApart := p.applied(&apart, "apart", true)
	if fmt.Sprint(errTogether) != fmt.Sprint(errApart) {
		t.Errorf("in sets: %v\none by one: %v", errTogether, errApart)
	}
	if n := failed(); n > 0 && tampers == 0 {
		t.Errorf("sets failed %d times on a target that equals the primary", n)
	}
	for _, table := range p.tables {
		sql := "SELECT * FROM " + table + " whole ORDER BY whole::text"
		if got, want := together.query(sql), apart.query(sql); got != want {
			t.Errorf("%s differs:\nin sets    %s\none by one %s", table, got, want)
		}
	}
	// Where a stream stops, digests of what came before may not be out yet.
	if got, want := p.answers("together"), p.answers("apart"); got != want && errTogether == nil {
		t.Errorf("digests differ:\nin sets    %s\none by one %s", got, want)
	}
	return w.inSets(t)
}

// inSets counts the statements that ran in sets.
func (w *Worker) inSets(t *testing.T) float64 {
	var m dto.Metric
	if err := w.metrics.operations.WithLabelValues("orders", string(event.OpStatement), "set").Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func (p *setPrimary) applied(r *rig, target string, noSets bool) (*Worker, error) {
	w := r.worker(func(c *Config) { c.NoSets, c.Target, c.Parallelism = noSets, target, 1 })
	ctx, cancel := context.WithTimeout(p.t.Context(), 4*patience)
	defer cancel()
	return w, w.RunUntil(ctx, map[string]int64{"orders": r.end()})
}

// answers are the digests of a target as text.
func (p *setPrimary) answers(target string) string {
	var b strings.Builder
	all := p.digestsOf(target)
	for offset := range p.end() {
		if d := all[offset]; d != nil {
			fmt.Fprintf(&b, "%d:%s", offset, d.Skipped)
			for _, o := range d.Operations {
				fmt.Fprintf(&b, " %d/%s/%d/%s", o.Index, o.SQLState, o.Affected, o.Skipped)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// setPrimary is a primary and what is random about it.
type setPrimary struct {
	*rig
	primary string
	rand    *rand.Rand
	conn    *pgconn.PgConn
	schema  []string
	fill    []string
	tables  []string
	keys    int   // of rows are few, so that operations meet
	kinds   []int // of statements
}

func newSetPrimary(t *testing.T, seed uint64) *setPrimary {
	p := &setPrimary{rig: newRig(t), rand: rand.New(rand.NewPCG(seed, 0))}
	p.primary, p.keys, p.kinds = p.pg.CreateDB(t), 3+p.rand.IntN(12), p.rand.Perm(28)[:3+p.rand.IntN(9)]
	p.makeSchema()
	p.pg.Exec(t, p.primary, p.schema...)
	p.pg.Exec(t, p.primary, p.fill...)
	conn, err := pgconn.Connect(t.Context(), p.pg.DSN(p.primary))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	p.conn = conn
	return p
}

func (p *setPrimary) one(of ...string) string { return of[p.rand.IntN(len(of))] }

// makeSchema draws tables: acc has all kinds of columns, child names rows of it,
// part and noisy are tables that have no sets, log has no key.
func (p *setPrimary) makeSchema() {
	p.tables = []string{"acc", "child", "part", "noisy", "log", "book"}
	p.schema = []string{
		"CREATE TABLE acc (id " + p.one("int", "bigint", "smallint") + " PRIMARY KEY, n " + p.one("int", "smallint", "bigint") +
			" " + p.one("", "CHECK (n <> 7)", "NOT NULL") + ", m " + p.one("numeric", "numeric(8,2)", "numeric(6,1)") + ", f float8, s " +
			p.one("text", "varchar(6)", "varchar", "char(5)") + ", u int " + p.one("UNIQUE", "UNIQUE DEFERRABLE", "") +
			p.one("", ", g int GENERATED ALWAYS AS (n / 2) STORED", ", d date DEFAULT '2026-01-01'") + ")",
		"CREATE TABLE child (code " + p.one("text", "varchar(9)", `text COLLATE "C"`) + " PRIMARY KEY, acc bigint REFERENCES acc " +
			p.one("", "DEFERRABLE INITIALLY DEFERRED", "ON DELETE CASCADE", "ON DELETE SET NULL") + ", k int)",
		"CREATE TABLE part (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)",
		"CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (3)", "CREATE TABLE part2 PARTITION OF part DEFAULT",
		"CREATE TABLE noisy (id int PRIMARY KEY, n int)",
		"CREATE FUNCTION noise() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n = NEW.n + 1; RETURN NEW; END'",
		"CREATE TRIGGER noise BEFORE UPDATE ON noisy FOR EACH ROW EXECUTE FUNCTION noise()",
		"CREATE TABLE log (id int, at timestamp, what text)",
		p.one("SELECT 1", "CREATE INDEX ON acc (s)", "CREATE INDEX ON acc (n)", "CREATE UNIQUE INDEX ON acc (lower(s), id)", "CREATE INDEX ON acc ((n + 1))"),
	}
	p.makeBook()
	p.fill = []string{
		"INSERT INTO book SELECT i, d::date, i, NULL, i FROM generate_series(0, 2) i, unnest(ARRAY['" + strings.Join(bookDays, "','") + "']) d",
		fmt.Sprintf("INSERT INTO acc (id, n, m, f, s, u) SELECT i, i + 10, i, i, 'a' || i, i * 10 FROM generate_series(0, %d, 2) i", p.keys-1),
		"INSERT INTO child SELECT 'c' || id, id, id FROM acc WHERE id > 1",
		fmt.Sprintf("INSERT INTO part SELECT i, i FROM generate_series(0, %d) i", p.keys-1),
		"INSERT INTO noisy SELECT * FROM part",
	}
}

// tamper makes the targets differ from the primary.
func (p *setPrimary) tamper() string {
	id := strconv.Itoa(p.rand.IntN(p.keys))
	return p.one(
		"DELETE FROM acc WHERE id = "+id, "DELETE FROM child WHERE code = 'c"+id+"'",
		"INSERT INTO acc (id, n, m, s, u) VALUES ("+id+", 1, 1, 'x', 99)", "INSERT INTO child VALUES ('c"+id+"', NULL, 1)",
		"UPDATE acc SET n = "+p.one("32700", "-32700", "2147483640", "-2147483640", "9223372036854775800")+" WHERE id = "+id,
		"UPDATE acc SET m = 999999 WHERE id = "+id, "UPDATE acc SET m = 'NaN' WHERE id = "+id,
		"UPDATE book SET n = n + 1", "UPDATE book SET k = 2147483647 WHERE id = 1", "ALTER TABLE book ADD CHECK (k > 2) NOT VALID",
		"ALTER TABLE book ALTER x TYPE "+p.one("text", "varchar(2)", "int")+" USING NULL", "CREATE INDEX ON book ((1 / n))", "DELETE FROM book WHERE day > '2000-01-01'",
		"CREATE UNIQUE INDEX ON book (k) WHERE k > 100", "CREATE TRIGGER noise BEFORE UPDATE ON book FOR EACH ROW EXECUTE FUNCTION noise()",
		"UPDATE acc SET u = u + 10", "ALTER TABLE acc ADD CHECK (n BETWEEN -40 AND 40) NOT VALID", "CREATE UNIQUE INDEX ON acc (s)",
		"ALTER TABLE acc ALTER s TYPE varchar(3) USING left(s, 3)", "ALTER TABLE child ADD UNIQUE (k)", "ALTER TABLE acc ALTER s SET NOT NULL",
		"CREATE TRIGGER noise BEFORE UPDATE ON acc FOR EACH ROW EXECUTE FUNCTION noise()",
		"CREATE RULE r AS ON UPDATE TO acc DO ALSO INSERT INTO log VALUES (NEW.id)",
		"ALTER TABLE acc ADD e int DEFAULT 1 + random()::int * 0", "ALTER TABLE acc ALTER m TYPE numeric(4,1)",
		"CREATE TABLE sub () INHERITS (acc)", "ALTER TABLE child ENABLE ROW LEVEL SECURITY",
	)
}

// try runs a statement that may fail.
func (p *setPrimary) try(db, sql string) error {
	conn, err := pgconn.Connect(p.t.Context(), p.pg.DSN(db))
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(p.t.Context(), sql).ReadAll()
	return err
}

// transaction runs a random transaction on the primary and returns what an agent
// would publish of it, nothing where it failed.
func (p *setPrimary) transaction() []event.Operation {
	ctx := p.t.Context()
	exec := func(sql string) error {
		_, err := p.conn.Exec(ctx, sql).ReadAll()
		return err
	}
	if err := exec("BEGIN"); err != nil {
		p.t.Fatal(err)
	}
	var ops []event.Operation
	for range 1 + p.rand.IntN(4) {
		if p.rand.IntN(8) == 0 {
			op, sql := p.aside(ops)
			if err := exec(sql); err != nil {
				p.t.Fatal(err)
			}
			ops = append(ops, op)
			continue
		}
		op, sql, params, formats, oids := p.operation()
		tag, err := p.conn.ExecParams(ctx, sql, params, oids, formats, nil).Close()
		if err != nil {
			_ = exec("ROLLBACK")
			return nil
		}
		if tag.RowsAffected() == 0 {
			continue
		}
		op.Digest = event.Digest{SQLState: "00000", Affected: tag.RowsAffected()}
		ops = append(ops, op)
	}
	if err := exec("COMMIT"); err != nil {
		return nil
	}
	return ops
}

// operation draws one, as the event that carries it and as what a client sends.
func (p *setPrimary) operation() (op event.Operation, sql string, params [][]byte, formats []int16, oids []uint32) {
	if p.rand.IntN(10) == 0 {
		return p.imagesOf()
	}
	sql, args := p.statement()
	if p.rand.IntN(2) == 0 { // constants in the text
		for i := len(args); i > 0; i-- {
			arg := args[i-1]
			if _, err := strconv.ParseFloat(arg, 64); err != nil || p.rand.IntN(3) == 0 || strings.Trim(arg, "0123456789.-") != "" {
				arg = "'" + strings.ReplaceAll(arg, "'", "''") + "'"
			}
			sql = strings.ReplaceAll(sql, fmt.Sprint("$", i), arg)
		}
		args = nil
	}
	op = event.Operation{Kind: event.OpStatement, Class: event.ClassText, Text: sql}
	typed := p.rand.IntN(3) // by the server, as int4 in text or in binary
	for _, arg := range args {
		param := event.Param{Value: []byte(arg)}
		if n, err := strconv.ParseInt(arg, 10, 32); err == nil && typed > 0 {
			param.OID = 23
			if typed == 2 {
				param.Binary, param.Value = true, binary.BigEndian.AppendUint32(nil, uint32(int32(n)))
			}
		}
		op.Params = append(op.Params, param)
		params, oids = append(params, param.Value), append(oids, param.OID)
		format := int16(0)
		if param.Binary {
			format = 1
		}
		formats = append(formats, format)
	}
	return op, sql, params, formats, oids
}

// statement draws a statement with parameters.
func (p *setPrimary) statement() (string, []string) {
	id, other := strconv.Itoa(p.rand.IntN(p.keys)), strconv.Itoa(p.rand.IntN(p.keys))
	small := strconv.Itoa(p.rand.IntN(41) - 20)
	large := p.one(small, small, "20000", "-20000", "2000000000", "-2000000000")
	word := p.one("x", "it's", `a"b\c,{}`, "NULL", "", " y ", "long one", "é")
	kind := p.kinds[p.rand.IntN(len(p.kinds))]
	if kind >= 18 {
		return p.bookStatement(kind)
	}
	switch kind {
	case 0, 1, 2, 3:
		return "UPDATE acc SET n = n + $1 WHERE id = $2", []string{large, id}
	case 4:
		return "UPDATE acc SET n = n - $1, m = m + $2 WHERE id = $3", []string{small, p.one("1", "1.25", "-0.5", "100.1"), id}
	case 5:
		return "UPDATE acc SET s = $1 WHERE id = $2", []string{word, id}
	case 6:
		return "UPDATE acc SET f = f * 2, n = n + n WHERE id = $1", []string{id}
	case 7:
		return "UPDATE acc SET u = $1 WHERE id = $2", []string{p.one("10", "20", "30", "40"), id}
	case 8:
		return "UPDATE acc SET s = $1 WHERE u = $2", []string{word, p.one("10", "20", "30", "40")}
	case 9:
		return "INSERT INTO acc (id, n, m, s, u) VALUES ($1, $2, $3, $4, $5)", []string{id, small, "1.5", word, p.one("10", "20", "30", "40")}
	case 10:
		return "DELETE FROM acc WHERE id = $1", []string{id}
	case 11:
		return "INSERT INTO child VALUES ($1, $2, $3)", []string{"c" + id, other, small}
	case 12:
		return "DELETE FROM child WHERE code = $1", []string{"c" + id}
	case 13:
		return "UPDATE child SET acc = $1 WHERE code = $2", []string{other, "c" + id}
	case 14:
		return "UPDATE child SET k = k + $1 WHERE code = $2", []string{small, "c" + id}
	case 15:
		return "UPDATE " + p.one("part", "noisy") + " SET n = n + $1 WHERE id = $2", []string{small, id}
	case 16:
		return "UPDATE acc SET n = $1 WHERE id = $2 AND u = $3", []string{small, id, p.one("10", "20", "30", "40")}
	}
	return "INSERT INTO log (id, at, what) VALUES ($1, $2, $3)", []string{id, "2026-01-02 03:04:05", word}
}

// imagesOf draws row images and the statement that does the same.
func (p *setPrimary) imagesOf() (op event.Operation, sql string, params [][]byte, formats []int16, oids []uint32) {
	id, small := strconv.Itoa(p.rand.IntN(p.keys)), strconv.Itoa(p.rand.IntN(9))
	switch p.rand.IntN(3) {
	case 0:
		return rowsOp(images(event.ActionUpdate, "acc", "id", "n f", id+" "+small+" "+small)), "UPDATE acc SET n = " + small + ", f = " + small + " WHERE id = " + id, nil, nil, nil
	case 1:
		return rowsOp(images(event.ActionInsert, "child", "", "code acc k", "c"+id+" "+small+" ~")), "INSERT INTO child VALUES ('c" + id + "', " + small + ", NULL)", nil, nil, nil
	}
	return rowsOp(images(event.ActionDelete, "acc", "id", "", id)), "DELETE FROM acc WHERE id = " + id, nil, nil, nil
}
