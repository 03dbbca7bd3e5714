package catalog

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// lockedParts are the parts of a fingerprint that AlteredBefore compares by themselves.
var lockedParts = []string{"Columns", "Keys", "ForeignKeys", "ReferencedBy", "Unvalidated"}

// AlteredBefore tells whether what a later look-up of the table says otherwise was so before whoever
// has written the table, and holds its lock, wrote it, or had nothing to do with what that did: columns,
// their defaults, keys and foreign keys change only where no writer is, and what is done beside
// writers (indexes made CONCURRENTLY, VALIDATE) goes one way. Nothing of it may call functions of the
// user's, which change under any lock: what they were in between is not known. So triggers are none of it.
func (t *Table) AlteredBefore(now *Table) bool {
	rest := t.withoutLocked()
	return rest != "" && rest == now.withoutLocked() && plainKeys(t.Keys, now.Keys) && plainColumns(t.Columns, now.Columns)
}

// SameShape tells whether what records say of the table is the same.
func (t *Table) SameShape(now *Table) bool {
	return slices.EqualFunc(t.Columns, now.Columns, func(a, b Column) bool { return a.Name == b.Name }) && slices.Equal(t.Definition, now.Definition)
}

// withoutLocked is the fingerprint but for the parts that are locked, "" where it cannot be read.
func (t *Table) withoutLocked() string {
	d := json.NewDecoder(strings.NewReader(t.fingerprint))
	parts := map[string]json.RawMessage{}
	if d.Decode(&parts) != nil {
		return ""
	}
	for _, part := range lockedParts {
		delete(parts, part)
	}
	rest, err := json.Marshal(parts)
	if err != nil {
		return ""
	}
	return string(bytes.Join([][]byte{rest, []byte(t.fingerprint[d.InputOffset():])}, nil))
}

// plainKeys tells whether the keys that there were are still there by their names, which may change beside writers, and those
// that were added of columns alone, by the server's own operators. One that was dropped, or is about to be, may have
// been so beside a writer that it did not check any more, and whose place is before the command's.
func plainKeys(then, now []Key) bool {
	kept := 0
	for _, k := range now {
		i := slices.IndexFunc(then, func(o Key) bool { return o.Name == k.Name })
		switch {
		case i < 0 && (k.Partial || k.Expression || k.UserOperators):
			return false
		case i >= 0 && (!reflect.DeepEqual(k.bare(), then[i].bare()) || k.Invalid && !then[i].Invalid):
			return false
		case i >= 0:
			kept++
		}
	}
	return kept == len(then)
}

// bare is the key but for what changes about it beside its columns.
func (k Key) bare() Key {
	k.NotNull, k.Invalid = false, false
	return k
}

// plainColumns tells whether the columns of both, but for NOT NULL and defaults, are the same, and those
// that were added, and the defaults that were changed, plain.
func plainColumns(then, now []Column) bool {
	for _, c := range now {
		i := slices.IndexFunc(then, func(o Column) bool { return o.Name == c.Name })
		switch {
		case i < 0 && !c.plain():
			return false
		case i < 0:
			continue
		case c.DefaultHash != then[i].DefaultHash && (c.UserType || c.OwnDefault || c.Generated):
			return false
		}
		if !reflect.DeepEqual(c.bare(), then[i].bare()) {
			return false
		}
	}
	return true
}

// bare is the column but for NOT NULL and its default.
func (c Column) bare() Column {
	c.NotNull, c.Default, c.DefaultHash, c.OwnDefault = false, "", "", false
	return c
}

// plain says that no value of the column is computed or drawn, or of a type of the user's.
func (c *Column) plain() bool {
	return !c.UserType && c.TypeKind == "b" && c.Identity == "" && !c.Generated && c.Sequence == nil && !c.OwnDefault
}
