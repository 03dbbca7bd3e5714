package avro

import (
	"reflect"
	"testing"

	"github.com/opmux/opmux/event"
)

// tpcb is a transaction as pgbench's default script makes it, prepared.
func tpcb() *event.Record {
	op := func(table, text string, params ...string) event.Operation {
		o := event.Operation{Kind: event.OpStatement, Class: event.ClassText, Reason: "a function of its literals, parameters and the rows it names by key",
			Text: text, Tables: []string{"public." + table}, Digest: event.Digest{SQLState: "00000", Affected: 1}}
		for _, p := range params {
			o.Params = append(o.Params, event.Param{OID: oidInt4, Value: []byte(p)})
		}
		return o
	}
	const begin = 1795554274666897
	insert := op("pgbench_history", "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, ($5::pg_catalog.timestamptz))",
		"168", "10", "1565622", "215")
	insert.Class, insert.Reason = event.ClassPinned, "the transaction's time is pinned"
	insert.Params = append(insert.Params, event.Param{OID: oidTimestamptz, Value: appendMoment(nil, begin)})
	settings := usualSettings()
	settings[2].Value, settings[11].Value, settings[13] = "UTC", "1", event.Setting{Name: "lc_numeric", Value: "C"}
	return &event.Record{Agent: "a1", Epoch: 12345, N: 67890, Prev: []byte("\x0b\xed\xb4\x1c}B\xdb\xca\xee\x0f\x81\x11\x93\x07\xfe\x60"), Body: &event.Transaction{
		ID:     event.TxID{0x01, 0xa2, 0x0f, 0x5f, 0xed, 0x6a, 0x7e, 0xdb, 0x98, 0xb9, 0x80, 0x8b, 0xb5, 0x51, 0xbd, 0xa5},
		Intent: true, DependsOn: 67887, Begin: begin, Commit: begin + 1581, CatalogVersion: 1, FirstChunk: -1,
		Context:  event.Context{User: "postgres", Application: "pgbench", Settings: settings},
		Postgres: event.PostgresTx{XID: 786786, BackendPID: 14178, BackendStart: begin - 232494, ProbeLSN: 284157080},
		Operations: []event.Operation{
			op("pgbench_accounts", "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2", "215", "1565622"),
			op("pgbench_tellers", "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2", "215", "168"),
			op("pgbench_branches", "UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2", "215", "10"),
			insert,
		}}}
}

// What is on the topic for TPC-B: more would be noticed by those who pay for it.
func TestATransactionIsSmall(t *testing.T) {
	value, err := New().EncodeRecord(tpcb())
	if err != nil {
		t.Fatal(err)
	}
	if len(value) > 376 {
		t.Errorf("a TPC-B transaction takes %d bytes, it took 376", len(value))
	}
}

func BenchmarkEncodeTransaction(b *testing.B) {
	c, r := New(), tpcb()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.EncodeRecord(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeTransaction(b *testing.B) {
	c := New()
	value, err := c.EncodeRecord(tpcb())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ReportMetric(float64(len(value)), "bytes")
	for b.Loop() {
		if _, err := c.DecodeRecord(value); err != nil {
			b.Fatal(err)
		}
	}
}

// What goavro would take, for comparison.
func BenchmarkDecodeTransactionGoavro(b *testing.B) {
	c := New()
	s := c.newest[recordName]
	value, err := c.EncodeRecord(tpcb())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeOld(s, value[len(s.header):], recordFromNative); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzDecodeDigest: digests and verdicts that are damaged are refused or survive.
func FuzzDecodeDigest(f *testing.F) {
	c := New()
	for _, d := range sampleDigests() {
		value, err := c.EncodeDigest(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	for _, v := range sampleVerdicts() {
		value, err := c.EncodeVerdict(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if d, err := c.DecodeDigest(value); err == nil {
			if _, err := c.EncodeDigest(d); err != nil {
				t.Errorf("a digest decodes and does not encode: %v", err)
			}
		}
		if v, err := c.DecodeVerdict(value); err == nil {
			if _, err := c.EncodeVerdict(v); err != nil {
				t.Errorf("a verdict decodes and does not encode: %v", err)
			}
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	c := New()
	for _, r := range samples() {
		value, err := c.EncodeRecord(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := c.DecodeRecord(value)
		if err != nil {
			return
		}
		again, err := c.EncodeRecord(r)
		if err != nil {
			t.Fatalf("decodes and does not encode: %v", err)
		}
		if back, err := c.DecodeRecord(again); err != nil || !reflect.DeepEqual(back, r) {
			t.Errorf("does not come back: %v\n got %+v\nwant %+v", err, back, r)
		}
	})
}
