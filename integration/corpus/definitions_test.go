package corpus

import (
	"context"
	"fmt"
	"strings"

	"github.com/opmux/opmux/internal/rig"
)

// definitionsSQL lists what DDL makes, a line each: what it belongs to, a tab, what
// it is. An invalid index is what a failed CREATE INDEX CONCURRENTLY left on the
// primary (docs/statements.md).
const definitionsSQL = `SET search_path = pg_catalog; WITH mine AS (SELECT oid FROM pg_namespace WHERE nspname NOT IN ('information_schema', 'opmux') AND nspname NOT LIKE 'pg\_%'),
rel AS (SELECT c.oid, c.relkind, n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relnamespace IN (SELECT oid FROM mine)),
lines(owner, line) AS (
SELECT name, 'relation of kind ' || relkind::text FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'c')
UNION ALL SELECT coalesce((SELECT r.name FROM pg_depend JOIN rel r ON r.oid = refobjid WHERE objid = rel.oid AND classid = 'pg_class'::regclass AND deptype IN ('a', 'i')), name),
  'sequence ' || name FROM rel WHERE relkind = 'S'
UNION ALL SELECT name, format('column %s %s %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
  FROM pg_attribute a JOIN rel ON rel.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'c')
UNION ALL SELECT name, pg_get_indexdef(indexrelid) FROM pg_index JOIN rel ON rel.oid = indrelid WHERE indisvalid
UNION ALL SELECT name, conname || ' ' || pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN rel ON rel.oid = conrelid
UNION ALL SELECT name, pg_get_viewdef(oid) FROM rel WHERE relkind IN ('v', 'm')
UNION ALL SELECT name, pg_get_triggerdef(t.oid) || tgenabled::text FROM pg_trigger t JOIN rel ON rel.oid = tgrelid WHERE NOT tgisinternal AND tgname NOT IN ('!opmux', '!opmux_truncate', '!opmux_computed')
UNION ALL SELECT name, pg_get_ruledef(r.oid) FROM pg_rewrite r JOIN rel ON rel.oid = ev_class WHERE rulename <> '_RETURN'
UNION ALL SELECT name, format('policy %s %s %s %s', polname, polcmd, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM pg_policy JOIN rel ON rel.oid = polrelid
UNION ALL SELECT rel.name, format('partition %s', pg_get_expr(c.relpartbound, c.oid)) FROM rel JOIN pg_class c ON c.oid = rel.oid WHERE relispartition
UNION ALL SELECT rel.name, format('inherits %s', inhparent::regclass) FROM pg_inherits JOIN rel ON rel.oid = inhrelid WHERE rel.relkind IN ('r', 'p')
UNION ALL SELECT name, 'comment ' || objsubid || ' ' || description FROM pg_description JOIN rel ON rel.oid = objoid WHERE classoid = 'pg_class'::regclass
UNION ALL SELECT 'function', format('%s(%s) %s', p.oid::regproc, pg_get_function_identity_arguments(p.oid), md5(pg_get_functiondef(p.oid))) FROM pg_proc p WHERE pronamespace IN (SELECT oid FROM mine) AND prokind <> 'a'
UNION ALL SELECT 'type', format('%s %s %s %s %s', t.oid::regtype, typtype, typnotnull, typdefault, (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
  FROM pg_type t WHERE typnamespace IN (SELECT oid FROM mine) AND typtype IN ('d', 'e', 'r')
UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE oid IN (SELECT oid FROM mine))
SELECT owner, coalesce(line, '') FROM lines`

func definitions(ctx context.Context, dsn string) (map[string]bool, error) {
	rows, err := rig.Query(ctx, dsn, definitionsSQL)
	if err != nil {
		return nil, fmt.Errorf("definitions: %w", err)
	}
	out := map[string]bool{}
	for _, row := range rows {
		out[row[0]+"\t"+row[1]] = true
	}
	return out, nil
}

// ownerOf is the relation that a line of definitions belongs to.
func ownerOf(line string) string {
	owner, _, _ := strings.Cut(line, "\t")
	return owner
}
