package verify

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/digest"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/schema/avro"
)

func TestCompareDigest(t *testing.T) {
	ok := func(affected int64, hash string) event.Digest {
		return event.Digest{SQLState: "00000", Affected: affected, Hash: []byte(hash)}
	}
	failed := event.Digest{SQLState: "23505", Affected: 0}
	for _, c := range []struct {
		name   string
		level  event.Level
		p, q   event.Digest
		want   event.Verdict
		reason string
	}{
		{"equal", event.LevelFull, ok(1, "a"), ok(1, "a"), event.VerdictMatch, ""},
		{"rows differ", event.LevelFull, ok(1, "a"), ok(1, "b"), event.VerdictMismatch, "resulting rows"},
		{"rows differ, count asked", event.LevelCount, ok(1, "a"), ok(1, "b"), event.VerdictMatch, ""},
		{"counts differ", event.LevelCount, ok(1, ""), ok(0, ""), event.VerdictMismatch, "affected rows: 1 on the primary, 0 on the backup"},
		{"counts differ, code asked", event.LevelCode, ok(1, ""), ok(0, ""), event.VerdictMatch, ""},
		{"no rows to hash on either side", event.LevelFull, ok(-1, ""), ok(-1, ""), event.VerdictMatch, ""},
		{"one side without hash", event.LevelFull, ok(1, "a"), ok(1, ""), event.VerdictSkipped, "hash"},
		{"one side without count", event.LevelCount, ok(1, ""), ok(-1, ""), event.VerdictSkipped, "row count"},
		{"error on the backup", event.LevelCode, ok(1, ""), failed, event.VerdictMismatch, "23505"},
		{"errors of one class", event.LevelCode, failed, event.Digest{SQLState: "23503"}, event.VerdictMatch, ""},
	} {
		got, reason := compareDigest(c.level, &c.p, &c.q)
		if got != c.want || !strings.Contains(reason, c.reason) || (c.reason == "") != (reason == "") {
			t.Errorf("%s: %s, %q; want %s, %q", c.name, got, reason, c.want, c.reason)
		}
	}
}

func TestCompareLevels(t *testing.T) {
	level := func(rec *event.DigestRecord, l event.Level) *event.DigestRecord {
		rec.Level = l
		return rec
	}
	for _, c := range []struct {
		name                   string
		asked, primary, backup event.Level
		rows                   int64
		want, reason           string
	}{
		{"all have it", event.LevelFull, event.LevelFull, event.LevelFull, 1, "a:match=1", ""},
		{"verifier asks for less", event.LevelCode, event.LevelFull, event.LevelFull, 2, "a:match=1", ""},
		{"primary has less", event.LevelFull, event.LevelCount, event.LevelFull, 1, "a:skipped=1", "the primary's digest has count"},
		{"backup has less", event.LevelFull, event.LevelFull, event.LevelCode, 1, "a:skipped=1", "the digest of a has code"},
		{"what there is differs", event.LevelFull, event.LevelCount, event.LevelFull, 2, "a:mismatch=1", "affected rows"},
	} {
		v := compare(c.asked, level(primaryOf(1, 1), c.primary), level(backupOf("a", 1, c.rows), c.backup))
		if brief(v) != c.want || c.reason != "" && !strings.Contains(v.Findings[0].Reason, c.reason) {
			t.Errorf("%s: %s %+v, want %s because %q", c.name, brief(v), v.Findings, c.want, c.reason)
		}
	}
}

func TestCompareOperationsOfOneSide(t *testing.T) {
	primary, backup := primaryOf(1, 1, 2, 3), backupOf("a", 1, 1, 2, 3, 4)
	primary.Operations[0].Skipped = "flagged"
	backup.Operations[1].Skipped = "diverged: public.t"
	backup.Operations = append(backup.Operations[:2], backup.Operations[3])
	v := compare(event.LevelCount, primary, backup)
	if brief(v) != "a:mismatch=1missing=1skipped=2" {
		t.Fatalf("%s %+v", brief(v), v.Findings)
	}
	if f := v.Findings[3]; f.Index != 3 || !strings.Contains(f.Reason, "no such operation") {
		t.Errorf("%+v", f)
	}
}

func TestCompareWithoutOperations(t *testing.T) {
	many := skipOf("", 1, digest.MaxOperations+5, digest.TooMany)
	backup := skipOf("a", 1, digest.MaxOperations+5, digest.TooMany)
	v := compare(event.LevelCount, many, backup)
	if v.Skipped != digest.MaxOperations+5 || len(v.Findings) != 1 || v.Findings[0].Index != -1 {
		t.Errorf("%+v", v)
	}
	v = compare(event.LevelCount, primaryOf(1, 1, 2), skipOf("a", 1, 2, "take-over"))
	if v.Skipped != 2 || len(v.Findings) != 2 || v.Findings[1].Statement == "" || !strings.Contains(v.Findings[0].Reason, "a: take-over") {
		t.Errorf("%+v", v)
	}
	if _, err := avro.New().EncodeVerdict(v); err != nil {
		t.Error(err)
	}
}

func TestI7_FindingsAreBoundedAndKeepMismatches(t *testing.T) {
	rows := make([]int64, 500)
	primary, backup := primaryOf(1, rows...), backupOf("a", 1, rows...)
	for i := range primary.Operations {
		primary.Operations[i].Skipped = "flagged"
	}
	primary.Operations[499].Skipped = ""
	backup.Operations[499].Affected = 7
	v := compare(event.LevelCount, primary, backup)
	if v.Skipped != 499 || v.Mismatch != 1 || len(v.Findings) != maxFindings {
		t.Fatalf("%s, %d findings", brief(v), len(v.Findings))
	}
	for _, f := range v.Findings {
		if f.Verdict == event.VerdictMismatch && f.Index == 499 {
			return
		}
	}
	t.Error("the mismatch is not among the findings")
}
