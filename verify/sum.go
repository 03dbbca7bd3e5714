package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// maxTally bounds the verdicts that are held at once, at some 25 to 50 bytes each.
// Where there are more, the topic is read several times, each time for another share
// of them (I7).
const maxTally = 1_000_000

var errTallyFull = errors.New("more verdicts than are held at once")

// Totals are the operations of all transactions on all targets by verdict.
type Totals struct {
	Match    int64 `json:"match"`
	Mismatch int64 `json:"mismatch"`
	Missing  int64 `json:"missing"`
	Skipped  int64 `json:"skipped"`
}

// tally adds verdicts up, each transaction and target once: of several verdicts
// the weightiest counts, and of equals the last. Few pairs of source and target, and
// few different counts, stand for many transactions: they are held once.
type tally struct {
	txs    map[stream]map[event.TxID]uint32 // index in counts
	held   int
	counts []tallied
	known  map[tallied]uint32
}

// stream is what a target follows.
type stream struct{ source, target string }

type tallied struct {
	weight                            int8
	match, mismatch, missing, skipped int32
}

func newTally() *tally {
	return &tally{txs: map[stream]map[event.TxID]uint32{}, known: map[tallied]uint32{}}
}

func (t *tally) add(v *event.VerdictRecord) {
	of := stream{v.Source, v.Target}
	txs := t.txs[of]
	if txs == nil {
		txs = map[event.TxID]uint32{}
		t.txs[of] = txs
	}
	counts := tallied{int8(weight(v)), v.Match, v.Mismatch, v.Missing, v.Skipped}
	old, seen := txs[v.Tx]
	if seen && t.counts[old].weight > counts.weight {
		return
	}
	if !seen {
		t.held++
	}
	txs[v.Tx] = t.index(counts)
}

func (t *tally) index(counts tallied) uint32 {
	at, known := t.known[counts]
	if !known {
		at = uint32(len(t.counts)) // bounded as size is
		t.known[counts], t.counts = at, append(t.counts, counts)
	}
	return at
}

// size is what is held, in verdicts; counts of their own weigh more.
func (t *tally) size() int {
	const weightOfCounts = 3
	return t.held + weightOfCounts*len(t.counts)
}

func (t *tally) into(sum *Totals) {
	for _, txs := range t.txs {
		for _, at := range txs {
			v := &t.counts[at]
			sum.Match += int64(v.match)
			sum.Mismatch += int64(v.mismatch)
			sum.Missing += int64(v.missing)
			sum.Skipped += int64(v.skipped)
		}
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
	for shares := uint(1); ; shares *= 2 {
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
	t, names := newTally(), interner{}
	err := each(func(m topics.Message) error {
		v, err := codec.DecodeVerdict(m.Value)
		if err != nil {
			return fmt.Errorf("topic %s, partition %d, offset %d: a verdict record was expected: %w", m.Topic, m.Partition, m.Offset, err)
		}
		if hashOf(v.Tx)%shares != share {
			return nil
		}
		v.Source, v.Target = names.text(v.Source), names.text(v.Target)
		if t.add(v); t.size() > limit {
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
