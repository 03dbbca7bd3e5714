package property

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

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
