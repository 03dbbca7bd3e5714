package topics

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// crowd always expects seven, of whom one comes during each wait where it is to.
type crowd struct {
	bring bool
	came  int64
}

func (c *crowd) Coming() int {
	if c.bring {
		c.came++
	}
	return 7
}

func (c *crowd) Came() int64 { return c.came }

// Waits that bring nobody become rare, since those that are expected may wait for a lock
// of who waits here; one that brings somebody makes them usual again.
func TestFruitlessWaitsBecomeRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const atMost = time.Millisecond
		others := crowd{}
		wake := make(chan struct{}, 1)
		g := gathering{how: Gathering{AtMost: atMost, Several: 3, Expected: &others}}
		waits := func() bool {
			others.came++ // who is in the lot
			began := time.Now()
			g.lot(context.Background(), wake)
			return time.Since(began) == atMost
		}
		for _, pass := range []int{1, 3, 7, 15, 31, 63, 63} {
			if !waits() {
				t.Fatalf("the lot before %d that pass did not wait", pass)
			}
			for n := range pass {
				if waits() {
					t.Fatalf("lot %d of %d that were to pass waited", n+1, pass)
				}
			}
		}
		others.bring = true
		if !waits() {
			t.Error("the lot behind those that were to pass did not wait")
		}
		others.bring = false
		if !waits() {
			t.Error("after a wait that brought a record the next lot did not wait")
		}
		began := time.Now()
		if g.lot(context.Background(), wake); time.Since(began) > 0 {
			t.Error("a lot without anybody who was expected waited")
		}
		if waits() {
			t.Error("after a wait without a record the next lot waited")
		}
	})
}
