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
	open  map[event.TxID]*digest.Collector // nil: too many, not verified
	total int32
}

func (b *digestBook) init(normalise func(string) string) {
	b.normalise = normalise
	b.open = map[event.TxID]*digest.Collector{}
}

// chunk adds a chunk's operations.
func (b *digestBook) chunk(c *event.Chunk) {
	b.mu.Lock()
	defer b.mu.Unlock()
	collector, known := b.open[c.Tx]
	if !known {
		collector = &digest.Collector{Normalise: b.normalise}
		b.open[c.Tx] = collector
	}
	if collector == nil {
		return
	}
	before := collector.Count()
	for i := range c.Operations {
		collector.Add(&c.Operations[i])
	}
	b.total += collector.Count() - before
	if b.total > maxChunkDigests {
		b.total -= collector.Count()
		b.open[c.Tx] = nil
	}
}

// take returns what is kept of a transaction and forgets it; false if the digests
// of its chunks were too many.
func (b *digestBook) take(tx event.TxID) (*digest.Collector, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	collector, known := b.open[tx]
	delete(b.open, tx)
	if collector != nil {
		b.total -= collector.Count()
	}
	if !known {
		collector = &digest.Collector{Normalise: b.normalise}
	}
	return collector, collector != nil
}

// publishDigest hands the digests of a committed transaction at offset to the
// digests topic. Losing one costs a verdict, never a row.
func (l *Ledger) publishDigest(tx *event.Transaction, offset int64) {
	r := &event.DigestRecord{Source: l.cfg.Source, Tx: tx.ID, Offset: offset, Level: l.cfg.Level, Time: time.Now().UnixMicro()}
	collector, kept := l.digests.take(tx.ID)
	if kept {
		fillDigest(r, collector, tx)
	} else {
		r.Skipped = digest.TooMany
		r.Count = digest.MaxOperations
	}
	if r.Count > 0 {
		l.sendDigest(r)
	}
}

// fillDigest completes a record from the operations in tx, which follow those
// that the collector has seen in chunks.
func fillDigest(r *event.DigestRecord, collector *digest.Collector, tx *event.Transaction) {
	for i := range tx.Operations {
		collector.Add(&tx.Operations[i])
	}
	collector.Fill(r)
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
