package property

import (
	"fmt"
	"strconv"
	"strings"
)

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

func setval(b *builder, _ *schema, _ *table) bool {
	b.sql, b.fields = fmt.Sprintf("SELECT setval('extra_seq', nextval('extra_seq') + 10, %s)", pick(b.r, "true", "false")), 1
	b.mayRefuse = "several sequence functions"
	if chance(b.r, 50) {
		b.sql, b.mayRefuse = "SELECT setval('extra_seq', 100000)", ""
	}
	return true
}
