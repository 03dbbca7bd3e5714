package classify_test

import (
	"regexp"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/schema/avro"
)

// spelledOut are the reasons that records carry as text, since they tell of what
// stands in the statement. Any other is a sentence that a schema's table should
// have, so that it costs a byte; changing one means to leave that table.
var spelledOut = regexp.MustCompile(`^(column \S+( holds object numbers|: .+)|its condition: .+|its frozen form cannot be written: .+)$`)

// checkReason holds for whatever statement the tests of this package classify.
func checkReason(t *testing.T, p *classify.Plan) {
	t.Helper()
	switch p.Kind {
	case classify.Write, classify.Draw, classify.Copy, classify.DDL, classify.Standalone:
		if !avro.Coded(p.Reason) && !spelledOut.MatchString(p.Reason) {
			t.Errorf("%s: reason %q has no code in the record schema: add it to the next version's table, or to spelledOut", p.SQL, p.Reason)
		}
	}
}
