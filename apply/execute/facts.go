package execute

import (
	"slices"
	"strconv"
	"strings"

	"github.com/opmux/opmux/event"
)

// facts are what matters of a table on the target for writing many of its rows by
// one statement.
type facts struct {
	oid string
	// plain says that it is an ordinary table on which nothing acts but constraints:
	// no partitions, children, rules, row security, triggers of users or functions
	// of users in constraints, indexes and generated columns, and that no operator or
	// cast of users stands in for one of PostgreSQL's own.
	plain bool
	// strict says that a value in the middle of two changes of a row could be
	// refused: there are check constraints, generated columns, indexes of
	// expressions or with operators of users, or values that must fit into the row.
	strict  bool
	columns []factColumn // by number
	indexes []factIndex  // primary key first
	// parents are the tables that its foreign keys name, with the columns.
	parents []factKey
	// children are the tables whose foreign keys name it.
	children []factKey
}

type factColumn struct {
	number    string
	name      string
	oid       uint32
	typmod    int
	base      bool // its type is a base type or an enum, of no domain
	special   bool // generated, or an identity column
	generated bool
	draws     bool // its default may call a function
}

type factIndex struct {
	oid      string
	numbers  []string // of key columns; "0" for expressions
	included []string // numbers of the others
	unique   bool     // or an exclusion constraint's
	key      bool     // leaves at most one row for equal values, checked at once
	partial  bool     // has expressions or a predicate
}

type factKey struct {
	table   string
	numbers []string // of the columns, for parents
	acts    bool     // deleting acts on the child, for children
}

func (f *facts) column(name string) *factColumn {
	for i := range f.columns {
		if f.columns[i].name == name {
			return &f.columns[i]
		}
	}
	return nil
}

// indexed says whether a column is in an index, or only in those that are unique.
func (f *facts) indexed(number string, unique bool) bool {
	return slices.ContainsFunc(f.indexes, func(i factIndex) bool {
		return (i.unique || !unique) && slices.Contains(i.numbers, number) || !unique && slices.Contains(i.included, number)
	})
}

func (f *facts) foreign(number string) bool {
	return slices.ContainsFunc(f.parents, func(k factKey) bool { return slices.Contains(k.numbers, number) })
}

func (f *facts) ofItself() bool {
	return slices.ContainsFunc(f.parents, func(k factKey) bool { return k.table == f.oid })
}

// factsSQL describes a table, found as a statement would find it. Its rows are
// kind, number, name or columns, and up to two more words.
const factsSQL = `WITH t AS MATERIALIZED (SELECT c.* FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)),
odd AS MATERIALIZED (
	SELECT EXISTS (SELECT FROM pg_catalog.pg_operator WHERE oid >= 16384 AND oprleft < 16384 AND oprright < 16384
			AND oprname IN ('=', '+', '-', '*', '/', '%', '||'))
		OR EXISTS (SELECT FROM pg_catalog.pg_cast WHERE oid >= 16384 AND castsource < 16384 AND casttarget < 16384) AS here),
parts (class, oid) AS (
	SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid FROM t JOIN pg_catalog.pg_constraint k ON k.conrelid = t.oid
	UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
	UNION ALL SELECT v.class, CASE v.class WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN t.oid ELSE d.oid END
		FROM t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attgenerated <> ''
			JOIN pg_catalog.pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum,
			(VALUES ('pg_catalog.pg_class'::pg_catalog.regclass), ('pg_catalog.pg_attrdef'::pg_catalog.regclass)) v (class))
SELECT 'table', t.oid::text, '',
	(t.relkind = 'r' AND t.relpersistence IN ('p', 'u') AND NOT t.relhassubclass AND NOT t.relispartition
		AND NOT t.relhasrules AND NOT t.relrowsecurity AND NOT odd.here
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = t.oid AND NOT g.tgisinternal AND g.tgenabled <> 'D'
			AND g.tgname NOT IN ('!opmux', '!opmux_truncate', '!opmux_computed'))
		AND NOT EXISTS (SELECT FROM parts p JOIN pg_catalog.pg_depend d ON d.classid = p.class AND d.objid = p.oid
			WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)))::text,
	(EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = t.oid AND k.contype = 'c')
		OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
			AND (a.attgenerated <> '' OR a.attstorage = 'p' AND a.attlen < 0))
		OR EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
			OR EXISTS (SELECT FROM pg_catalog.unnest(i.indclass::oid[]) u (c) WHERE u.c >= 16384))))::text
	FROM t, odd
UNION ALL (SELECT 'column', a.attnum::text, a.attname, a.atttypid::text || ' ' || a.atttypmod::text,
	pg_catalog.concat(CASE WHEN y.typtype IN ('b', 'e') THEN 'b' END, CASE WHEN a.attgenerated <> '' OR a.attidentity <> '' THEN 's' END, CASE WHEN a.attgenerated <> '' THEN 'g' END,
		CASE WHEN a.attgenerated = '' AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE '%(%' THEN 'f' END)
	FROM t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
		LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum ORDER BY a.attnum)
UNION ALL (SELECT 'index', i.indexrelid::text,
	pg_catalog.array_to_string(ARRAY(SELECT u.k FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY u (k, o) WHERE u.o <= i.indnkeyatts ORDER BY u.o), ' '),
	pg_catalog.array_to_string(ARRAY(SELECT u.k FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY u (k, o) WHERE u.o > i.indnkeyatts), ' '),
	pg_catalog.concat(CASE WHEN i.indisunique OR i.indisexclusion THEN 'u' END, CASE WHEN i.indisunique AND i.indimmediate AND i.indisvalid AND i.indisready AND i.indexprs IS NULL AND i.indpred IS NULL
		AND NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indclass::oid[]) u (c) JOIN pg_catalog.pg_opclass o ON o.oid = u.c WHERE o.oid >= 16384 OR NOT o.opcdefault)
		AND NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indcollation::oid[]) u (c) JOIN pg_catalog.pg_collation l ON l.oid = u.c WHERE NOT l.collisdeterministic)
		AND NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indkey::int2[]) u (k) JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = u.k
			JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation WHERE NOT l.collisdeterministic)
		THEN 'k' END, CASE WHEN i.indexprs IS NOT NULL OR i.indpred IS NOT NULL THEN 'p' END)
	FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid ORDER BY i.indisprimary DESC, i.indexrelid)
UNION ALL SELECT 'parent', k.confrelid::text, pg_catalog.array_to_string(k.conkey, ' '), '', ''
	FROM t JOIN pg_catalog.pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f'
UNION ALL SELECT 'child', k.conrelid::text, '', (k.confdeltype NOT IN ('a', 'r'))::text, ''
	FROM t JOIN pg_catalog.pg_constraint k ON k.confrelid = t.oid AND k.contype = 'f'`

// lookUp reads the facts of a table; nil where there is none. The caller drains.
func (a *attempt) lookUp(relation string) (*facts, error) {
	var f facts
	err := a.pipe.query(factsSQL, [][]byte{[]byte(relation)}, []uint32{oidText}, nil, request{row: func(v []event.Value) {
		f.add(string(v[0].Text), string(v[1].Text), string(v[2].Text), string(v[3].Text), string(v[4].Text))
	}})
	if err == nil {
		err = a.pipe.drain()
	}
	if err != nil || f.oid == "" {
		return nil, err
	}
	return &f, nil
}

func (f *facts) add(kind, number, name, first, second string) {
	switch kind {
	case "table":
		f.oid, f.plain, f.strict = number, first == "true", second == "true"
	case "column":
		oid, typmod, _ := strings.Cut(first, " ")
		mod, _ := strconv.Atoi(typmod) // the server's own number
		f.columns = append(f.columns, factColumn{
			number: number, name: name, oid: parseOID(event.Value{Text: []byte(oid)}), typmod: mod,
			base: strings.Contains(second, "b"), special: strings.Contains(second, "s"),
			generated: strings.Contains(second, "g"), draws: strings.Contains(second, "f"),
		})
	case "index":
		f.indexes = append(f.indexes, factIndex{
			oid: number, numbers: strings.Fields(name), included: strings.Fields(first), unique: strings.Contains(second, "u"),
			key: strings.Contains(second, "k"), partial: strings.Contains(second, "p"),
		})
	case "parent":
		f.parents = append(f.parents, factKey{table: number, numbers: strings.Fields(name)})
	case "child":
		f.children = append(f.children, factKey{table: number, acts: first == "true"})
	}
}
