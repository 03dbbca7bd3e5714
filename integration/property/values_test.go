package property

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// types are the column types that tables are drawn from, with values of each:
// those whose text form is easily lost on the way among them.
var types = map[string][]string{
	"bigint":        {"0", "-1", "9223372036854775807", "-9223372036854775808"},
	"smallint":      {"0", "-7", "32767"},
	"numeric":       {"12.50", "0.00", "-0.0010", "1e-3", "NaN", "12345678901234567890.123456789", "100"},
	"numeric(10,2)": {"1.005", "99999999.99", "-3", "0"},
	"float8":        {"0.1", "-0", "1e308", "NaN", "Infinity", "3.141592653589793", "2.2250738585072014e-308"},
	"real":          {"0.1", "1.17549435e-38", "16777217", "-Infinity"},
	"text":          {"", "plain", "it's", `back\slash`, "tab\there", "new\nline", "päßwörd ☃", `"quoted"`, "NULL", "$1", "; DROP", "a--b", "/*c*/", `\N`, `\.`},
	"varchar(12)":   {"", "short", "exactly 12ch", "trail  "},
	"char(4)":       {"", "a", "abcd", "é"},
	"bool":          {"true", "false", "t", "off"},
	"date":          {"2024-02-29", "1999-12-31", "infinity", "0044-03-15 BC", "today"},
	"timestamptz":   {"2024-03-31 02:30:00+01", "2024-10-27 02:30:00.123456+02", "infinity", "1970-01-01 00:00:00Z", "2024-07-01 12:00:00", "now"},
	"timestamp":     {"2024-03-31 02:30:00", "-infinity", "2001-02-03 04:05:06.789"},
	"time":          {"23:59:59.999999", "00:00"},
	"interval":      {"1 mon 3 days", "-02:03:04", "1 year 2 mons -3 days 00:00:00.5"},
	"bytea":         {`\x`, `\xdeadbeef00`, `\x5c27`, "abc"},
	"jsonb":         {`{"a": 1, "b": [true, null]}`, `"text"`, "12.0", `{"k": "it's \u2603"}`},
	"json":          {`{"a":  1, "a": 2}`, "[]"},
	"int[]":         {"{}", "{1,2,NULL}", "{{1,2},{3,4}}"},
	"text[]":        {`{"a,b","c\"d",NULL,""}`, "{}", `{"\\"}`},
	"uuid":          {"6f2b5c0e-4d0b-4b52-9d3c-0d9a1d3f0001", "00000000-0000-0000-0000-000000000000"},
	"inet":          {"10.0.0.1", "fe80::1/64"},
	"mood":          {"fine", "it's complicated", "gone"},
	"int4range":     {"[1,5)", "empty", "(,3]"},
}

// typeNames is the sorted list of types, so that a seed draws the same.
var typeNames = sortedKeys(types)

// defaults are default expressions by type; "" is none.
var defaults = map[string][]string{
	"bigint":      {"", "nextval('extra_seq')", "42", "nextval('down_seq')"},
	"numeric":     {"", "0.10", "round(random()::numeric, 6)"},
	"float8":      {"", "random()", "0.1"},
	"text":        {"", "'it''s'", "current_user", "md5(random()::text)", "to_char(now(), 'YYYY-MM-DD HH24:MI:SS.US')"},
	"date":        {"", "current_date", "'2024-01-01'"},
	"timestamptz": {"", "now()", "clock_timestamp()", "current_timestamp"},
	"timestamp":   {"", "localtimestamp", "now()"},
	"uuid":        {"", "gen_random_uuid()"},
	"jsonb":       {"", "'{}'"},
	"bool":        {"", "true"},
	"int[]":       {"", "'{1}'"},
	"mood":        {"", "'fine'"},
}

// keyRange bounds the numbers that keys are drawn from: few, so that clients meet.
const keyRange = 24

func value(r *rand.Rand, typ string) string {
	switch {
	case typ == "int":
		return strconv.Itoa(r.IntN(keyRange) + 1)
	case r.IntN(4) > 0:
		return pick(r, types[typ]...)
	}
	switch typ {
	case "bigint", "numeric", "smallint":
		return strconv.Itoa(r.IntN(2000) - 1000)
	case "float8", "real":
		return strconv.FormatFloat(r.NormFloat64(), 'g', -1, 64)
	case "text":
		return strings.Repeat(pick(r, "x", "ö", "'"), r.IntN(40))
	case "timestamptz":
		return fmt.Sprintf("2024-%02d-%02d %02d:00:00", r.IntN(12)+1, r.IntN(28)+1, r.IntN(24))
	case "uuid":
		return fmt.Sprintf("00000000-0000-0000-0000-%012d", r.IntN(keyRange))
	}
	return pick(r, types[typ]...)
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// chance is true in percent of all cases.
func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }
