package integration

import (
	"fmt"
	"testing"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

func atLeast(what string, got, want int64) error {
	if got < want {
		return fmt.Errorf("%d %s, want %d", got, what, want)
	}
	return nil
}

// Shown 4 (I1, I2, I4): agent, worker and broker are each killed with SIGKILL in
// mid-run under recorded. Everything acknowledged is on both sides, nothing is
// there twice, and the sides are the same.
func TestKilledPartsLoseAndDoubleNothing(t *testing.T) {
	for _, kafka := range []string{rig.KafkaEmbedded, rig.KafkaReal} {
		t.Run(kafka, func(t *testing.T) {
			b := up(t, rig.Config{Kafka: kafka, Gate: "recorded"}, ledgerSchema...)
			w := startLedger(b, 6, "a1")
			w.await(150)

			b.must(b.agent("a1").Kill())
			b.must(b.agent("a1").Start(b.ctx))
			w.await(150)

			b.must(b.worker("w1").Kill())
			w.await(100)
			b.must(b.worker("w1").Start(b.ctx))
			w.await(150)

			b.must(b.Broker.Kill())
			w.awaitFailures(1)
			b.must(b.Broker.Start(b.ctx))
			w.await(150)

			w.stop()
			w.check()
		})
	}
}

// Two agents of one source under recorded: one is killed and replaced while the
// other works on.
func TestOneOfTwoAgentsIsKilledAndReplaced(t *testing.T) {
	b := setUp(t, rig.Config{Gate: "recorded"}, ledgerSchema...)
	for _, name := range []string{"a1", "a2"} {
		b.must(b.agent(name).Start(b.ctx))
	}
	b.must(b.worker("w1").Start(b.ctx))
	w := startLedger(b, 6, "a1", "a2")
	w.await(200)
	b.must(b.agent("a1").Kill())
	w.await(200) // by a2 alone
	b.must(b.agent("a1").Start(b.ctx))
	w.await(200)
	w.stop()
	w.check()
}

// Two workers of one target: a frozen one is replaced and, thawed, does no harm.
func TestFrozenWorkerIsFenced(t *testing.T) {
	b := setUp(t, rig.Config{Gate: "recorded"}, ledgerSchema...)
	b.must(b.agent("a1").Start(b.ctx))
	b.must(b.worker("w1").Start(b.ctx))
	w := startLedger(b, 4, "a1")
	w.await(100)
	b.must(b.worker("w1").Process.Freeze())
	b.must(b.worker("w2").Launch())
	before := b.count(b.Backup.DSN(rig.Database), "SELECT count(*) FROM ledger")
	testkit.Eventually(t, catchUpTimeout, func() error {
		return atLeast("rows on the backup", b.count(b.Backup.DSN(rig.Database), "SELECT count(*) FROM ledger"), before+100)
	})
	b.must(b.worker("w1").Process.Thaw())
	w.await(200)
	w.stop()
	w.check()
}

// A primary that is killed under load: what its clients were told of is on both
// sides, the rest on both or none.
func TestKilledPrimary(t *testing.T) {
	b := up(t, rig.Config{Gate: "recorded"}, ledgerSchema...)
	w := startLedger(b, 6, "a1")
	w.await(200)
	b.must(b.Primary.Kill())
	b.must(b.Primary.Start(b.ctx))
	w.await(200)
	w.stop()
	w.check()
}

// Shown 4, gate none: an agent that is killed may lose its tail, and says so.
func TestLossUnderGateNoneIsReported(t *testing.T) {
	b := up(t, rig.Config{Gate: "none"}, ledgerSchema...)
	w := startLedger(b, 4, "a1")
	w.await(200)
	b.must(b.agent("a1").Kill())
	w.stop()
	b.must(b.agent("a1").Start(b.ctx))
	testkit.Eventually(t, catchUpTimeout, func() error {
		status, err := b.Status(b.ctx)
		if err != nil {
			return err
		}
		for _, s := range status.Suspect {
			if s.Source == rig.Source && s.Agent == "a1" {
				return nil
			}
		}
		return fmt.Errorf("opmux status names no suspect epoch: %+v", status)
	})
	b.throughAgent("INSERT INTO ledger VALUES (-1, 1)") // and it goes on
	b.must(b.Wait(b.ctx, catchUpTimeout))
	if n := b.count(b.Backup.DSN(rig.Database), "SELECT count(*) FROM ledger WHERE client = -1"); n != 1 {
		t.Errorf("the row written after the crash is there %d times on the backup, want once", n)
	}
}

// A clean stop under none loses nothing and makes nobody suspicious.
func TestCleanStopUnderGateNoneIsNotSuspect(t *testing.T) {
	b := up(t, rig.Config{Gate: "none"}, ledgerSchema...)
	w := startLedger(b, 4, "a1")
	w.await(100)
	b.must(b.agent("a1").Terminate())
	w.stop()
	b.must(b.agent("a1").Start(b.ctx))
	b.identical()
	status, err := b.Status(b.ctx)
	b.must(err)
	if len(status.Suspect) > 0 {
		t.Errorf("suspect after a clean stop: %+v", status.Suspect)
	}
}

// Under gate none a second agent of the source is refused.
func TestSecondAgentUnderGateNoneIsRefused(t *testing.T) {
	b := up(t, rig.Config{Gate: "none"}, ledgerSchema...)
	second := b.agent("a2")
	b.must(second.Launch())
	if code := second.Process.ExitCode(); code != 1 {
		t.Fatalf("a second agent under gate none ended with code %d, want 1:\n%s", code, second.Process.LogTail())
	}
}
