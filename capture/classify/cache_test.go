package classify

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/opmux/opmux/event"
)

func get(c *planCache, in *Input, version, restarts int64) *Plan {
	p, _ := c.find(in, version, restarts)
	return p
}

func planFor(c *planCache, in Input, version int64) *Plan {
	p := &Plan{CatalogVersion: version, in: in}
	c.put(&in, p, 0, nil)
	return p
}

// I7: the cache keeps what was used last, and no more than it may.
func TestI7PlanCacheIsBounded(t *testing.T) {
	c := newPlanCache(10, 1<<20)
	for i := range 100 {
		planFor(c, Input{SQL: fmt.Sprint("SELECT ", i)}, 1)
		get(c, &Input{SQL: "SELECT 0"}, 1, 0)
	}
	if len(c.byKey) != 10 || get(c, &Input{SQL: "SELECT 0"}, 1, 0) == nil || get(c, &Input{SQL: "SELECT 99"}, 1, 0) == nil || get(c, &Input{SQL: "SELECT 50"}, 1, 0) != nil {
		t.Errorf("%d plans are kept, or not the last ones used", len(c.byKey))
	}
	for i := range 100 {
		planFor(c, Input{SQL: strings.Repeat("x", 100_000) + fmt.Sprint(i)}, 1)
	}
	if c.bytes > 1<<20 || len(c.byKey) > 6 {
		t.Errorf("%d bytes in %d plans are kept", c.bytes, len(c.byKey))
	}
	planFor(c, Input{SQL: strings.Repeat("x", 1<<20)}, 1)
	if get(c, &Input{SQL: strings.Repeat("x", 1<<20)}, 1, 0) != nil {
		t.Error("a plan that fills the cache is kept")
	}
	for len(c.byKey) > 0 {
		c.remove(c.root.prev)
	}
	if c.bytes != 0 {
		t.Errorf("an empty cache of %d bytes", c.bytes)
	}
}

func TestPlanCacheTellsContextsApart(t *testing.T) {
	c := newPlanCache(10, 1<<20)
	base := Input{SQL: "SELECT 1", Schemas: []string{"a", "b"}, ParamOIDs: []uint32{23}, Level: event.LevelCount,
		Settings: event.Context{User: "u", Settings: []event.Setting{{Name: "DateStyle", Value: "ISO"}, {Name: "TimeZone", Value: "Europe/Berlin"}}}}
	p := planFor(c, base, 5)
	other := func(change func(*Input)) Input {
		in := base
		in.Settings.Settings = append([]event.Setting(nil), base.Settings.Settings...)
		change(&in)
		return in
	}
	for name, in := range map[string]Input{
		"schemas": other(func(in *Input) { in.Schemas = []string{"a"} }), "parameters": other(func(in *Input) { in.ParamOIDs = nil }),
		"level": other(func(in *Input) { in.Level = event.LevelFull }), "user": other(func(in *Input) { in.Settings.User = "v" }),
		"style": other(func(in *Input) { in.Settings.Settings[0].Value = "SQL" }), "text": other(func(in *Input) { in.SQL = "SELECT  1" }),
		"zone, of one offset": other(func(in *Input) { in.Settings.Settings[1].Value = "UTC" }),
	} {
		if get(c, &in, 5, 0) != nil {
			t.Errorf("other %s: the same plan", name)
		}
	}
	same := other(func(in *Input) { in.Settings.Settings[1].Value = "CET" }) // travels, and does not matter here
	if get(c, &same, 5, 0) != p || get(c, &base, 5, 0) != p {
		t.Error("the plan is not found")
	}
	if get(c, &base, 6, 0) != nil || get(c, &base, 5, 1) != nil {
		t.Error("a plan of another catalogue is found")
	}
	if n := testing.AllocsPerRun(100, func() { get(c, &base, 5, 0) }); n != 0 {
		t.Errorf("%v allocations on the cached path", n)
	}
}

func TestPlanCacheIsShared(t *testing.T) {
	c := newPlanCache(20, 1<<20)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				in := Input{SQL: fmt.Sprint("SELECT ", (i*7+g)%40)}
				if p := get(c, &in, 1, 0); p != nil && p.in.SQL != in.SQL {
					t.Errorf("%s: the plan of %s", in.SQL, p.in.SQL)
				}
				planFor(c, in, 1)
			}
		})
	}
	wg.Wait()
}
