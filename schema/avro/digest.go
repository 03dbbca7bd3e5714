package avro

import "github.com/opmux/opmux/event"

func writeDigestRecord(w *writer, d *event.DigestRecord) {
	w.string(d.Source)
	w.fixed(d.Tx[:])
	w.long(d.Offset)
	w.string(d.Target)
	w.enum("level of a digest", levelSymbols, string(d.Level))
	w.long(d.Time)
	w.string(d.Skipped)
	writeArray(w, d.Operations, func(w *writer, o *event.OpDigest) {
		w.long(int64(o.Index))
		w.string(o.Statement)
		w.string(o.Skipped)
		writeDigest(w, &o.Digest)
	})
	w.long(int64(d.Count))
}

func readDigestRecord(r *reader, d *event.DigestRecord) {
	d.Source = r.string()
	r.fixed(d.Tx[:])
	d.Offset, d.Target = r.long(), r.string()
	d.Level, d.Time, d.Skipped = event.Level(r.enum(levelSymbols)), r.long(), r.string()
	d.Operations = readArray(r, func(r *reader, o *event.OpDigest) {
		o.Index, o.Statement, o.Skipped = r.int(), r.string(), r.string()
		readDigest(r, &o.Digest)
	})
	d.Count = r.int()
}

func writeVerdictRecord(w *writer, v *event.VerdictRecord) {
	w.string(v.Source)
	w.string(v.Target)
	w.fixed(v.Tx[:])
	w.long(v.Offset)
	w.long(v.Time)
	for _, n := range []int32{v.Match, v.Mismatch, v.Missing, v.Skipped} {
		w.long(int64(n))
	}
	writeArray(w, v.Findings, func(w *writer, f *event.Finding) {
		w.long(int64(f.Index))
		w.enum("verdict", verdictSymbols, string(f.Verdict))
		w.enum("level of a finding", levelSymbols, string(f.Level))
		w.string(f.Reason)
		w.string(f.Statement)
		writeDigest(w, &f.Primary)
		writeDigest(w, &f.Backup)
	})
}

func readVerdictRecord(r *reader, v *event.VerdictRecord) {
	v.Source, v.Target = r.string(), r.string()
	r.fixed(v.Tx[:])
	v.Offset, v.Time = r.long(), r.long()
	v.Match, v.Mismatch, v.Missing, v.Skipped = r.int(), r.int(), r.int(), r.int()
	v.Findings = readArray(r, func(r *reader, f *event.Finding) {
		f.Index, f.Verdict = r.int(), event.Verdict(r.enum(verdictSymbols))
		f.Level = event.Level(r.enum(levelSymbols))
		f.Reason, f.Statement = r.string(), r.string()
		readDigest(r, &f.Primary)
		readDigest(r, &f.Backup)
	})
}

func writeDigest(w *writer, d *event.Digest) {
	w.string(d.SQLState)
	w.long(d.Affected)
	w.bytes(d.Hash)
}

func readDigest(r *reader, d *event.Digest) {
	d.SQLState, d.Affected, d.Hash = r.string(), r.long(), r.bytes()
}
