package topics

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestI7LotsAreBounded: a lot, which becomes one batch that readers hold whole, ends
// before it is larger than its bound, unless one record is.
func TestI7LotsAreBounded(t *testing.T) {
	of := func(sizes ...int) []entry {
		var list []entry
		for _, n := range sizes {
			list = append(list, entry{record: &kgo.Record{Value: make([]byte, n)}})
		}
		return list
	}
	for _, c := range []struct {
		waiting []entry
		want    int
	}{
		{of(), 0}, {of(1), 1}, {of(1, 2, 3), 3}, {of(2 * lotBytes), 1}, {of(2*lotBytes, 1), 1},
		{of(lotBytes/2, lotBytes/2, 1), 2}, {of(1, lotBytes), 1},
	} {
		if got := fitting(c.waiting); got != c.want {
			t.Errorf("of %d records %d fit, expected %d", len(c.waiting), got, c.want)
		}
		l := &line{waiting: c.waiting, wake: make(chan struct{}, 1)}
		left := len(c.waiting)
		for left > 0 {
			lot := l.take(false)
			if len(lot) == 0 {
				t.Fatal("nothing was taken while records wait")
			}
			if left -= len(lot); left > 0 {
				<-l.wake // the rest is not forgotten
			}
		}
	}
}
