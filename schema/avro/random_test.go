package avro

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/event"
)

// random makes records that this package writes in every form that it knows, and
// values that almost have one of them.
type random struct{ *rand.Rand }

func randomFrom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 3))} }

func (r random) one(of ...string) string { return of[r.IntN(len(of))] }
func (r random) chance(percent int) bool { return r.IntN(100) < percent }

func many[T any](r random, most int, item func() T) []T {
	var out []T
	for range r.IntN(most + 1) {
		out = append(out, item())
	}
	return out
}

func (r random) number() int64 {
	switch r.IntN(4) {
	case 0:
		return r.Int64N(1000) - 500
	case 1:
		return int64(r.Uint64())
	case 2:
		return []int64{0, -1, math.MinInt64, math.MaxInt64, math.MinInt32, math.MaxInt32}[r.IntN(6)]
	}
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMicro() + r.Int64N(1<<40)
}

func (r random) string() string {
	return r.one("", "a", "public", "ä€𝄞", "public.t", "00000", "{}", "on", "x\x00y", strings.Repeat("long ", r.IntN(60)))
}

// sql mixes phrases, parts of them and other text.
func (r random) sql() string {
	var b strings.Builder
	for range r.IntN(12) {
		phrase := published.Phrases[r.IntN(len(published.Phrases))]
		b.WriteString(r.one(phrase, phrase[:r.IntN(len(phrase))], r.string(), "accounts", "t1", "\u0080", "\ufffd"))
	}
	return b.String()
}

func (r random) reason() string {
	reason := published.Reasons[r.IntN(len(published.Reasons))]
	return r.one(reason, strings.ReplaceAll(reason, placeholder, r.one("", "id", "{}", "ä")), reason+".", r.string())
}

func (r random) setting() event.Setting {
	base := published.Baselines[usualBaseline]
	s := base[r.IntN(len(base))]
	return event.Setting{Name: r.one(s[0], r.string()), Value: r.one(s[1], s[r.IntN(len(s))], r.string())}
}

func (r random) settings() []event.Setting {
	if r.chance(20) {
		return many(r, 40, r.setting)
	}
	var out []event.Setting
	for _, s := range published.Baselines[usualBaseline] {
		switch n := r.IntN(100); {
		case n < 5: // absent
		case n < 10:
			out = append(out, r.setting())
		case n < 20:
			out = append(out, event.Setting{Name: s[0], Value: r.one(s[1:]...)})
		default:
			out = append(out, event.Setting{Name: s[0], Value: s[1]})
		}
	}
	if r.chance(10) {
		r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	}
	return out
}

func (r random) text() []byte {
	b := []byte(r.one("", "0", "-0", "007", "-7", "-", "+1", "1e3", "123456789012345678", "-999999999999999999", "9223372036854775807",
		fmt.Sprint(r.number()), "2026-11-24 21:04:34.666897+00", "2026-02-30 21:04:34.666897+00", "2026-11-24 21:04:34.66689+001",
		"0000-01-01 00:00:00.000000+00", "2026-11-24 24:00:00.000000+00", "2026-11-24T21:04:34.666897+00", "2026-1 -24 21:04:34.666897+00", "\xff\xfe", r.string()))
	if len(b) == 0 {
		return nil
	}
	return b
}

func (r random) value() event.Value {
	if r.chance(15) {
		return event.Value{Null: true}
	}
	return event.Value{Text: r.text()}
}

func (r random) param() event.Param {
	v := r.value()
	p := event.Param{OID: []uint32{0, oidInt4, oidInt8, oidTimestamptz, 25, math.MaxUint32}[r.IntN(6)], Null: v.Null, Value: v.Text}
	if r.chance(15) {
		p.Type = r.string()
	}
	if p.Binary = r.chance(30); p.Binary && !p.Null && r.chance(70) {
		p.Value = fmt.Appendf(nil, "%08x", r.Uint32())[:4+4*r.IntN(2)]
	}
	return p
}

func (r random) digest() event.Digest {
	d := event.Digest{SQLState: r.one("", "00000", "00000", "23505"), Affected: r.number()}
	if r.chance(30) {
		d.Affected = 0
	}
	if r.chance(20) {
		d.Hash = []byte{1, 2, 3}
	}
	return d
}

func (r random) rows() *event.RowImages {
	return &event.RowImages{Action: event.Action(r.one(actionSymbols...)), Schema: r.string(), Table: r.string(),
		Key: many(r, 2, r.string), Columns: many(r, 2, r.string), KeyTypes: many(r, 2, r.sql), ColumnTypes: many(r, 2, r.sql),
		Returning: many(r, 2, r.string), Rows: many(r, 3, func() event.RowImage {
			return event.RowImage{Key: many(r, 2, r.value), Values: many(r, 2, r.value)}
		})}
}

func (r random) operation() event.Operation {
	o := event.Operation{Kind: event.OpKind(r.one(opKindSymbols...)), Class: event.Class(r.one("", "text", "pinned", "rows")),
		Reason: r.reason(), Text: r.sql(), Params: many(r, 4, r.param), Digest: r.digest()}
	o.Tables = many(r, 2, func() string {
		return r.one("public.", "app.", ".", "") + r.one("accounts", "t1", "t", "", "Ä", o.Text)
	})
	if r.chance(30) {
		o.Rows = r.rows()
	}
	if r.chance(30) {
		o.Data, o.More, o.Diverged, o.Settings = r.text(), r.chance(50), many(r, 1, r.string), many(r, 2, r.setting)
		o.Sequences = many(r, 1, func() event.SequenceMark {
			return event.SequenceMark{Schema: r.string(), Name: r.string(), Value: r.number(), Ascending: r.chance(50)}
		})
	}
	return o
}

func (r random) id() (id event.TxID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

func (r random) transaction() *event.Transaction {
	t := &event.Transaction{ID: r.id(), Intent: r.chance(50), DependsOn: r.number(), Standalone: r.chance(20), Barrier: r.chance(20),
		Begin: r.number(), Commit: r.number(), CatalogVersion: r.number(), FirstChunk: -1, Operations: many(r, 5, r.operation),
		Context:  event.Context{User: r.string(), Application: r.string(), Settings: r.settings()},
		Postgres: event.PostgresTx{XID: r.Uint64(), BackendPID: int32(r.number()), BackendStart: r.number(), ProbeLSN: r.Uint64()}}
	if r.chance(30) {
		t.Hops, t.FirstChunk, t.Chunks = many(r, 2, r.string), r.number(), int32(r.number())
		t.Shapes = many(r, 2, func() event.TableShape {
			return event.TableShape{Schema: r.string(), Table: r.string(), Columns: many(r, 3, r.string),
				Definition: many(r, 2, func() event.DefinitionPart { return event.DefinitionPart{Name: r.string(), Text: r.string()} })}
		})
	}
	return t
}

func (r random) record() *event.Record {
	rec := &event.Record{Agent: r.string(), Epoch: r.number(), N: r.number(), Prev: r.text()}
	switch r.IntN(4) {
	case 0:
		rec.Body = &event.Chunk{Tx: r.id(), Index: int32(r.number()), Operations: many(r, 4, r.operation)}
	case 1:
		rec.Body = &event.Outcomes{List: many(r, 4, func() event.Outcome {
			o := event.Outcome{Ref: event.Ref{Agent: rec.Agent, Epoch: rec.Epoch, N: r.number()}, Committed: r.chance(50), Time: r.number(), By: r.string()}
			if r.chance(30) {
				o.Agent = r.string()
			}
			if r.chance(30) {
				o.Epoch = r.number()
			}
			return o
		})}
	default:
		rec.Body = r.transaction()
	}
	return rec
}

// comesBack demands that a record's bytes mean that record, to this package and
// to goavro, which must write the same bytes.
func comesBack(t *testing.T, c *Codec, want *event.Record) {
	t.Helper()
	value, err := c.EncodeRecord(want)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from the cache of contexts
		got, err := c.DecodeRecord(value)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s:\n got %+v\nwant %+v", want.Body.Kind(), got.Body, want.Body)
		}
	}
	s := c.newest[recordName]
	datum, rest, err := s.codec.NativeFromBinary(value[len(s.header):])
	if err != nil || len(rest) > 0 {
		t.Fatalf("%s: goavro: %v, %d bytes left", want.Body.Kind(), err, len(rest))
	}
	again, err := s.codec.BinaryFromNative(append([]byte(nil), s.header...), datum)
	if err != nil || !bytes.Equal(again, value) {
		t.Fatalf("%s: goavro writes other bytes: %v\n%x\n%x", want.Body.Kind(), err, value, again)
	}
	got, err := decodeOld(s, value[len(s.header):], recordFromNative)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s through goavro:\n got %+v\nwant %+v", want.Body.Kind(), got.Body, want.Body)
	}
}

func TestAnyRecordComesBack(t *testing.T) {
	c := New()
	for seed := range uint64(3000) {
		if comesBack(t, c, randomFrom(seed).record()); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Any text may be that of an operation, and any of its parameters.
func FuzzTexts(f *testing.F) {
	c := New()
	f.Add("UPDATE t SET a = $1 WHERE id = $2", "public.t", "draws from a sequence", []byte("2026-11-24 21:04:34.666897+00"), uint32(oidTimestamptz))
	f.Add("ä", "a.ä", "the default of column x is not the same everywhere", []byte("-12"), uint32(oidInt4))
	f.Fuzz(func(t *testing.T, text, table, reason string, value []byte, oid uint32) {
		if len(value) == 0 {
			value = nil
		}
		for _, s := range []*string{&text, &table, &reason} {
			*s = strings.ToValidUTF8(*s, "")
		}
		comesBack(t, c, &event.Record{Body: &event.Chunk{Operations: []event.Operation{{Kind: event.OpStatement, Text: text, Reason: reason,
			Tables: []string{table}, Params: []event.Param{{OID: oid, Value: value}, {OID: oid, Binary: true, Value: value}}}}}})
	})
}
