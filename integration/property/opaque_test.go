package property

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// opaqueObjects write in ways that no statement's text tells: opaque() runs what it is
// given, perhaps after a try that is undone, and the trigger functions write to a
// table of their own.
var opaqueObjects = []string{
	`CREATE FUNCTION opaque(q text, tries int) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN
		FOR i IN 2..tries LOOP
			BEGIN EXECUTE q; RAISE EXCEPTION 'undone'; EXCEPTION WHEN raise_exception THEN NULL; END;
		END LOOP;
		EXECUTE q; GET DIAGNOSTICS n = ROW_COUNT; RETURN n; END $$`,
	`CREATE TABLE logged (id bigserial PRIMARY KEY, what text, at timestamptz DEFAULT clock_timestamp(), f float8 DEFAULT random())`,
	`CREATE FUNCTION logs() RETURNS trigger LANGUAGE plpgsql SET DateStyle = 'SQL, DMY' AS $$ BEGIN
		INSERT INTO logged (what) VALUES (TG_OP || ' of ' || TG_TABLE_NAME);
		DELETE FROM logged WHERE id % 5 = 3;
		RETURN NULL; END $$`,
	`CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := coalesce(NEW.n, 0) + 1; RETURN NEW; END $$`,
}

// makeOpaque gives some of the tables triggers, and has statements drawn that hide
// what they write.
func (s *schema) makeOpaque(r *rand.Rand) {
	s.opaque = slices.Clone(opaqueObjects)
	for i, t := range s.tables {
		if t.name == "twin" {
			continue
		}
		switch r.IntN(4) {
		case 0:
			s.opaque = append(s.opaque, fmt.Sprintf("CREATE TRIGGER logs%d AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION logs()", i, t.name))
		case 1:
			s.opaque = append(s.opaque, fmt.Sprintf("CREATE TRIGGER counts%d BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION counts()", i, t.name))
		case 2:
			if t.by == "" {
				s.opaque = append(s.opaque, fmt.Sprintf("CREATE CONSTRAINT TRIGGER logs%d AFTER INSERT OR DELETE ON %s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION logs()", i, t.name))
			}
		}
	}
}

// hidden are the kinds of statements that opaque() runs.
var hidden = []string{"insert", "insert many", "insert default", "insert select", "insert expression", "update by key", "update by predicate",
	"update some keys", "update key", "delete by key", "delete by predicate", "upsert nothing", "upsert update", "queue pop", "queue claim",
	"update from", "delete using", "time", "subqueries", "parts", "overriding"}

// hide draws a statement inside of a function.
func hide(b *builder, s *schema, t *table) bool {
	kind := pick(b.r, hidden...)
	sh := shapes[slices.IndexFunc(shapes, func(sh shape) bool { return sh.kind == kind })]
	inner := &builder{r: b.r, stmt: stmt{kind: kind}}
	if !sh.draw(inner, s, t) {
		return false
	}
	if t.key == nil && len(t.uniques) == 0 {
		b.mayRefuse = "the table has no key"
	}
	if inner.mayRefuse != "" {
		b.mayRefuse = inner.mayRefuse
	}
	b.sql = fmt.Sprintf("SELECT opaque(%s, %s)", b.arg(inner.inline()), b.arg(pick(b.r, "1", "1", "2", "3")))
	b.fields = 1
	return true
}

// opaqueShapes are drawn where the schema is opaque.
var opaqueShapes = []shape{{"opaque", 25, hide}}
