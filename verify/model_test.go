package verify

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/opmux/opmux/event"
)

// TestJoinerAgainstTheTruth feeds any interleaving of digests, duplicates, skips,
// pauses, restarts and full memory, and compares what was said with what the
// partition holds. Missing is never said of what is there (no false alarm), and
// at the end every transaction has the verdict that it should (no missed alarm).
func TestJoinerAgainstTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		targets := []string{"a", "b"}[:rapid.IntRange(1, 2).Draw(rt, "targets")]
		m := &model{rig: newRig(t, targets...), rt: rt, tally: newTally()}
		m.j.max = rapid.SampledFrom([]int64{2_500, 8_000, 1 << 20}).Draw(rt, "memory")
		for n := range 30 {
			m.ops[txid(n)] = finding{state: stateCommitted, rec: primaryOf(n, 1)}
		}
		for range rapid.IntRange(1, 120).Draw(rt, "steps") {
			m.step()
		}
		for range 40 {
			m.pass(testTimeout)
			m.reread()
		}
		m.check()
	})
}

type model struct {
	*rig
	rt    *rapid.T
	tally *tally
}

func (m *model) step() {
	target := rapid.SampledFrom(m.j.targets).Draw(m.rt, "target")
	n := rapid.IntRange(0, 29).Draw(m.rt, "transaction")
	switch rapid.SampledFrom([]string{"primary", "primary", "backup", "backup", "skip", "again", "pass", "long", "restart"}).Draw(m.rt, "step") {
	case "primary":
		m.feed(primaryOf(n, 1))
	case "backup":
		m.feed(backupOf(target, n, int64(n%2))) // odd ones match
	case "skip":
		m.feed(skipOf(target, n, 1, "take-over"))
	case "again":
		if len(m.log) > 0 {
			m.feed(m.log[rapid.IntRange(0, len(m.log)-1).Draw(m.rt, "which")])
		}
	case "pass":
		m.pass(time.Duration(rapid.IntRange(1, 40).Draw(m.rt, "seconds")) * time.Second)
	case "long":
		m.pass(lingerTimes * testTimeout)
	case "restart":
		memory := m.j.max
		m.manual = true // what was not acknowledged is lost with the life
		m.restart(1000)
		m.manual = false
		m.j.max = memory
		m.ack()
	}
	m.reread()
	m.judge()
}

// reread rewinds as partition does.
func (m *model) reread() {
	for {
		from, ok := m.j.rewind()
		if !ok {
			break
		}
		for o := from; o < m.offset; o++ {
			m.j.take(o, m.log[o], m.now)
			m.settle(o + 1)
		}
	}
	m.judge()
}

// judge takes the verdicts that were said since, and raises false alarms.
func (m *model) judge() {
	for _, v := range m.verdicts {
		if v.Missing > 0 && m.last(v.Target, v.Tx) != nil {
			m.rt.Fatalf("%s is said to be missing transaction %v, which it reported", v.Target, v.Tx)
		}
		if int(v.Match+v.Mismatch+v.Missing+v.Skipped) != 1 {
			m.rt.Fatalf("a verdict on one operation counts %+v", v)
		}
		m.tally.add(v)
	}
	m.verdicts = nil
}

// last returns what a side reported of a transaction: its real digest if it has
// one, else its skip, else nil.
func (m *model) last(side string, tx event.TxID) *event.DigestRecord {
	var found *event.DigestRecord
	for _, rec := range m.log {
		if rec.Target == side && rec.Tx == tx && (found == nil || found.Skipped != "") {
			found = rec
		}
	}
	return found
}

func (m *model) check() {
	for n := range 30 {
		for _, target := range m.j.targets {
			got, said := m.tally.of(stream{"orders", target}, txid(n))
			primary, backup := m.last("", txid(n)), m.last(target, txid(n))
			var want tallied
			switch {
			case primary == nil && backup == nil:
				if said {
					m.rt.Errorf("%d on %s: nobody reported it, and the verdict is %+v", n, target, got)
				}
				continue
			case backup == nil:
				want = tallied{weight: 0, missing: 1}
			case backup.Skipped != "":
				want = tallied{weight: 1, skipped: 1}
			case n%2 == 0:
				want = tallied{weight: 2, mismatch: 1}
			default:
				want = tallied{weight: 2, match: 1}
			}
			if primary == nil && backup == nil || got != want {
				if primary == nil && !said && m.partly(n) {
					continue
				}
				m.rt.Errorf("%d on %s: the verdict is %+v, want %+v", n, target, got, want)
			}
		}
	}
	if m.j.resume >= 0 {
		m.rt.Errorf("records from %d on wait to be read again for ever", m.j.resume)
	}
}

// partly says that the primary's digest of a transaction was lost and that some
// target has not reported it: who has not cannot be told from an earlier verdict.
func (m *model) partly(n int) bool {
	for _, target := range m.j.targets {
		if m.last(target, txid(n)) == nil {
			return true
		}
	}
	return false
}

// of returns what counts for a transaction so far.
func (t *tally) of(s stream, tx event.TxID) (tallied, bool) {
	at, said := t.txs[s][tx]
	if !said {
		return tallied{}, false
	}
	return t.counts[at], true
}
