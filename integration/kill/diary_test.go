package kill

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/rig"
)

// diary says what was done when, on a file and in sums.
type diary struct {
	t    *testing.T
	file *os.File

	mu         sync.Mutex
	done       map[string]int             // faults
	times      map[string][]time.Duration // until everything worked again, by fault
	settle     []time.Duration            // until nothing was open, at each count
	agentsDied int
	lost       int // under gate none
}

func newDiary(t *testing.T, dir string) *diary {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "kills.log"))
	if err != nil {
		t.Fatal(err)
	}
	return &diary{t: t, file: f, done: map[string]int{}, times: map[string][]time.Duration{}}
}

func (d *diary) close() {
	if d != nil {
		_ = d.file.Close() // each line is written already
	}
}

// write adds a line to the file.
func (d *diary) write(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := fmt.Fprintf(d.file, "%s %s\n", clock(time.Now()), fmt.Sprintf(format, args...)); err != nil {
		d.t.Error(err)
	}
}

// count counts one thing that was done to a part.
func (d *diary) count(what string) {
	d.write("%s", what)
	d.mu.Lock()
	d.done[what]++
	d.mu.Unlock()
}

// died counts the end of a program.
func (d *diary) died(p *rig.Program, how string) {
	d.count(p.Kind() + " " + how)
	if p.Kind() != "capture-agent" {
		return
	}
	d.mu.Lock()
	d.agentsDied++
	d.mu.Unlock()
}

func (d *diary) took(fault string, back time.Duration) {
	d.write("%s: works again after %v", fault, back.Round(time.Millisecond))
	d.mu.Lock()
	d.times[fault] = append(d.times[fault], back)
	d.mu.Unlock()
}

// String gives the sums.
func (d *diary) String() string {
	if d == nil {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var b strings.Builder
	total := 0
	for _, what := range slices.Sorted(maps.Keys(d.done)) {
		fmt.Fprintf(&b, "%6d  %s\n", d.done[what], what)
		total += d.done[what]
	}
	fmt.Fprintf(&b, "%6d  in all\nuntil a transaction through each agent was on the backup again (median, longest):\n", total)
	for _, fault := range slices.Sorted(maps.Keys(d.times)) {
		fmt.Fprintf(&b, "%6d  %s: %s\n", len(d.times[fault]), fault, spread(d.times[fault]))
	}
	if len(d.settle) > 0 {
		fmt.Fprintf(&b, "until nothing was open, at %d counts: %s\n", len(d.settle), spread(d.settle))
	}
	if d.lost > 0 {
		fmt.Fprintf(&b, "transactions that were lost with agents of gate none: %d\n", d.lost)
	}
	return b.String()
}

// spread tells the middle and the longest of some times.
func spread(times []time.Duration) string {
	sorted := slices.Sorted(slices.Values(times))
	return fmt.Sprintf("%v, %v", sorted[len(sorted)/2].Round(time.Millisecond), sorted[len(sorted)-1].Round(time.Millisecond))
}
