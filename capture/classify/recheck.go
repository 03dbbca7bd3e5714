package classify

import (
	"context"
	"fmt"
	"slices"

	"github.com/opmux/opmux/capture/catalog"
)

// Recheck classifies a plan's statement again, after the catalogue has moved, and
// says what differs; "" where the plan still holds. The caller then rolls back:
// what ran need not be what the plan says (DESIGN §4.2). q as in Input.
func (c *Classifier) Recheck(ctx context.Context, p *Plan, q catalog.Querier) (string, error) {
	in := p.in
	if in.SQL == "" || p.ByTriggers { // those see whatever it does now
		return "", nil
	}
	in.Querier = q
	now, err := c.Classify(ctx, in)
	if err != nil {
		return "", err
	}
	return differs(p, now), nil
}

// differs names the first difference of two plans of one statement.
func differs(a, b *Plan) string {
	switch {
	case a.Kind != b.Kind || a.Class != b.Class:
		return fmt.Sprintf("%s was classified as %s %s and now is %s %s", a.Construct, a.Kind, a.Class, b.Kind, b.Class)
	case a.SQL != b.SQL || a.frozen.text != b.frozen.text || !slices.Equal(a.frozen.params, b.frozen.params) || a.frozen.timeAt != b.frozen.timeAt:
		return "its columns have changed"
	case !slices.Equal(a.Tables, b.Tables):
		return fmt.Sprintf("it writes %v instead of %v", b.Tables, a.Tables)
	case !slices.Equal(a.Sequences, b.Sequences):
		return "it draws from other sequences"
	case a.CopyDraw != nil && b.CopyDraw != nil && a.CopyDraw.draws != b.CopyDraw.draws:
		return "other defaults are drawn"
	case len(a.TableRefs) != len(b.TableRefs):
		return "it touches other tables"
	}
	for i, t := range a.TableRefs {
		if t.Fingerprint() != b.TableRefs[i].Fingerprint() {
			return t.Qualified() + " was altered"
		}
	}
	return ""
}
