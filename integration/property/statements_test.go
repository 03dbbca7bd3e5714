package property

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
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
	{"writes in WITH", 7, nil}, {"subqueries", 6, subqueries}, {"parts", 5, parts}, {"overriding", 2, overriding}, {"bulk", 1, bulk}, {"setval", 1, setval},
}

// draw draws a statement on any table.
func (s *schema) draw(r *rand.Rand) stmt {
	all := shapes
	if s.opaque != nil {
		all = append(slices.Clone(shapes), opaqueShapes...)
	}
	total := 0
	for _, sh := range all {
		total += sh.weight
	}
	for {
		n := r.IntN(total)
		for _, sh := range all {
			if n -= sh.weight; n >= 0 {
				continue
			}
			b := &builder{r: r, stmt: stmt{kind: sh.kind}}
			if sh.draw == nil { // it draws others of these
				sh.draw = writesInWith
			}
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

func draw(b *builder, _ *schema, _ *table) bool {
	b.sql, b.fields = pick(b.r, "SELECT nextval('extra_seq')", "SELECT nextval('down_seq'), now()"), anyFields
	return true
}
