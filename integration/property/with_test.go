package property

import (
	"fmt"
	"slices"
)

// inWith are the kinds of statements that may stand in WITH.
var inWith = []string{"insert", "insert many", "insert default", "insert select", "insert expression", "update by key", "update by predicate", "update some keys",
	"delete by key", "delete by predicate", "upsert nothing", "upsert update", "queue pop", "update from", "delete using"}

// writesInWith draws a statement of two that write, or of one that writes and one that reads what it returned.
func writesInWith(b *builder, s *schema, t *table) bool {
	one, other := pick(b.r, inWith...), pick(b.r, inWith...)
	drawn := func(kind string, t *table) bool {
		return shapes[slices.IndexFunc(shapes, func(sh shape) bool { return sh.kind == kind })].draw(b, s, t)
	}
	if !drawn(one, t) {
		return false
	}
	first, returns := b.sql, b.fields != 0
	if b.mayRefuse == "" {
		b.mayRefuse = "parts may depend on one another"
	}
	if returns && chance(b.r, 50) {
		b.sql, b.fields = fmt.Sprintf("WITH w AS (%s) SELECT count(*) FROM w", first), 1
		return true
	}
	b.fields = 0
	if !drawn(other, pick(b.r, s.tables...)) {
		return false
	}
	b.sql = fmt.Sprintf("WITH w AS (%s) %s", first, b.sql)
	return true
}
