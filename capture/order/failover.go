package order

import (
	"context"
	"errors"
	"fmt"

	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// ErrNoFailover says that the primary is the stream's own already.
var ErrNoFailover = errors.New("the primary is the one that the stream is recorded on: there is no failover to accept")

// Failover is the step of a source from one timeline of its primary to a later one.
type Failover struct {
	// From is the primary that the stream was recorded on, To the present one.
	From event.Primary
	To   settle.Identity
	// End is where the timeline of From ended and that of To's history began. What
	// From wrote behind it never reached To.
	End uint64
	// Lost are the commits that To does not have.
	Lost *Lost
	// Open are the transactions without an outcome: agents settle them by To's word
	// once it is accepted.
	Open []OpenIntent

	source string
	topics topics.Config
	codec  *avro.Codec
	ended  []event.EpochRef
}

// FindFailover compares the primary with the one that a source's stream was recorded
// on, and reads the stream from an offset on for commits that it has lost. It refuses
// a server that is no successor of the stream's (*PrimaryChangedError,
// *settle.HistoryError). With ErrNoFailover, the primary is the stream's own, and
// what is returned has nothing lost.
func FindFailover(ctx context.Context, cfg topics.Config, codec *avro.Codec, server *settle.Server, source string, from int64) (*Failover, error) {
	id, err := server.Identify(ctx)
	if err != nil {
		return nil, err
	}
	f := &Failover{To: id, Lost: &Lost{}, source: source, topics: cfg, codec: codec}
	if err := f.readStream(ctx); err != nil {
		return nil, err
	}
	switch {
	case samePrimary(f.From, id.Primary):
		return f, ErrNoFailover
	case !succeeds(f.From, id.Primary):
		return nil, &PrimaryChangedError{Have: id.Primary, Want: f.From}
	}
	if f.End, err = server.TimelineEnd(ctx, f.From.Timeline); err != nil {
		return nil, err
	}
	reader := lostReader{feed: kafka{cfg}, topic: cfg.Names().Ops(source), codec: codec, server: server, end: f.End,
		ran: func(p event.Primary) bool { return p.Timeline == f.From.Timeline }}
	f.Lost, err = reader.read(ctx, from)
	return f, err
}

// Source names the stream.
func (f *Failover) Source() string { return f.source }

// succeeds tells whether a server can be another one after a failover: the same
// database on a later timeline.
func succeeds(former, p event.Primary) bool {
	later := p.Timeline > former.Timeline
	former.Timeline = p.Timeline
	return later && samePrimary(former, p)
}

// readStream finds the primary that the stream was recorded on, and what is open.
func (f *Failover) readStream(ctx context.Context) error {
	feed := kafka{f.topics}
	beats, err := feed.Heartbeats(ctx)
	if err != nil {
		return err
	}
	v, err := scan(ctx, feed, f.topics.Names().Ops(f.source), f.codec, f.source, beats)
	if err != nil {
		return err
	}
	if err := v.findPrimary(ctx, feed, f.topics.Names().Ops(f.source), f.codec); err != nil {
		return err
	}
	if v.primary == nil {
		return fmt.Errorf("nothing is recorded of source %s yet: there is no failover to accept", f.source)
	}
	f.From = *v.primary
	f.Open = openIntents(v, beats, f.source)
	for _, e := range v.unended("") {
		f.ended = append(f.ended, e.EpochRef)
	}
	sortEpochs(f.ended)
	return nil
}

// Accept writes down that the stream goes on with the new primary: it ends the
// epochs of the former one, and makes those suspect that had commits which are lost.
func (f *Failover) Accept(ctx context.Context, producer Producer) error {
	primary := f.To.Primary
	primary.Started = f.To.Started
	l, err := operatorLedger(producer, f.topics, f.codec, f.source, event.LevelCount)
	if err != nil {
		return err
	}
	l.primary, l.started, l.recovery = primary, primary.Started, f.End
	fence := l.newFence(GateFailover)
	fence.Ended, fence.Suspect = f.ended, f.Lost.Epochs
	return operatorEpoch(ctx, l, fence, func() {})
}
