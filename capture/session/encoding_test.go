package session_test

import (
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
)

// I6: what would have to be converted to be recorded is refused by name, reads are not.
func TestI6EncodingsThatAreNotConverted(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	c := r.client()
	for encoding, text := range map[string]string{"LATIN1": "\xe9", "WIN1252": "\x80", "SJIS": "\x93\xfa", "SQL_ASCII": "é"} {
		c.query("SET client_encoding = " + encoding).ready()
		refusal := "C=0A000 M=opmux: statement in client_encoding " + encoding
		c.query("INSERT INTO t VALUES (1, '"+text+"')").says(refusal, `Z "I"`)
		c.query("SELECT 1; DELETE FROM t WHERE v <> '"+text+"'").says(refusal, `Z "I"`)
		c.parse("", "UPDATE t SET v = '"+text+"' WHERE id = 1").sync().says(refusal, `Z "I"`)
		c.parse("", "UPDATE t SET v = $1 WHERE id = 1").bind("", "", nil, text).execute("", 0).sync().says("opmux: statement in client_encoding "+encoding, `Z "I"`)
		c.query("SELECT \""+text+"\"()").says(refusal, `Z "I"`)
		c.query("COPY t FROM STDIN").says(refusal, `Z "I"`)
		if encoding != "SJIS" { // whose characters end in what may be ASCII
			c.query("SELECT 1 AS n, '" + text + "' AS x WHERE false").says(`C "SELECT 0`)
		}
		c.query("INSERT INTO t VALUES (1, 'ascii'); DELETE FROM t WHERE id = 1").says(`C "DELETE 1`)
	}
}

// Under policy flag they run, and a COPY keeps its stream.
func TestFlaggedEncodings(t *testing.T) {
	r := newRig(t, func(c *session.Config) { c.Flag = true }, `CREATE TABLE t (id int PRIMARY KEY, v text)`)
	c := r.client()
	for i, sql := range []string{"COPY t FROM STDIN", "COPY t FROM STDIN /* \xe9 */", "INSERT INTO t VALUES (9, '\xe9')"} {
		c.query("SET client_encoding = LATIN1").ready()
		if i < 2 {
			copyIn(sql, string(rune('1'+i))+"\t\xe9\n")(c)
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
