package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// maxTally bounds the verdicts that are held at once. Where there are more, the
// topic is read several times, each time for another share of them (I7).
const maxTally = 2_000_000

var errTallyFull = errors.New("more verdicts than are held at once")

// Totals are the operations of all transactions on all targets by verdict.
type Totals struct {
	Match    int64 `json:"match"`
	Mismatch int64 `json:"mismatch"`
	Missing  int64 `json:"missing"`
	Skipped  int64 `json:"skipped"`
}

// verdictKey is what has one verdict.
type verdictKey struct {
	tx     event.TxID
	source string
	target string
}

// tally adds verdicts up, each transaction and target once: of several verdicts
// the weightiest counts, and of equals the last.
type tally map[verdictKey]tallied

type tallied struct {
	weight                            int8
	match, mismatch, missing, skipped int32
}

func (t tally) add(v *event.VerdictRecord) {
	key := verdictKey{v.Tx, v.Source, v.Target}
	w := int8(weight(v))
	if old, ok := t[key]; ok && old.weight > w {
		return
	}
	t[key] = tallied{w, v.Match, v.Mismatch, v.Missing, v.Skipped}
}

func (t tally) into(sum *Totals) {
	for _, v := range t {
		sum.Match += int64(v.match)
		sum.Mismatch += int64(v.mismatch)
		sum.Missing += int64(v.missing)
		sum.Skipped += int64(v.skipped)
	}
}

// Sum adds up the verdicts of all sources and targets up to now. Each transaction
// counts once for each target, however often verifiers started again, and however
// late a digest came.
func Sum(ctx context.Context, cfg topics.Config) (Totals, error) {
	codec := avro.New()
	if cfg.Registry != nil {
		var err error
		if codec, err = avro.NewWithRegistry(ctx, *cfg.Registry); err != nil {
			return Totals{}, err
		}
	}
	topic := cfg.Names().Verdicts()
	return sum(codec, maxTally, func(f func(topics.Message) error) error {
		return topics.ReadEach(ctx, cfg, topic, f)
	})
}

func sum(codec *avro.Codec, limit int, each func(func(topics.Message) error) error) (Totals, error) {
	for shares := uint(1); ; shares *= 8 {
		var all Totals
		var err error
		for share := uint(0); share < shares && err == nil; share++ {
			err = addShare(codec, limit, share, shares, each, &all)
		}
		if err == nil {
			return all, nil
		}
		if !errors.Is(err, errTallyFull) {
			return Totals{}, err
		}
	}
}

// addShare adds the verdicts of one of several shares of all transactions.
func addShare(codec *avro.Codec, limit int, share, shares uint, each func(func(topics.Message) error) error, all *Totals) error {
	t, names := tally{}, interner{}
	err := each(func(m topics.Message) error {
		v, err := codec.DecodeVerdict(m.Value)
		if err != nil {
			return fmt.Errorf("topic %s, partition %d, offset %d: a verdict record was expected: %w", m.Topic, m.Partition, m.Offset, err)
		}
		if hashOf(v.Tx)%shares != share {
			return nil
		}
		v.Source, v.Target = names.text(v.Source), names.text(v.Target)
		if t.add(v); len(t) > limit {
			return errTallyFull
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.into(all)
	return nil
}

// hashOf spreads ids: the last bytes of a UUIDv7 are random.
func hashOf(tx event.TxID) uint {
	var h uint
	for _, b := range tx {
		h = h*31 + uint(b)
	}
	return h
}
