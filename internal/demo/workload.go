package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
)

// operationsPerTransaction is how many operations of pgbench's TPC-B transaction
// are published: three UPDATEs and an INSERT; its SELECT changes nothing.
const operationsPerTransaction = 4

// overtime is how long pgbench may take beyond its time before the demo gives up.
const overtime = time.Minute

// fill makes pgbench's tables on the primary, before opmux is there.
func (d *demo) fill(ctx context.Context) error {
	result, err := d.rig.Run(ctx, d.pgbench(), "-h", "127.0.0.1", "-p", strconv.Itoa(d.rig.Primary.Port), "-U", pgserver.Superuser,
		"-i", "-q", "-s", strconv.Itoa(d.Scale), rig.Database)
	if err != nil {
		return err
	}
	if result.Code != 0 {
		return fmt.Errorf("pgbench -i: exit code %d\n%s", result.Code, result.Stderr)
	}
	return nil
}

func (d *demo) pgbench() string { return filepath.Join(d.rig.Primary.BinDir(), "pgbench") }

// workload runs pgbench through the agent and shows what happens meanwhile.
func (d *demo) workload(ctx context.Context) error {
	agent, err := d.rig.Agent("a1")
	if err != nil {
		return err
	}
	d.say("\n  pgbench runs for %v through opmux: %d clients, banking transactions (TPC-B)", d.Duration, d.Clients)
	bench, err := child.Start(child.Config{
		Name: "pgbench", Path: d.pgbench(), Log: filepath.Join(d.rig.Dir, "pgbench.log"),
		Args: []string{"-h", "127.0.0.1", "-p", agent.Port(), "-U", pgserver.Superuser, "-n", "-M", "prepared",
			"-c", strconv.Itoa(d.Clients), "-j", "2", "-T", strconv.Itoa(int(d.Duration.Seconds())), rig.Database},
	})
	if err != nil {
		return err
	}
	defer func() { _ = bench.Kill() }() // where ctx ended first
	return d.watch(ctx, bench)
}

func (d *demo) watch(ctx context.Context, bench *child.Process) error {
	began := time.Now()
	d.watcher.began = began
	group, ctx := errgroup.WithContext(ctx)
	verdictsCtx, stopVerdicts := context.WithCancel(ctx)
	group.Go(func() error { d.watcher.pollVerdicts(verdictsCtx, d.rig); return nil })
	group.Go(func() error {
		defer stopVerdicts()
		tick := time.NewTicker(d.interval())
		defer tick.Stop()
		late := time.NewTimer(d.Duration + overtime)
		defer late.Stop()
		for {
			select {
			case <-late.C:
				return fmt.Errorf("pgbench has not ended %v after its time: a session hangs", overtime)
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
				d.progress(ctx)
			case <-bench.Done():
				d.watcher.count(ctx, d.rig)
				d.watcher.rate = float64(d.watcher.primary) / time.Since(began).Seconds() // of all
				d.draw()
				if d.Live {
					d.say("")
				}
				if code := bench.ExitCode(); code != 0 {
					return fmt.Errorf("exit code %d: %w", code, bench.Ended())
				}
				return nil
			}
		}
	})
	return group.Wait()
}

// interval is how often a line is drawn: often on a terminal, seldom in a log.
func (d *demo) interval() time.Duration {
	if d.Live {
		return 500 * time.Millisecond
	}
	return 4 * time.Second
}

// progress draws one line. What cannot be asked just now is left as it was.
func (d *demo) progress(ctx context.Context) {
	d.watcher.count(ctx, d.rig)
	d.draw()
}

func (d *demo) draw() {
	line := d.watcher.line()
	if d.Live {
		d.sayPart("\r\033[K  %s", line)
		return
	}
	d.say("  %s", line)
}
