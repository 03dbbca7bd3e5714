package ops

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	b := newBench(t)
	b.pg.Exec(t, b.primary, "CREATE TABLE t (id int PRIMARY KEY, n int, at timestamptz DEFAULT now())", "CREATE TABLE keyless (n int)",
		"CREATE SCHEMA other", "CREATE TABLE other.elsewhere (id int PRIMARY KEY)", "CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING id'")
	for _, c := range []struct{ sql, action, class, says string }{
		{"UPDATE t SET n = n + 1 WHERE id = $1", "publish", "text", ""},
		{"INSERT INTO t (id) VALUES (1);", "publish", "pinned", ""},
		{"UPDATE t SET n = 0 WHERE n > 5", "publish", "rows", "RETURNING"},
		{"SELECT n FROM t", "pass", "none", "changes nothing"},
		{"BEGIN", "pass", "none", ""},
		{"UPDATE keyless SET n = 1", "refuse", "refused", "primary key"},
		{"DELETE FROM keyless", "publish", "rows", "RETURNING"},
		{"SELECT writes()", "refuse", "refused", ""},
		{"INSERT INTO nowhere VALUES (1)", "fail", "none", "nowhere"},
		{"INSERT INTO elsewhere VALUES (1)", "fail", "none", "elsewhere"},
		{"SELEC 1", "refuse", "refused", "syntax error"},
		{"PREPARE p AS DELETE FROM t WHERE id = $1", "publish", "text", "EXECUTE"},
		{"CREATE INDEX CONCURRENTLY i ON t (n)", "publish", "text", ""},
	} {
		out := b.must("explain", "--config", b.agent, "--json", "--", c.sql)
		var x explained
		if err := json.Unmarshal([]byte(out), &x); err != nil || strings.Count(out, "\n") != 1 {
			t.Fatalf("%s: %v\n%s", c.sql, err, out)
		}
		if x.Action != c.action || string(x.Class) != c.class || !strings.Contains(out, c.says) || x.Reason == "" {
			t.Errorf("%s: expected %s, %s, %q, got %s", c.sql, c.action, c.class, c.says, out)
		}
		text := b.must("explain", "--config", b.agent, "--", c.sql)
		if !strings.Contains(text, "action    "+c.action) || !strings.Contains(text, x.Reason) {
			t.Errorf("%s: for people it says\n%s", c.sql, text)
		}
	}
	if n := b.pg.Query(t, b.primary, "SELECT count(*) FROM pg_namespace WHERE nspname = 'opmux'"); n[0][0] != "0" {
		t.Error("explaining has left something in the database")
	}
}

func TestExplainSeveral(t *testing.T) {
	b := newBench(t)
	b.pg.Exec(t, b.primary, "CREATE SCHEMA other", "CREATE TABLE other.elsewhere (id int PRIMARY KEY)", "CREATE TABLE keyless (n int)")
	out := b.must("explain", "--config", b.agent, "--search-path", "other, public", "--", "INSERT INTO elsewhere VALUES (1); UPDATE keyless SET n = 1", "SELECT 1")
	if at := []int{strings.Index(out, "publish"), strings.Index(out, "refuse"), strings.Index(out, "pass")}; !slices.IsSorted(at) || at[0] < 0 {
		t.Errorf("three statements are explained as\n%s", out)
	}
	text, err := os.ReadFile(b.agent)
	if err != nil {
		t.Fatal(err)
	}
	flagging := b.write(t.TempDir(), "flag.yaml", string(text)+"on_unsafe: flag\n")
	if out := b.must("explain", "--config", flagging, "--", "UPDATE keyless SET n = 1"); !strings.Contains(out, "action    flag") || !strings.Contains(out, "public.keyless") {
		t.Errorf("under policy flag it says\n%s", out)
	}
	b.fails(2, "a statement is required", "explain", "--config", b.agent)
	b.fails(2, "holds no statement", "explain", "--config", b.agent, "--", " -- only a comment")
	b.fails(2, "--config is required", "explain", "--", "SELECT 1")
	b.fails(2, "unknown flag --jsn", "explain", "--config", b.agent, "--jsn", "--", "SELECT 1")
	b.fails(2, "unexpected argument", "tail", "--config", b.agent, "SELECT 1")
	if _, _, err := b.run("explain", "--config", b.worker, "--", "SELECT 1"); err == nil {
		t.Error("a worker's configuration explains statements")
	}
}
