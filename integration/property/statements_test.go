package property

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// anyFields stands for a number of result columns that is not known beforehand.
const anyFields = -1

// stmt is one random statement with its parameters, all of them text.
type stmt struct {
	kind   string
	sql    string
	params []*string // nil is NULL
	fields int       // result columns that the client must see
	// mayRefuse says why opmux may refuse it; any other refusal is a finding.
	mayRefuse string
}

// builder writes a statement.
type builder struct {
	r *rand.Rand
	stmt
}

// arg adds a parameter and returns its name.
func (b *builder) arg(v string) string {
	b.params = append(b.params, &v)
	return "$" + strconv.Itoa(len(b.params))
}

// of adds a parameter with a value for column c, now and then NULL.
func (b *builder) of(c *column) string {
	if !c.notNull && chance(b.r, 8) {
		b.params = append(b.params, nil)
		return "$" + strconv.Itoa(len(b.params))
	}
	v := value(b.r, c.typ)
	if v == "now" || v == "today" {
		b.mayRefuse = "a word for the time as a value"
	}
	return b.arg(v)
}

var placeholder = regexp.MustCompile(`\$\d+`)

// inline is the statement with its parameters as literals.
func (s stmt) inline() string {
	return placeholder.ReplaceAllStringFunc(s.sql, func(p string) string {
		n, err := strconv.Atoi(p[1:])
		if err != nil || n > len(s.params) {
			return p // of what PREPARE prepares
		}
		if s.params[n-1] == nil {
			return "NULL"
		}
		return "'" + strings.ReplaceAll(*s.params[n-1], "'", "''") + "'"
	})
}

// values is what the extended protocol sends.
func (s stmt) values() [][]byte {
	out := make([][]byte, len(s.params))
	for i, p := range s.params {
		if p != nil {
			out[i] = []byte(*p)
		}
	}
	return out
}

// shape draws one kind of statement; nil where the table does not suit it.
type shape struct {
	kind   string
	weight int
	draw   func(*builder, *schema, *table) bool
}

var shapes = []shape{
	{"insert", 14, insertOne}, {"insert many", 6, insertMany}, {"insert default", 2, insertDefault},
	{"insert select", 5, insertSelect}, {"insert expression", 5, insertExpression},
	{"update by key", 16, updateKey}, {"update by predicate", 8, updatePredicate}, {"update some keys", 4, updateKeys},
	{"update key", 3, changeKey}, {"delete by key", 6, deleteKey}, {"delete by predicate", 4, deletePredicate},
	{"upsert nothing", 5, upsertNothing}, {"upsert update", 7, upsertUpdate},
	{"queue pop", 5, queuePop}, {"queue claim", 4, queueClaim}, {"update from", 4, updateFrom}, {"delete using", 3, deleteUsing},
	{"read", 5, read}, {"lock", 4, lock}, {"draw", 2, draw}, {"fail", 3, fail}, {"time", 5, updateTime},
	{"subqueries", 6, subqueries}, {"parts", 5, parts}, {"overriding", 2, overriding}, {"bulk", 1, bulk}, {"setval", 1, setval},
}

// draw draws a statement on any table.
func (s *schema) draw(r *rand.Rand) stmt {
	total := 0
	for _, sh := range shapes {
		total += sh.weight
	}
	for {
		n := r.IntN(total)
		for _, sh := range shapes {
			if n -= sh.weight; n >= 0 {
				continue
			}
			b := &builder{r: r, stmt: stmt{kind: sh.kind}}
			if sh.draw(b, s, pick(r, s.tables...)) {
				return b.stmt
			}
			break
		}
	}
}

// returning adds RETURNING now and then.
func (b *builder) returning(t *table) {
	switch b.r.IntN(7) {
	case 0:
		b.sql, b.fields = b.sql+" RETURNING *", anyFields
	case 1:
		b.sql, b.fields = b.sql+" RETURNING n", 1
	case 2:
		c := pick(b.r, t.cols...)
		b.sql, b.fields = b.sql+fmt.Sprintf(" RETURNING n + 1 AS more, %s, 'it''s' || n", c.name), 3
	}
}

// given draws the columns that an INSERT names: all that need a value, and some
// of the others.
func (b *builder) given(t *table) []*column {
	var out []*column
	for _, c := range t.cols {
		switch {
		case c.always, c.drawn && !chance(b.r, 12):
		case c.notNull && c.def == "", chance(b.r, 65):
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		out = append(out, t.plain()[0])
	}
	return out
}

func (b *builder) row(cols []*column) string {
	var out []string
	for _, c := range cols {
		if c.def != "" && chance(b.r, 8) {
			out = append(out, "DEFAULT")
			continue
		}
		out = append(out, b.of(c))
	}
	return "(" + strings.Join(out, ", ") + ")"
}

func (b *builder) insert(t *table, rows int) {
	cols := b.given(t)
	var lists []string
	for range rows {
		lists = append(lists, b.row(cols))
	}
	b.sql = fmt.Sprintf("INSERT INTO %s (%s) VALUES %s", t.name, names(cols), strings.Join(lists, ", "))
}

func insertOne(b *builder, _ *schema, t *table) bool {
	b.insert(t, 1)
	b.returning(t)
	return true
}

func insertMany(b *builder, _ *schema, t *table) bool {
	b.insert(t, 2+b.r.IntN(4))
	b.returning(t)
	return true
}

func insertDefault(b *builder, _ *schema, t *table) bool {
	b.sql = "INSERT INTO " + t.name + " DEFAULT VALUES"
	b.returning(t)
	return true
}

// insertExpression gives values that are calculated where they are stored.
func insertExpression(b *builder, _ *schema, t *table) bool {
	var cols []*column
	var list []string
	for _, c := range b.given(t) {
		cols = append(cols, c)
		e := ""
		if chance(b.r, 60) {
			e = b.expression(c)
		}
		if e == "" {
			e = b.of(c)
		}
		list = append(list, e)
	}
	b.sql = fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", t.name, names(cols), strings.Join(list, ", "))
	b.returning(t)
	return true
}

// expression is one of column c's type that depends on the time, on chance, or
// on a sequence; "" where there is none.
func (b *builder) expression(c *column) string {
	switch c.typ {
	case "int":
		return b.pick("1 + 2 * 3", "length(current_user)", "(random() * 20)::int", "extract(minute FROM now())::int")
	case "bigint":
		return b.pick("nextval('extra_seq')", "abs({-5}::bigint)", "pg_backend_pid()")
	case "numeric":
		return b.pick("round(10 / 3.0, 4)", "{2.5}::numeric * 2")
	case "float8":
		return b.pick("random()", "sqrt(2)", "0.1 + 0.2")
	case "text":
		return b.pick("upper({straße}::text)", "now()::text", "current_user", "format('%s-%s', 1, {it's}::text)", "md5(clock_timestamp()::text)")
	case "date":
		return b.pick("current_date", "now()::date", "date '2024-01-31' + 1")
	case "timestamptz":
		return b.pick("now()", "clock_timestamp()", "now() - interval '1 day'", "statement_timestamp()", "'now'", "date_trunc('hour', now())")
	case "timestamp":
		return b.pick("localtimestamp", "now()", "'2024-01-01'::timestamptz")
	case "uuid":
		return "gen_random_uuid()"
	case "jsonb":
		return b.pick("to_jsonb(now())", "jsonb_build_object('a', {x}::text)")
	case "int[]":
		return "ARRAY[1, 2]"
	}
	return ""
}

// pick is one of the texts; what stands in braces in it becomes a parameter.
func (b *builder) pick(texts ...string) string {
	return braces.ReplaceAllStringFunc(pick(b.r, texts...), func(v string) string { return b.arg(v[1 : len(v)-1]) })
}

var braces = regexp.MustCompile(`\{[^}]*\}`)

func insertSelect(b *builder, s *schema, t *table) bool {
	from := pick(b.r, s.tables...)
	cols := b.given(t)
	var list []string
	for _, c := range cols {
		switch {
		case c.typ == "int" && chance(b.r, 70):
			list = append(list, "x.n + "+b.arg(strconv.Itoa(b.r.IntN(40)))+"::int")
		default:
			v := value(b.r, c.typ)
			list = append(list, b.arg(v)+"::"+c.typ)
		}
	}
	b.sql = fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s x WHERE x.n %% 3 = %s LIMIT 3",
		t.name, names(cols), strings.Join(list, ", "), from.name, b.arg(strconv.Itoa(b.r.IntN(3))))
	if chance(b.r, 40) && t.key != nil {
		b.sql += " ON CONFLICT DO NOTHING"
	}
	b.returning(t)
	return true
}

// sets draws the assignments of an UPDATE.
func (b *builder) sets(t *table, alias string) string {
	var out []string
	for _, c := range t.plain() {
		switch {
		case c.name == "n" && chance(b.r, 60):
			out = append(out, fmt.Sprintf("n = %sn + %s", alias, b.arg(strconv.Itoa(b.r.IntN(5)))))
		case c.always || c.drawn || c.notNull && c.def == "":
		case c.def != "" && chance(b.r, 4):
			out = append(out, c.name+" = DEFAULT")
		case chance(b.r, 40):
			out = append(out, c.name+" = "+b.of(c))
		}
	}
	if len(out) == 0 {
		return fmt.Sprintf("n = coalesce(%sn, 0) - 1", alias)
	}
	return strings.Join(out, ", ")
}

// keyed is the condition that names one row by its key.
func (b *builder) keyed(t *table) string {
	var out []string
	for _, c := range t.key {
		out = append(out, c.name+" = "+b.arg(value(b.r, c.typ)))
	}
	return strings.Join(out, " AND ")
}

// noKey marks a statement on a table whose rows cannot be named.
func (b *builder) noKey(t *table) {
	if t.key == nil && len(t.uniques) == 0 {
		b.mayRefuse = "the table has no key"
	}
	if t.key == nil && strings.Contains(b.sql, "SET") {
		b.mayRefuse = "the only key may be assigned"
	}
}

func updateKey(b *builder, _ *schema, t *table) bool {
	if t.key == nil {
		return false
	}
	b.sql = fmt.Sprintf("UPDATE %s SET %s WHERE %s", t.name, b.sets(t, ""), b.keyed(t))
	b.returning(t)
	return true
}

func updatePredicate(b *builder, _ *schema, t *table) bool {
	where := b.pick("n % 4 = {2}", "n > {17}", "n BETWEEN {3}::int AND {9}::int", "n IS NOT NULL AND n <> {5}")
	b.sql = fmt.Sprintf("UPDATE %s SET %s WHERE %s", t.name, b.sets(t, ""), where)
	b.returning(t)
	b.noKey(t)
	return true
}

func updateKeys(b *builder, _ *schema, t *table) bool {
	if len(t.key) != 1 {
		return false
	}
	c := t.key[0]
	b.sql = fmt.Sprintf("UPDATE %s AS x SET %s WHERE x.%s IN (%s, %s, %s)", t.name, b.sets(t, "x."), c.name,
		b.arg(value(b.r, c.typ)), b.arg(value(b.r, c.typ)), b.arg(value(b.r, c.typ)))
	b.returning(t)
	return true
}

func changeKey(b *builder, _ *schema, t *table) bool {
	if len(t.key) != 1 || t.key[0].always {
		return false
	}
	c := t.key[0]
	b.sql = fmt.Sprintf("UPDATE %s SET %s = %s WHERE %s", t.name, c.name, b.arg(value(b.r, c.typ)), b.keyed(t))
	if chance(b.r, 20) && c.typ == "int" {
		b.sql = fmt.Sprintf("UPDATE %s SET id = id + 100 WHERE n = %s", t.name, b.arg(value(b.r, "int")))
		b.params = b.params[len(b.params)-1:]
		b.sql = placeholder.ReplaceAllString(b.sql, "$$1")
		b.mayRefuse = "changes keys by a predicate"
	}
	b.returning(t)
	return true
}

func deleteKey(b *builder, _ *schema, t *table) bool {
	if t.key == nil {
		return false
	}
	b.sql = fmt.Sprintf("DELETE FROM %s WHERE %s", t.name, b.keyed(t))
	b.returning(t)
	return true
}

func deletePredicate(b *builder, _ *schema, t *table) bool {
	b.sql = fmt.Sprintf("DELETE FROM %s WHERE n %% 7 = %s", t.name, b.arg(strconv.Itoa(b.r.IntN(7))))
	b.returning(t)
	b.noKey(t)
	return true
}

func upsertNothing(b *builder, _ *schema, t *table) bool {
	if t.key == nil {
		return false
	}
	b.insert(t, 1+b.r.IntN(3))
	b.sql += " ON CONFLICT DO NOTHING"
	if chance(b.r, 50) {
		b.sql = strings.TrimSuffix(b.sql, " DO NOTHING") + " (" + names(t.key) + ") DO NOTHING"
	}
	b.returning(t)
	return true
}

func upsertUpdate(b *builder, _ *schema, t *table) bool {
	if t.key == nil {
		return false
	}
	b.insert(t, 1+b.r.IntN(3))
	b.sql += fmt.Sprintf(" ON CONFLICT (%s) DO UPDATE SET n = %s", names(t.key),
		b.pick("excluded.n", "coalesce("+t.name+".n, 0) + 1", "{3}", "excluded.n + "+t.name+".n"))
	if chance(b.r, 20) {
		b.sql += " WHERE " + t.name + ".n IS DISTINCT FROM 5"
	}
	b.returning(t)
	return true
}

func queuePop(b *builder, _ *schema, t *table) bool {
	if len(t.key) == 0 {
		return false
	}
	b.sql = fmt.Sprintf("DELETE FROM %[1]s WHERE (%[2]s) IN (SELECT %[2]s FROM %[1]s ORDER BY n, %[2]s LIMIT 2 FOR UPDATE SKIP LOCKED)", t.name, names(t.key))
	b.returning(t)
	return true
}

func queueClaim(b *builder, _ *schema, t *table) bool {
	if len(t.key) != 1 {
		return false
	}
	k := t.key[0].name
	b.sql = fmt.Sprintf("WITH next AS (SELECT %[2]s FROM %[1]s WHERE n IS NOT NULL ORDER BY n LIMIT 3 FOR UPDATE SKIP LOCKED) UPDATE %[1]s q SET n = q.n + %[3]s FROM next WHERE q.%[2]s = next.%[2]s",
		t.name, k, b.arg("1"))
	if chance(b.r, 50) {
		b.sql, b.fields = b.sql+" RETURNING q."+k+", q.n", 2
	}
	return true
}

func updateFrom(b *builder, s *schema, t *table) bool {
	if t.key == nil {
		return false
	}
	b.sql = fmt.Sprintf("UPDATE %s a SET n = b.n + %s FROM %s b WHERE a.n = b.n + 1", t.name, b.arg("1"), pick(b.r, s.tables...).name)
	if chance(b.r, 40) {
		b.sql, b.fields = b.sql+" RETURNING a.n, b.n", 2
	}
	return true
}

func deleteUsing(b *builder, s *schema, t *table) bool {
	if t.key == nil {
		return false
	}
	b.sql = fmt.Sprintf("DELETE FROM %s a USING %s b WHERE a.n = b.n AND b.n %% 5 = %s", t.name, pick(b.r, s.tables...).name, b.arg(strconv.Itoa(b.r.IntN(5))))
	if chance(b.r, 40) {
		b.sql, b.fields = b.sql+" RETURNING a.*", anyFields
	}
	return true
}

func read(b *builder, _ *schema, t *table) bool {
	b.sql, b.fields = fmt.Sprintf("SELECT n, count(*) FROM %s WHERE n > %s GROUP BY n ORDER BY 1", t.name, b.arg("2")), 2
	return true
}

func lock(b *builder, _ *schema, t *table) bool {
	b.sql, b.fields = fmt.Sprintf("SELECT n FROM %s WHERE n = %s %s", t.name, b.arg(value(b.r, "int")),
		pick(b.r, "FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE", "FOR UPDATE SKIP LOCKED", "FOR UPDATE NOWAIT")), 1
	return true
}

func draw(b *builder, _ *schema, _ *table) bool {
	b.sql, b.fields = pick(b.r, "SELECT nextval('extra_seq')", "SELECT nextval('down_seq'), now()"), anyFields
	return true
}

// fail is an error that the server finds while it runs.
func fail(b *builder, _ *schema, t *table) bool {
	switch b.r.IntN(4) {
	case 0:
		b.sql = fmt.Sprintf("UPDATE %s SET n = n / 0", t.name)
		b.noKey(t)
	case 1:
		b.sql, b.fields = "SELECT 1 / "+b.arg("0")+"::int", 1
	case 2:
		b.sql = "INSERT INTO " + t.name + " (n) VALUES (1 / (" + b.arg("0") + "::int))"
	case 3:
		b.sql = "UPDATE nowhere SET n = 1"
	}
	return true
}

func updateTime(b *builder, _ *schema, t *table) bool {
	if t.key == nil {
		return false
	}
	for _, c := range t.plain() {
		if e := b.expression(c); e != "" && c.name != "n" && c.name != "u" && c.name != "p" {
			b.sql = fmt.Sprintf("UPDATE %s SET %s = %s, n = coalesce(n, 0) + 1 WHERE %s", t.name, c.name, e, b.keyed(t))
			b.returning(t)
			return true
		}
		b.params = nil
	}
	return false
}

// subqueries reads while it writes.
func subqueries(b *builder, s *schema, t *table) bool {
	other := pick(b.r, s.tables...).name
	switch b.r.IntN(5) {
	case 0:
		b.sql = fmt.Sprintf("UPDATE %s SET n = (SELECT max(n) FROM %s) WHERE n = %s", t.name, other, b.arg(value(b.r, "int")))
	case 1:
		b.sql = fmt.Sprintf("DELETE FROM %s WHERE n > 15 AND EXISTS (SELECT FROM %s o WHERE o.n = %s)", t.name, other, b.arg(value(b.r, "int")))
	case 2:
		cols := b.given(t)
		var list []string
		for _, c := range cols {
			if c.typ == "int" {
				list = append(list, fmt.Sprintf("(SELECT coalesce(max(n), 0) + %d FROM %s)", b.r.IntN(9), other))
			} else {
				list = append(list, b.of(c))
			}
		}
		b.sql = fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", t.name, names(cols), strings.Join(list, ", "))
	case 3:
		b.sql = fmt.Sprintf("WITH most AS (SELECT n FROM %s ORDER BY n DESC NULLS LAST LIMIT 1) UPDATE %s SET n = most.n + 1 FROM most WHERE %[2]s.n = most.n - %s",
			other, t.name, b.arg("2"))
		b.noKey(t)
		return true
	case 4:
		b.sql = fmt.Sprintf("UPDATE %s SET n = CASE WHEN n > 5 THEN 1 ELSE (SELECT count(*)::int FROM %s) END WHERE n < %s", t.name, other, b.arg("9"))
	}
	b.returning(t)
	b.noKey(t)
	return true
}

// parts changes a part of a value.
func parts(b *builder, _ *schema, t *table) bool {
	if t.key == nil {
		return false
	}
	for _, c := range t.plain() {
		set := ""
		switch c.typ {
		case "int[]":
			set = b.pick("[2] = {7}", " = "+c.name+" || {3}::int", " = array_append("+c.name+", 1)")
		case "jsonb":
			set = pick(b.r, " = jsonb_set("+c.name+", '{a}', '5')", " = "+c.name+" || '{\"z\": 1}'")
		case "text":
			set = b.pick(" = "+c.name+" || {ß}", " = left("+c.name+", 3)", " = initcap("+c.name+")")
		case "timestamptz":
			set = b.pick(" = "+c.name+" + interval '1 month'", " = date_trunc('day', "+c.name+")")
		case "numeric":
			set = b.pick(" = "+c.name+" * 1.1", " = round("+c.name+", 1)")
		case "float8":
			set = b.pick(" = "+c.name+" / 3", " = least("+c.name+", {1e9})")
		case "bool":
			set = " = NOT " + c.name
		case "interval":
			set = " = " + c.name + " * 2"
		}
		if set == "" {
			continue
		}
		b.sql = fmt.Sprintf("UPDATE %s SET %s%s WHERE %s", t.name, c.name, set, b.keyed(t))
		b.returning(t)
		return true
	}
	return false
}

// overriding gives a value to an identity that is always generated.
func overriding(b *builder, _ *schema, t *table) bool {
	if len(t.key) == 0 || !t.key[0].drawn || !strings.HasPrefix(t.key[0].def, "GENERATED") {
		return false
	}
	b.sql = fmt.Sprintf("INSERT INTO %s (id, n) OVERRIDING %s VALUE VALUES (%s, %s)", t.name, pick(b.r, "SYSTEM", "USER"), b.arg(value(b.r, "int")), b.arg("4"))
	b.returning(t)
	return true
}

// bulk writes more than one record holds.
func bulk(b *builder, _ *schema, t *table) bool {
	if t.key != nil || len(t.uniques) > 0 {
		return false
	}
	b.sql = fmt.Sprintf("INSERT INTO %s (n) SELECT i FROM generate_series(1, %s::int) i", t.name, b.arg("3000"))
	return true
}

func setval(b *builder, _ *schema, _ *table) bool {
	b.sql, b.fields = fmt.Sprintf("SELECT setval('extra_seq', nextval('extra_seq') + 10, %s)", pick(b.r, "true", "false")), 1
	b.mayRefuse = "several sequence functions"
	if chance(b.r, 50) {
		b.sql, b.mayRefuse = "SELECT setval('extra_seq', 100000)", ""
	}
	return true
}
