// Package definition says of a table what decides what a statement does to its rows and
// to those of others: types, defaults, triggers, rules, and foreign keys that act. The
// agent asks the primary and the worker its target by the same query, so that a target
// that somebody defined otherwise, past opmux, is told of before anybody misses rows.
package definition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/opmux/opmux/event"
)

// plain is the SQL that takes out of an expression that the server prints what depends on
// the session's settings: schemas of names (search_path), quotes (quote_all_identifiers),
// and constants of times and their like (DateStyle, TimeZone, extra_float_digits).
func plain(expr string) string {
	const (
		schema   = `("[^"]+"|[[:alpha:]_][[:alnum:]_$]*)[.](?=["[:alpha:]_])`
		constant = `''([^'']|'''')*''(?=::(date|time|interval|tsrange|tstzrange|double|real|money|bytea))`
	)
	return `pg_catalog.regexp_replace(pg_catalog.translate(pg_catalog.regexp_replace(` + expr + `, '` + schema + `', '', 'g'), '"', ''), '` + constant + `', '...', 'g')`
}

// PartsSQL lists the parts of the table rel.oid as JSON. It takes no lock on it
// (pg_get_expr takes none where it is told no relation, and a default names no column;
// so generated columns are told without their expression). Triggers of opmux's own are
// not listed, nor are disabled ones.
var PartsSQL = `
select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('Name', p.name, 'Text', p.said) order by p.name, p.said), '[]') from (
  select 'column ' || a.attname as name, pg_catalog.concat(
    ` + plain(`pg_catalog.format_type(a.atttypid, a.atttypmod)`) + `,
    case when y.typtype = 'd' then ' (' || ` + plain(`pg_catalog.format_type(y.typbasetype, y.typtypmod)`) + ` || ')' end,
    case when a.attcollation <> y.typcollation then ' collate ' || (select l.collname from pg_catalog.pg_collation l where l.oid = a.attcollation) end,
    case when a.attgenerated <> '' then ' generated'
      when a.attidentity <> '' then ' identity'
      when d.adbin is not null then ' default ' || ` + plain(`pg_catalog.pg_get_expr(d.adbin, 0)`) + ` end) as said
  from pg_catalog.pg_attribute a join pg_catalog.pg_type y on y.oid = a.atttypid
  left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = rel.oid and a.attnum > 0 and not a.attisdropped
  union all
  select 'trigger ' || t.tgname, pg_catalog.format('function %s (%s), type %s, enabled %s%s', f.proname, pg_catalog.left(pg_catalog.md5(f.prosrc), 8), t.tgtype, t.tgenabled,
    case when t.tgnargs > 0 then ', arguments ' || pg_catalog.encode(t.tgargs, 'escape') end)
  from pg_catalog.pg_trigger t join pg_catalog.pg_proc f on f.oid = t.tgfoid
  where t.tgrelid = rel.oid and not t.tgisinternal and t.tgenabled <> 'D' and t.tgname not in ('!opmux', '!opmux_truncate', '!opmux_computed')
  union all
  select 'rule ' || r.rulename, pg_catalog.format('enabled %s', r.ev_enabled)
  from pg_catalog.pg_rewrite r where r.ev_class = rel.oid and r.rulename <> '_RETURN' and r.ev_enabled <> 'D'
  union all
  select 'foreign key ' || x.conname || ' of ' || c.relname, pg_catalog.format('on delete %s, on update %s', ` + action("x.confdeltype") + `, ` + action("x.confupdtype") + `)
  from pg_catalog.pg_constraint x join pg_catalog.pg_class c on c.oid = x.conrelid
  where x.contype = 'f' and x.confrelid = rel.oid and x.conparentid = 0 and (x.confdeltype in ('c', 'n', 'd') or x.confupdtype in ('c', 'n', 'd'))
) p`

func action(column string) string {
	return "case " + column + " when 'c' then 'cascade' when 'n' then 'set null' when 'd' then 'set default' else 'no action' end"
}

// maxTold bounds how many differences a message names.
const maxTold = 5

// Compare says where a table on a target is not as on the primary; "" where it is.
// Columns that the target alone has are its own affair.
func Compare(primary, target []event.DefinitionPart) string {
	var told []string
	for _, p := range primary {
		at := slices.IndexFunc(target, func(t event.DefinitionPart) bool { return t.Name == p.Name })
		if at < 0 || target[at].Text != p.Text {
			told = append(told, p.Name+": "+difference(p.Text, target, at))
		}
	}
	for _, t := range target {
		if !strings.HasPrefix(t.Name, "column ") && !slices.ContainsFunc(primary, func(p event.DefinitionPart) bool { return p.Name == t.Name }) {
			told = append(told, t.Name+": "+shown(t.Text)+" here, not on the primary")
		}
	}
	if more := len(told) - maxTold; more > 0 {
		told = append(told[:maxTold], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(told, "; ")
}

func difference(primary string, target []event.DefinitionPart, at int) string {
	switch {
	case at < 0:
		return shown(primary) + " on the primary, not here"
	case shown(primary) == shown(target[at].Text):
		return shown(primary) + " on the primary, of another value here"
	}
	return shown(primary) + " on the primary, " + shown(target[at].Text) + " here"
}

// shown leaves constants out, since messages go to logs.
func shown(text string) string {
	for _, cut := range []string{" default ", ", arguments "} {
		if before, _, ok := strings.Cut(text, cut); ok {
			return before + strings.TrimRight(cut, " ")
		}
	}
	return text
}
