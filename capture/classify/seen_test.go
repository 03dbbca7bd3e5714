package classify

import (
	"fmt"
	"testing"
)

// Kept is how many templates and plans of single texts are cached.
func (c *Classifier) Kept() (templates, plans int) {
	return len(c.templates.byKey), len(c.plans.byKey)
}

func TestI7SeenShapesAreBounded(t *testing.T) {
	var s seen
	for i := range maxSeen + 1 {
		if s.again(fmt.Sprintf("%02000d", i)) {
			t.Fatalf("shape %d was new", i)
		}
	}
	if len(s.known) > maxSeen {
		t.Errorf("%d shapes are remembered", len(s.known))
	}
	if !s.again(fmt.Sprintf("%02000d", maxSeen)) {
		t.Error("the last one was forgotten")
	}
}
