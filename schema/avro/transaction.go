package avro

import (
	"fmt"

	"github.com/opmux/opmux/event"
)

// Transactions are the hot path, which is why this package writes and reads the
// newest schemas by hand; goavro is the referee in tests and reads older ones.

// The bits of Transaction.flags.
const (
	flagIntent = 1 << iota
	flagStandalone
	flagBarrier
	flagsEnd
)

// writeTransaction writes the transaction of record n.
func writeTransaction(w *writer, n int64, t *event.Transaction) {
	w.origin = originOf(t.ID)
	w.fixed(t.ID[:])
	w.long(flag(t.Intent, flagIntent) | flag(t.Standalone, flagStandalone) | flag(t.Barrier, flagBarrier))
	w.long(n - t.DependsOn)
	w.long(t.Begin - w.origin)
	w.long(t.Commit - t.Begin)
	w.long(t.CatalogVersion)
	writeContext(w, &t.Context)
	w.long(int64(t.Postgres.XID))
	w.long(int64(t.Postgres.BackendPID))
	w.long(t.Begin - t.Postgres.BackendStart)
	w.long(int64(t.Postgres.ProbeLSN))
	writeArray(w, t.Operations, writeOperation)
	rest := t.FirstChunk != -1 || t.Chunks != 0 || len(t.Hops) > 0 || len(t.Shapes) > 0
	if w.present(rest) {
		w.strings(t.Hops)
		w.long(t.FirstChunk)
		w.long(int64(t.Chunks))
		writeArray(w, t.Shapes, writeShape)
	}
}

func flag(set bool, bit int64) int64 {
	if set {
		return bit
	}
	return 0
}

func readTransaction(r *reader, n int64, t *event.Transaction) {
	r.fixed(t.ID[:])
	r.origin = originOf(t.ID)
	flags := r.long()
	if flags < 0 || flags >= flagsEnd {
		r.fail(fmt.Errorf("a transaction has flags %#x, of which not all are known", flags))
	}
	t.Intent, t.Standalone, t.Barrier = flags&flagIntent != 0, flags&flagStandalone != 0, flags&flagBarrier != 0
	t.DependsOn = n - r.long()
	t.Begin = r.origin + r.long()
	t.Commit = t.Begin + r.long()
	t.CatalogVersion = r.long()
	readContext(r, &t.Context)
	t.Postgres = event.PostgresTx{XID: uint64(r.long()), BackendPID: r.int(),
		BackendStart: t.Begin - r.long(), ProbeLSN: uint64(r.long())}
	t.Operations = readArray(r, readOperation)
	t.FirstChunk = -1
	if r.present() {
		t.Hops = r.strings()
		t.FirstChunk, t.Chunks = r.long(), r.int()
		t.Shapes = readArray(r, readShape)
	}
}

func writeShape(w *writer, s *event.TableShape) {
	w.string(s.Schema)
	w.string(s.Table)
	w.strings(s.Columns)
	writeArray(w, s.Definition, func(w *writer, p *event.DefinitionPart) { w.string(p.Name); w.string(p.Text) })
}

func readShape(r *reader, s *event.TableShape) {
	s.Schema, s.Table, s.Columns = r.string(), r.string(), r.strings()
	if r.version >= firstDefinitions {
		s.Definition = readArray(r, func(r *reader, p *event.DefinitionPart) { p.Name, p.Text = r.string(), r.string() })
	}
}

func writeSetting(w *writer, s *event.Setting) {
	w.string(s.Name)
	w.string(s.Value)
}

func readSetting(r *reader, s *event.Setting) { s.Name, s.Value = r.string(), r.string() }
