package rig_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

func TestCompareNamesTheRowsThatDiffer(t *testing.T) {
	t.Parallel()
	p := testkit.SharedPostgres(t)
	a, b := p.CreateDB(t), p.CreateDB(t)
	for _, db := range []string{a, b} {
		p.Exec(t, db, "CREATE TABLE same (v int)", "INSERT INTO same VALUES (1), (1), (NULL)",
			`CREATE TABLE "Other t" (id int, v text)`, `INSERT INTO "Other t" VALUES (1, 'x'), (2, 'y')`)
	}
	p.Exec(t, a, `UPDATE "Other t" SET v = 'z' WHERE id = 2`, "CREATE TABLE gone ()")
	diffs, err := rig.Compare(context.Background(), p.DSN(a), p.DSN(b))
	if err != nil {
		t.Fatal(err)
	}
	if len(diffs) != 3 {
		t.Fatalf("%d tables compared, want 3: %v", len(diffs), diffs)
	}
	text := rig.Explain(diffs)
	for _, want := range []string{"only on the primary: (2,z)", "only on the backup:  (2,y)", "public.gone: is not on the backup"} {
		if !strings.Contains(text, want) {
			t.Errorf("the explanation lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "same") {
		t.Errorf("identical tables are told of:\n%s", text)
	}
}

func TestCompareCountsDuplicates(t *testing.T) {
	t.Parallel()
	p := testkit.SharedPostgres(t)
	a, b := p.CreateDB(t), p.CreateDB(t)
	p.Exec(t, a, "CREATE TABLE d (v int)", "INSERT INTO d VALUES (1), (1), (2)")
	p.Exec(t, b, "CREATE TABLE d (v int)", "INSERT INTO d VALUES (1), (2), (2)")
	diffs, err := rig.Compare(context.Background(), p.DSN(a), p.DSN(b))
	if err != nil {
		t.Fatal(err)
	}
	if diffs[0].Identical() {
		t.Fatal("one 1 and one 2 too few went unnoticed")
	}
}
