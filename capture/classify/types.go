package classify

import (
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"

	"github.com/opmux/opmux/capture/catalog"
)

// OIDs of built-in types that rules here speak of.
const (
	oidBool        = 16
	oidInt8        = 20
	oidInt4        = 23
	oidUnknown     = 705
	oidUUID        = 2950
	oidNumeric     = 1700
	oidTimestamptz = 1184
	firstUserOID   = 16384
)

var (
	integers = []uint32{20, 21, 23}
	floats   = []uint32{700, 701, 1021, 1022}
	// rounded are the types whose text form extra_float_digits can round: floats,
	// geometric types and arrays of these.
	rounded = append([]uint32{600, 601, 602, 603, 604, 628, 718, 1017, 1018, 1019, 1020, 1027, 629, 719}, floats...)
	texts   = []uint32{25, 1043, 1042, 18, 19}
	// dated are the types whose input function knows the special date words: dates
	// and times, arrays, ranges and multiranges of them, and record.
	dated = []uint32{
		1082, 1083, 1114, 1184, 1266, 1182, 1183, 1115, 1185, 1270, 3908, 3910, 3912, 3909, 3911, 3913,
		4533, 4534, 4535, 6152, 6153, 6157, 2249, 2287,
	}
	// zoned are the built-in types whose text form depends on DateStyle in a way
	// that need not be read back the same (abbreviations of time zones).
	zoned = []uint32{1184, 1185, 3910, 3911, 4534, 6153}
	// objects are types of object numbers, which differ between servers.
	objects = []uint32{26, 24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 27, 28, 29}
)

// mayBeDated says that the column's input function may know special date words.
func mayBeDated(c *catalog.Column) bool {
	return c.Category == "D" || c.ElementCategory == "D" || slices.Contains(dated, c.BaseOID) || isOpaque(c)
}

// isOpaque says that the column's type is of the user and not an enum: what it
// holds, and what its binary form refers to, is unknown.
func isOpaque(c *catalog.Column) bool {
	return c.BaseOID >= firstUserOID && c.Category != "E" || c.Element >= firstUserOID && c.ElementCategory != "E"
}

// plainParam says that a parameter that goes straight into the column may travel
// as the client bound it.
func plainParam(c *catalog.Column, oid uint32) bool {
	if mayBeDated(c) || slices.Contains(objects, c.BaseOID) || c.Element >= firstUserOID {
		return false
	}
	return oid < firstUserOID && !slices.Contains(dated, oid) && !slices.Contains(objects, oid)
}

// comparable says that column = value finds at most one row of a unique key of
// the column, and that the value may travel as text: it has the column's type, or
// one that the column's values convert to without loss.
func sameFamily(c *catalog.Column, oid uint32) bool {
	if oid == c.BaseOID {
		return true
	}
	for _, family := range [][]uint32{integers, texts} {
		if slices.Contains(family, oid) && slices.Contains(family, c.BaseOID) {
			return true
		}
	}
	return slices.Contains(integers, oid) && c.BaseOID == oidNumeric || oid == oidNumeric && slices.Contains(integers, c.BaseOID)
}

// typeOID resolves a type's name to a built-in type; 0 for any other.
func (j *job) typeOID(t *pg.TypeName) (uint32, error) {
	if t == nil || t.Setof || t.PctType {
		return 0, nil
	}
	schema, last := name(t.Names)
	if schema != "" && schema != "pg_catalog" {
		return 0, nil
	}
	if schema == "" {
		facts, err := j.facts()
		if err != nil || facts.Types[last] != "" {
			return 0, err
		}
	}
	if len(t.ArrayBounds) > 0 {
		last = "_" + last
	}
	return j.c.catalog.Builtins().Types[last], nil
}

// category is typcategory, roughly, of built-in types that expressions cast to;
// "" where it does not matter or is not known.
func category(oid uint32) string {
	switch {
	case slices.Contains(integers, oid), slices.Contains(floats[:2], oid), oid == oidNumeric, oid == 790:
		return "N"
	case slices.Contains(texts, oid):
		return "S"
	case oid == oidBool:
		return "B"
	case slices.Contains([]uint32{17, 114, 3802, 2950, 1186, 869, 650, 829, 1560, 1562}, oid):
		return "U"
	case slices.Contains(offsetTimes, oid):
		return offsetTime
	case slices.Contains(dated, oid):
		return "D"
	}
	return ""
}

// harmlessStyle says that DateStyle prints times so that they are read back as they were.
func isoStyle(dateStyle string) bool {
	return dateStyle == "" || strings.HasPrefix(strings.ToUpper(strings.TrimSpace(dateStyle)), "ISO")
}

// isEnum says that a name is an enum's.
func (j *job) isEnum(t *pg.TypeName) (bool, error) {
	last, ok := j.addedType(t)
	if !ok {
		return false, nil
	}
	facts, err := j.facts()
	return err == nil && facts.Types[last] == "e", err
}

// isPlain says that a name is that of an extension's type whose values are told by what they
// are made of (citext, hstore, ltree, …).
func (j *job) isPlain(t *pg.TypeName) (bool, error) {
	last, ok := j.addedType(t)
	if !ok {
		return false, nil
	}
	facts, err := j.facts()
	return err == nil && facts.Plain[last], err
}

// addedType is the name of a type, itself no array, that is not built in.
func (j *job) addedType(t *pg.TypeName) (string, bool) {
	if t == nil || t.Setof || t.PctType || len(t.ArrayBounds) > 0 {
		return "", false
	}
	schema, last := name(t.Names)
	return last, schema != "pg_catalog" && j.c.catalog.Builtins().Types[last] == 0
}
