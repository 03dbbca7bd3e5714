package classify

import (
	"strings"
	"testing"

	pg "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// Editing the text and editing the tree must come to the same.
func TestSplicedTimeIsTheTreesTime(t *testing.T) {
	for _, sql := range []string{
		`INSERT INTO t VALUES (now(), NOW ( ), pg_catalog . now(), transaction_timestamp())`,
		`UPDATE t SET a = 'é now() $$', b = current_timestamp, c = CURRENT_TIMESTAMP(0)/* now() */, d = localtimestamp ( 3 ) -- now()`,
		`UPDATE t SET a = current_date - 1, b = localtime(2) || current_time, c = current_time (6) WHERE id = $1 AND now() > '2020-01-01' AT TIME ZONE 'UTC'`,
		`INSERT INTO "now" (now) VALUES (now() AT TIME ZONE 'UTC', ARRAY[now()], (now())::date, extract(year from now()))`,
	} {
		tree, err := pg.Parse(sql)
		if err != nil {
			t.Fatal(err)
		}
		stmt := tree.Stmts[0].Stmt
		text, ok := spliceTime(sql, timeCalls(stmt), 7)
		if !ok {
			t.Errorf("not spliced: %s", sql)
			continue
		}
		f := &freezer{stmt: proto.Clone(stmt).(*pg.Node), grammar: tree.Version, client: 6}
		f.pinTime()
		got, err := pg.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want, _, err := (&freezer{stmt: proto.Clone(f.stmt).(*pg.Node), grammar: tree.Version, client: 6, extra: f.extra}).finish()
		if err != nil {
			t.Fatal(err)
		}
		back, err := deparse(tree.Version, strip(got.Stmts[0].Stmt))
		if err != nil || strings.ReplaceAll(back, "$7", "$1") != strings.ReplaceAll(want, "$2", "$7") && strings.ReplaceAll(back, "$7", "$2") != want {
			t.Errorf("%s\nspliced %s\nreads   %s\nwant    %s, %v", sql, text, back, want, err)
		}
	}
}

func strip(n *pg.Node) *pg.Node {
	clearLocations(n.ProtoReflect())
	return n
}
