package order

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
)

const (
	// maxChunkDigests bounds the digests that are kept of all chunked transactions
	// together that have no ticket yet (I7); those above are not verified.
	maxChunkDigests = 100_000
	// maxStatementBytes bounds the statements' texts in one digest record.
	maxStatementBytes = 256 << 10
)

// digestBook keeps the digests of operations that left in chunks until their
// transaction ends.
type digestBook struct {
	normalise func(string) string

	mu    sync.Mutex
	open  map[event.TxID]*chunked
	total int32
}

// chunked is one transaction's.
type chunked struct {
	digest.Collector
	dropped int32 // operations whose digests were too many
}

func (b *digestBook) init(normalise func(string) string) {
	b.normalise = normalise
	b.open = map[event.TxID]*chunked{}
}

// chunk adds a chunk's operations.
func (b *digestBook) chunk(c *event.Chunk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tx := b.open[c.Tx]
	if tx == nil {
		tx = &chunked{Collector: digest.Collector{Normalise: b.normalise}}
		b.open[c.Tx] = tx
	}
	before := tx.Count()
	for i := range c.Operations {
		tx.Add(&c.Operations[i])
	}
	b.total += tx.Count() - before
	if b.total > maxChunkDigests {
		b.total -= tx.Count()
		tx.dropped += tx.Count()
		tx.Collector = digest.Collector{}
	}
}

// take returns what is kept of a transaction and forgets it; nil: it had no chunks
// in this epoch.
func (b *digestBook) take(id event.TxID) *chunked {
	b.mu.Lock()
	defer b.mu.Unlock()
	tx := b.open[id]
	if tx != nil {
		delete(b.open, id)
		b.total -= tx.Count()
	}
	return tx
}

// elsewhere is why a transaction has no digests that an agent settled for another
// one, whose memory held them.
const elsewhere = "settled after its agent had ended"

// publishDigest hands the digests of a committed transaction at offset to the
// digests topic. Losing one costs a verdict, never a row.
func (l *Ledger) publishDigest(tx *event.Transaction, offset int64) {
	r := &event.DigestRecord{Source: l.cfg.Source, Tx: tx.ID, Offset: offset, Level: l.cfg.Level, Time: time.Now().UnixMicro()}
	kept := l.digests.take(tx.ID)
	if kept == nil {
		kept = &chunked{Collector: digest.Collector{Normalise: l.digests.normalise}}
		if tx.Chunks > 0 {
			r.Skipped = elsewhere
		}
	}
	fillDigest(r, kept, tx)
	if r.Count > 0 {
		l.sendDigest(r)
	}
}

// fillDigest completes a record from the operations in tx, which follow those that
// were seen in chunks.
func fillDigest(r *event.DigestRecord, kept *chunked, tx *event.Transaction) {
	kept.Expect(int(kept.Count()) + len(tx.Operations))
	for i := range tx.Operations {
		kept.Add(&tx.Operations[i])
	}
	kept.Fill(r)
	r.Count += kept.dropped
	if kept.dropped > 0 {
		r.Skipped = digest.TooMany
	}
	if r.Skipped != "" {
		r.Operations = nil
	}
	size := 0
	for i := range r.Operations {
		if size += len(r.Operations[i].Statement); size > maxStatementBytes {
			r.Operations[i].Statement = ""
		}
	}
}

// sendDigest produces a digest record.
func (l *Ledger) sendDigest(r *event.DigestRecord) {
	value, err := l.deps.Codec.EncodeDigest(r)
	if err != nil {
		l.log.Error("digests could not be encoded", zap.Int64("offset", r.Offset), zap.Error(err))
		return
	}
	key := append([]byte(r.Source+"/"), r.Tx[:]...)
	size := int64(len(value))
	l.line.bytes.Add(size) // I7: they wait for Kafka as well
	l.deps.Producer.Produce(l.deps.Topics.Names().Digests(r.Source), key, value, nil, func(_ int64, err error) {
		l.line.bytes.Add(-size)
		if err != nil {
			l.log.Warn("digests did not reach Kafka: their transaction will not be verified", zap.Int64("offset", r.Offset), zap.Error(err))
		}
	})
}
