package apply

import (
	"strconv"

	"github.com/opmux/opmux/event"
)

// bookDays are days that keys have, far away too.
var bookDays = []string{"2026-01-01", "2026-01-02", "0001-01-01", "1700-01-01", "2300-01-01", "2999-12-31", "9999-12-31"}

// bookValues are what a column of any type is given; some types refuse some of them.
var bookValues = []string{"1", "2", "5", "1.50", "001", "-0", "x", "X ", "'", "{}", `{"a": 1}`, "true", "f", "NaN", "Infinity", "1e3", "2026-02-03", "03/04/2026",
	"2026-02-03 04:05:06", "2026-02-03 04:05:06.7+02", "1 day", "0189f7e5-0000-7000-8000-000000000001", "10.0.0.0/8", "101", "NULL", "é", "\\x6162"}

// makeBook draws a table whose rows two columns name, with a column of some type.
func (p *setPrimary) makeBook() {
	p.schema = append(p.schema,
		`CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`,
		"CREATE TABLE book (id int, day date, n int "+p.one("", "", "DEFAULT 3")+", x "+p.one("text", "text", "varchar(2)", "char(4)", `text COLLATE "C"`, "text COLLATE ci", "jsonb", "json",
			"timestamptz", "timestamp(0)", "time", "date", "interval", "interval minute", "interval(0)", "numeric", "numeric(5,1)", "real", "float8", "money", "bool", "uuid", "inet", "cidr",
			"bit(3)", "varbit", "bytea", "int", "smallint", "bigint", "oid", `"char"`, "name", "text[]", "int4range")+
			", k int, PRIMARY KEY (id, day)"+p.one("", "", ", UNIQUE (id, day, n)", ", UNIQUE NULLS NOT DISTINCT (id, k, day)", ", CHECK (k <> 17)")+
			p.one("", "", ", g int GENERATED ALWAYS AS (k + 1) STORED", ", z int GENERATED ALWAYS AS IDENTITY")+")",
		p.one("SELECT 1", "CREATE INDEX ON book (k) INCLUDE (n)", "CREATE UNIQUE INDEX ON book (k, id, day)", "CREATE UNIQUE INDEX ON book (id, day) WHERE n > 3", "CREATE INDEX ON book (n)"))
}

// bookStatement draws a statement on the book.
func (p *setPrimary) bookStatement(kind int) (string, []string) {
	id, day, small := strconv.Itoa(p.rand.IntN(3)), p.one(bookDays...), strconv.Itoa(p.rand.IntN(9)-4)
	switch kind {
	case 18, 19:
		return "UPDATE book SET x = $1 WHERE id = $2 AND day = $3", []string{p.one(bookValues...), id, day}
	case 20:
		return "UPDATE book SET n = $1, x = $2 WHERE day = $3 AND id = $4", []string{small, p.one(bookValues...), day, id}
	case 21:
		return "UPDATE book SET k = k + $1, n = $2 WHERE id = $3 AND day = $4", []string{small, small, id, day}
	case 22:
		return "UPDATE book SET k = k * $1 - n WHERE id = $2 AND day = $3 AND n = $4", []string{small, id, day, small}
	case 23:
		return "UPDATE book SET k = 100 / $1 WHERE id = $2 AND day = $3 RETURNING k", []string{small, id, day}
	case 24:
		return "INSERT INTO book (id, day, x, k) VALUES ($1, $2, $3, $4)", []string{id, day, p.one(bookValues...), small}
	case 25:
		return "DELETE FROM book WHERE id = $1 AND day = $2", []string{id, day}
	case 26:
		return "UPDATE acc SET s = s || $1 || 'q' WHERE id = $2", []string{p.one("a", "", " ", "b "), strconv.Itoa(p.rand.IntN(p.keys))}
	}
	return "UPDATE book SET x = x || $1 WHERE id = $2 AND day = $3", []string{p.one(bookValues...), id, day}
}

// aside draws what is no row's business: settings and savepoints.
func (p *setPrimary) aside(ops []event.Operation) (op event.Operation, sql string) {
	switch p.rand.IntN(4) {
	case 0:
		drawn := [][2]string{{"DateStyle", "ISO, DMY"}, {"DateStyle", "ISO, MDY"}, {"DateStyle", "German"}, {"TimeZone", "UTC"}, {"TimeZone", "Asia/Tokyo"},
			{"IntervalStyle", "postgres"}, {"IntervalStyle", "iso_8601"}, {"IntervalStyle", "sql_standard"}}[p.rand.IntN(8)]
		name, value := drawn[0], drawn[1]
		return setting(name, value)[0], "SELECT set_config('" + name + "', '" + value + "', true)"
	case 1:
		for i := range ops {
			if ops[i].Kind == event.OpSavepoint {
				return savepoint(event.OpRollbackTo)[0], "ROLLBACK TO s"
			}
		}
	}
	return savepoint(event.OpSavepoint)[0], "SAVEPOINT s"
}
