package avro

import (
	"testing"

	"github.com/opmux/opmux/event"
)

// tpcb is a transaction as pgbench's default script makes it.
func tpcb() *event.Record {
	op := func(text string, params ...string) event.Operation {
		o := event.Operation{Kind: event.OpStatement, Class: event.ClassText, Reason: "pinned by primary key", Text: text,
			Tables: []string{"public.pgbench_accounts"}, Digest: event.Digest{SQLState: "00000", Affected: 1}}
		for _, p := range params {
			o.Params = append(o.Params, event.Param{OID: 23, Value: []byte(p)})
		}
		return o
	}
	var settings []event.Setting
	for _, name := range []string{"DateStyle", "IntervalStyle", "TimeZone", "bytea_output", "client_encoding", "default_transaction_isolation", "lc_numeric", "search_path", "standard_conforming_strings", "xmloption"} {
		settings = append(settings, event.Setting{Name: name, Value: "some value"})
	}
	return &event.Record{Agent: "a1", Epoch: 12345, N: 67890, Prev: make([]byte, 16), Body: &event.Transaction{
		ID: event.TxID{1}, Intent: true, DependsOn: 67889, Begin: 1, Commit: 2, FirstChunk: -1,
		Context:  event.Context{User: "app", Application: "pgbench", Settings: settings},
		Postgres: event.PostgresTx{XID: 123456, BackendPID: 4242, BackendStart: 1 << 50, ProbeLSN: 1 << 40},
		Operations: []event.Operation{
			op("UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2", "-1234", "99999"),
			op("UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2", "-1234", "9"),
			op("UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2", "-1234", "1"),
			op("INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)", "9", "1", "99999", "-1234"),
		}}}
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
		if _, err := c.EncodeRecord(r); err != nil {
			t.Errorf("decodes and does not encode: %v", err)
		}
	})
}
