package session_test

import (
	"slices"
	"testing"

	"github.com/opmux/opmux/wire/pgwire"
)

// encoded are conversations in client encodings other than UTF8.
var encoded = map[string][]func(*rawClient){
	"encoded writes": {
		q("SET client_encoding = LATIN1"), q("INSERT INTO t VALUES (100, 1, 'caf\xe9')"), q("INSERT INTO t VALUES (101, 1, '\xc3\xa9') RETURNING w, length(w)"),
		q("UPDATE t SET w = w || '\xfc' WHERE v = 1 RETURNING w"), q("UPDATE t SET w = '\xe0' WHERE id = 2"), q("UPDATE t SET w = '\xe0' WHERE w = '\xe0' AND v > 1"),
		q("INSERT INTO t VALUES (100, 2, '\xe9') ON CONFLICT (id) DO UPDATE SET w = t.w || excluded.w RETURNING *"), q("DELETE FROM t WHERE w LIKE '%\xe9%' RETURNING w"),
		q("INSERT INTO t (id, w) SELECT 200 + id, w || '\xf1' FROM t WHERE id < 3 RETURNING w"), q("INSERT INTO s (v) VALUES ('\xe9'), ('\xea')"),
		q("INSERT INTO drawn (v) VALUES ('\xe9')"), q("INSERT INTO drawn (v) VALUES ('\xe9')"), q("INSERT INTO t VALUES (1, 1, '\xe9')"),
		q("CREATE TABLE \"\xe9t\xe9\" (\"n\xb0\" int PRIMARY KEY, v text DEFAULT '\xa4')"), q("INSERT INTO \"\xe9t\xe9\" VALUES (1)"), q("UPDATE \"\xe9t\xe9\" SET v = v || 'x' RETURNING *"),
		q("INSERT INTO \"\xe9t\xe9\" VALUES (1)"), q("ALTER TABLE \"\xe9t\xe9\" ADD COLUMN \"\xe8\" text DEFAULT '\xe8'"), q("INSERT INTO \"\xe9t\xe9\" VALUES (3, '\xff', '\xfe') RETURNING \"\xe8\""), q("SELECT \"\xe8\"()"),
		q("CREATE TABLE \"m\xe9\" AS SELECT w FROM t WHERE w > 'x'"), q("SELECT count(*) FROM \"m\xe9\""), q("DROP TABLE \"\xe9t\xe9\", \"m\xe9\""), q("SELECT id, w FROM t ORDER BY id"),
	},
	"encoded errors": {
		q("SET client_encoding = LATIN1"), q("INSERT INTO t VALUES (1, 'd\xe9j\xe0')"), q("INSERT INTO t (id, w) VALUES (300, '\xe9\xe9\xe9', nothere)"), q("UPDATE t SET w = '\xe9', x\xe9 = nothere WHERE v > 3"),
		q("INSERT INTO \"\xe9\" VALUES (1)"), q("SELEC '\xe9'"), q("SELECT '\xe9'; INSERT INTO t VALUES (301, nothere, '\xe9')"), q("INSERT INTO t VALUES (302, 1, '\xe9') RETURNING \"\xe9\""),
		q("BEGIN"), q("INSERT INTO t VALUES (303, 1, '\xe9')"), q("SELECT 1/0"), q("INSERT INTO t VALUES (304, 1, '\xe9')"), q("ROLLBACK -- \xe9"), q("SELECT count(*) FROM t WHERE id >= 300"),
	},
	"encoded, extended": {
		q("SET client_encoding = WIN1252"), ext("INSERT INTO t VALUES ($1, 1, $2) RETURNING w", nil, 0, "100", "\x80uro"), ext("UPDATE t SET w = w || $1 WHERE v = 1 RETURNING w, length(w)", []int16{1}, 0, "\x8c"),
		bin("INSERT INTO t VALUES ($1, 1, $2) RETURNING *", "\x00\x00\x00\xf0", "\x80"), bin("INSERT INTO t VALUES ($1, 1, ($2::text[])[2]) RETURNING w", "\x00\x00\x00\xf1", "\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x19\x00\x00\x00\x03\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00\x00\x02a\x80\x00\x00\x00\x00"),
		bin("INSERT INTO t SELECT $1, 1, x FROM unnest($2::varchar[]) x", "\x00\x00\x00\xf2", "\x00\x00\x00\x01"), bin("INSERT INTO t VALUES ($1, 1, $2)", "\x00\x00\x00\xf3", "\x81"),
		ext("INSERT INTO t VALUES (110, 1, '\x80') RETURNING '\x80'", nil, 0), ext("INSERT INTO t VALUES (111, 1, '\x81')", nil, 0), ext("INSERT INTO t VALUES (112, 1, $1)", nil, 0, "\x81"), ext("SELECT $1::text", nil, 0, "\x81"),
		func(c *rawClient) {
			c.parse("ins", "INSERT INTO t VALUES ($1, 2, '\x80' || $2) RETURNING w").bind("", "ins", nil, "120", "\x9f").execute("", 0).sync().ready()
		},
		q("SET client_encoding = UTF8"), func(c *rawClient) { c.bind("", "ins", nil, "121", "Ÿ").execute("", 0).sync().ready() },
		q("SET client_encoding = LATIN9"), func(c *rawClient) {
			c.bind("", "ins", nil, "122", "\xa4").describe(true, "").execute("", 0).sync().ready()
		},
		q("SET client_encoding = WIN1250"), func(c *rawClient) { c.bind("", "ins", nil, "123", "\xb3").execute("", 0).sync().ready() },
		func(c *rawClient) { // what is set in a pipeline is so for what comes behind it
			c.parse("", "SET client_encoding = LATIN1").bind("", "", nil).execute("", 0)
			c.parse("", "INSERT INTO t VALUES (130, 3, '\xe9') RETURNING w").bind("", "", nil).execute("", 0).sync().ready()
		},
		q("BEGIN"), func(c *rawClient) {
			c.parse("many", "UPDATE t SET w = w || '\xe9' WHERE id IN (3, 4, 5, 6) RETURNING w").bind("p", "many", nil).execute("p", 1)
			c.parse("", "SET client_encoding = UTF8").bind("", "", nil).execute("", 0).execute("p", 2).sync().ready()
		}, q("COMMIT"), q("SET client_encoding = UTF8"), q("SELECT id, w FROM t ORDER BY id"),
	},
	"encodings": {
		early("SET client_encoding = LATIN1; INSERT INTO t VALUES (100, 1, 'é') RETURNING w"), early("SET client_encoding = UTF8; INSERT INTO t VALUES (101, 1, '\xe9') RETURNING w"),
		q("BEGIN"), q("SET LOCAL client_encoding = WIN1251"), q("INSERT INTO t VALUES (102, 1, '\xe9') RETURNING w"), q("COMMIT"), q("INSERT INTO t VALUES (103, 1, 'é') RETURNING w"),
		q("BEGIN"), q("INSERT INTO t VALUES (104, 1, 'é')"), q("SET client_encoding = LATIN1"), q("INSERT INTO t VALUES (105, 1, '\xe9') RETURNING w"), q("ROLLBACK"), q("INSERT INTO t VALUES (106, 1, 'é') RETURNING w"),
		q("BEGIN"), q("SAVEPOINT \"é\""), q("SET client_encoding = LATIN1"), q("UPDATE t SET w = '\xe9' WHERE v = 1"), q("ROLLBACK TO \"\xe9\""), q("INSERT INTO t VALUES (107, 1, 'é') RETURNING w"), q("RELEASE \"é\""), q("COMMIT"),
		q("BEGIN"), q("SET client_encoding = LATIN1"), q("SELECT 1/0"), q("COMMIT -- \xe9"), q("COMMIT"), q("INSERT INTO t VALUES (108, 1, 'é') RETURNING w"),
		q("SELECT set_config('client_encoding', 'LATIN2', false)"), q("INSERT INTO t VALUES (109, 1, '\xb1') RETURNING w"), q("PREPARE ins AS INSERT INTO t VALUES ($1, 1, $2 || '\xb3') RETURNING w"), q("EXECUTE ins (110, '\xe6')"), q("DEALLOCATE ins"),
		q("RESET client_encoding"), q("SELECT id, w FROM t WHERE id > 99 ORDER BY id"),
		// One text, whose bytes are others in each of them.
		q("SET client_encoding = LATIN1"), q("DELETE FROM t WHERE id = 109 /* \xe9 */"), q("SET client_encoding = UTF8"), q("DELETE FROM t WHERE id = 109 /* é */"), q("SET client_encoding = WIN866"), q("DELETE FROM t WHERE id = 110 -- \x82"),
	},
	"prepared in one encoding, executed in another": {
		q("SET client_encoding = LATIN1"), q("PREPARE ins AS INSERT INTO t VALUES ($1, 1, $2 || '\xe9') RETURNING w"), q("PREPARE many AS UPDATE t SET w = w || '\xe9' WHERE v = 1 RETURNING id"),
		q("SET client_encoding = UTF8"), q("EXECUTE ins (100, 'é日')"), q("EXECUTE many"), ext("EXECUTE many", nil, 0), q("SET client_encoding = WIN1250"), q("EXECUTE ins (101, '\xb3')"), q("EXECUTE many"),
		q("SET client_encoding = SJIS"), q("EXECUTE many"), q("EXECUTE ins (102, 'x')"), q("SET client_encoding = UTF8"), q("PREPARE looks AS SELECT 'é', max(id) FROM t"),
		q("SET client_encoding = LATIN1"), q("EXECUTE looks"), ext("EXECUTE looks", nil, 0), q("SET client_encoding = UTF8"), q("SELECT id, w FROM t ORDER BY id"),
	},
	"the alias that the server keeps": { // SET client_encoding TO 'UNICODE', as old drivers say
		q("SET client_encoding = 'UNICODE'"), q("SHOW client_encoding"), q("INSERT INTO t VALUES (100, 1, 'é日') RETURNING w"), q("UPDATE t SET w = w || '日' WHERE v = 1 RETURNING w"), ext("UPDATE t SET w = $1 WHERE w = 'é日日'", nil, 0, "é"),
		bin("INSERT INTO t VALUES ($1, 1, $2)", "\x00\x00\x00\xf0", "é"), copyIn("COPY t FROM STDIN", "101\t1\té\n"), copyIn("COPY drawn (v) FROM STDIN", "é\n"), q("INSERT INTO t VALUES (102, 1, '\xe9')"), func(c *rawClient) {
			c.parse("é", "INSERT INTO t VALUES (103, 1, 'é')").bind("", "é", nil).execute("", 0).sync().ready()
		}, q("RESET client_encoding"), q("SELECT id, w FROM t WHERE id > 99 ORDER BY id"),
	},
	"before a transaction's first query": {
		q("SET search_path = public, pg_catalog"), ext("BEGIN", nil, 0), ext("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE /* é */", nil, 0), q("SHOW transaction_isolation"), q("COMMIT"),
		q("SET client_encoding = LATIN1"), ext("BEGIN", nil, 0), ext("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE /* \xe9 */", nil, 0), ext("INSERT INTO t VALUES (100, 1, '\xe9') RETURNING w", nil, 0), q("COMMIT"), q("RESET client_encoding"),
		func(c *rawClient) { // the second is sent before the first is answered
			c.parse("", "SET client_encoding = WIN1250").bind("", "", nil).execute("", 0).sync()
			c.parse("", "SET my.word = '\xb3'").bind("", "", nil).execute("", 0).sync()
			c.ready()
			c.ready()
		}, q("SHOW my.word"), q("RESET client_encoding"), q("SHOW my.word"),
	},
	"what the encoding has not": {
		q("INSERT INTO t VALUES (100, 30, '日本'), (101, 30, 'é¥')"), q("SET client_encoding = LATIN1"), q("UPDATE t SET w = w || '\xe9' WHERE v = 30"), q("UPDATE t SET w = w || '\xe9' WHERE v = 30 RETURNING w"),
		q("UPDATE t SET w = w || '\xe9' WHERE v = 30 RETURNING id"), q("INSERT INTO t (id, w) SELECT id + 10, w FROM t WHERE v = 30"), ext("UPDATE t SET w = w || $1 WHERE v = 30", nil, 0, "\xe9"), q("CREATE TABLE copied AS SELECT * FROM t WHERE v = 30"),
		q("SET client_encoding = SJIS"), q("UPDATE t SET w = w || chr(165) WHERE v = 30"), q("INSERT INTO t (id, w) SELECT id + 20, w FROM t WHERE v = 30 RETURNING id"),
		q("SET client_encoding = SQL_ASCII"), q("DELETE FROM t WHERE id = 120 OR v < 40 AND w = 'x' RETURNING id, w"), q("SET client_encoding = UTF8"), q("SELECT * FROM t WHERE id > 99 ORDER BY id"), q("SELECT * FROM copied ORDER BY id"),
		q("SET client_encoding = WIN1252"), q("INSERT INTO t VALUES (200, 1, '\x81')"), q("SELECT '\x81'"), q("SELECT 1; INSERT INTO t VALUES (200, 1, '\x8d')"), q("BEGIN"), q("INSERT INTO t VALUES (201, 1, '\x80')"), q("INSERT INTO t VALUES (202, 1, '\x90')"), q("COMMIT"),
	},
	"encoded copy": {
		q("SET client_encoding = LATIN1"), copyIn("COPY t FROM STDIN", "500\t1\t\xe9\n501\t2\t\xfc\\xe9\n"), copyIn("COPY t FROM STDIN", "500\t1\t\xe9\n501\t2\t\xfc\n"), copyIn("COPY t FROM STDIN WITH (FORMAT csv, NULL '\xe9')", "502,\xe9,\"\xe9,\xf1\"\n"),
		copyIn("COPY t FROM STDIN WITH (ENCODING 'UTF8')", "503\t1\té\n"), copyIn("COPY t FROM STDIN WITH (ENCODING 'WIN1251')", "504\t1\t\xe9\n"), copyIn("COPY t FROM STDIN", "505\tx\xe9\t\xe9\n"), copyOut("COPY (SELECT id, w FROM t WHERE id > 499 ORDER BY id) TO STDOUT"),
		copyIn("COPY drawn (v) FROM STDIN", "\xe9\n\xea\n"), copyFails("COPY drawn (v, u) FROM STDIN", "\xeb\t1\n\xe9\t2\n"), copyFails("COPY drawn (v, u) FROM STDIN", "\xec\t1\n\xed\tx\xe9\n"), q("SELECT id, v, n FROM drawn ORDER BY id"),
		q("SET client_encoding = WIN1252"), copyIn("COPY t FROM STDIN", "510\t1\t\x80\n511\t2\t\x81\n"), copyIn("COPY t FROM STDIN", "512\t1\t\x80\n"), copyFails("COPY drawn (v) FROM STDIN", "\x80\n\x81\n"), copyIn("COPY drawn (v) FROM STDIN", "\x8c\n"),
		q("SET client_encoding = UTF8"), q("SELECT id, w FROM t WHERE id > 499 ORDER BY id"), q("SELECT id, v, n FROM drawn ORDER BY id"),
	},
}

// early is q for a Query that sets what the server reports, which through the agent is
// told behind its statement and not behind the last one.
func early(sql string) func(*rawClient) {
	return func(c *rawClient) {
		c.query(sql).ready()
		c.notes = slices.DeleteFunc(c.notes, func(note string) bool { return note[0] == pgwire.ParameterStatus })
	}
}

// bin runs a statement with parameters in binary format.
func bin(sql string, params ...string) func(*rawClient) {
	return func(c *rawClient) {
		b := pgwire.BindBody{}
		for _, p := range params {
			b.Params = append(b.Params, pgwire.Param{Binary: true, Value: []byte(p)})
		}
		c.parse("", sql).send(pgwire.Bind, b.Append(nil)).describe(true, "").execute("", 0).sync().ready()
	}
}

// I5: in any client encoding answers are, byte by byte, what they are directly.
func TestI5EncodedAnswersAreTheServersOwn(t *testing.T) {
	sameAnswers(t, encoded)
}
