package simulation

import (
	"os"
	"strconv"
	"testing"
	"time"
)

func TestSome(t *testing.T) {
	start := time.Now()
	from, _ := strconv.Atoi(os.Getenv("FROM"))
	n, _ := strconv.Atoi(os.Getenv("N"))
	for seed := uint64(from); seed < uint64(from+n); seed++ {
		s := scenario(seed, None)
		at := time.Now()
		r := simulate(t, s)
		if d := time.Since(at); len(r.violations) > 0 || d > time.Second || n < 3 {
			t.Logf("%v %v: %+v", d, s, r)
		}
	}
	t.Log(time.Since(start))
}
