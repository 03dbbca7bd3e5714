package integration

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/internal/rig"
)

// Shown 2: 16 clients over two agents set 5 rows to random values in autocommit,
// 20,000 updates under recorded. Only the primary's order gives the same rows (I3).
func TestHotRowsOverTwoAgents(t *testing.T) {
	b := setUp(t, rig.Config{Gate: "recorded"},
		"CREATE TABLE hot (id int PRIMARY KEY, v int NOT NULL)",
		"INSERT INTO hot SELECT i, 0 FROM generate_series(1, 5) i")
	script := filepath.Join(b.Dir, "hot.sql")
	b.must(os.WriteFile(script, []byte("\\set id random(1, 5)\n\\set v random(1, 1000000000)\nUPDATE hot SET v = :v WHERE id = :id;\n"), 0o644))
	for _, name := range []string{"a1", "a2"} {
		b.must(b.agent(name).Start(b.ctx))
	}
	b.must(b.worker("w1").Start(b.ctx))
	b.must(b.verifier().Start(b.ctx))
	var group errgroup.Group
	for _, name := range []string{"a1", "a2"} {
		dsn := b.agent(name).DSN()
		group.Go(func() error {
			result, err := b.Run(b.ctx, filepath.Join(b.Primary.BinDir(), "pgbench"),
				"-n", "-M", "prepared", "-c", "8", "-t", "1250", "-f", script, dsn)
			if err == nil && result.Code != 0 {
				t.Errorf("pgbench through %s: exit code %d\n%s", name, result.Code, result.Stderr)
			}
			return err
		})
	}
	b.must(group.Wait())
	b.identical()
	b.allMatch(20_000)
}
