package order

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
)

// recheckRecords is how far back from the topic's end commits are looked up after
// a crash of the primary: far more than can wait to be flushed at once.
const recheckRecords = 20_000

// lostInCrash looks, where the primary has started anew, for commits that it told
// of and does not have any more, and returns their epochs. Sessions see to it that
// there are none (session.durable), but a server without fsync, or whose
// disks lie, may have forgotten any (I6).
func (l *Ledger) lostInCrash(ctx context.Context, id settle.Identity) ([]event.EpochRef, error) {
	v := l.follow.view
	now := start{timeline: id.Timeline, at: id.Started}
	l.recovery = max(id.RecoveryLSN, v.recoveries[now])
	former := v.primary
	if former == nil || startOf(*former) == now || former.Timeline != id.Timeline {
		return nil, nil
	}
	if l.recovery == 0 {
		l.log.Warn("the primary has started anew, and where its recovery ended is not known any more: commits that it may have lost are not looked for")
		return nil, nil
	}
	reader := lostReader{feed: l.deps.Feed, topic: l.opsTopic(), codec: l.deps.Codec, server: l.deps.Settler, end: l.recovery,
		ran: func(p event.Primary) bool { return startOf(p) == startOf(*former) }}
	lost, err := reader.read(ctx, max(v.pos-recheckRecords, 0))
	if err != nil {
		return nil, fmt.Errorf("looking for commits that the primary has lost: %w", err)
	}
	for _, c := range lost.Commits {
		l.log.Error("the primary has crashed and lost a commit that targets have: the source is suspect", zap.Int64("offset", c.Offset),
			zap.String("agent", c.Agent), zap.Int64("epoch", c.Epoch), zap.Int64("n", c.N), zap.Uint64("xid", c.XID))
	}
	return lost.Epochs, nil
}
