package session_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// overheard is a way to the primary that keeps what goes there.
type overheard struct {
	session.Upstream
	mu   sync.Mutex
	sent bytes.Buffer
}

func (o *overheard) Dial(ctx context.Context) (session.Conn, error) {
	conn, err := o.Upstream.Dial(ctx)
	return &heard{Conn: conn, by: o}, err
}

type heard struct {
	session.Conn
	by *overheard
}

func (h *heard) Write(b []byte) (int, error) {
	h.by.mu.Lock()
	defer h.by.mu.Unlock()
	h.by.sent.Write(b)
	return h.Conn.Write(b)
}

// has tells whether a text has gone to the primary, and forgets what has.
func (o *overheard) has(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.sent.Reset()
	return bytes.Contains(o.sent.Bytes(), []byte(text))
}

// Where an encoding has two forms of a character, the server gets the client's.
func TestI5TheServerGetsTheClientsBytes(t *testing.T) {
	o := &overheard{Upstream: &session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}
	r := rigWith(t, setting{upstream: o}, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `CREATE TABLE "≒" ("≒" int PRIMARY KEY, v text)`)
	c := r.client()
	c.query("SET client_encoding = SJIS").ready()
	for i, form := range []string{"\x81\xe0", "\x87\x90"} {
		id := string(rune('1' + i))
		c.query("INSERT INTO t VALUES (" + id + ", '" + form + "')").says(`C "INSERT 0 1`)
		if !o.has("INSERT INTO t VALUES (" + id + ", '" + form + "')") {
			t.Errorf("%x is not what the server got", form)
		}
		ext("UPDATE t SET v = v || '"+form+"' WHERE id = $1", nil, 0, id)(c)
		if !o.has("UPDATE t SET v = v || '" + form + "' WHERE id = $1") {
			t.Errorf("%x is not what the server got by Parse", form)
		}
	}
	c.take()
	c.query("INSERT INTO \"\x81\xe0\" VALUES (1)").says(`C "INSERT 0 1`)
	c.query("UPDATE \"\x87\x90\" SET v = '\x95\x5c' WHERE v IS NULL").says(`C "UPDATE 1`)
	if want := []string{"INSERT INTO t VALUES (1, '≒')", "UPDATE t SET v = v || '≒' WHERE id = $1", "INSERT INTO t VALUES (2, '≒')", "UPDATE t SET v = v || '≒' WHERE id = $1",
		`INSERT INTO "≒" VALUES (1)`, `UPDATE "≒" SET v = '表' WHERE v IS NULL`}; !slices.Equal(textsOf(r.committed()), want) {
		t.Errorf("published %q", textsOf(r.committed()))
	}
}

// I6: in a database that is not in UTF8 a character that its encoding has two forms of comes
// to a backup in UTF-8, which writes one of them: the other one is not carried.
func TestI6FormsThatABackupWouldNotHave(t *testing.T) {
	for encoding, c := range map[string]struct{ other, own string }{"EUC_JP": {"\xad\xfc", "\xa2\xc1"}, "EUC_TW": {"\x8e\xa1\xc4\xe3", "\xc4\xe3"}} {
		r := rigWith(t, setting{encoding: encoding}, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
		client := r.client()
		client.query("SET client_encoding = " + encoding).ready()
		client.query("INSERT INTO t VALUES (1, '" + c.own + "')").says(`C "INSERT 0 1`)
		ext("INSERT INTO t VALUES (2, $1)", nil, 0, c.own)(client)
		copyIn("COPY t FROM STDIN", "3\t"+c.own+"\n")(client)
		client.take()
		client.query("INSERT INTO t VALUES (4, '"+c.other+"')").says("it has a character that opmux does not know in that encoding", `Z "I"`)
		ext("INSERT INTO t VALUES (5, $1)", nil, 0, c.other)(client)
		ext("INSERT INTO t VALUES (6, '"+c.other+"')", nil, 0)(client)
		copyIn("COPY t FROM STDIN", "7\t"+c.other+"\n")(client)
		client.query("SELECT count(*) FROM t").says(`E `, `E `, `E `, `D "\x00\x01\x00\x00\x00\x013"`)
		// Rows that have it are not, either.
		r.pg.Exec(t, r.db, "UPDATE t SET v = convert_from('\\x"+hex.EncodeToString([]byte(c.other))+"', '"+encoding+"') WHERE id = 1")
		for _, own := range []string{encoding, "UTF8"} {
			client.query("SET client_encoding = " + own).says(`C "SET`)
			client.query("UPDATE t SET v = v || 'x' WHERE id < 2").says("two forms", `Z "I"`)
			client.query("UPDATE t SET v = v || 'x' WHERE id > 1").says(`C "UPDATE 2`, `Z "I"`)
		}
	}
}

// While the primary cannot be asked for a character, what has it is refused as what can be
// tried again, and what is known goes on.
func TestI5CharactersThatCannotBeAskedFor(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	c := r.client()
	c.query("SET client_encoding = SJIS").ready()
	c.query("INSERT INTO t VALUES (1, '\x95\x5c')").ready()
	copyIn("COPY t FROM STDIN", "2\t\x95\x5c\n")(c)
	ext("INSERT INTO t VALUES ($1, $2)", nil, 0, "3", "\x95\x5c")(c)
	c.take()
	r.pg.Exec(t, "postgres", "ALTER DATABASE "+r.db+" ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+r.db+"' AND application_name LIKE 'opmux%'")
	for range 2 {
		c.query("INSERT INTO t VALUES (4, '\x8b\x5c')").says("E S=ERROR C=40001", "characters of SJIS", `Z "I"`)
		ext("INSERT INTO t VALUES ($1, $2)", nil, 0, "4", "\x8b\x5c")(c)
		c.said("E S=ERROR C=40001", "characters of SJIS", `Z "I"`)
		copyIn("COPY t FROM STDIN", "4\t\x8b\x5c\n")(c)
		c.said("E S=ERROR C=40001", "characters of SJIS", `Z "I"`)
	}
	c.query("SELECT '\x95\x5c'").says(`C "SELECT 1`)
	r.pg.Exec(t, "postgres", "ALTER DATABASE "+r.db+" ALLOW_CONNECTIONS true")
	ext("INSERT INTO t VALUES ($1, $2)", nil, 0, "4", "\x8b\x5c")(c)
	c.said(`C "INSERT 0 1`)
}

func textsOf(ops []event.Operation) []string {
	var texts []string
	for _, op := range ops {
		texts = append(texts, op.Text)
	}
	return texts
}

// I6: what is published of a session in an encoding of several bytes is UTF-8.
func TestI6PublishedWideTextIsUTF8(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.ChunkBytes = 64 }, `CREATE TYPE mood AS ENUM ('表')`, `CREATE TABLE t (id int PRIMARY KEY, v text, l text[], m mood)`, `CREATE TABLE drawn (id serial PRIMARY KEY, v text)`)
	c := r.client()
	c.query("SET client_encoding = SJIS").ready()
	ext("INSERT INTO t VALUES ($1, $2)", nil, 0, "1", "\x95\x5c")(c)
	bin("INSERT INTO t VALUES ($1, $2)", "\x00\x00\x00\x02", "\x95\x5c")(c)
	bin("INSERT INTO t VALUES (3, NULL, $1)", "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02\x95\x5c")(c)
	copyIn("COPY t (id, v) FROM STDIN", "4\t\x95\x5c\n")(c)
	field := "\x00\x00\x00\x02\x95\x5c"
	row := "\x00\x04\x00\x00\x00\x04\x00\x00\x00\x05" + field + "\x00\x00\x00\x1a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19\x00\x00\x00\x01\x00\x00\x00\x01" + field + field
	c.query("COPY t FROM STDIN BINARY").until(pgwire.CopyInResponse)
	for _, b := range []byte(binaryHead + row + "\x00\x04\x00\x00\x00\x04\x00\x00\x00\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") {
		c.send(pgwire.CopyData, []byte{b})
	}
	c.send(pgwire.CopyDone, nil).says(`C "COPY 2`)
	copyIn("COPY drawn (v) FROM STDIN", "\x95\x5c\n")(c)
	copyIn("COPY drawn (v) FROM STDIN BINARY", binaryHead+"\x00\x01"+field+"\xff\xff")(c)
	c.take()
	c.query("SELECT E'\x95\x5c'; DELETE FROM t WHERE id = 1 -- '").says(`C "DELETE 1`)
	var got strings.Builder
	for _, op := range r.committed() {
		if strings.HasPrefix(op.Text, "DELETE") {
			got.WriteString(op.Text)
		}
		for _, p := range op.Params {
			got.WriteString("<" + string(p.Value) + ">")
		}
		got.Write(op.Data)
	}
	field = "\x00\x00\x00\x03表"
	want := "<1><表><\x00\x00\x00\x02><表><\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x19\x00\x00\x00\x01\x00\x00\x00\x01" + field + ">4\t表\n" +
		binaryHead + strings.ReplaceAll(strings.ReplaceAll(row, "\x00\x00\x00\x02\x95\x5c", field), "\x00\x00\x00\x1a", "\x00\x00\x00\x1b") +
		"\x00\x04\x00\x00\x00\x04\x00\x00\x00\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" +
		"1\t表\n" + binaryHead + "\x00\x02\x00\x00\x00\x04\x00\x00\x00\x02" + field + "\xff\xff" + "DELETE FROM t WHERE id = 1 -- '"
	if got.String() != want {
		t.Errorf("published\n%q\nwant\n%q", got.String(), want)
	}
}

// I7: of a field of a binary COPY no more is held than a message may have.
func TestI7FieldsOfBinaryCopyAreBounded(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.MaxMessage = 4096 }, `CREATE TABLE t (v text)`)
	c := r.client()
	c.query("SET client_encoding = SJIS").ready()
	send := func(size int) {
		c.query("COPY t FROM STDIN BINARY").until(pgwire.CopyInResponse)
		field := []byte{0, 1, 0, 0, byte(size >> 8), byte(size)}
		field = append(field, bytes.Repeat([]byte("\x95\x5c"), size/2)...)
		for piece := range slices.Chunk(append([]byte(binaryHead), append(field, 0xff, 0xff)...), 1000) {
			c.send(pgwire.CopyData, piece)
		}
		c.send(pgwire.CopyDone, nil)
	}
	send(4000)
	c.says(`C "COPY 1`, `Z "I"`)
	send(5000)
	c.says("a field of a binary COPY has 5004 bytes, of which 4096 are read at once", `Z "I"`)
	if ops := r.committed(); len(ops) != 1 || string(ops[0].Data) != binaryHead+"\x00\x01\x00\x00\x17\x70"+strings.Repeat("表", 2000)+"\xff\xff" {
		t.Errorf("published %d operations, %q", len(ops), ops[0].Data)
	}
}

// I6: a date word behind a character that ends in a backslash is seen, also where the
// stream goes on as it came.
func TestI6DateWordsBehindWideText(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (v text, at date)`, `CREATE TABLE drawn (id serial PRIMARY KEY, v text, at date)`)
	c := r.client()
	for encoding, copies := range map[string][]string{"SJIS": {"COPY t FROM STDIN", "COPY drawn (v, at) FROM STDIN"}, "UTF8": {"COPY t FROM STDIN (ENCODING 'SJIS')"}} {
		c.query("SET client_encoding = " + encoding).ready()
		for _, sql := range copies {
			copyIn(sql, "\x95\x5c\ttoday\n")(c)
			if got := c.take(); !strings.Contains(got, "opmux: COPY of a special date word") {
				t.Errorf("%s, %s: %s", encoding, sql, got)
			}
			copyIn(sql, "\x95\x5c\t2026-01-01\n")(c)
			if got := c.take(); !strings.Contains(got, `C "COPY 1`) {
				t.Errorf("%s, %s: %s", encoding, sql, got)
			}
		}
	}
}
