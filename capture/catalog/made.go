package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Made is a table that a query has just made, as the session that made it sees it.
type Made struct {
	// Odd is why its columns alone are not all that it is, "" where they are.
	Odd string
	// Definitions are its columns as CREATE TABLE takes them.
	Definitions []string
}

// madeSQL describes a table by what CREATE TABLE AS gives to one, and by what else an
// event trigger might have. A type is named as the session's search_path has it,
// which travels with the transaction. Parameters: schema, name.
const madeSQL = `
select case
    when exists (select from pg_catalog.pg_class p where p.relname = c.relname and p.relnamespace = pg_catalog.pg_my_temp_schema()) then 'a temporary table has its name'
    when exists (select from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
      where a.attrelid = c.oid and a.attnum > 0 and t.typnamespace = pg_catalog.pg_my_temp_schema()) then 'a column''s type is temporary'
    when exists (select from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid left join pg_catalog.pg_type e on e.oid = t.typelem and t.typcategory = 'A'
      where a.attrelid = c.oid and a.attnum > 0 and coalesce(e.typname, t.typname) in ('pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list',
        'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary', 'gtsvector')) then 'a column is of a type that the server does not read'
    when c.relkind <> 'r' or c.relpersistence <> 'p' or c.relhasindex or c.relhasrules or c.relrowsecurity or c.relispartition or c.reloftype <> 0
      or exists (select from pg_catalog.pg_inherits i where c.oid in (i.inhrelid, i.inhparent))
      or exists (select from pg_catalog.pg_constraint k where k.conrelid = c.oid)
      or exists (select from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and (a.attisdropped or a.attnotnull or a.atthasdef))
      or exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and t.tgname not in ('` + TriggerName + `', '` + TruncateTriggerName + `', '` + ComputedTriggerName + `'))
      then 'it is more than the columns of a query: an event trigger has altered it'
    else '' end,
  (select pg_catalog.json_agg(pg_catalog.quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod) ||
      case when a.attcollation <> t.typcollation then ' COLLATE ' || pg_catalog.quote_ident(ln.nspname) || '.' || pg_catalog.quote_ident(l.collname) else '' end
      order by a.attnum)::pg_catalog.text
    from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
      left join pg_catalog.pg_collation l on l.oid = a.attcollation left join pg_catalog.pg_namespace ln on ln.oid = l.collnamespace
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1::pg_catalog.text and c.relname = $2::pg_catalog.text`

// Made looks at a table that q's own transaction has made.
func (c *Catalog) Made(ctx context.Context, q Querier, schema, name string) (*Made, error) {
	rows, err := q.Query(ctx, madeSQL, schema, name)
	if err != nil {
		return nil, fmt.Errorf("look at the new table %s.%s: %w", schema, name, err)
	}
	if len(rows) != 1 || len(rows[0]) != 2 {
		return nil, fmt.Errorf("look at the new table %s.%s: %w", schema, name, ErrNotFound)
	}
	m := &Made{Odd: string(rows[0][0].Text)}
	if rows[0][1].Null {
		return m, nil // it has no columns
	}
	if err := json.Unmarshal(rows[0][1].Text, &m.Definitions); err != nil {
		return nil, fmt.Errorf("look at the new table %s.%s: %w", schema, name, err)
	}
	return m, nil
}

// ReadSQL reads columns of all rows of a table, and of its partitions.
func (t *Table) ReadSQL(columns []string, inHex bool) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = QuoteIdent(c)
		if inHex {
			list[i] = Hex(list[i])
		}
	}
	from := " FROM ONLY "
	if t.Kind == Partitioned {
		from = " FROM "
	}
	return "SELECT " + strings.Join(list, ", ") + from + QuoteIdent(t.Schema) + "." + QuoteIdent(t.Name)
}

// Hex gives a value's text as hexadecimal digits of UTF-8, whatever client_encoding is:
// not every value can be written in every one. It gives TwoForms instead of one that would
// not be the same bytes again where it is read from there (HasTwoForms).
func Hex(expr string) string {
	text := "pg_catalog.format('%s', " + expr + ")"
	own, utf8 := "pg_catalog.getdatabaseencoding()", "pg_catalog.convert_to("+text+", 'UTF8')"
	return "CASE WHEN " + expr + " IS NOT DISTINCT FROM NULL THEN NULL " + // a row of NULLs is none
		"WHEN " + own + " OPERATOR(pg_catalog.=) ANY ('{EUC_JP,EUC_TW}'::pg_catalog.name[]) AND pg_catalog.convert(" + utf8 + ", 'UTF8', " + own +
		") OPERATOR(pg_catalog.<>) pg_catalog.convert_to(" + text + ", " + own + ") THEN '" + TwoForms + "' " +
		"ELSE pg_catalog.encode(" + utf8 + ", 'hex') END"
}

// TwoForms is what Hex gives for a value with characters that the database has in two forms.
const TwoForms = "two forms"

// HasTwoForms tells databases' encodings that have two forms of some character, which is
// one in UTF-8: Hex has an eye on those. (A test asks a server about all encodings.)
func HasTwoForms(encoding string) bool { return encoding == "EUC_JP" || encoding == "EUC_TW" }
