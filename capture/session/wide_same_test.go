package session_test

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/wire/pgwire"
)

// binaryHead begins a COPY stream in binary.
const binaryHead = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// wide is an encoding of several bytes: a character whose last byte is as awkward as its
// bytes can be (a backslash, a bar, a letter, a digit), another one, and what is none.
type wide struct{ name, odd, char, bad string }

var wides = []wide{
	{"SJIS", "\x95\x5c", "\x83\x7c", "\x85\x20"}, {"SHIFT_JIS_2004", "\x83\x5c", "\x82\xf5", "\x81"}, {"BIG5", "\xa5\x5c", "\xb3\x7c", "\x81\x20"}, {"GBK", "\x81\x5c", "\x82\x7c", "\xff\xff"},
	{"GB18030", "\x81\x30\x81\x30", "\x81\x5c", "\x81\x30\x20"}, {"UHC", "\x81\x41", "\xb0\xa1", "\x81\x5c"}, {"JOHAB", "\xd9\xa1", "\xd9\xa2", "\xd9\x5c"},
	{"EUC_JP", "\x8f\xb0\xa1", "\x8e\xb1", "\x8f\xb0"}, {"EUC_JIS_2004", "\xa4\xf7", "\x8f\xa1\xa1", "\xa4\x41"}, {"EUC_CN", "\xb0\xa1", "\xd6\xd0", "\xff\x41"},
	{"EUC_KR", "\xb0\xa1", "\xc7\xd1", "\xb0\x5c"}, {"EUC_TW", "\x8e\xa2\xa1\xa1", "\xc4\xe3", "\x8e\xa2\xa1"},
}

// said is what a client of that encoding says, with its characters in the place of ☠
// (odd), ☺ and ✗ (none).
func (w wide) said(text string) string {
	return strings.NewReplacer("☠", w.odd, "☺", w.char, "✗", w.bad).Replace(text)
}

func (w wide) q(sql string) func(*rawClient) { return q(w.said(sql)) }

func (w wide) ext(sql string, formats []int16, params ...string) func(*rawClient) {
	for i := range params {
		params[i] = w.said(params[i])
	}
	return ext(w.said(sql), formats, 0, params...)
}

func (w wide) copyIn(sql, data string) func(*rawClient) { return copyIn(w.said(sql), w.said(data)) }

func (w wide) copyFails(sql, data string) func(*rawClient) {
	return copyFails(w.said(sql), w.said(data))
}

// copyBytes is copyIn with a message for every byte.
func (w wide) copyBytes(sql, data string) func(*rawClient) {
	return func(c *rawClient) {
		c.query(w.said(sql)).until(pgwire.CopyInResponse)
		for _, b := range []byte(w.said(data)) {
			c.send(pgwire.CopyData, []byte{b})
		}
		c.send(pgwire.CopyDone, nil).ready()
	}
}

func (w wide) writes() []func(*rawClient) {
	return []func(*rawClient){
		q("SET client_encoding = " + w.name), w.q("INSERT INTO t VALUES (100, 1, '☺☠')"), w.q("INSERT INTO t VALUES (101, 1, '☠') RETURNING w, length(w)"), w.q("INSERT INTO t VALUES (102, 1, E'☠\\'☠\\\\'), (103, 1, $☠$;'$☠$) RETURNING w"),
		w.q("UPDATE t SET w = w || '☠' WHERE v = 1 RETURNING w"), w.q("UPDATE t SET w = '☠' WHERE id = 2"), w.q("UPDATE t SET w = '☺' WHERE w = '☠' AND v > 1"), w.q("DELETE FROM t WHERE w LIKE '%☺%' RETURNING w, id"),
		w.q("INSERT INTO t VALUES (100, 2, '☠') ON CONFLICT (id) DO UPDATE SET w = t.w || excluded.w RETURNING *"), w.q("INSERT INTO t (id, w) SELECT 200 + id, w || '☠' FROM t WHERE id < 3 RETURNING w"),
		w.q("INSERT INTO drawn (v) VALUES ('☠')"), w.q("INSERT INTO drawn (v) VALUES ('☠')"), w.q("INSERT INTO t VALUES (1, 1, '☠')"), w.q("INSERT INTO t VALUES (110, 1, '☠'); UPDATE t SET w = w || '☺' WHERE id = 110; SELECT w, '☠' FROM t WHERE id = 110"),
		w.q("CREATE TABLE ☺n (\"☠\" int PRIMARY KEY, v text DEFAULT '☠')"), w.q("INSERT INTO ☺n VALUES (1)"), w.q("UPDATE ☺n SET v = v || 'x' WHERE v <> '☺' RETURNING *"), w.q("INSERT INTO ☺n VALUES (1)"), w.q("ALTER TABLE ☺n ADD COLUMN \"a☠\" jsonb DEFAULT '{\"☠\": \"☺\"}'"),
		w.q("INSERT INTO ☺n VALUES (3, '☠', '[\"☠\"]') RETURNING \"a☠\" ->> 0"), w.q("SELECT \"☠\"()"), w.q("CREATE TABLE m☺ AS SELECT w FROM t WHERE w > '☠'"), w.q("SELECT count(*) FROM m☺"), w.q("DROP TABLE ☺n, m☺"),
		w.q("BEGIN"), w.q("SAVEPOINT \"☠\""), w.q("UPDATE t SET w = '☺' WHERE v = 1"), w.q("ROLLBACK TO \"☠\""), w.q("PREPARE \"☠\" AS INSERT INTO t VALUES ($1, 1, $2 || '☠') RETURNING w"), w.q("EXECUTE \"☠\" (120, '☺')"), w.q("COMMIT"),
		w.q("LISTEN \"☠\""), w.q("NOTIFY \"☠\", '☺☠'"), w.q("SELECT id, w FROM t ORDER BY id"), q("RESET client_encoding"), q("SELECT id, w FROM t ORDER BY id"),
	}
}

func (w wide) errors() []func(*rawClient) {
	return []func(*rawClient){
		q("SET client_encoding = " + w.name), w.q("INSERT INTO t (id, w) VALUES (300, '☠☺☠', nothere)"), w.q("UPDATE t SET w = '☠', x☠ = nothere WHERE v > 3"), w.q("INSERT INTO \"☠\" VALUES (1)"), w.q("SELEC '☠'"), w.q("SELECT '☠'; INSERT INTO t VALUES (301, nothere, '☠')"),
		w.q("INSERT INTO t VALUES (302, 1, '☠') RETURNING \"☠\""), w.q("INSERT INTO t VALUES (303, 1, '✗')"), w.q("SELECT '✗'"), w.q("SELECT 1; INSERT INTO t VALUES (303, 1, '☠✗')"), w.ext("INSERT INTO t VALUES (303, 1, '✗')", nil), w.ext("INSERT INTO t VALUES (303, 1, $1)", nil, "a✗"),
		w.q("BEGIN"), w.q("INSERT INTO t VALUES (303, 1, '☠')"), w.q("INSERT INTO t VALUES (304, 1, '✗')"), w.q("INSERT INTO t VALUES (305, 1, '☠')"), w.q("ROLLBACK -- ☠"), w.q("SELECT count(*) FROM t WHERE id >= 300"),
		w.q("INSERT INTO t VALUES (306, 1, 'x☠"), w.q("DROP TABLE IF EXISTS \"☠\", ☺x"),
	}
}

func (w wide) extended() []func(*rawClient) {
	return []func(*rawClient){
		q("SET client_encoding = " + w.name), w.ext("INSERT INTO t VALUES ($1, 1, $2) RETURNING w", nil, "100", "☠☺"), w.ext("UPDATE t SET w = w || $1 WHERE v = 1 RETURNING w, length(w)", []int16{1}, "☠"), w.ext("INSERT INTO t VALUES (110, 1, '☠') RETURNING '☠'", nil),
		bin("INSERT INTO t VALUES ($1, 1, $2) RETURNING *", "\x00\x00\x00\xf0", w.odd), bin("INSERT INTO t VALUES ($1, 1, $2)", "\x00\x00\x00\xf3", w.bad), w.ext("UPDATE t SET w = '☺' WHERE w = $1 RETURNING id", nil, "☺☠"),
		func(c *rawClient) {
			c.parse("ins", w.said("INSERT INTO t VALUES ($1, 2, '☠' || $2) RETURNING w")).bind("", "ins", nil, "120", w.char).execute("", 0).sync().ready()
		},
		q("SET client_encoding = UTF8"), func(c *rawClient) { c.bind("", "ins", nil, "121", "x").execute("", 0).sync().ready() },
		func(c *rawClient) { // what is set in a pipeline is so for what comes behind it
			c.parse("", "SET client_encoding = "+w.name).bind("", "", nil).execute("", 0)
			c.parse("", w.said("INSERT INTO t VALUES (130, 3, '☠') RETURNING w")).bind("", "", nil).execute("", 0).sync().ready()
		},
		q("RESET client_encoding"), q("BEGIN"), q("SET client_encoding = " + w.name), w.q("INSERT INTO t VALUES (140, 1, '☠')"), q("ROLLBACK"), q("INSERT INTO t VALUES (140, 1, 'é') RETURNING w"),
		q("BEGIN"), q("SET LOCAL client_encoding = " + w.name), w.q("INSERT INTO t VALUES (141, 1, '☠')"), q("COMMIT"), q("INSERT INTO t VALUES (142, 1, 'é')"), q("SELECT set_config('client_encoding', '" + w.name + "', false)"), w.q("INSERT INTO t VALUES (143, 1, '☠')"),
		q("SET client_encoding = UTF8"), q("SELECT id, w FROM t ORDER BY id"),
	}
}

func (w wide) copies() []func(*rawClient) {
	binary := func(text string) string {
		text = w.said(text)
		return binaryHead + "\x00\x01\x00\x00\x00" + string(rune(len(text))) + text + "\x00\x01\xff\xff\xff\xff\xff\xff"
	}
	return []func(*rawClient){
		q("SET client_encoding = " + w.name), w.copyIn("COPY t FROM STDIN", "500\t1\t☠\n501\t2\t☺☠\\t☠\n"), w.copyBytes("COPY t FROM STDIN", "502\t1\t☠\n503\t2\t☺☠\n"), w.copyIn("COPY t FROM STDIN WITH (FORMAT csv, NULL '☠')", "504,☠,\"☠,\"\"☺\"\n"),
		copyIn("COPY t FROM STDIN WITH (ENCODING 'UTF8')", "505\t1\té\n"), w.copyIn("COPY t FROM STDIN", "506\tx☠\t☠\n"), w.copyIn("COPY t FROM STDIN", "506\t1\t☠\n507\t1\t✗\n"), w.copyBytes("COPY t FROM STDIN", "508\t1\t☠✗"), w.copyIn("COPY t FROM STDIN", "506\t1\t☠"),
		w.copyIn("COPY drawn (v) FROM STDIN", "☠\n☠x\n☺\\\\\n"), w.copyBytes("COPY drawn (v) FROM STDIN CSV", "\"☠1\n\"\n\"☺☠\"\"\"\n"), w.copyFails("COPY drawn (v, u) FROM STDIN", "y☠\t1\n☠\t2\n"), w.copyFails("COPY drawn (v, u) FROM STDIN", "z☠\t1\nzz☠\tx☠\n"), w.copyFails("COPY drawn (v) FROM STDIN", "q☠\n✗\n"),
		copyIn("COPY drawn (v) FROM STDIN BINARY", binary("☠b")), w.copyBytes("COPY drawn (v) FROM STDIN BINARY", binary("b☠")), copyIn("COPY t (id, w) FROM STDIN BINARY", binaryHead+"\x00\x02\x00\x00\x00\x04\x00\x00\x02\xff\x00\x00\x00"+string(rune(len(w.odd)))+w.odd+"\xff\xff"),
		copyIn("COPY s (v) FROM STDIN BINARY", binary("✗")), q("SELECT id, v, n FROM drawn ORDER BY id"), copyOut("COPY (SELECT id, w FROM t WHERE id > 499 ORDER BY id) TO STDOUT"),
		q("SET client_encoding = UTF8"), w.copyIn("COPY t FROM STDIN WITH (ENCODING '"+w.name+"')", "510\t1\t☠\n511\t1\t☺\n"), q("SELECT id, w FROM t WHERE id > 499 ORDER BY id"), q("SELECT id, v, n FROM drawn ORDER BY id"),
	}
}

// I5: the answers in an encoding of several bytes, some of which look like ASCII, are the
// server's own, byte by byte.
func TestI5WideAnswersAreTheServersOwn(t *testing.T) {
	for _, w := range wides {
		t.Run(w.name, func(t *testing.T) {
			sameAnswers(t, map[string][]func(*rawClient){"wide writes": w.writes(), "errors": w.errors(), "extended": w.extended(), "copies": w.copies()})
		})
	}
}
