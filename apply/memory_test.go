package apply

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/event"
)

// TestI7MemoryIsBoundedWhateverTheSize applies a transaction of 60 MB in a
// process of its own, since the broker of this one holds it in memory.
func TestI7MemoryIsBoundedWhateverTheSize(t *testing.T) {
	r := newRig(t)
	r.pg.Exec(t, r.db, "CREATE TABLE t (v text)", "CREATE TABLE other (id int)")
	a := r.agent("a1")
	line := bytes.Repeat([]byte("x"), 1<<20)
	for i := range line { // so that it cannot be compressed
		line[i] = 'A' + byte(rand.IntN(26))
	}
	line[len(line)-1] = '\n'
	a.add(a.chunked(60, func(i int) []event.Operation {
		op := event.Operation{Kind: event.OpCopy, Data: line, More: true}
		if i == 0 {
			op.Text = "COPY t FROM STDIN"
		}
		return []event.Operation{op}
	}, event.Operation{Kind: event.OpCopy, Data: line}))
	out, err := r.child("OPMUX_TEST_END=" + strconv.FormatInt(r.end(), 10)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, text, _ := strings.Cut(string(out), "peak MiB: ")
	var peak int
	if _, err := fmt.Sscan(text, &peak); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("peak heap %d MiB", peak)
	if peak > 45 {
		t.Fatalf("applying a transaction of 60 MB took %d MiB", peak)
	}
	r.want("SELECT count(*) FROM t", "61")
}

func peakHeap(ctx context.Context) uint64 {
	var peak uint64
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return peak
		case <-tick.C:
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapAlloc)
		}
	}
}
