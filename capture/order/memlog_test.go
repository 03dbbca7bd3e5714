package order

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// memlog is a Producer whose topics are slices. It acknowledges when it is told to,
// in the order of the calls.
type memlog struct {
	mu      sync.Mutex
	topics  map[string][][]byte
	pending []func()
	beats   []topics.Heartbeat
	down    error
}

func newMemlog() *memlog { return &memlog{topics: map[string][][]byte{}} }

func (m *memlog) Produce(topic string, _, value []byte, _ []topics.Header, done func(int64, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	offset := int64(len(m.topics[topic]))
	m.topics[topic] = append(m.topics[topic], value)
	m.pending = append(m.pending, func() { done(offset, nil) })
}

// release acknowledges everything so far, and what that makes others produce.
func (m *memlog) release() {
	for {
		m.mu.Lock()
		list := m.pending
		m.pending = nil
		m.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for _, done := range list {
			done()
		}
	}
}

func (m *memlog) PublishHeartbeat(h topics.Heartbeat) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.beats = append(m.beats, h)
	return nil
}
func (m *memlog) RemoveHeartbeat(string)      {}
func (m *memlog) Up() bool                    { return m.LastError() == nil }
func (m *memlog) Flush(context.Context) error { m.release(); return nil }
func (m *memlog) Reset() error                { return nil }
func (m *memlog) LastError() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down
}

// records decodes what a source's ops topic holds.
func (m *memlog) records(t testing.TB) []*event.Record {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []*event.Record
	for _, value := range m.topics[testNames.Ops("orders")] {
		r, err := testCodec.DecodeRecord(value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

// mustBeChained checks numbers and hashes of the records behind the FENCE.
func (m *memlog) mustBeChained(t testing.TB) {
	t.Helper()
	m.mu.Lock()
	values := m.topics[testNames.Ops("orders")]
	m.mu.Unlock()
	prev := avro.Hash([]byte("fence"))
	for i, r := range m.records(t) {
		if r.N != int64(i)+1 || r.Epoch != 7 || !bytes.Equal(r.Prev, prev) {
			t.Fatalf("record %d: n %d, epoch %d, prev %x, want %x", i, r.N, r.Epoch, r.Prev, prev)
		}
		prev = avro.Hash(values[i])
	}
}

// testCodec is made once: it parses every schema.
var testCodec = avro.New()

var testNames = topics.Names{Prefix: "opmux"}

// testLedger is a ledger without Kafka or primary, in epoch 7.
func testLedger(t testing.TB, gate string, m *memlog) *Ledger {
	t.Helper()
	cfg, err := Config{Source: "orders", Agent: "a1", Gate: gate, Timeout: time.Second}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(cfg, Deps{Producer: m, Codec: testCodec}, func(value []byte, done func(int64, error)) {
		m.Produce(testNames.Ops("orders"), nil, value, nil, done)
	})
	l.line.start(7, []byte("fence"))
	return l
}

// write is a transaction of one operation.
func write(id byte) *event.Transaction {
	return &event.Transaction{ID: event.TxID{id}, FirstChunk: -1, Operations: []event.Operation{{Kind: event.OpStatement, Class: event.ClassText,
		Text: "UPDATE t SET v = 1 WHERE id = 1", Digest: event.Digest{SQLState: "00000", Affected: 1}}}}
}

func mustRefuse(t testing.TB, err error) {
	t.Helper()
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v, want a RefusedError", err)
	}
}
