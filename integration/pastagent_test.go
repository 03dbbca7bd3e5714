package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// retried runs a statement as an application should: again after 40001, which is
// the answer to what was classified before DDL that went past the agent.
func (b *bench) retried(sql string) {
	b.t.Helper()
	testkit.Eventually(b.t, catchUpTimeout, func() error {
		_, err := rig.Query(b.ctx, b.agent("a1").DSN(), sql)
		var refused *pgconn.PgError
		if err != nil && (!errors.As(err, &refused) || refused.Code != "40001") {
			b.t.Fatal(err)
		}
		return err
	})
}

// A column that somebody gave the primary past the agent must not make the backup
// silently different: the worker stops at the first row that has it, and goes on
// once the target has it too. An operator who changes the target first is not
// stopped at all.
func TestColumnPastTheAgentStopsTheWorker(t *testing.T) {
	b := up(t, rig.Config{}, classesSchema...)
	b.unlike = true
	b.throughAgent("INSERT INTO t VALUES (100, 1)")
	b.identical()

	b.onPrimary("ALTER TABLE t ADD COLUMN past int DEFAULT 7")
	b.retried("INSERT INTO t (id) VALUES (101)")
	testkit.Eventually(t, catchUpTimeout, func() error {
		result, err := b.Opmux(b.ctx, "wait", "--config", b.WorkerConfig("w1"), "--timeout", "5s")
		if err == nil && (result.Code != 1 || !strings.Contains(result.Stdout+result.Stderr, "table public.t has no column past")) {
			err = fmt.Errorf("opmux wait: exit code %d, want 1 and the column's name\n%s%s", result.Code, result.Stdout, result.Stderr)
		}
		return err
	})
	b.onBackup("ALTER TABLE t ADD COLUMN past int DEFAULT 7")
	b.must(b.worker("w1").Terminate())
	b.must(b.worker("w1").Start(b.ctx))
	b.throughAgent("INSERT INTO t (id) VALUES (102)")
	b.identical()

	for _, dsn := range []string{b.Backup.DSN(rig.Database), b.Primary.DSN(rig.Database)} {
		b.query(dsn, "ALTER TABLE t ADD COLUMN first_here text DEFAULT 'x'")
		b.retried("INSERT INTO t (id) VALUES ((SELECT max(id) + 1 FROM t))")
		b.must(b.Wait(b.ctx, catchUpTimeout))
	}
	b.identical()
}
