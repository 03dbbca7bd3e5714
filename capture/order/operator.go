package order

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// byOperator is Outcome.By of what an operator has settled.
const byOperator = "operator"

// operatorPrefix begins the agent names of operators' epochs.
const operatorPrefix = "operator-"

// SettleAt writes the outcome of the open intent at an offset, as an operator has
// found it out, through a short epoch of its own. It refuses where there is no open
// intent, and where an agent still works on it, whose word would differ.
func SettleAt(ctx context.Context, producer Producer, cfg topics.Config, codec *avro.Codec, source string, offset int64, committed bool) error {
	found, err := OpenIntents(ctx, cfg, codec, source)
	if err != nil {
		return err
	}
	for _, i := range found.Open {
		if i.Offset == offset {
			return settleOpen(ctx, producer, cfg, codec, source, i, committed)
		}
	}
	return fmt.Errorf("source %s has no open intent at offset %d (%d are open): `opmux indoubt list` shows them", source, offset, len(found.Open))
}

// Settle is SettleAt for an intent that is known by its writer's numbering.
func Settle(ctx context.Context, producer Producer, cfg topics.Config, codec *avro.Codec, source string, ref event.Ref, committed bool) error {
	found, err := OpenIntents(ctx, cfg, codec, source)
	if err != nil {
		return err
	}
	for _, i := range found.Open {
		if i.Ref == ref {
			return settleOpen(ctx, producer, cfg, codec, source, i, committed)
		}
	}
	return fmt.Errorf("source %s has no open intent %d of agent %q, epoch %d: `opmux indoubt list` shows them", source, ref.N, ref.Agent, ref.Epoch)
}

func settleOpen(ctx context.Context, producer Producer, cfg topics.Config, codec *avro.Codec, source string, i OpenIntent, committed bool) error {
	if !i.Ended && i.InDoubt == "" {
		return fmt.Errorf("the intent at offset %d is of epoch %d of agent %q, which has not ended: its agent knows, or another one settles it once that is silent", i.Offset, i.Epoch, i.Agent)
	}
	rec, err := readRecordAt(ctx, kafka{cfg}, cfg.Names().Ops(source), codec, i.Offset)
	if err != nil {
		return err
	}
	tx, ok := rec.Body.(*event.Transaction)
	if !ok {
		return fmt.Errorf("a transaction was expected at offset %d of source %s, and a %s is there", i.Offset, source, rec.Body.Kind())
	}
	l, err := operatorLedger(producer, cfg, codec, source, levelOf(tx))
	if err != nil {
		return err
	}
	return operatorEpoch(ctx, l, l.newFence(GateRecorded), func() {
		l.outcomes.put(concluded{Outcome: event.Outcome{Ref: i.Ref, Committed: committed, Time: time.Now().UnixMicro(), By: byOperator}, tx: tx, offset: i.Offset})
	})
}

// operatorLedger makes the ledger of an operator's short epoch. Its FENCEs name no
// primary: what an operator says does not depend on one.
func operatorLedger(producer Producer, cfg topics.Config, codec *avro.Codec, source string, level event.Level) (*Ledger, error) {
	c, err := Config{Source: source, Agent: operatorPrefix + uuid.NewString(), Gate: GateRecorded, Level: level}.withDefaults()
	if err != nil {
		return nil, err
	}
	l := newLedger(c, Deps{Producer: producer, Topics: cfg, Codec: codec}, func(value []byte, done func(int64, error)) {
		producer.Produce(cfg.Names().Ops(source), []byte(source), value, nil, done)
	})
	l.quiet = true
	return l, nil
}

// operatorEpoch opens an epoch by a FENCE, lets write put outcomes into it, and
// closes it.
func operatorEpoch(ctx context.Context, l *Ledger, opening *event.Fence, write func()) error {
	if err := l.writeFence(ctx, opening); err != nil {
		return err
	}
	write()
	return l.Close(ctx)
}

// levelOf tells at which level a transaction's digests were taken, from what they have.
func levelOf(tx *event.Transaction) event.Level {
	for i := range tx.Operations {
		if len(tx.Operations[i].Digest.Hash) > 0 {
			return event.LevelFull
		}
	}
	return event.LevelCount
}
