package integration

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"strconv"
	"sync"
	"testing"

	"github.com/opmux/opmux/internal/rig"
)

func cpuOf(pid int) float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(text[strings.LastIndex(string(text), ")")+1:]))
	u, _ := strconv.ParseFloat(f[11], 64)
	s, _ := strconv.ParseFloat(f[12], 64)
	return (u + s) * 10000
}

func TestZZAB(t *testing.T) {
	b := setUp(t, rig.Config{Gate: "none"})
	b.pgbench(b.Primary.DSN(rig.Database), "-i", "-s", "20", "-q")
	a1, a2 := b.agent("a1"), b.agent("a2")
	a1.Bin = os.Getenv("OLDBIN")
	b.must(a1.Start(b.ctx))
	b.must(a2.Start(b.ctx))
	for _, mode := range []string{"simple", "prepared"} {
		var ratios []float64
		for i := 0; i < 7; i++ {
			var wg sync.WaitGroup
			var per [2]float64
			for k, p := range []*rig.Program{a1, a2} {
				wg.Add(1)
				go func() {
					defer wg.Done()
					before := cpuOf(p.Process.Pid())
					out := b.pgbench(p.DSN(), "-n", "-c", "8", "-T", "8", "-M", mode)
					n := 0.0
					for l := range strings.Lines(out) {
						if strings.Contains(l, "actually processed: ") {
							fmt.Sscanf(strings.TrimSpace(l[strings.Index(l, ": ")+2:]), "%f", &n)
						}
					}
					per[k] = (cpuOf(p.Process.Pid()) - before) / n
				}()
			}
			wg.Wait()
			ratios = append(ratios, per[1]/per[0])
			t.Logf("%s %d: old %.0f new %.0f ratio %.2f", mode, i, per[0], per[1], per[1]/per[0])
		}
		sort.Float64s(ratios)
		t.Logf("%s median %.2f", mode, ratios[3])
	}
}
