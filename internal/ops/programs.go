package ops

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/opmux/opmux/topics"
)

func now() time.Time { return time.Now() }

// sortedBeats lists heartbeats by role, what they are of, and name.
func sortedBeats(beats map[string]topics.Heartbeat) []topics.Heartbeat {
	return slices.SortedFunc(maps.Values(beats), func(a, b topics.Heartbeat) int { return cmp.Compare(a.Key(), b.Key()) })
}
