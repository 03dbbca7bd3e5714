package classify_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
)

// A long text is parsed for a template when one of its shape has come before, and one of
// a shape that never comes again takes no room from others.
func TestLongTextsGetATemplateTheSecondTime(t *testing.T) {
	r := newRig(t, "create table t (id int primary key, v int)")
	insert := func(rows, from int) *classify.Plan {
		t.Helper()
		values := make([]string, rows)
		for i := range values {
			values[i] = fmt.Sprintf("(%d, %d)", from+i, i)
		}
		in := r.in
		in.SQL, in.Inline = "INSERT INTO t VALUES "+strings.Join(values, ", "), true
		p, err := r.c.Classify(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if p.Kind != classify.Write || p.SQL != in.SQL {
			t.Fatalf("%d rows have the plan %+v", rows, p)
		}
		return p
	}
	kept := func(templates int) {
		t.Helper()
		if got, plans := r.c.Kept(); got != templates || plans != 0 {
			t.Errorf("%d templates and %d plans are kept, expected %d and none", got, plans, templates)
		}
	}
	insert(2, 100)
	kept(1) // short
	for rows := 500; rows < 510; rows++ {
		insert(rows, 1000)
	}
	kept(1)
	first := insert(500, 2000)
	kept(2)
	if second := insert(500, 3000); second.Tables[0] != first.Tables[0] || &second.Tables[0] != &first.Tables[0] {
		t.Error("the third text of a shape did not get the plan of the second")
	}
}
