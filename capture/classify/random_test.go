package classify_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// generator writes random statements over two tables.
type generator struct{ *rand.Rand }

var randomSchema = []string{
	`create type mood as enum ('sad', 'ok')`, `create sequence s`,
	`create table p(id int primary key, n int, t text, at timestamptz, d date, x numeric, f float8, j jsonb, m mood, u uuid, tags text[],
	  u1 int unique, gen int generated always as (n + 1) stored)`,
	`create table q(id serial primary key, p int references p on delete cascade on update cascade, v float8 default random(), at timestamptz default now(), k int default 3)`,
}

var columnKinds = map[string]string{"n": "int", "t": "text", "at": "time", "d": "time", "x": "num", "f": "num", "j": "json", "m": "mood", "u": "uuid", "tags": "array", "u1": "int"}

func (g generator) pick(list ...string) string { return list[g.IntN(len(list))] }

// expr writes an expression of a kind; row says that p's columns may stand in it.
func (g generator) expr(kind string, row bool, depth int) string {
	if g.IntN(12) == 0 {
		return g.pick("NULL", "DEFAULT")[0:4]
	}
	deep := depth < 2 && g.IntN(3) > 0
	sub := func(k string) string { return strings.ReplaceAll(g.expr(k, row, depth+1), "DEFA", "NULL") }
	column := func(list ...string) string {
		if row {
			return g.pick(list...)
		}
		return sub(kind)
	}
	switch kind {
	case "int":
		if deep {
			return g.pick("("+sub("int")+" + "+sub("int")+")", "abs("+sub("int")+")", "coalesce("+sub("int")+", 7)", column("n", "gen", "u1"), "length("+sub("text")+")",
				"(random() * 50)::int", "extract(day from "+sub("time")+")::int", "nextval('s')::int", "(select count(*) from q)::int", "greatest("+sub("int")+", 1)", "CASE WHEN "+sub("int")+" > 3 THEN 1 ELSE "+sub("int")+" END")
		}
		return fmt.Sprint(g.IntN(60) - 5)
	case "text":
		if deep {
			return g.pick("("+sub("text")+" || "+sub("text")+")", "upper("+sub("text")+")", column("t"), "("+sub("int")+")::text", "md5("+sub("text")+")", "("+sub("time")+")::text", "current_user::text", "concat("+sub("text")+", "+sub("int")+")", "(now())::text")
		}
		return g.pick("'now'", "'a'", "'it''s'", "E'\\\\n'", "'é'", "''")
	case "time":
		if deep {
			return g.pick("now()", "current_timestamp(0)", "current_date", "localtimestamp", "clock_timestamp()", column("at", "d"), "("+sub("time")+" + interval '1 day')", "date_trunc('day', "+sub("time")+"::timestamptz)", "'now'::timestamptz", "('2026-0' || '1-02')::date", "statement_timestamp()")
		}
		return g.pick("'2026-03-29 02:30'", "'tomorrow'", "'2020-02-29'", "now()", "'yesterday'", "'infinity'")
	case "num":
		if deep {
			return g.pick("("+sub("num")+" * 2.5)", "round("+sub("num")+"::numeric, 2)", column("x", "n"), "sqrt(abs("+sub("int")+"))", "random()", "sin("+sub("int")+")", "-("+sub("int")+")")
		}
		return g.pick("1.50", "0.1", "1e3", "3")
	case "json":
		return g.pick("'{\"a\": 1}'", "'[1, \"now\"]'", "jsonb_build_object('k', "+sub("int")+")", "to_jsonb("+sub("time")+")", column("j"), "'null'")
	case "mood":
		return g.pick("'ok'", "'sad'", "'ok'::mood", column("m"))
	case "uuid":
		return g.pick("gen_random_uuid()", "'00000000-0000-0000-0000-00000000000a'", column("u"))
	}
	return g.pick("'{a,b}'", "ARRAY["+sub("text")+"]::text[]", "'{}'", column("tags"))
}

func (g generator) set(n int) string {
	var list []string
	used := map[string]bool{}
	for range n {
		c := g.pick("n", "t", "at", "d", "x", "f", "j", "m", "u", "tags", "u1")
		if used[c] {
			continue
		}
		used[c] = true
		e := g.expr(columnKinds[c], true, 0)
		if e == "DEFA" || g.IntN(15) == 0 {
			e = "DEFAULT"
		}
		list = append(list, c+" = "+e)
	}
	return strings.Join(list, ", ")
}

func (g generator) where() string {
	id := fmt.Sprint(g.IntN(40))
	return g.pick("id = "+id, "id = "+id, "id = "+id+" AND n > "+g.expr("int", true, 1), "id IN ("+id+", 3, 4)", "n < "+id, "u1 = "+id, "id = (SELECT min(id) FROM p)", "id = "+id+" AND at < now()", "p.id = '"+id+"' AND t <> 'q'")
}

func (g generator) statement() string {
	returning := g.pick("", "", " RETURNING *", " RETURNING id, now()", " -- end")
	switch g.IntN(9) {
	case 0, 1:
		rows := make([]string, 1+g.IntN(3))
		for i := range rows {
			rows[i] = fmt.Sprintf("(%d, %s, %s, %s, %s)", g.IntN(40), g.expr("int", false, 0), g.expr("text", false, 0), g.expr("time", false, 0), g.expr("num", false, 0))
		}
		return strings.ReplaceAll("INSERT INTO p(id, n, t, at, x) VALUES "+strings.Join(rows, ", ")+g.pick("", "", " ON CONFLICT DO NOTHING", " ON CONFLICT (id) DO UPDATE SET n = excluded.n, at = clock_timestamp()"), "DEFA", "DEFAULT") + returning
	case 2:
		return fmt.Sprintf("INSERT INTO q(p, k) VALUES (%d, %s), (NULL, DEFAULT)%s", g.IntN(40), strings.ReplaceAll(g.expr("int", false, 0), "DEFA", "DEFAULT"), returning)
	case 3:
		return "INSERT INTO q(p) SELECT id FROM p WHERE " + g.where() + returning
	case 4:
		return "DELETE FROM p WHERE " + g.where() + returning
	case 5:
		return fmt.Sprintf("UPDATE p SET id = %d WHERE id = %d", g.IntN(40), g.IntN(40))
	case 6:
		return "UPDATE p SET " + g.set(2) + " FROM q WHERE q.p = p.id AND q.k > 2"
	}
	return "UPDATE p SET " + g.set(1+g.IntN(3)) + " WHERE " + g.where() + returning
}

// I6: whatever is not refused makes the backup the same.
func TestI6RandomStatements(t *testing.T) {
	for _, level := range []event.Level{event.LevelCount, event.LevelFull} {
		t.Run(string(level), func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			g := generator{rand.New(rand.NewPCG(seed, 1))}
			r := newReplica(t, level, randomSchema...)
			r.set("TimeZone", g.pick("Europe/Berlin", "UTC", "Asia/Kolkata"))
			ran := map[string]int{}
			var last []string
			for i := range 250 {
				sql := g.statement()
				p := r.plan(sql)
				ran[p.Kind.String()+" "+string(p.Class)]++
				if p.Kind == classify.Refused || p.Kind == classify.MustFail {
					continue
				}
				last = append(last, fmt.Sprintf("%s\n    as %s, %s: %s", sql, p.Class, p.Reason, p.Frozen()))
				r.run(sql)
				if i%10 == 9 || t.Failed() {
					r.same("p", "q", "sequences")
				}
				if t.Failed() {
					t.Fatalf("after\n%s", strings.Join(last[max(0, len(last)-10):], "\n"))
				}
			}
			t.Log(ran)
		})
	}
}
