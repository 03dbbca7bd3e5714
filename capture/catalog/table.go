package catalog

import (
	"context"
	"errors"
	"slices"

	"github.com/opmux/opmux/event"
)

// ErrNotFound says that no relation of that name is visible.
var ErrNotFound = errors.New("relation not found")

// Unsettled is the version of an answer that was looked up while DDL was under
// way. It has been counted already, but the answer may not show it, so the
// counter will not tell when the answer gets stale: no counter equals Unsettled.
const Unsettled = -1

// Querier runs one query for a look-up. Arguments are text literals: the
// implementer binds them as parameters of unknown type or quotes them. It is
// implemented by the catalogue's own connection and by a session, which alone
// sees the objects that its open transaction made.
type Querier interface {
	Query(ctx context.Context, sql string, args ...string) ([][]event.Value, error)
}

// RelationKind is what a relation is.
type RelationKind string

// The kinds of relations, by pg_class.relkind.
const (
	Ordinary         RelationKind = "r"
	Partitioned      RelationKind = "p"
	View             RelationKind = "v"
	MaterializedView RelationKind = "m"
	Foreign          RelationKind = "f"
	Sequence         RelationKind = "S"
	Composite        RelationKind = "c"
	Index            RelationKind = "i"
	PartitionedIndex RelationKind = "I"
	Toast            RelationKind = "t"
)

// Table is what the catalogue says of one relation, as far as classification
// needs it.
type Table struct {
	OID    uint32
	Schema string
	Name   string
	Kind   RelationKind
	// Partition says that it is one. Hashed is the table, it or one above it, that is partitioned
	// by hashes which differ between servers, "" for none.
	Partition bool
	Hashed    string `json:"-"`
	// Temp and Unlogged tell a relation's persistence.
	Temp, Unlogged bool
	Owner          string
	// RowSecurity is relrowsecurity, ForceRowSecurity relforcerowsecurity.
	RowSecurity, ForceRowSecurity bool
	// Rules is the number of rewrite rules other than a view's own.
	Rules int
	// Awake names a trigger, of a partition too, or rule that acts where triggers sleep
	// (ENABLE ALWAYS, ENABLE REPLICA), "" for none.
	Awake string
	// Ahead names a trigger for each row that runs behind a write and before the one that
	// keeps row images, by its name; "" for none.
	Ahead   string
	Columns []Column
	Keys    []Key
	// ForeignKeys are those of this table, ReferencedBy those that point to it.
	ForeignKeys, ReferencedBy []ForeignKey
	// Triggers are the user's triggers that are not disabled, of the table and
	// of its partitions.
	Triggers []Trigger
	// PartitionKey are the columns by which it and its partitions are partitioned, "" an
	// expression.
	PartitionKey []string
	// Children is the number of tables that inherit from it and are no partitions.
	Children int
	// OddPartitions counts partitions that are foreign or unlogged.
	OddPartitions int
	// VolatileFunctions are user functions of volatile kind that checks, index
	// expressions, generated columns or domain checks of the table call, themselves or by
	// an operator or a cast, and functions that move sequences.
	VolatileFunctions []string
	// WritingFunction is one of them that writes, as far as its text tells, "" for none.
	WritingFunction string
	// Elsewhere names a constraint, of a domain too, an index or a generated column, of the
	// table or of a partition, that gives something else in another session: it reads a
	// setting, or (generated columns) the clock, chance, who asks or an object's number, in a function of the
	// user's that says it is immutable. "" for none.
	Elsewhere string
	// Escaped names one of which the function's text has a backslash, "" for none.
	Escaped string
	// EscapedForAll says that a function makes standard_conforming_strings, for sessions that do not.
	EscapedForAll bool
	// Calls says that such call functions or operators of the user's.
	Calls bool
	// Sought are the schemas of what the functions that generated columns are computed by look
	// for without naming a schema: for each name those that have something of it.
	Sought [][]string `json:"-"`
	// Unvalidated says that rows of the table may break a CHECK that is NOT VALID.
	Unvalidated bool
	// Exclusion says that the table has exclusion constraints.
	Exclusion bool
	// Definition is what workers compare with the table on their target.
	Definition []event.DefinitionPart `json:"-"`
	// Version is the DDL counter that the look-up relied on; Unsettled where DDL was
	// under way.
	Version int64 `json:"-"`
	// Labels are those of the enums in it, by their OIDs.
	Labels map[string]string `json:"-"`
	// Bounds is equal where the same constraints and unique indexes are on the table, its partitions and its types.
	Bounds string `json:"-"`

	fingerprint string
}

// Column is one live column of a table.
type Column struct {
	Name    string
	TypeOID uint32
	// Type is its name as format_type prints it; types that are not built in are
	// qualified.
	Type string
	// BaseOID is the type under a domain, else TypeOID. BaseType is the name of one
	// that is built in, "" for other columns.
	BaseOID  uint32
	BaseType string
	// TypeKind is pg_type.typtype of the column's own type (b, c, d, e, p, r, m),
	// Category pg_type.typcategory of the base type, Element the element type's
	// OID of an array.
	TypeKind, Category string
	Element            uint32
	// ElementCategory is typcategory of the element type, "" for other than arrays.
	ElementCategory string
	// HoldsOffset says that a type of the user's (a domain, composite, range, array of
	// such) has times with time zone in it.
	HoldsOffset bool
	// UserType says that type, base type or element type is not built in.
	UserType bool
	// Exact says that equal values are the same, as those of integers and enums are, of
	// texts unless by their collation, and of numeric (1.0, 1) not.
	Exact   bool
	NotNull bool
	// Default is the default expression as pg_get_expr prints it, "" for none.
	Default string `json:"-"`
	// DefaultHash is equal for equal defaults, however they are printed.
	DefaultHash string
	// OwnDefault says that the default is made of functions, operators or types of users.
	OwnDefault bool `json:"-"`
	// DomainDefault says that the column's domain has a default, which is Default where the
	// column has none of its own.
	DomainDefault bool
	// Identity is "", "a" (always) or "d" (by default).
	Identity string
	// Generated says that the column is GENERATED ALWAYS AS (…) STORED.
	Generated bool
	// From are the columns that a generated one is computed of.
	From []string
	// Sequence is what the column owns (serial, identity), nil for none.
	Sequence *SequenceName
}

// SequenceName names a sequence.
type SequenceName struct{ Schema, Name string }

// Key is a unique index of a table.
type Key struct {
	Name    string
	Columns []string // empty where an expression is indexed
	Primary bool
	// NotNull says that every column is NOT NULL.
	NotNull bool
	// Deferrable, Partial, Expression and Invalid keys do not pin rows.
	Deferrable, Partial, Expression, Invalid bool
	// UserOperators says that equality of a key column is no built-in operator.
	UserOperators bool
}

// Usable says that the key identifies a row: each value at most once, none NULL,
// checked at once.
func (k Key) Usable() bool {
	return len(k.Columns) > 0 && k.NotNull && !k.Deferrable && !k.Partial && !k.Expression && !k.Invalid
}

// ForeignKey is one foreign key constraint.
type ForeignKey struct {
	Name string
	// Schema and Table are the other side: the referenced table in ForeignKeys,
	// the referencing one in ReferencedBy.
	Schema, Table string
	// Columns are the referencing, KeyColumns the referenced ones.
	Columns, KeyColumns []string
	// OnUpdate and OnDelete are confupdtype and confdeltype: a no action,
	// r restrict, c cascade, n set null, d set default.
	OnUpdate, OnDelete string
	Deferrable         bool
}

// Trigger is one user trigger.
type Trigger struct {
	Name    string
	Enabled string // tgenabled: O, R, A
	Events  int    // tgtype: the Trigger… bits, among others
	// Of are the columns that an UPDATE must set to fire it, none: any.
	Of []string
	// Source is the function's text where it is in PL/pgSQL and not long, else "".
	Source string
	// Computes is the column that it computes where the function is one of the server's, or of
	// contrib's, that do nothing else, "" for one that computes none; nil: it is none of these.
	Computes *string
	// Asks says that its WHEN calls functions of the user's.
	Asks bool
}

// maxTriggerSource is how many characters of a trigger's function are looked at.
const maxTriggerSource = 8192

// The bits of Trigger.Events.
const (
	TriggerRow      = 1 << 0
	TriggerBefore   = 1 << 1
	TriggerInsert   = 1 << 2
	TriggerDelete   = 1 << 3
	TriggerUpdate   = 1 << 4
	TriggerTruncate = 1 << 5
)

// Fires returns the name of a trigger that one of the events fires, "" for none. set are
// the columns that an UPDATE sets, generated ones included; nil: they are not known.
func (t *Table) Fires(events int, set []string) string {
	for i := range t.Triggers {
		if t.Triggers[i].FiredBy(events, set) {
			return t.Triggers[i].Name
		}
	}
	return ""
}

// FiredBy says of one of them what Fires says of all.
func (tr *Trigger) FiredBy(events int, set []string) bool {
	fired := tr.Events & events
	return fired != 0 && (fired != TriggerUpdate || len(tr.Of) == 0 || set == nil || overlaps(tr.Of, set))
}

// UpdateEvents are the events that an UPDATE of columns is: one that may move a row to
// another partition deletes and inserts it, too.
func (t *Table) UpdateEvents(set []string) int {
	if overlaps(t.PartitionKey, append([]string{""}, set...)) {
		return TriggerUpdate | TriggerDelete | TriggerInsert
	}
	return TriggerUpdate
}

// Column returns the column of that name, or nil.
func (t *Table) Column(name string) *Column {
	for i := range t.Columns {
		if t.Columns[i].Name == name {
			return &t.Columns[i]
		}
	}
	return nil
}

// Qualified is schema.name, unquoted.
func (t *Table) Qualified() string { return t.Schema + "." + t.Name }

// Identity returns the key by which row images of the table are found, and none
// of whose columns is in except: the primary key if it will do, else the first
// usable one by name. Nil: the table has none.
func (t *Table) Identity(except []string) *Key {
	var best *Key
	for i := range t.Keys {
		k := &t.Keys[i]
		if !k.Usable() || overlaps(k.Columns, except) {
			continue
		}
		if k.Primary {
			return k
		}
		if best == nil || k.Name < best.Name {
			best = k
		}
	}
	return best
}

func overlaps(a, b []string) bool {
	for _, x := range a {
		if slices.Contains(b, x) {
			return true
		}
	}
	return false
}

// Deferrable says that a constraint check of the table can wait for the commit.
func (t *Table) Deferrable() bool {
	for _, k := range t.Keys {
		if k.Deferrable {
			return true
		}
	}
	for _, f := range t.ForeignKeys {
		if f.Deferrable {
			return true
		}
	}
	for _, f := range t.ReferencedBy {
		if f.Deferrable {
			return true
		}
	}
	return false
}
