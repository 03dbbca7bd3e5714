package order

import (
	"cmp"
	"slices"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// What records and heartbeats list is sorted, so that the same state has the same
// bytes.

func sortEpochs(list []event.EpochRef) {
	slices.SortFunc(list, func(a, b event.EpochRef) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Agent, b.Agent))
	})
}

func sortDoubts(list []topics.InDoubt) {
	slices.SortFunc(list, func(a, b topics.InDoubt) int { return cmp.Compare(a.Offset, b.Offset) })
}
