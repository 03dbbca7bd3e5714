package verify

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/opmux/opmux/event"
)

// maxFindings bounds the operations that one verdict details; its counts cover
// all of them. A record of the verdicts topic stays far below a broker's limit.
const maxFindings = 100

// verdictBuilder puts one VerdictRecord together.
type verdictBuilder struct {
	rec event.VerdictRecord
}

func newVerdict(target string, side *event.DigestRecord) *verdictBuilder {
	return &verdictBuilder{event.VerdictRecord{
		Source: side.Source, Target: target, Tx: side.Tx, Offset: side.Offset,
	}}
}

// add counts one operation and keeps its finding if it is not a match. Where
// there are too many, a mismatch takes the place of something less.
func (b *verdictBuilder) add(f event.Finding) {
	switch f.Verdict {
	case event.VerdictMatch:
		b.rec.Match++
		return
	case event.VerdictMismatch:
		b.rec.Mismatch++
	case event.VerdictMissing:
		b.rec.Missing++
	case event.VerdictSkipped:
		b.rec.Skipped++
	}
	if len(b.rec.Findings) < maxFindings {
		b.rec.Findings = append(b.rec.Findings, f)
		return
	}
	if f.Verdict != event.VerdictMismatch {
		return
	}
	for i := range b.rec.Findings {
		if b.rec.Findings[i].Verdict != event.VerdictMismatch {
			b.rec.Findings[i] = f
			return
		}
	}
}

// whole says the same verdict of every operation that a side knows of.
func (b *verdictBuilder) whole(side *event.DigestRecord, verdict event.Verdict, level event.Level, reason string) {
	for i := range side.Operations {
		op := &side.Operations[i]
		f := event.Finding{Index: op.Index, Verdict: verdict, Level: level, Reason: reason, Statement: op.Statement}
		if side.Target == "" {
			f.Primary = op.Digest
		} else {
			f.Backup = op.Digest
		}
		b.add(f)
	}
	rest := side.Count - int32(len(side.Operations))
	if rest <= 0 {
		return
	}
	// The side did not keep them: one finding stands for all.
	f := event.Finding{Index: -1, Verdict: verdict, Level: level, Reason: reason}
	b.add(f)
	switch verdict {
	case event.VerdictMissing:
		b.rec.Missing += rest - 1
	case event.VerdictSkipped:
		b.rec.Skipped += rest - 1
	case event.VerdictMismatch:
		b.rec.Mismatch += rest - 1
	}
}

// compare makes the verdict of a transaction on a target whose both sides are here.
func compare(asked event.Level, primary, backup *event.DigestRecord) *event.VerdictRecord {
	b := newVerdict(backup.Target, primary)
	if reason := skipReason(primary, backup); reason != "" {
		fuller := primary
		if len(backup.Operations) > len(primary.Operations) ||
			len(primary.Operations) == 0 && backup.Count > primary.Count {
			fuller = backup
		}
		b.whole(fuller, event.VerdictSkipped, asked, reason)
		return &b.rec
	}
	level := lower(asked, lower(primary.Level, backup.Level))
	others := make(map[int32]*event.OpDigest, len(backup.Operations))
	for i := range backup.Operations {
		others[backup.Operations[i].Index] = &backup.Operations[i]
	}
	for i := range primary.Operations {
		p := &primary.Operations[i]
		q := others[p.Index]
		delete(others, p.Index)
		f := compareOp(asked, level, p, q, backup.Target)
		f.Index, f.Statement = p.Index, p.Statement
		if f.Verdict == event.VerdictSkipped && f.Reason == "" {
			f.Reason = levelReason(asked, primary, backup)
		}
		b.add(f)
	}
	for _, i := range sortedKeys(others) {
		f := onlyBackup(level, others[i])
		f.Index = i
		b.add(f)
	}
	return &b.rec
}

// compareOp compares one operation. A skipped finding without a reason means
// that asked is more than the digests have, and what they have is equal.
func compareOp(asked, level event.Level, p, q *event.OpDigest, target string) event.Finding {
	f := event.Finding{Level: level, Primary: p.Digest}
	if q != nil {
		f.Backup = q.Digest
	}
	switch {
	case p.Skipped != "":
		f.Verdict, f.Reason = event.VerdictSkipped, "primary: "+p.Skipped
	case q == nil:
		f.Verdict, f.Reason = event.VerdictMissing, fmt.Sprintf("%s reported the transaction without this operation", target)
	case q.Skipped != "":
		f.Verdict, f.Reason = event.VerdictSkipped, target+": "+q.Skipped
	default:
		f.Verdict, f.Reason = compareDigest(level, &p.Digest, &q.Digest)
		if f.Verdict == event.VerdictMatch && level.Rank() < asked.Rank() {
			f.Verdict = event.VerdictSkipped
		}
	}
	return f
}

// compareDigest compares two digests as far as level goes.
func compareDigest(level event.Level, p, q *event.Digest) (event.Verdict, string) {
	if class(p.SQLState) != class(q.SQLState) {
		return event.VerdictMismatch, fmt.Sprintf("SQLSTATE class: %s on the primary, %s on the backup", p.SQLState, q.SQLState)
	}
	if level.Rank() < event.LevelCount.Rank() {
		return event.VerdictMatch, ""
	}
	if p.Affected != q.Affected {
		if p.Affected < 0 || q.Affected < 0 {
			return event.VerdictSkipped, "only one side has a row count"
		}
		return event.VerdictMismatch, fmt.Sprintf("affected rows: %d on the primary, %d on the backup", p.Affected, q.Affected)
	}
	if level.Rank() < event.LevelFull.Rank() || bytes.Equal(p.Hash, q.Hash) {
		return event.VerdictMatch, ""
	}
	if len(p.Hash) == 0 || len(q.Hash) == 0 {
		return event.VerdictSkipped, "only one side has a hash of the rows"
	}
	return event.VerdictMismatch, "the resulting rows differ"
}

func onlyBackup(level event.Level, q *event.OpDigest) event.Finding {
	f := event.Finding{Level: level, Backup: q.Digest, Statement: q.Statement}
	if q.Skipped != "" {
		f.Verdict, f.Reason = event.VerdictSkipped, q.Skipped
	} else {
		f.Verdict, f.Reason = event.VerdictMismatch, "the primary has no such operation"
	}
	return f
}

// class is the part of an SQLSTATE that every make of server agrees on.
func class(sqlstate string) string {
	if len(sqlstate) > 2 {
		return sqlstate[:2]
	}
	return sqlstate
}

func skipReason(primary, backup *event.DigestRecord) string {
	if primary.Skipped != "" {
		return "primary: " + primary.Skipped
	}
	if backup.Skipped != "" {
		return backup.Target + ": " + backup.Skipped
	}
	return ""
}

func levelReason(asked event.Level, primary, backup *event.DigestRecord) string {
	if primary.Level.Rank() < asked.Rank() {
		return fmt.Sprintf("level %s is asked for, the primary's digest has %s", asked, primary.Level)
	}
	return fmt.Sprintf("level %s is asked for, the digest of %s has %s", asked, backup.Target, backup.Level)
}

func lower(a, b event.Level) event.Level {
	if b.Rank() < a.Rank() {
		return b
	}
	return a
}

func sortedKeys(m map[int32]*event.OpDigest) []int32 {
	keys := make([]int32, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// failed says whether a verdict is an alarm.
func failed(v *event.VerdictRecord) bool { return v.Mismatch > 0 || v.Missing > 0 }

// weight orders verdicts of one transaction on one target by what they rest on:
// a comparison beats a skip, a skip beats missing. Among equals the later holds.
func weight(v *event.VerdictRecord) int {
	switch {
	case v.Match > 0 || v.Mismatch > 0:
		return 2
	case v.Skipped > 0:
		return 1
	}
	return 0
}
