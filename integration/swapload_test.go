package integration

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

func TestSwapLoad(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn}, `CREATE SCHEMA app`, `CREATE SCHEMA other`, `CREATE TABLE app.t (id int PRIMARY KEY, n int)`, `CREATE TABLE other.t (id int PRIMARY KEY, n int)`,
		`CREATE TYPE mood AS ENUM ('sad', 'ok')`, `CREATE TABLE feels (id int PRIMARY KEY, m mood)`)
	b.unlike = true
	var id, ok, refused atomic.Int64
	end := time.Now().Add(12 * time.Second)
	var wait sync.WaitGroup
	errs := map[string]int{}
	var mu sync.Mutex
	write := func(forms ...string) {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for n := 0; time.Now().Before(end); n++ {
			i := id.Add(1)
			_, err := conn.Exec(b.ctx, fmt.Sprintf(forms[n%len(forms)], i), pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				refused.Add(1)
				mu.Lock()
				errs[err.Error()[:min(60, len(err.Error()))]]++
				mu.Unlock()
				_, _ = conn.Exec(b.ctx, "ROLLBACK")
				continue
			}
			ok.Add(1)
		}
	}
	for range 3 {
		wait.Go(func() { write(`BEGIN; INSERT INTO app.t VALUES (%d, 1); SELECT count(*) FROM pg_class; COMMIT`, `INSERT INTO app.t VALUES (%d, 1)`, `INSERT INTO feels VALUES (%d, 'ok')`) })
	}
	for range textOnly() {
		wait.Go(func() { write(`DO $$ BEGIN INSERT INTO app.t VALUES (%d, 2); END $$`, `DO $$ BEGIN INSERT INTO feels VALUES (%d, 'sad'); END $$`, `BEGIN; CREATE TEMP TABLE mine (id int) ON COMMIT DROP; INSERT INTO app.t VALUES (%d, 3); COMMIT`) })
	}
	swaps := 0
	wait.Go(func() {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for time.Now().Before(end) {
			for _, sql := range []string{`BEGIN; ALTER SCHEMA app RENAME TO third; ALTER SCHEMA other RENAME TO app; ALTER SCHEMA third RENAME TO other; COMMIT`,
				`BEGIN; ALTER TYPE mood RENAME VALUE 'sad' TO 'third'; ALTER TYPE mood RENAME VALUE 'ok' TO 'sad'; ALTER TYPE mood RENAME VALUE 'third' TO 'ok'; COMMIT`} {
				if _, err := conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
					t.Log(err)
					_, _ = conn.Exec(b.ctx, "ROLLBACK")
				} else {
					swaps++
				}
			}
		}
	})
	wait.Wait()
	t.Log("committed", ok.Load(), "refused", refused.Load(), "swaps", swaps, errs)
	sum := `SELECT n, count(*), min(id), max(id), sum(id) FROM %s GROUP BY 1 ORDER BY 1`
	b.identical()
	for _, table := range []string{"app.t", "other.t"} {
		t.Log(table, b.onPrimary(fmt.Sprintf(sum, table)), b.onBackup(fmt.Sprintf(sum, table)))
	}
	sum = `SELECT m, count(*), min(id), max(id), sum(id) FROM %s GROUP BY 1 ORDER BY 1`
	t.Log(b.onPrimary(fmt.Sprintf(sum, "feels")), b.onBackup(fmt.Sprintf(sum, "feels")))
}

func textOnly() int {
	if os.Getenv("TEXT_ONLY") != "" {
		return 0
	}
	return 2
}
