package avro

import (
	"errors"
	"testing"

	"github.com/opmux/opmux/event"
)

// samples has one record of every kind with every field set, and one of every
// kind with as little as possible.
func samples() []*event.Record {
	ops := []event.Operation{{
		Kind: event.OpRows, Class: event.ClassRows, Reason: "subquery", Text: "UPDATE t SET a = (SELECT 1)",
		Tables: []string{"public.t"}, More: true, Digest: event.Digest{SQLState: "00000", Affected: 2, Hash: []byte{1, 2}},
		Rows: &event.RowImages{Action: event.ActionUpdate, Schema: "public", Table: "t", Key: []string{"id"},
			Columns: []string{"a", "b"}, KeyTypes: []string{"bigint"}, ColumnTypes: []string{"text", "text"}, Returning: []string{"id"},
			Rows: []event.RowImage{{Key: []event.Value{{Text: []byte("7")}}, Values: []event.Value{{Null: true}, {}}}}},
	}, {
		Kind: event.OpStatement, Class: event.ClassPinned, Text: "INSERT INTO t VALUES ($1,$2)",
		Params:    []event.Param{{OID: 4294967295, Type: "public.mood", Binary: true, Value: []byte{0, 1}}, {OID: 23, Null: true}, {}},
		Sequences: []event.SequenceMark{{Schema: "public", Name: "t_id_seq", Value: -4, Ascending: true}},
		Data:      []byte("1\tx\n"), Diverged: []string{"*"},
	}, {Kind: event.OpSavepoint, Text: "s"},
		{Kind: event.OpSet, Settings: []event.Setting{{Name: "role", Value: "u"}}}}
	full := &event.Transaction{Shapes: []event.TableShape{{Schema: "public", Table: "t", Columns: []string{"id", "a"},
		Definition: []event.DefinitionPart{{Name: "column id", Text: "bigint"}, {Name: "column a", Text: "numeric(10,4) default 0"}}}, {}}, ID: event.TxID{1, 2}, Intent: true, DependsOn: 7, Standalone: true, Barrier: true, Hops: []string{"a", "b"},
		Begin: 1, Commit: 2, CatalogVersion: 3, FirstChunk: 9, Chunks: 2, Operations: ops,
		Context:  event.Context{User: "u", Application: "psql", Settings: []event.Setting{{Name: "TimeZone", Value: "UTC"}}},
		Postgres: event.PostgresTx{XID: 1<<64 - 1, BackendPID: 42, BackendStart: 5, ProbeLSN: 1 << 63}}
	short := &event.Transaction{ID: event.TxID{1, 0x9B}, Intent: true, DependsOn: 1, Begin: 1 << 50, Commit: 1<<50 + 9, FirstChunk: -1,
		Context: event.Context{User: "u", Application: "psql", Settings: usualSettings()}, Operations: []event.Operation{
			{Kind: event.OpStatement, Class: event.ClassPinned, Reason: "the default of column id is not the same everywhere",
				Text: "INSERT INTO a.t (ä, id) VALUES ($1, $2)", Tables: []string{"a.t", "public.u"}, Digest: event.Digest{SQLState: "00000", Affected: 1},
				Params: []event.Param{{OID: 1184, Value: []byte("2026-11-24 21:04:34.666897+00")}, {OID: 23, Value: []byte("-77")},
					{OID: 20, Binary: true, Value: []byte("12345678")}, {OID: 23, Binary: true, Value: []byte("1234")}}},
			{Kind: event.OpStatement, Class: event.ClassText, Reason: "DDL", Text: "UPDATE t SET a = $1 WHERE id = $2", Tables: []string{"public.t"},
				Digest: event.Digest{SQLState: "00000", Affected: 3, Hash: []byte{1}}}}}
	bodies := []event.Body{
		full, &event.Transaction{FirstChunk: -1},
		&event.Outcomes{List: []event.Outcome{{Ref: event.Ref{Agent: "a1", Epoch: 5, N: 6}, Committed: true, Time: 7, By: "xid status"}}},
		&event.Outcomes{},
		&event.Chunk{Tx: event.TxID{3}, Index: 1, Operations: ops}, &event.Chunk{},
		&event.Fence{Instance: [16]byte{9}, Clean: true, Gate: "recorded", Ended: []event.EpochRef{{Agent: "a1", Epoch: 3}},
			Suspect: []event.EpochRef{{Agent: "a2", Epoch: 4}}, LowestReader: 1, RecoveryLSN: 8,
			Primary: event.Primary{Make: "postgres", Version: "15.3", SystemID: "7", Timeline: 2, Database: "app", Started: 11}},
		&event.Fence{},
		&event.Mark{ID: [16]byte{4}, Phase: event.MarkSnapshot, Target: "standby", Snapshot: "1:2:", Start: 12},
		&event.Mark{Phase: event.MarkAsk}, &event.Void{}, // up to here as in version 1
		short, &event.Outcomes{List: []event.Outcome{{Ref: event.Ref{Agent: "a1", Epoch: 100, N: 8}, Committed: true, Time: 7},
			{Ref: event.Ref{Agent: "a1", Epoch: 100, N: 9}, Time: 5}}},
	}
	var out []*event.Record
	for i, b := range bodies {
		out = append(out, &event.Record{Agent: "a1", Epoch: 100, N: int64(i), Prev: []byte{5, 6, 7}, Body: b})
	}
	return out
}

// usualSettings are those of the baseline, but for one of each kind of change.
func usualSettings() []event.Setting {
	var out []event.Setting
	for _, s := range published.Baselines[usualBaseline] {
		out = append(out, event.Setting{Name: s[0], Value: s[1]})
	}
	out[2].Value = "Europe/Berlin" // one of the other usual values
	out[11].Value = "-7"           // not usual
	out[13] = event.Setting{Name: "jit", Value: "on"}
	return out
}

func TestSamplesComeBack(t *testing.T) {
	c := New()
	for _, want := range samples() {
		comesBack(t, c, want)
	}
}

func TestUnknownSchemaIsATypedError(t *testing.T) {
	var unknown *UnknownSchemaError
	for _, value := range [][]byte{{0xC3, 1, 1, 2, 3, 4, 5, 6, 7, 8}, {0, 0, 0, 0, 9}} {
		if _, err := New().DecodeRecord(value); !errors.As(err, &unknown) {
			t.Errorf("%x: %v", value, err)
		}
	}
}
