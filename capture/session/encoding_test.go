package session_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgwire"
)

// I6: what would have to be converted to be recorded, and cannot be, since the database
// is neither in UTF8 nor in the client's encoding, is refused by name; reads and what is
// ASCII are not.
func TestI6EncodingsThatAreNotConverted(t *testing.T) {
	for _, c := range []struct{ db, encoding, text string }{{"EUC_JP", "SJIS", "\x93\xfa"}, {"EUC_JP", "SQL_ASCII", "\xc6\xfc"}, {"SQL_ASCII", "EUC_JP", "\xc6\xfc"}, {"SQL_ASCII", "SQL_ASCII", "é"}} {
		t.Run(c.encoding+" in "+c.db, func(t *testing.T) { notConverted(t, c.db, c.encoding, c.text) })
	}
}

func notConverted(t *testing.T, db, encoding, text string) {
	t.Helper()
	r := rigWith(t, setting{encoding: db}, `SET client_encoding = UTF8`, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t VALUES (9, '日')`)
	c := r.client()
	c.query("SET client_encoding = " + encoding).ready()
	refusal := "C=0A000 M=opmux: statement in client_encoding " + encoding
	c.query("INSERT INTO t VALUES (1, '"+text+"')").says(refusal, `Z "I"`)
	c.query("SELECT 1; DELETE FROM t WHERE v <> '"+text+"'").says(refusal, `Z "I"`)
	c.parse("", "UPDATE t SET v = '"+text+"' WHERE id = 1").sync().says(refusal, `Z "I"`)
	c.parse("", "UPDATE t SET v = $1 WHERE id = 1").bind("", "", nil, text).execute("", 0).sync().says("opmux: statement in client_encoding "+encoding, `Z "I"`)
	c.query("SELECT \""+text+"\"()").says(refusal, `Z "I"`)
	c.query("COPY t FROM STDIN").says(refusal, `Z "I"`)
	if encoding == "SJIS" { // whose second byte is no backslash
		c.query("SELECT E'\x95\x5c'; DELETE FROM t -- '").says(refusal, `Z "I"`)
	}
	if encoding == "SQL_ASCII" { // the others have characters of several bytes
		c.query("SELECT 1 AS n, '" + text + "' AS x WHERE false").says(`C "SELECT 0`)
	}
	c.query("INSERT INTO t VALUES (1, 'ascii'); DELETE FROM t WHERE id = 1").says(`C "DELETE 1`)
	c.query("UPDATE t SET v = v || 'x' WHERE id > 8").says(`C "UPDATE 1`)
	bin("UPDATE t SET v = 'n' WHERE id = $1", "\x00\x00\x00\xff")(c)
	if got := c.take(); !strings.Contains(got, `C "UPDATE 0`) {
		t.Errorf("a number in binary format: %s", got)
	}
	for _, op := range r.committed() {
		if op.Rows != nil && string(op.Rows.Rows[0].Values[0].Text) != "日x" {
			t.Errorf("published %q", op.Rows.Rows[0].Values[0].Text)
		}
	}
}

// I6: a byte whose character servers and standards disagree about is taken for none, and
// forms whose text cannot be found, names that bytes tell, and conversions of others are refused.
func TestI6WhatOfAnEncodingIsNotConverted(t *testing.T) {
	r := newRig(t, nil, `CREATE TYPE mood AS ENUM ('ébahi')`, `CREATE TABLE t (id int PRIMARY KEY, v text, m mood)`, `CREATE TABLE x (id int PRIMARY KEY, v xml)`)
	c := r.client()
	c.query("SET client_encoding = KOI8U").ready()
	c.query("INSERT INTO t VALUES (1, '\xae')").says("opmux: statement in client_encoding KOI8U: it has a character that opmux does not know", `Z "I"`)
	c.query("SET client_encoding = LATIN1").ready()
	bin("INSERT INTO t (id, m) VALUES ($1, $2)", "\x00\x00\x00\x01", "\xe9bahi")(c)
	if got := c.take(); !strings.Contains(got, "opmux: parameter $2 in binary format in client_encoding LATIN1: where text is in the binary form of its type") {
		t.Errorf("an enum in binary format: %s", got)
	}
	c.query("COPY x FROM STDIN BINARY").says("C=0A000 M=opmux: binary COPY in client_encoding LATIN1: where text is in the binary form of a column's type (OID 142) is not known", `Z "I"`)
	for _, stream := range []string{"not binary", binaryHead + "\x00\x02", binaryHead + "\x00\x03\x00\x00\x00\x04\x00"} { // the server says what is wrong with it
		copyIn("COPY t FROM STDIN BINARY", stream)(c)
		if got := c.take(); !strings.Contains(got, "C=22P0") {
			t.Errorf("a stream that is not in binary: %s", got)
		}
	}
	c.query("COPY t (id) FROM STDIN (ENCODING 'UTF8')").until(pgwire.CopyInResponse)
	c.send(pgwire.CopyDone, nil).says(`C "COPY 0`)
	c.parse("\xe9", "SELECT 1").sync().says("opmux: a prepared statement or portal whose name is not ASCII", `Z "I"`)
	c.parse("s", "SELECT 1").bind("\xe9", "s", nil).sync().says("opmux: a prepared statement or portal whose name is not ASCII", `Z "I"`)
	c.query("INSERT INTO t (id, m) VALUES (1, '\xe9bahi')").says(`C "INSERT 0 1`)
	r.pg.Exec(t, r.db, `CREATE SCHEMA own`, `CREATE DEFAULT CONVERSION own.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8`)
	c.query("INSERT INTO t (id) VALUES (2)").ready() // may find that the catalogue moved
	c.query("INSERT INTO t VALUES (3, '\xe9')").says("opmux: statement in client_encoding LATIN1: the database has a default conversion", `Z "I"`)
}

// I6: rows of a statement that was prepared in UTF8 come as text, which another encoding
// may not have; the server's own error would be of columns that the client did not ask for.
func TestI6PreparedInUTF8(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t VALUES (1, '日本')`)
	c := r.client()
	c.query("PREPARE many AS UPDATE t SET v = v || 'x' WHERE id < 9").says(`C "PREPARE`)
	c.query("PREPARE far AS INSERT INTO t VALUES (2, '日本')").says(`C "PREPARE`)
	c.query("SET client_encoding = LATIN1").ready()
	c.query("EXECUTE far").says(`C "INSERT 0 1`) // nothing of it is read back, and its text is there
	c.query("EXECUTE many").says("opmux: EXECUTE in client_encoding LATIN1 of a statement that was prepared in UTF8", "PREPARE it again", `Z "I"`)
	c.query("DEALLOCATE many").ready()
	c.query("PREPARE many AS UPDATE t SET v = v || 'x' WHERE id < 9").ready()
	c.query("EXECUTE many").says(`C "UPDATE 2`)
	r.pg.Exec(t, r.db, `CREATE SCHEMA own`, `CREATE DEFAULT CONVERSION own.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8`)
	c.query("EXECUTE many").ready() // may find that the catalogue moved
	c.query("EXECUTE many").says("opmux: statement in client_encoding LATIN1: the database has a default conversion", `Z "I"`)
}

// Errors of the agent's own are in the client's encoding.
func TestI5AgentsWordsAreInTheClientsEncoding(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE "é日" (id int PRIMARY KEY)`)
	c := r.client()
	refused := `UPDATE "é日" SET id = id + 1`
	c.query("PREPARE TRANSACTION 'x'").ready()
	c.query(refused).says("é日")
	c.query("SET client_encoding = LATIN1").ready()
	c.query("CREATE TABLE \"\xe9t\" (id int PRIMARY KEY)").ready()
	c.query("UPDATE \"\xe9t\" SET id = id + 1").says("public.\xe9t", `Z "I"`)
}

// I6: what is published is UTF-8 and says so, whatever the client's encoding was, and
// when it was changed.
func TestI6PublishedTextIsUTF8(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.ChunkBytes = 64 }, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t SELECT i, 'é' FROM generate_series(1, 9) i`, `CREATE TABLE drawn (id serial PRIMARY KEY, v text)`)
	c := r.client()
	c.query("SET client_encoding = LATIN1").ready()
	c.query("BEGIN").ready()
	c.query("UPDATE t SET v = v || '\xe9' WHERE id > 3").ready()
	c.query("SAVEPOINT \"\xe9\"").ready()
	c.query("SET client_encoding = WIN1251").ready()
	c.query("INSERT INTO t VALUES (10, '\xe9')").ready()
	c.query("ROLLBACK TO \"\xe9\"").ready() // another character, which names no savepoint
	c.query("ROLLBACK").ready()
	c.query("BEGIN; SET LOCAL client_encoding = WIN1251").ready()
	c.query("SAVEPOINT \"\xe9\"; INSERT INTO t VALUES (11, '\xe9')").ready()
	c.query("ROLLBACK TO \"\xe9\"; INSERT INTO t VALUES (12, '\xea'); COMMIT").ready()
	ext("INSERT INTO t VALUES ($1, $2)", nil, 0, "20", "\xe9")(c)
	bin("INSERT INTO t VALUES ($1, $2)", "\x00\x00\x00\xff", "\xe9")(c)
	copyIn("COPY t FROM STDIN", "21\t\xe9\n")(c)
	copyIn("COPY drawn (v) FROM STDIN", "\xe9\n")(c)
	copyIn("COPY t FROM STDIN (ENCODING 'UTF8')", "22\té\n")(c) // is read as it says
	c.parse("", "SET client_encoding = WIN1251").bind("", "", nil).execute("", 0)
	c.parse("", "INSERT INTO t VALUES (30, '\xe9')").bind("", "", nil).execute("", 0).sync().ready()
	c.query("SET client_encoding = UTF8").ready()
	c.query("BEGIN").ready()
	// The rest of the rows comes in another encoding than the first.
	c.parse("", "UPDATE t SET v = v || '!' WHERE id < 4 RETURNING id").bind("p", "", nil).execute("p", 1)
	c.parse("", "SET client_encoding = LATIN1").bind("", "", nil).execute("", 0).execute("p", 0).sync().ready()
	c.query("COMMIT").ready()
	c.take()
	var texts []string
	for _, rec := range r.records() {
		if tx, ok := rec.Body.(*event.Transaction); ok && tx.Context.Get("client_encoding") != "UTF8" {
			t.Errorf("a transaction is in %q", tx.Context.Get("client_encoding"))
		}
	}
	for _, op := range r.committed() {
		texts = append(texts, string(op.Kind)+" "+op.Text)
		if len(op.Params) > 0 && string(op.Params[1].Value) != "é" || !utf8.Valid(op.Data) || strings.Contains(string(op.Data), "Ã") {
			t.Errorf("published as it came: %+v", op)
		}
		if op.Kind == event.OpSet && op.Settings[0].Name == "client_encoding" {
			t.Error("the client's encoding is published")
		}
		if op.Rows == nil {
			continue
		}
		for _, row := range op.Rows.Rows {
			if v := row.Values[0].Text; !utf8.Valid(v) || string(v) != "é!" {
				t.Errorf("row %s is %q", row.Key[0].Text, v)
			}
		}
	}
	for _, want := range []string{"savepoint й", "statement INSERT INTO t VALUES (11, 'й')", "rollbackto й", "statement INSERT INTO t VALUES (12, 'к')", "statement INSERT INTO t VALUES (30, 'й')"} {
		if i := slices.Index(texts, want); i < 0 {
			t.Errorf("%s is missing, in this order, in %q", want, texts)
		} else {
			texts = texts[i:]
		}
	}
}

// I6: the server converts nothing where its database has no encoding, of which what is not
// ASCII is refused, or the client's own, which is read as UTF-8 as the server does it.
func TestI6DatabasesInOtherEncodings(t *testing.T) {
	for encoding, text := range map[string]string{"LATIN1": "\xe9", "EUC_KR": "\xc7\xd1", "SQL_ASCII": "\xe9"} {
		r := rigWith(t, setting{encoding: encoding}, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
		c := r.client()
		client, want := encoding, []string{"INSERT INTO t VALUES (1, 'é')", "INSERT INTO t VALUES (2, 'é')", "INSERT INTO t VALUES (5, 'ascii')", "", "INSERT INTO t VALUES (6, 'é')"}
		switch encoding {
		case "SQL_ASCII":
			client, want = "LATIN1", want[2:]
		case "EUC_KR":
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "é", "한")
			}
		}
		c.query("SET client_encoding = " + client).ready()
		write := func(id, text string) {
			c.query("INSERT INTO t VALUES (" + id + ", '" + text + "')")
			if encoding == "SQL_ASCII" && text != "ascii" {
				c.says("opmux: statement in client_encoding LATIN1", `Z "I"`)
				return
			}
			c.says(`C "INSERT 0 1`)
		}
		write("1", text)
		write("2", text)
		write("5", "ascii")
		c.query("UPDATE t SET v = v || 'x' WHERE id > 4").says(`C "UPDATE 1`)
		c.query("SELECT '" + text + "', v FROM t WHERE v <> '" + text + "'").says(`C "SELECT 1`)
		c.query("SET client_encoding = UTF8").ready()
		last := want[len(want)-1]
		c.query(last).says(`C "INSERT 0 1`)
		for _, rec := range r.records() {
			if tx, ok := rec.Body.(*event.Transaction); ok && tx.Context.Get(event.ServerEncoding) != encoding {
				t.Errorf("%s: a transaction says that its database is in %q", encoding, tx.Context.Get(event.ServerEncoding))
			}
		}
		var got []string
		for _, op := range r.committed() {
			if op.Rows != nil {
				op.Text = ""
			}
			got = append(got, op.Text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: published %q, want %q", encoding, got, want)
		}
	}
}

// I6: in SQL_ASCII the server takes the bytes of its own encoding, so what it has taken
// is UTF-8, where the database is.
func TestI6ASCIIIsTheDatabasesOwn(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	c := r.client()
	c.query("SET client_encoding = SQL_ASCII").ready()
	c.query("INSERT INTO t VALUES (1, '日') RETURNING v").says(`日`, `C "INSERT 0 1`)
	c.query("INSERT INTO t VALUES (2, '\xe9')").says("C=22021", `Z "I"`)
	ext("INSERT INTO t VALUES (3, $1)", nil, 0, "日")(c)
	ext("INSERT INTO t VALUES (4, $1)", nil, 0, "\xe9")(c)
	copyIn("COPY t FROM STDIN", "5\t日\n")(c)
	copyIn("COPY t FROM STDIN", "6\t\xe9\n")(c) // the server would take it
	if got := c.take(); !strings.Contains(got, "M=opmux: COPY in client_encoding SQL_ASCII: its stream is not in UTF8") {
		t.Errorf("a stream that is not in UTF8: %s", got)
	}
	c.query("COPY t FROM STDIN").until(pgwire.CopyInResponse)
	c.send(pgwire.CopyData, []byte("7\t\xe6\x97")).send(pgwire.CopyData, []byte("\xa5\n")).send(pgwire.CopyDone, nil).says(`C "COPY 1`)
	c.query("UPDATE t SET v = v || '日' WHERE id > 2").says(`C "UPDATE 3`)
	ops := r.committed()
	if len(ops) != 5 || ops[0].Text != "INSERT INTO t VALUES (1, '日')" || string(ops[1].Params[0].Value) != "日" || string(ops[2].Data) != "5\t日\n" || string(ops[3].Data) != "7\t日\n" || string(ops[4].Rows.Rows[1].Values[0].Text) != "日日" {
		t.Errorf("published %+v", ops)
	}
}

// Names in an encoding that is not converted would be others on the backups.
func TestI6NamesInAnEncodingThatIsNotConverted(t *testing.T) {
	r := rigWith(t, setting{encoding: "EUC_JP"}, `SET client_encoding = UTF8`, `CREATE SCHEMA "日"`, `CREATE TABLE "日".t (id int PRIMARY KEY)`)
	c := r.client()
	c.query("SET client_encoding = UTF8").ready()
	c.query(`SET search_path = "日", public`).ready()
	c.query("SET client_encoding = SJIS").ready()
	c.query("INSERT INTO t VALUES (1)").says("opmux: statement in client_encoding SJIS", `Z "I"`)
	c.query("SET client_encoding = EUC_JP").ready()
	c.query("INSERT INTO t VALUES (1)").says(`C "INSERT 0 1`)
}

// Under policy flag they run, and a COPY keeps its stream.
func TestFlaggedEncodings(t *testing.T) {
	r := rigWith(t, setting{encoding: "SQL_ASCII", session: func(c *session.Config) { c.Flag = true }}, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	c := r.client()
	for i, sql := range []string{"COPY t FROM STDIN", "COPY t FROM STDIN /* é */", "INSERT INTO t VALUES (9, 'é')"} {
		c.query("SET client_encoding = SQL_ASCII").ready()
		if i < 2 {
			copyIn(sql, string(rune('1'+i))+"\té\n")(c)
		} else {
			c.query(sql).says(`C "INSERT 0 1`)
		}
		ops := r.committed()
		if len(ops) != i+1 || ops[i].Kind != event.OpFlagged || len(ops[i].Diverged) != 1 || ops[i].Diverged[0] != "*" {
			t.Errorf("%s: published %+v", sql, ops)
		}
	}
	c.query("SET client_encoding = UTF8").ready()
	c.query("SELECT string_agg(v, '' ORDER BY id) FROM t").says(`ééé"`)
}

// A session that looks on reads the client's encoding, too.
func TestObservedEncodings(t *testing.T) {
	w := newWatch(t, nil, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	c := dialRaw(t, w.address, w.db)
	c.query("SET client_encoding = LATIN1").ready()
	w.take()
	c.query("INSERT INTO t VALUES (1, '\xe9')").ready()
	ext("INSERT INTO t VALUES (2, '\xe9')", nil, 0)(c)
	c.query("SET client_encoding = KOI8U").ready()
	c.query("INSERT INTO t VALUES (3, '\xae')").ready() // a character that servers disagree about
	ext("INSERT INTO t VALUES (4, '\xae')", nil, 0)(c)
	c.query("SET client_encoding = SJIS").ready()
	c.query("INSERT INTO t VALUES (5, '\x95\x5c'); COPY t FROM STDIN").until(pgwire.CopyInResponse)
	c.send(pgwire.CopyData, []byte("6\t\x95")).send(pgwire.CopyData, []byte("\x5c\n")).send(pgwire.CopyDone, nil).ready()
	got := strings.Join(w.take(), "\n")
	want := "1 write text: INSERT INTO t VALUES (1, 'é')\n0 write text: INSERT INTO t VALUES (2, 'é')\n1 write text: INSERT INTO t VALUES (2, 'é')\n" +
		"1 pass none: SET client_encoding = KOI8U\n1 unknown: \n0 unknown: INSERT INTO t VALUES (4, '\xae')\n1 unknown: INSERT INTO t VALUES (4, '\xae')\n" +
		"1 pass none: SET client_encoding = SJIS\n1 write text: INSERT INTO t VALUES (5, '表')\n1 copy text: COPY t FROM STDIN"
	if got != want {
		t.Errorf("seen\n%s\nwant\n%s", got, want)
	}
}
