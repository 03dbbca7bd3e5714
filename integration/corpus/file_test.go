package corpus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/opmux/opmux/internal/rig"
)

// catchUp bounds how long the backup may take to have what a file did.
const catchUp = 90 * time.Second

// file runs one file three times and compares.
func (l *lab) file(ctx context.Context, s script) (*finding, error) {
	f := &finding{name: s.name, flagged: map[string]int{}}
	agent, err := l.captured(ctx, s, f)
	if err != nil || l.onUnsafe != "flag" { // elsewhere it says what it refuses
		return f, errors.Join(err, l.keep(s, ".agent", agent))
	}
	var direct [2][]byte
	for i, suffix := range []string{".direct", ".again"} {
		if err := l.reset(ctx, l.direct, s.level); err != nil {
			return nil, fmt.Errorf("the direct run's database: %w", err)
		}
		start := time.Now()
		out, err := l.answer(ctx, s, l.direct.DSN(rig.Database), directTimeout)
		if err != nil {
			return nil, err
		}
		direct[i], f.direct = out, time.Since(start)
		if err := l.keep(s, suffix, out); err != nil {
			return nil, err
		}
	}
	f.compare(direct[0], direct[1], agent)
	return f, l.keep(s, ".agent", agent)
}

// keep writes an answer where people can look at it.
func (l *lab) keep(s script, suffix string, answer []byte) error {
	return os.WriteFile(filepath.Join(l.dir, s.name+suffix), answer, 0o600)
}

// captured runs a file through an agent, waits for the worker, and looks at what
// is on the backup.
func (l *lab) captured(ctx context.Context, s script, f *finding) (out []byte, err error) {
	if err := errors.Join(l.reset(ctx, l.primary, s.level), l.reset(ctx, l.backup, s.level)); err != nil {
		return nil, fmt.Errorf("databases for the agent: %w", err)
	}
	if err := l.globals(ctx, s); err != nil {
		return nil, err
	}
	r, err := l.rig(ctx, l.primary)
	if err != nil {
		return nil, err
	}
	f.dir = r.Dir
	defer func() { err = errors.Join(err, r.Close()) }()
	agent, err := r.Agent("a1")
	if err != nil {
		return nil, err
	}
	worker, err := r.Worker("w1")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(agent.Start(ctx), worker.Start(ctx)); err != nil {
		return nil, err
	}
	start := time.Now()
	out, err = l.answer(ctx, s, agent.DSN(), agentTimeout)
	if err != nil {
		return nil, err
	}
	f.agent = time.Since(start)
	if err := l.lookAtAgent(ctx, agent, f); err != nil {
		return nil, err
	}
	if err := l.lookAtBackup(ctx, r, f); err != nil {
		return nil, err
	}
	if filepath.Ext(s.path) == ".spec" {
		err = l.permutations(ctx, r, s, f)
	}
	return out, err
}

func workerError(ctx context.Context, r *rig.Rig, err error) string {
	if status, statusErr := r.Status(ctx); statusErr == nil && status.LastError != "" {
		return status.LastError
	}
	return err.Error()
}

var panics = regexp.MustCompile(`(?m)^opmux_capture_panics_total ([1-9].*)`)

// lookAtAgent demands that the agent lives and that no session met a defect.
func (l *lab) lookAtAgent(ctx context.Context, agent *rig.Program, f *finding) error {
	if !agent.Process.Running() {
		f.broken = append(f.broken, "the agent has ended: "+agent.Process.LogTail())
		return nil
	}
	metrics, err := agent.Metrics(ctx)
	if err != nil {
		return err
	}
	if found := panics.FindStringSubmatch(metrics); found != nil {
		f.broken = append(f.broken, "sessions that ended by a defect of the agent's: "+found[1])
	}
	return nil
}

// lookAtBackup waits for the worker and compares tables and definitions with the
// primary's, without those that were flagged.
func (l *lab) lookAtBackup(ctx context.Context, r *rig.Rig, f *finding) error {
	if err := r.Wait(ctx, catchUp); err != nil {
		f.broken = append(f.broken, "worker: "+workerError(ctx, r, err))
		return f.readStream(ctx, r) // what it has not applied cannot be the same
	}
	if err := f.readStream(ctx, r); err != nil {
		return err
	}
	status, err := r.Status(ctx)
	if err != nil {
		return err
	}
	for _, d := range status.Diverged { // a worker adds what was written together with a flagged table
		f.diverged[d.Table] = true
	}
	diffs, err := r.Compare(ctx)
	if err != nil {
		f.broken = append(f.broken, "tables cannot be compared: "+err.Error())
	}
	for _, d := range diffs {
		switch {
		case f.excused(d.Table):
			f.skipped++
		case d.Identical():
			f.equal++
		default:
			f.unequal = append(f.unequal, d.String())
		}
	}
	if f.diverged["*"] {
		return nil
	}
	here, err := definitions(ctx, l.primary.DSN(rig.Database))
	if err != nil {
		return err
	}
	there, err := definitions(ctx, l.backup.DSN(rig.Database))
	if err != nil {
		return err
	}
	for line := range here {
		if !there[line] && !f.excused(ownerOf(line)) {
			f.undefined = append(f.undefined, "only on the primary: "+line)
		}
	}
	for line := range there {
		if !here[line] && !f.excused(ownerOf(line)) {
			f.undefined = append(f.undefined, "only on the backup: "+line)
		}
	}
	return nil
}

// excused tells whether a table, quoted as SQL wants it, was flagged.
func (f *finding) excused(table string) bool {
	return f.diverged["*"] || f.diverged[strings.ReplaceAll(table, `"`, "")]
}
