package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
)

// pgbench runs the server's own pgbench.
type pgbench struct {
	server *pgserver.Server
	dir    string // for its logs of transactions
}

// outcome is what one run of pgbench says.
type outcome struct {
	tps          float64
	transactions int
	cpu          time.Duration // of pgbench itself
}

// fill makes pgbench's tables, the same on every server.
func (p pgbench) fill(ctx context.Context, scale int) error {
	_, _, err := p.run(ctx, p.server.Port, "-i", "-q", "-s", strconv.Itoa(scale))
	return err
}

// vacuum readies the tables that every transaction updates, as pgbench does
// before a run: their dead rows would slow later runs more than earlier ones.
func (p pgbench) vacuum(ctx context.Context) error {
	_, err := rig.Query(ctx, p.server.DSN(rig.Database), "VACUUM pgbench_branches, pgbench_tellers")
	return err
}

// speed runs a workload as fast as it goes.
func (p pgbench) speed(ctx context.Context, port int, w workload, clients int, limit ...string) (outcome, error) {
	args := append(p.args(w, clients), limit...)
	text, cpu, err := p.run(ctx, port, args...)
	if err != nil {
		return outcome{}, err
	}
	o, err := parseOutcome(text)
	o.cpu = cpu
	return o, err
}

// atRate runs a workload at a rate and returns each transaction's latency in
// milliseconds, sorted, counted from when the transaction was due: a stall
// counts for all that had to wait for its end.
func (p pgbench) atRate(ctx context.Context, port int, w workload, rate float64, seconds int) ([]float64, error) {
	prefix := filepath.Join(p.dir, fmt.Sprintf("rate-%d", time.Now().UnixNano()))
	args := append(p.args(w, clients), "-T", strconv.Itoa(seconds), "--rate", strconv.FormatFloat(rate, 'f', 1, 64), "--log", "--log-prefix", prefix)
	if _, _, err := p.run(ctx, port, args...); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(prefix + ".*")
	if err != nil {
		return nil, err
	}
	var all []float64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		list, err := parseLog(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("pgbench logged no transaction in %s", prefix)
	}
	slices.Sort(all)
	return all, nil
}

func (p pgbench) args(w workload, clients int) []string {
	script := w.script
	if script == "tpcb" {
		script = "tpcb-like"
	}
	return []string{"-n", "-b", script, "-M", w.mode, "-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(threads, clients))}
}

func (p pgbench) run(ctx context.Context, port int, args ...string) (string, time.Duration, error) {
	args = append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", pgserver.Superuser}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(p.server.BinDir(), "pgbench"), append(args, rig.Database)...)
	cmd.Dir = p.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", 0, fmt.Errorf("pgbench %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

func parseOutcome(text string) (outcome, error) {
	var o outcome
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "tps = "); ok && strings.Contains(line, "without initial connection time") {
			if _, err := fmt.Sscan(rest, &o.tps); err != nil {
				return o, fmt.Errorf("pgbench says %q: %w", line, err)
			}
		}
		if rest, ok := strings.CutPrefix(line, "number of transactions actually processed: "); ok {
			if _, err := fmt.Sscanf(rest, "%d", &o.transactions); err != nil {
				return o, fmt.Errorf("pgbench says %q: %w", line, err)
			}
		}
	}
	if o.tps == 0 || o.transactions == 0 {
		return o, fmt.Errorf("pgbench did not say how many transactions there were:\n%s", text)
	}
	return o, nil
}

// parseLog reads latencies out of lines "client n microseconds script …".
func parseLog(text string) ([]float64, error) {
	var list []float64
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return nil, fmt.Errorf("a line of pgbench's log is %q, expected a latency as its third word", line)
		}
		micros, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			return nil, fmt.Errorf("a line of pgbench's log is %q: %w", line, err)
		}
		list = append(list, micros/1000)
	}
	return list, nil
}
