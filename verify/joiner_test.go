package verify

import (
	"testing"
	"time"

	"github.com/opmux/opmux/event"
)

func TestJoinEitherSideFirst(t *testing.T) {
	r := newRig(t, "standby")
	r.feed(primaryOf(1, 1, 2))
	r.want()
	r.wantFloor(0)
	r.feed(backupOf("standby", 1, 1, 2))
	r.want("standby:match=2")
	r.feed(backupOf("standby", 2, 1, 3))
	r.want()
	r.feed(primaryOf(2, 1, 2))
	r.want("standby:match=1mismatch=1")
	r.wantEmpty()
	r.pass(time.Hour)
	r.want()
}

func TestJoinSeveralTargets(t *testing.T) {
	r := newRig(t, "a", "b")
	r.feed(primaryOf(1, 1))
	r.feed(backupOf("b", 1, 1))
	r.want("b:match=1")
	r.wantFloor(0)
	r.feed(backupOf("stranger", 1, 7))
	r.feed(backupOf("a", 1, 7))
	r.want("a:mismatch=1")
	r.wantEmpty()
	r.feed(primaryOf(2, 1))
	r.feed(backupOf("a", 2, 1))
	r.pass(testTimeout + time.Second)
	r.want("a:match=1", "b:missing=1")
}

func TestDuplicatesAreSilent(t *testing.T) {
	r := newRig(t, "a", "b")
	for range 2 {
		r.feed(primaryOf(1, 1))
		r.feed(backupOf("a", 1, 1))
	}
	r.feed(backupOf("b", 1, 1))
	r.want("a:match=1", "b:match=1")
	r.feed(primaryOf(1, 1))
	r.feed(backupOf("a", 1, 1))
	r.feed(skipOf("a", 1, 1, "take-over"))
	r.pass(2 * testTimeout)
	r.want()
	r.wantEmpty()
}

func TestMissingOnlyAfterTheTimeout(t *testing.T) {
	r := newRig(t, "standby")
	r.feed(primaryOf(1, 1, 1))
	r.pass(testTimeout - time.Second)
	r.want()
	r.pass(time.Second)
	r.want("standby:missing=2")
	r.wantFloor(1)
}

func TestMissingIsConfirmedByReadingToTheEnd(t *testing.T) {
	r := newRig(t, "standby")
	r.feed(primaryOf(1, 1))
	// The target's digest is in the partition, but the verifier lags behind it.
	r.log = append(r.log, backupOf("standby", 1, 1))
	r.offset++
	for range 100 {
		r.now = r.now.Add(time.Second)
		r.settle(1)
	}
	r.want()
	r.j.take(1, r.log[1], r.now)
	r.settle(2)
	r.want("standby:match=1")
	r.wantEmpty()
}

func TestLaterVerdictReplacesMissing(t *testing.T) {
	for name, linger := range map[string]bool{"in memory": true, "looked up": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "standby")
			r.feed(primaryOf(1, 1))
			r.pass(testTimeout)
			r.want("standby:missing=1")
			r.ops[txid(1)] = finding{state: stateCommitted, rec: primaryOf(1, 1)}
			if !linger {
				r.pass(lingerTimes*testTimeout + time.Second)
			}
			r.feed(backupOf("standby", 1, 1))
			r.want("standby:match=1")
			r.wantEmpty()
			if linger != (r.lookups == 0) {
				t.Errorf("%d look-ups", r.lookups)
			}
		})
	}
}

func TestLatePrimaryReplacesMissing(t *testing.T) {
	r := newRig(t, "standby")
	r.feed(backupOf("standby", 1, 1))
	r.pass(testTimeout)
	r.want("standby:missing=1")
	r.pass(3 * testTimeout)
	r.feed(primaryOf(1, 1))
	r.want("standby:match=1")
	r.wantEmpty()
}

func TestPrimaryIsLookedUpSoon(t *testing.T) {
	// The agent died between OUTCOME and digest: the ops topic has the truth.
	r := newRig(t, "standby")
	r.ops[txid(1)] = finding{state: stateCommitted, rec: primaryOf(1, 1)}
	r.feed(backupOf("standby", 1, 1))
	r.pass(maxGrace)
	r.want("standby:match=1")
	r.wantEmpty()
}

func TestI2_AppliedAbortedIsAMismatch(t *testing.T) {
	r := newRig(t, "standby")
	r.ops[txid(1)] = finding{state: stateAborted}
	r.feed(backupOf("standby", 1, 1))
	r.pass(maxGrace)
	r.want("standby:mismatch=1")
	r.wantEmpty()
}

func TestTakeOverSkipLosesAgainstTheRealDigest(t *testing.T) {
	t.Run("real first", func(t *testing.T) {
		r := newRig(t, "a", "b")
		r.feed(primaryOf(1, 1))
		r.feed(backupOf("a", 1, 1))
		r.feed(skipOf("a", 1, 1, "take-over"))
		r.want("a:match=1")
	})
	t.Run("skip first", func(t *testing.T) {
		r := newRig(t, "a")
		r.feed(primaryOf(1, 1))
		r.feed(skipOf("a", 1, 1, "take-over"))
		r.want("a:skipped=1")
		r.feed(backupOf("a", 1, 1))
		r.want("a:match=1")
		r.wantEmpty()
	})
	t.Run("before the primary", func(t *testing.T) {
		r := newRig(t, "a")
		r.feed(skipOf("a", 1, 1, "take-over"))
		r.feed(backupOf("a", 1, 1))
		r.feed(skipOf("a", 1, 1, "take-over"))
		r.feed(primaryOf(1, 1))
		r.want("a:match=1")
		r.wantEmpty()
	})
	t.Run("long after the skip", func(t *testing.T) {
		r := newRig(t, "a")
		r.ops[txid(1)] = finding{state: stateCommitted, rec: primaryOf(1, 1)}
		r.feed(primaryOf(1, 1))
		r.feed(skipOf("a", 1, 1, "take-over"))
		r.pass(2 * testTimeout)
		r.want("a:skipped=1")
		r.wantEmpty()
		r.feed(backupOf("a", 1, 2))
		r.want("a:mismatch=1")
	})
	t.Run("skip alone", func(t *testing.T) {
		r := newRig(t, "a")
		r.feed(skipOf("a", 1, 3, "take-over"))
		r.pass(2 * testTimeout)
		r.want("a:skipped=3")
	})
}

func TestReplayWithAnotherResultIsJudgedAgain(t *testing.T) {
	r := newRig(t, "a")
	r.ops[txid(1)] = finding{state: stateCommitted, rec: primaryOf(1, 1)}
	r.feed(primaryOf(1, 1))
	r.feed(backupOf("a", 1, 1))
	r.want("a:match=1")
	r.feed(backupOf("a", 1, 0))
	r.want("a:mismatch=1")
	r.wantEmpty()
}

func TestTargetOnItsWayIsNotMissing(t *testing.T) {
	r := newRig(t, "standby")
	r.absence["standby"] = absence{Hold: true}
	r.feed(primaryOf(1, 1))
	r.pass(time.Hour)
	r.want()
	r.wantFloor(0)
	r.absence["standby"] = absence{Verdict: event.VerdictMissing, Reason: "stopped"}
	r.pass(2 * holdFor)
	r.want("standby:missing=1")
}

func TestSnapshotExplainsAbsence(t *testing.T) {
	r := newRig(t, "standby")
	r.absence["standby"] = absence{Verdict: event.VerdictSkipped, Reason: "before the snapshot"}
	r.feed(primaryOf(1, 1))
	r.pass(testTimeout)
	r.want("standby:skipped=1")
	r.wantEmpty()
}

func TestNothingToCompareIsNotSaid(t *testing.T) {
	r := newRig(t, "standby")
	r.feed(primaryOf(1))
	r.feed(backupOf("standby", 1))
	r.feed(primaryOf(2))
	r.feed(backupOf("standby", 3))
	r.pass(2 * testTimeout)
	r.want()
	if r.lookups != 0 {
		t.Errorf("%d look-ups of nothing", r.lookups)
	}
}

func TestRestartJudgesWhatWasPendingAndNothingElse(t *testing.T) {
	r := newRig(t, "standby")
	r.feed(backupOf("standby", 1, 1)) // 0: the target was first
	r.feed(primaryOf(2, 1))           // 1: stays pending
	r.feed(primaryOf(1, 1))           // 2
	r.feed(primaryOf(3, 1))           // 3
	r.feed(backupOf("standby", 3, 1)) // 4
	r.want("standby:match=1", "standby:match=1")
	r.wantFloor(1)
	r.restart(10)
	r.pass(testTimeout - time.Second)
	r.verdicts = nil // 3 may be said again
	r.pass(time.Second)
	// 1, whose first record is below the committed offset, is not called missing.
	r.want("standby:missing=1")
}

func TestRestartKeepsATargetThatWasFirst(t *testing.T) {
	r := newRig(t, "standby")
	r.feed(primaryOf(9, 1))
	r.feed(backupOf("standby", 9, 1))
	r.feed(backupOf("standby", 1, 1))
	r.want("standby:match=1")
	r.wantFloor(2)
	r.restart(10)
	r.feed(primaryOf(1, 1))
	r.want("standby:match=1")
	r.wantEmpty()
}

func TestFloorWaitsForTheVerdict(t *testing.T) {
	r := newRig(t, "standby")
	r.manual = true
	r.feed(primaryOf(1, 1))
	r.feed(backupOf("standby", 1, 1))
	r.feed(primaryOf(2, 1))
	r.wantFloor(0)
	r.ack()
	r.wantFloor(2)
	r.pass(testTimeout)
	r.wantFloor(2)
	r.ack()
	r.wantFloor(3)
	// A late digest of what lingers holds its own place until its verdict is safe.
	r.feed(primaryOf(3, 1))
	r.feed(backupOf("standby", 3, 1))
	r.ack()
	r.feed(backupOf("standby", 2, 1))
	r.feed(primaryOf(4, 1))
	r.wantFloor(5)
	r.ack()
	r.wantFloor(6)
}
