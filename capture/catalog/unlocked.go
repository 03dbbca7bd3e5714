package catalog

// Commands that lock no table change what its name and its values mean: ALTER SCHEMA …
// RENAME gives its name to another table, ALTER TYPE renames the labels of its enums, and changes
// the attributes of composite types. A transaction that holds its locks may meet them at
// its COMMIT, so they are part of what is compared there.
const (
	// typesSQL has the types that a table's values are made of.
	typesSQL = `types (oid) as (
  select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = (select rel.oid from rel) and a.attnum > 0 and not a.attisdropped and a.atttypid >= 16384
  union
  select p.oid from types join pg_catalog.pg_type t on t.oid = types.oid cross join lateral (
    select t.typbasetype as oid union all select t.typelem
    union all select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = t.oid or r.rngmultitypid = t.oid
    union all select ra.atttypid from pg_catalog.pg_attribute ra where ra.attrelid = t.typrelid and ra.attnum > 0 and not ra.attisdropped) p
  where p.oid >= 16384
)`

	// attributesSQL lists the attributes of composite types: a row is printed as all of them.
	attributesSQL = `select pg_catalog.json_agg(pg_catalog.json_build_array(ra.attrelid::pg_catalog.int8, ra.attname, ra.atttypid::pg_catalog.int8) order by ra.attrelid, ra.attnum)
  from types join pg_catalog.pg_type t on t.oid = types.oid join pg_catalog.pg_attribute ra on ra.attrelid = t.typrelid
  where ra.attnum > 0 and not ra.attisdropped`

	// labelsSQL has the labels of enums by their OIDs. They are no part of the fingerprint, since
	// ADD VALUE leaves those that are there as they are.
	labelsSQL = `select pg_catalog.json_object_agg(l.oid::pg_catalog.text, l.enumlabel) from pg_catalog.pg_enum l where l.enumtypid in (select oid from types)`
)

// Relabelled tells whether an enum of the table has another label where then had one.
func Relabelled(then, now map[string]string) bool {
	for oid, label := range then {
		if now[oid] != label {
			return true
		}
	}
	return false
}
