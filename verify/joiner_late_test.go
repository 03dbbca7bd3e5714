package verify

import (
	"testing"
	"time"

	"github.com/opmux/opmux/event"
)

// Digests that come early, late, twice or not at all, one rule of the joiner at a time.

func TestPrimaryBehindItsLookUpLeavesSilentTargetsMissing(t *testing.T) {
	r := newRig(t, "a", "b")
	r.ops[txid(1)] = finding{state: stateCommitted, rec: primaryOf(1, 1)}
	r.feed(backupOf("a", 1, 1))
	r.pass(maxGrace)
	r.want("a:match=1")
	// The digest was late and not lost, so an earlier entry has not told of b.
	r.feed(primaryOf(1, 1))
	r.pass(2 * testTimeout)
	r.want("b:missing=1")
}

func TestOtherTargetsHaveTheWholeTimeout(t *testing.T) {
	r := newRig(t, "a", "b")
	r.feed(backupOf("a", 1, 1))
	r.feed(primaryOf(1, 1))
	r.pass(testTimeout - time.Second)
	r.want("a:match=1")
	r.pass(time.Second)
	r.want("b:missing=1")
}

func TestPrimarysRealDigestCountsBehindItsSkip(t *testing.T) {
	r := newRig(t, "a")
	r.feed(skipOf("", 1, 1, "elsewhere"))
	r.feed(primaryOf(1, 1))
	r.feed(backupOf("a", 1, 2))
	r.want("a:mismatch=1")
	r.wantEmpty()
}

func TestMissingIsSaidOnceBesideATargetOnItsWay(t *testing.T) {
	r := newRig(t, "a", "b")
	r.absence["a"] = absence{Hold: true}
	r.feed(primaryOf(1, 1))
	r.pass(testTimeout + 5*holdFor)
	r.want("b:missing=1")
	delete(r.absence, "a")
	r.pass(2 * holdFor)
	r.want("a:missing=1")
}

func TestSkippedAbortedIsNoAlarm(t *testing.T) {
	r := newRig(t, "a")
	r.ops[txid(1)] = finding{state: stateAborted}
	r.feed(skipOf("a", 1, 1, "take-over"))
	r.pass(2 * testTimeout)
	r.want()
	r.wantEmpty()
}

func TestMissingIsNotSaidAgainAfterARestart(t *testing.T) {
	r := newRig(t, "a")
	r.feed(primaryOf(1, 1))
	r.pass(testTimeout)
	r.want("a:missing=1")
	r.wantFloor(1)
	r.restart(10)
	r.feed(primaryOf(1, 1))
	r.pass(2 * testTimeout)
	r.want()
}

// A restart reads again what memory had no room for, and what no entry keeps a place for.
func TestFloorStaysBelowWhatWasPassedOver(t *testing.T) {
	r := newRig(t, "a")
	r.start([]string{"a"}, 5_000, 0)
	for n := 0; r.j.resume < 0; n++ {
		r.feed(primaryOf(n, 1))
	}
	passed := r.j.resume
	for n := range passed {
		r.feed(backupOf("a", int(n), 1))
	}
	r.wantFloor(passed)
}

// Whatever a second report says otherwise than the first, it is judged again.
func TestAnyOtherReportIsJudgedAgain(t *testing.T) {
	for name, change := range map[string]func(*event.DigestRecord){
		"level":            func(rec *event.DigestRecord) { rec.Level = event.LevelFull },
		"index":            func(rec *event.DigestRecord) { rec.Operations[0].Index = 1 },
		"operation's skip": func(rec *event.DigestRecord) { rec.Operations[0].Skipped = "diverged" },
		"error":            func(rec *event.DigestRecord) { rec.Operations[0].SQLState = "23505" },
		"rows":             func(rec *event.DigestRecord) { rec.Operations[0].Affected = 2 },
		"hash":             func(rec *event.DigestRecord) { rec.Operations[0].Hash = []byte{1} },
	} {
		r := newRig(t, "a")
		r.ops[txid(1)] = finding{state: stateCommitted, rec: primaryOf(1, 1)}
		r.feed(primaryOf(1, 1))
		r.feed(backupOf("a", 1, 1))
		r.want("a:match=1")
		again := backupOf("a", 1, 1)
		change(again)
		r.feed(again)
		if len(r.verdicts) != 1 {
			t.Errorf("another %s: %d further verdicts, want one", name, len(r.verdicts))
		}
	}
}
