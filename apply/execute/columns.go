package execute

import (
	"github.com/opmux/opmux/event"
)

// maxTables bounds the tables whose columns a lane remembers (I7).
const maxTables = 1_000

// columnsSQL lists a table's columns on the target, and for each the type that
// its text is cast to: the one below its domains, since storing checks these. It is
// null where a cast from text would do something else than reading the text (a
// cast that users made), or where the role may not name the type.
const columnsSQL = `SELECT a.attname, (
	WITH RECURSIVE base (oid, kind, next) AS (
		SELECT t.oid, t.typtype, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid
		UNION ALL
		SELECT t.oid, t.typtype, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.next WHERE b.kind = 'd')
	SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname)
	FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.oid JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
	WHERE b.kind <> 'd' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND NOT EXISTS (
		SELECT FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc i ON i.oid = t.typinput
		WHERE c.castsource = 'pg_catalog.text'::pg_catalog.regtype AND c.casttarget = t.oid AND c.oid >= 16384
			AND c.castmethod <> 'i' AND (c.castmethod <> 'b' OR i.prosrc <> 'textin')))
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
	JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped`

// columnTypes returns the types to which the text of a table's columns is cast, by
// column; without those for which it cannot be.
func (a *attempt) columnTypes(images *event.RowImages) (map[string]string, error) {
	name := a.settings.current[role] + "\x00" + images.Schema + "\x00" + images.Table
	if types, ok := a.tables[name]; ok {
		return types, nil
	}
	types := map[string]string{}
	err := a.pipe.query(columnsSQL, [][]byte{[]byte(images.Schema), []byte(images.Table)}, []uint32{oidText, oidText}, nil,
		request{row: func(v []event.Value) {
			if !v[1].Null {
				types[string(v[0].Text)] = string(v[1].Text)
			}
		}})
	if err == nil {
		err = a.pipe.drain()
	}
	if err != nil || a.once {
		return types, err
	}
	if len(a.tables) >= maxTables {
		clear(a.tables)
	}
	a.tables[name] = types
	return types, nil
}
