package integration

import "strings"

// definedSQL is what the backup's catalogue must say as the primary's does. Schemas are
// all of the application's. What is not valid, and what a REINDEX CONCURRENTLY leaves, may be on the primary
// alone (docs/statements.md).
var definedSQL = []string{
	`SELECT c.oid::regclass::text, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, a.attislocal, a.attinhcount, pg_get_expr(d.adbin, d.adrelid), obj_description(c.oid)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
		WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relpersistence = 'p' AND c.relkind NOT IN ('i', 'I') AND c.relnamespace IN $schemas ORDER BY 1, 2`,
	`SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE indisvalid AND indexrelid::regclass::text NOT LIKE '%\_ccnew%' AND c.relnamespace IN $schemas ORDER BY 1`,
	`SELECT conrelid::regclass::text, contypid::regtype::text, conname, pg_get_constraintdef(oid), convalidated, condeferrable, condeferred FROM pg_constraint WHERE connamespace IN $schemas ORDER BY 1, 2, 3`,
	`SELECT p.oid::regprocedure::text, p.prosrc, p.provolatile, p.proconfig::text, pg_get_expr(p.proargdefaults, 0) FROM pg_proc p WHERE pronamespace IN $schemas ORDER BY 1`,
	`SELECT t.typname, e.enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid ORDER BY 1, e.enumsortorder`,
	`SELECT t.oid::regtype::text, coalesce(pg_get_expr(typdefaultbin, 0), typdefault), typnotnull FROM pg_type t WHERE typtype = 'd' AND typnamespace IN $schemas ORDER BY 1`,
	`SELECT c.oid::regclass::text, relkind, pg_get_partkeydef(c.oid), pg_get_expr(relpartbound, c.oid), relrowsecurity, relforcerowsecurity, relreplident, pg_get_userbyid(relowner), has_table_privilege('public', c.oid, 'SELECT')
		FROM pg_class c WHERE relnamespace IN $schemas AND relkind NOT IN ('i', 'I') ORDER BY 1`,
	`SELECT inhrelid::regclass::text, inhparent::regclass::text, inhseqno FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE relnamespace IN $schemas AND relkind NOT IN ('i', 'I') ORDER BY 1, 2`,
	`SELECT c.oid::regclass::text, rulename, pg_get_ruledef(r.oid) FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class WHERE relnamespace IN $schemas ORDER BY 1, 2`,
	`SELECT polrelid::regclass::text, polname, polpermissive, polcmd, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy ORDER BY 1, 2`,
	`SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal AND tgname NOT LIKE '%opmux%' ORDER BY 1, 2`,
	`SELECT seqrelid::regclass::text, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle, d.refobjid::regclass::text, d.refobjsubid, d.deptype
		FROM pg_sequence s JOIN pg_class c ON c.oid = seqrelid LEFT JOIN pg_depend d ON d.objid = seqrelid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
		WHERE relnamespace IN $schemas ORDER BY 1`,
}

const schemasSQL = `(SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'opmux'))`

// sameCatalogue compares what the backup's catalogue says with the primary's.
func (b *bench) sameCatalogue() {
	b.t.Helper()
	for _, sql := range definedSQL {
		sql = strings.ReplaceAll(sql, "$schemas", schemasSQL)
		there, here := lines(b.onPrimary(sql)), lines(b.onBackup(sql))
		if there != here {
			b.t.Errorf("the catalogues differ (%.100s…):\nonly on the primary\n%sonly on the backup\n%s", sql, linesBut(there, here), linesBut(here, there))
		}
	}
}

// linesBut are the lines of one text that another has not.
func linesBut(text, other string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains("\n"+other, "\n"+line) {
			out.WriteString(line)
		}
	}
	return out.String()
}

func lines(rows [][]string) string {
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(strings.Join(r, " | ") + "\n")
	}
	return b.String()
}
