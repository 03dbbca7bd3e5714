package avro

import (
	"fmt"

	"github.com/opmux/opmux/event"
)

// unset is the symbol that stands for an empty Go value, in enums that have it.
const unset = "unset"

// The symbols of the enums of the newest schemas, in their order there. Never
// written to.
var (
	opKindSymbols  = []string{"statement", "rows", "copy", "sequence", "savepoint", "rollbackto", "release", "flagged", "set"}
	classSymbols   = []string{unset, "text", "pinned", "rows", "refused", "none"}
	actionSymbols  = []string{"insert", "update", "delete", "upsert"}
	phaseSymbols   = []string{"ask", "answer", "snapshot"}
	levelSymbols   = []string{unset, "code", "count", "full"}
	verdictSymbols = []string{"match", "mismatch", "missing", "skipped"}
)

// The branches of the union Record.body.
const (
	branchTransaction = iota
	branchOutcomes
	branchChunk
	branchFence
	branchMark
	branchVoid
)

func writeRecord(w *writer, r *event.Record) {
	w.string(r.Agent)
	w.long(r.Epoch)
	w.long(r.N)
	w.bytes(r.Prev)
	switch body := r.Body.(type) {
	case *event.Transaction:
		w.long(branchTransaction)
		writeTransaction(w, r.N, body)
	case *event.Outcomes:
		w.long(branchOutcomes)
		writeOutcomes(w, r, body)
	case *event.Chunk:
		w.long(branchChunk)
		w.origin = originOf(body.Tx)
		w.fixed(body.Tx[:])
		w.long(int64(body.Index))
		writeArray(w, body.Operations, writeOperation)
	case *event.Fence:
		w.long(branchFence)
		writeFence(w, body)
	case *event.Mark:
		w.long(branchMark)
		writeMark(w, body)
	case *event.Void:
		w.long(branchVoid)
	default:
		w.err = fmt.Errorf("avro: a record of %s/%d n %d has a body of type %T, which no schema has", r.Agent, r.Epoch, r.N, r.Body)
	}
}

func readRecord(r *reader, rec *event.Record) {
	rec.Agent, rec.Epoch, rec.N, rec.Prev = r.string(), r.long(), r.long(), r.bytes()
	switch branch := r.long(); branch {
	case branchTransaction:
		t := &event.Transaction{}
		readTransaction(r, rec.N, t)
		rec.Body = t
	case branchOutcomes:
		o := &event.Outcomes{}
		readOutcomes(r, rec, o)
		rec.Body = o
	case branchChunk:
		c := &event.Chunk{}
		r.fixed(c.Tx[:])
		r.origin = originOf(c.Tx)
		c.Index, c.Operations = r.int(), readArray(r, readOperation)
		rec.Body = c
	case branchFence:
		f := &event.Fence{}
		readFence(r, f)
		rec.Body = f
	case branchMark:
		m := &event.Mark{}
		readMark(r, m)
		rec.Body = m
	case branchVoid:
		rec.Body = &event.Void{}
	default:
		r.fail(fmt.Errorf("the body has no branch %d", branch))
	}
}

// writeOutcomes writes the body of record rec: most outcomes are of transactions
// of its own epoch, shortly before it.
func writeOutcomes(w *writer, rec *event.Record, o *event.Outcomes) {
	var time int64
	if len(o.List) > 0 {
		time = o.List[0].Time
	}
	w.long(time)
	writeArray(w, o.List, func(w *writer, o *event.Outcome) {
		if w.present(o.Agent != rec.Agent || o.Epoch != rec.Epoch) {
			writeEpochRef(w, &event.EpochRef{Agent: o.Agent, Epoch: o.Epoch})
		}
		w.long(rec.N - o.N)
		w.bool(o.Committed)
		w.long(o.Time - time)
		w.string(o.By)
		time = o.Time
	})
}

func readOutcomes(r *reader, rec *event.Record, o *event.Outcomes) {
	time := r.long()
	o.List = readArray(r, func(r *reader, o *event.Outcome) {
		of := event.EpochRef{Agent: rec.Agent, Epoch: rec.Epoch}
		if r.present() {
			readEpochRef(r, &of)
		}
		o.Agent, o.Epoch, o.N = of.Agent, of.Epoch, rec.N-r.long()
		o.Committed = r.bool()
		time += r.long()
		o.Time, o.By = time, r.string()
	})
}

func writeFence(w *writer, f *event.Fence) {
	w.fixed(f.Instance[:])
	w.bool(f.Clean)
	w.string(f.Gate)
	writeArray(w, f.Ended, writeEpochRef)
	writeArray(w, f.Suspect, writeEpochRef)
	w.long(int64(f.LowestReader))
	p := &f.Primary
	w.string(p.Make)
	w.string(p.Version)
	w.string(p.SystemID)
	w.long(int64(p.Timeline))
	w.string(p.Database)
	w.long(p.Started)
	w.long(int64(f.RecoveryLSN))
}

func readFence(r *reader, f *event.Fence) {
	r.fixed(f.Instance[:])
	f.Clean, f.Gate = r.bool(), r.string()
	f.Ended, f.Suspect = readArray(r, readEpochRef), readArray(r, readEpochRef)
	f.LowestReader = r.int()
	f.Primary = event.Primary{Make: r.string(), Version: r.string(), SystemID: r.string(),
		Timeline: r.int(), Database: r.string(), Started: r.long()}
	f.RecoveryLSN = uint64(r.long())
}

func writeEpochRef(w *writer, e *event.EpochRef) {
	w.string(e.Agent)
	w.long(e.Epoch)
}

func readEpochRef(r *reader, e *event.EpochRef) { e.Agent, e.Epoch = r.string(), r.long() }

func writeMark(w *writer, m *event.Mark) {
	w.fixed(m.ID[:])
	w.enum("phase of a mark", phaseSymbols, string(m.Phase))
	w.string(m.Target)
	w.string(m.Snapshot)
	w.long(m.Start)
}

func readMark(r *reader, m *event.Mark) {
	r.fixed(m.ID[:])
	m.Phase = event.MarkPhase(r.enum(phaseSymbols))
	m.Target, m.Snapshot, m.Start = r.string(), r.string(), r.long()
}
