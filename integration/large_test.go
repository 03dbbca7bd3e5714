package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// I7: transactions far larger than a record travel in chunks, with savepoints
// and what was rolled back, and neither agent nor worker grows with them.
func TestLargeTransactions(t *testing.T) {
	const most = 300 << 20 // bytes that a program may have needed at its peak
	b := up(t, rig.Config{}, "CREATE TABLE big (id int PRIMARY KEY, v text)")
	conn := testkit.Connect(t, b.agent("a1").DSN()).PgConn()
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(b.ctx, sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec("BEGIN")
	exec("INSERT INTO big SELECT i, repeat('x', 500) FROM generate_series(1, 60000) i") // rows: 30 MB
	exec("SAVEPOINT s")
	exec("UPDATE big SET v = repeat('y', 500) WHERE id % 2 = 0") // 15 MB, undone
	exec("ROLLBACK TO s")
	exec("UPDATE big SET v = 'z' WHERE id <= 10")
	exec("COMMIT")
	exec("BEGIN")
	exec("INSERT INTO big SELECT i, repeat('n', 500) FROM generate_series(100001, 140000) i")
	exec("ROLLBACK")
	copyMany(b.ctx, t, b.agent("a1").DSN(), 300_000)
	b.identical()
	for _, program := range []*rig.Program{b.agent("a1"), b.worker("w1")} {
		peak := peakMemory(t, program.Process.Pid())
		t.Logf("%s needed %d MiB", program.Name, peak>>20)
		if peak > most {
			t.Errorf("%s needed %d MiB, want at most %d (I7)", program.Name, peak>>20, most>>20)
		}
	}
	if v := b.verdicts(3); v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, want no mismatch and nothing missing", v)
	}
}

// copyMany copies rows of 100 bytes in one COPY.
func copyMany(ctx context.Context, t *testing.T, dsn string, rows int) {
	t.Helper()
	var data bytes.Buffer
	for i := range rows {
		fmt.Fprintf(&data, "%d\t%s\n", 1_000_000+i, strings.Repeat("c", 100))
	}
	conn := testkit.Connect(t, dsn).PgConn()
	if _, err := conn.CopyFrom(ctx, &data, "COPY big FROM STDIN"); err != nil {
		t.Fatal(err)
	}
}

// peakMemory is the largest resident size that a process ever had.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatalf("no VmHWM in %s", status)
	return 0
}
