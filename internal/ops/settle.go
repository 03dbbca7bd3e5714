package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

func indoubtSettleCommand() command {
	return command{
		name: "indoubt settle",
		args: "--config F --source S --offset O --as committed|aborted",
		what: "say how a transaction in doubt ended",
		more: "Be sure: targets act on it, and it cannot be taken back. Look on the primary first.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			path := c.configFlag()
			source := c.String("source", "", "the transaction's `source`")
			offset := c.Int64("offset", -1, "the transaction's `offset`, from opmux indoubt list")
			as := c.String("as", "", "how it ended: `committed or aborted`")
			if err := c.parse("config", "source", "as"); err != nil {
				return err
			}
			if *as != committed && *as != aborted {
				return c.wrong("--as: expected committed or aborted, got %q", *as)
			}
			if *offset < 0 {
				return c.wrong("--offset is required")
			}
			f, err := load(*path)
			if err != nil {
				return err
			}
			if !slices.Contains(f.Sources(), *source) {
				return c.wrong("--source %s: the configuration names %v", *source, f.Sources())
			}
			return settleIntent(ctx, stdio, f, *source, *offset, *as == committed)
		},
	}
}

// errDecided says that a transaction has the other outcome already.
var errDecided = errors.New("the transaction has an outcome already, which cannot be changed")

func settleIntent(ctx context.Context, stdio IO, f *config.File, source string, offset int64, commit bool) error {
	k, err := openKafka(ctx, f)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*kafkaTimeout)
	defer cancel()
	ref, err := k.intentAt(ctx, source, offset)
	if err != nil {
		return k.unreachable(err)
	}
	known, err := k.outcomeOf(ctx, source, offset, ref)
	switch {
	case err != nil:
		return k.unreachable(err)
	case known != nil && known.Committed == commit:
		fmt.Fprintf(stdio.Out, "offset %d of source %s is %s already; nothing to do\n", offset, source, outcomeWord(commit))
		return nil
	case known != nil:
		return fmt.Errorf("offset %d of source %s is %s: %w", offset, source, outcomeWord(known.Committed), errDecided)
	}
	producer, err := topics.NewProducer(ctx, k.Config)
	if err != nil {
		return err
	}
	defer func() { _ = producer.Close() }() // what it wrote is acknowledged
	if err := k.endSilent(ctx, producer, source, event.EpochRef{Agent: ref.Agent, Epoch: ref.Epoch}); err != nil {
		return k.unreachable(err)
	}
	if err := order.SettleAt(ctx, producer, k.Config, k.codec, source, offset, commit); err != nil {
		return k.unreachable(err)
	}
	fmt.Fprintf(stdio.Out, "offset %d of source %s is now %s\n", offset, source, outcomeWord(commit))
	return nil
}

func outcomeWord(commit bool) string {
	if commit {
		return committed
	}
	return aborted
}

// intentAt checks that there is an intent at an offset, and names it.
func (k *kafka) intentAt(ctx context.Context, source string, offset int64) (event.Ref, error) {
	b, err := k.bounds(ctx, source)
	if err != nil {
		return event.Ref{}, err
	}
	if offset < b.start || offset >= b.end {
		return event.Ref{}, exit.Usagef("--offset %d: topic %s has offsets %d to %d", offset, k.Names().Ops(source), b.start, b.end-1)
	}
	var ref event.Ref
	kind := event.Kind("nothing")
	found := false
	err = k.each(ctx, source, offset, offset+1, func(_ topics.Message, rec *event.Record) error {
		kind = rec.Body.Kind()
		tx, ok := rec.Body.(*event.Transaction)
		found = ok && tx.Intent
		ref = event.Ref{Agent: rec.Agent, Epoch: rec.Epoch, N: rec.N}
		return nil
	})
	if err == nil && !found {
		err = exit.Usagef("--offset %d: expected a transaction that waits for its outcome, found a record of kind %s; opmux indoubt list names the offsets", offset, kind)
	}
	return ref, err
}

// outcomeOf looks for the outcome of an intent behind it; nil: none.
func (k *kafka) outcomeOf(ctx context.Context, source string, offset int64, ref event.Ref) (*event.Outcome, error) {
	b, err := k.bounds(ctx, source)
	if err != nil {
		return nil, err
	}
	var known *event.Outcome
	err = k.each(ctx, source, offset, b.end, func(_ topics.Message, rec *event.Record) error {
		list, ok := rec.Body.(*event.Outcomes)
		if !ok {
			return nil
		}
		for i := range list.List {
			if list.List[i].Ref == ref {
				known = &list.List[i]
				return errStop
			}
		}
		return nil
	})
	return known, err
}

// endSilent ends an epoch whose agent is dead, as a live agent would after ten
// silent seconds: there may be none that could. The agent, were it only frozen,
// reads that and says nothing more in this epoch. A live agent's epoch is left
// alone, and settling then refused, since its session knows better.
func (k *kafka) endSilent(ctx context.Context, producer *topics.Producer, source string, ref event.EpochRef) error {
	beats, err := k.heartbeats(ctx)
	if err != nil {
		return err
	}
	for _, h := range beats {
		if h.Role == topics.RoleAgent && h.Source == source && h.Name == ref.Agent && h.Epoch == ref.Epoch && alive(h, now()) {
			return nil
		}
	}
	id := uuid.New()
	fence := &event.Record{Agent: "operator-" + id.String(), Body: &event.Fence{
		Instance: id, Gate: order.GateRecorded, Ended: []event.EpochRef{ref}, LowestReader: event.ReaderVersion,
	}}
	opening, epoch, err := k.produce(ctx, producer, source, fence)
	if err != nil {
		return fmt.Errorf("ending epoch %d of agent %s: %w", ref.Epoch, ref.Agent, err)
	}
	_, _, err = k.produce(ctx, producer, source, &event.Record{
		Agent: fence.Agent, Epoch: epoch, N: 1, Prev: avro.Hash(opening),
		Body: &event.Fence{Instance: id, Clean: true, Gate: order.GateRecorded, LowestReader: event.ReaderVersion},
	})
	if err != nil {
		return fmt.Errorf("closing the operator's epoch: %w", err)
	}
	return nil
}
