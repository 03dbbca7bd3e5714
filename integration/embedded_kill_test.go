package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lib/pq"
	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/capture/sqldriver"
	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// childVariable makes this test's program one that has the agent in it: it holds
// the agent's configuration, the primary's DSN and a number of the process.
const (
	childVariable  = "OPMUX_TEST_EMBEDDING"
	childClients   = 4
	childSeparator = "\n"
)

// embeddingChild commits what the ledger workload commits and prints what it was
// told of, until SIGTERM.
func embeddingChild(text string) int {
	config, rest, _ := strings.Cut(text, childSeparator)
	dsn, number, _ := strings.Cut(rest, childSeparator)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := embedAndWork(ctx, config, dsn, number); err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	return 0
}

func embedAndWork(ctx context.Context, config, dsn, number string) error {
	cfg, err := sqldriver.LoadConfig(config)
	if err != nil {
		return err
	}
	agent, err := sqldriver.Start(ctx, cfg)
	if err != nil {
		return err
	}
	sql.Register("opmux", agent.Wrap(&pq.Driver{}))
	db, err := sql.Open("opmux", dsn)
	if err != nil {
		return err
	}
	var process int
	if _, err := fmt.Sscan(number, &process); err != nil {
		return err
	}
	var clients errgroup.Group
	for c := range childClients {
		clients.Go(func() error {
			for seq := 0; ctx.Err() == nil; seq++ {
				client := process*childClients + c
				if err := ledgerStep(db, client, seq); err != nil {
					return err
				}
				fmt.Printf("acked %d %d\n", client, seq)
			}
			return nil
		})
	}
	return errors.Join(clients.Wait(), db.Close(), agent.Close(context.WithoutCancel(ctx)))
}

func ledgerStep(db *sql.DB, client, seq int) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	if _, err := tx.Exec("INSERT INTO ledger (client, seq) VALUES ($1, $2)", client, seq); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if _, err := tx.Exec("UPDATE counter SET v = v + 1 WHERE id = $1", (client+seq)%4); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// I1, I2, I4: a program with the agent in it is killed in mid-run, twice, and
// started again: its next start settles what was open. What its clients were told
// of is on both sides, once, and the sides are the same.
func TestAKilledEmbeddingProgramLosesAndDoublesNothing(t *testing.T) {
	b := setUp(t, rig.Config{Gate: "recorded"}, ledgerSchema...)
	b.must(b.worker("w1").Start(b.ctx))
	b.must(b.verifier().Start(b.ctx))
	log := filepath.Join(b.Dir, "embedding.log")
	w := &ledger{b: b, cancel: func() {}, acked: map[[2]int]bool{}}
	for process := range 3 {
		p, err := child.Start(child.Config{Name: "embedding", Path: os.Args[0], Log: log,
			Env: []string{fmt.Sprint(childVariable, "=", strings.Join([]string{b.EmbeddedConfig("inside"), b.Primary.DSN(rig.Database), fmt.Sprint(process)}, childSeparator))}})
		b.must(err)
		t.Cleanup(func() { _ = p.Kill() }) // it has ended where the test went well
		want := len(w.acked) + 150
		testkit.Eventually(t, catchUpTimeout, func() error {
			if !p.Running() {
				t.Fatalf("the program has ended: %v\n%s", p.Ended(), p.LogTail())
			}
			readAcked(t, log, w.acked)
			return atLeast("acknowledged commits", int64(len(w.acked)), int64(want))
		})
		if process < 2 {
			b.must(p.Kill())
		} else {
			b.must(p.Terminate(40 * time.Second))
		}
		readAcked(t, log, w.acked)
	}
	w.check()
}

func readAcked(t *testing.T, log string, acked map[[2]int]bool) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var key [2]int
		if n, _ := fmt.Sscanf(line, "acked %d %d\n", &key[0], &key[1]); n == 2 && strings.HasSuffix(line, "\n") {
			acked[key] = true
		}
	}
}
