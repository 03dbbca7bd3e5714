package demo

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opmux/opmux/internal/rig"
)

// verdictsInterval is how often the verdicts are asked for: each time the
// command reads the whole topic.
const verdictsInterval = 2 * time.Second

// watcher knows how far everything is.
type watcher struct {
	began           time.Time
	primary, backup int64 // transactions in pgbench_history
	rate            float64
	counted         time.Time

	mu       sync.Mutex
	verdicts rig.Verdicts
}

// count counts transactions on both sides, by the rows that each one leaves.
func (w *watcher) count(ctx context.Context, r *rig.Rig) {
	before, at := w.primary, w.counted
	for _, side := range []struct {
		dsn  string
		into *int64
	}{
		// The backup first: a lag that is told is never less than none.
		{r.Backup.DSN(rig.Database), &w.backup},
		{r.Primary.DSN(rig.Database), &w.primary},
	} {
		rows, err := rig.Query(ctx, side.dsn, "SELECT count(*) FROM pgbench_history")
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(rows[0][0], 10, 64); err == nil {
			*side.into = n
		}
	}
	w.counted = time.Now()
	if at.IsZero() {
		at = w.began
	}
	if seconds := w.counted.Sub(at).Seconds(); seconds > 0 {
		w.rate = float64(w.primary-before) / seconds
	}
}

// pollVerdicts keeps the verdicts fresh until ctx ends.
func (w *watcher) pollVerdicts(ctx context.Context, r *rig.Rig) {
	tick := time.NewTicker(verdictsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		v, err := r.Verdicts(ctx)
		if err != nil {
			continue
		}
		w.mu.Lock()
		w.verdicts = v
		w.mu.Unlock()
	}
}

func (w *watcher) line() string {
	w.mu.Lock()
	v := w.verdicts
	w.mu.Unlock()
	return fmt.Sprintf("%3.0f s   %s transactions   %s/s   backup %s behind   verdicts: %s match, %s mismatch",
		time.Since(w.began).Seconds(), number(w.primary), number(int64(w.rate)), number(max(0, w.primary-w.backup)),
		number(v.Match), number(v.Mismatch))
}

// number writes 1234567 as 1,234,567.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
