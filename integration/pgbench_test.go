package integration

import (
	"fmt"
	"testing"

	"github.com/opmux/opmux/internal/rig"
)

// Shown 1: pgbench's TPC-B in every protocol mode, under both gates, on both
// brokers: all tables identical on the backup, all verdicts match.
func TestPgbench(t *testing.T) {
	for _, kafka := range []string{rig.KafkaEmbedded, rig.KafkaReal} {
		for _, gate := range []string{"none", "recorded"} {
			t.Run(kafka+"/"+gate, func(t *testing.T) { pgbenchAllModes(t, kafka, gate) })
		}
	}
}

func pgbenchAllModes(t *testing.T, kafka, gate string) {
	const clients, transactions, operations = 8, 60, 4
	b := setUp(t, rig.Config{Kafka: kafka, Gate: gate})
	for _, dsn := range []string{b.Primary.DSN(rig.Database), b.Backup.DSN(rig.Database)} {
		b.pgbench(dsn, "-i", "-q", "-s", "2")
	}
	b.must(b.agent("a1").Start(b.ctx))
	b.must(b.worker("w1").Start(b.ctx))
	b.must(b.verifier().Start(b.ctx))
	var done int64
	for _, mode := range []string{"simple", "extended", "prepared"} {
		b.pgbench(b.agent("a1").DSN(), "-n", "-M", mode, "-c", fmt.Sprint(clients), "-j", "2", "-t", fmt.Sprint(transactions))
		done += clients * transactions
		b.identical()
		if got := b.count(b.Backup.DSN(rig.Database), "SELECT count(*) FROM pgbench_history"); got != done {
			t.Fatalf("after mode %s the backup's history has %d rows, want %d", mode, got, done)
		}
	}
	b.allMatch(done * operations)
}
