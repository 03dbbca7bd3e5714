package property

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// minimiseVariable is how many seconds a failing run may spend on smaller plans; 0:
// none. A run that passes spends nothing, so it is on without being asked for.
const minimiseVariable = "OPMUX_PROPERTY_MINIMISE"

const (
	minimiseSeconds = 180
	// leaveToTest is kept of the test's own time, to report what was found.
	leaveToTest = time.Minute
	// replayPatience bounds how long the backup of a replay may take.
	replayPatience = 15 * time.Second
	replayVerify   = 4 * time.Second
	// slices of time that a run is cut into first.
	timeSlices = 16
	// A replay runs small plans again and again, for about so many steps.
	roundSteps = 1500
	mostRounds = 40
	// mostPrinted bounds the steps of a plan that goes to the test's output.
	mostPrinted = 120
)

// minimiser looks for smaller plans that fail in the same way.
type minimiser struct {
	t      *testing.T
	f      form
	use    rig.Parts
	kind   string
	dir    string
	until  time.Time
	runs   int
	failed int
}

// minimise stops the world, whose servers it uses, and prints the smallest plan
// that it finds to fail in the same way.
func (w *world) minimise(ctx context.Context, t *testing.T, f form, p plan, kind string, tooLong bool) {
	until := time.Now().Add(time.Duration(testkit.FromEnv[uint64](t, minimiseVariable, minimiseSeconds)) * time.Second)
	if deadline, ok := t.Deadline(); ok && deadline.Add(-leaveToTest).Before(until) {
		until = deadline.Add(-leaveToTest)
	}
	if tooLong {
		t.Logf("not minimised: the run had more than %d steps; a shorter one (%s) may fail too", mostSteps, secondsVariable)
		return
	}
	for _, program := range w.programs {
		must(t, program.Kill())
	}
	m := &minimiser{t: t, f: f, use: rig.Parts{Primary: w.Primary, Backup: w.Backup}, kind: kind, dir: t.TempDir(), until: until}
	if m.over() {
		t.Logf("not minimised: no time for it (%s)", minimiseVariable)
		return
	}
	before := len(p.steps)
	p, ok := m.reproduce(ctx, p)
	if !ok {
		t.Logf("not minimised: in %d replays of the run's beginning and of all of it (%d steps by %d clients) none failed with %q. It may depend on timing, or on a cancel, "+
			"which replays do not have: run the seed again, or give it more time (%s)", m.runs, before, len(p.by()), kind, minimiseVariable)
		return
	}
	p = m.shrink(ctx, p)
	steady := m.steadiness(ctx, p)
	t.Logf("the smallest plan found in %d replays, of which %d failed with %q: %d steps by %d clients, of %d.%s\n%s",
		m.runs, m.failed, kind, len(p.steps), len(p.by()), before, steady, m.print(p))
}

// print is the plan for people, where it is one for them.
func (m *minimiser) print(p plan) string {
	if len(p.steps) <= mostPrinted {
		return p.String()
	}
	path := filepath.Join(m.f.cfg.Dir, "plan.sql")
	if err := os.WriteFile(path, []byte(p.String()), 0o600); err != nil {
		m.t.Error(err)
	}
	return fmt.Sprintf("too long to be printed, it is %s (kept with %s); more time (%s) may make it shorter", path, dirVariable, minimiseVariable)
}

// reproduce looks for a beginning of the run that fails as the run did: what
// breaks often breaks early. The whole run is tried more than once, since what
// depends on timing may not fail at once.
func (m *minimiser) reproduce(ctx context.Context, p plan) (plan, bool) {
	for _, of := range []int{64, 32, 16, 8, 4, 2, 1, 1, 1} {
		begun := plan{p.schema, p.steps[:len(p.steps)/of]}
		if m.fails(ctx, begun) {
			return begun, true
		}
	}
	return p, false
}

// steadiness says how often the plan fails, if there is time left.
func (m *minimiser) steadiness(ctx context.Context, p plan) string {
	const repeats = 3
	m.until = m.until.Add(leaveToTest / 2)
	before := m.failed
	for range repeats {
		m.fails(ctx, p)
	}
	return fmt.Sprintf(" It failed in %d of %d more replays. Each runs it %d times in a row.", m.failed-before, repeats, rounds(p))
}

func (m *minimiser) over() bool { return !time.Now().Before(m.until) }

// shrink leaves out ever smaller things: stretches of time, clients, scripts,
// steps, and what of the schema is not needed.
func (m *minimiser) shrink(ctx context.Context, p plan) plan {
	slice := (p.steps[len(p.steps)-1].script + timeSlices - 1) / timeSlices
	for _, of := range []func(*step) int{
		func(s *step) int { return s.script / slice },
		func(s *step) int { return s.client },
		func(s *step) int { return s.script },
		func(s *step) int { return int(s.began) },
	} {
		p.steps = joined(ddmin(groups(p.steps, of), m.over, func(kept [][]*step) bool {
			return m.fails(ctx, plan{p.schema, joined(kept)})
		}))
	}
	for _, reduce := range []func(*schema) []part{(*schema).wholes, (*schema).details} {
		parts := ddmin(reduce(p.schema), m.over, func(kept []part) bool {
			return m.fails(ctx, plan{p.schema.only(kept, reduce(p.schema)), p.steps})
		})
		p.schema = p.schema.only(parts, reduce(p.schema))
	}
	return p
}

// ddmin returns a part of items that fails and of which, time permitting, no
// single one can be left out (after Zeller's delta debugging): it leaves out
// halves, then ever smaller stretches.
func ddmin[T any](items []T, over func() bool, fails func([]T) bool) []T {
	size := (len(items) + 1) / 2
	for size > 0 && !over() {
		smaller := false
		for at := 0; at < len(items) && !over(); {
			kept := slices.Concat(items[:at], items[min(at+size, len(items)):])
			if fails(kept) {
				items, smaller = kept, true
			} else {
				at += size
			}
		}
		if size == 1 && !smaller {
			break
		}
		size = (size + 1) / 2
	}
	return items
}

// fails runs a plan on databases of its own and tells whether it ends as the
// first run did. What cannot be run did not fail.
func (m *minimiser) fails(ctx context.Context, p plan) bool {
	if m.over() || len(p.steps) == 0 {
		return false
	}
	m.runs++
	failures, err := m.run(ctx, p)
	if err != nil {
		m.t.Logf("replay %d: %v", m.runs, err)
		return false
	}
	same := slices.ContainsFunc(failures, func(f failure) bool { return f.like(m.kind) })
	if same {
		m.failed++
	}
	return same
}

// rounds is how often a replay runs a plan: a small one takes less time than what
// it runs on, and what depends on timing needs more than one chance.
func rounds(p plan) int { return min(max(roundSteps/max(len(p.steps), 1), 1), mostRounds) }

func (m *minimiser) run(ctx context.Context, p plan) (failures []failure, err error) {
	for _, server := range []*pgserver.Server{m.use.Primary, m.use.Backup} {
		if err := anew(ctx, server); err != nil {
			return nil, err
		}
	}
	cfg := m.f.cfg
	cfg.Use, cfg.VerifyTimeout = m.use, replayVerify
	cfg.Dir = filepath.Join(m.dir, fmt.Sprintf("replay-%d", m.runs))
	w := &world{agents: m.f.agents, inProcess: m.f.inProcess, log: func(string, ...any) {}, wanted: m.kind}
	defer func() { err = errors.Join(err, w.close(), os.RemoveAll(cfg.Dir)) }()
	if err := w.open(ctx, cfg, p.schema); err != nil {
		return nil, err
	}
	for range rounds(p) {
		if failures := w.replay(ctx, p); failures != nil {
			return failures, nil
		}
	}
	return w.check(ctx, replayPatience)
}

// anew makes the rig's database again, with nothing in it.
func anew(ctx context.Context, server *pgserver.Server) error {
	// With prepared transactions left a database is not dropped.
	left, err := rig.Query(ctx, server.DSN("postgres"), "SELECT pg_catalog.format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = '"+rig.Database+"'")
	if err != nil {
		return err
	}
	for _, row := range left {
		if _, err := rig.Query(ctx, server.DSN(rig.Database), row[0]); err != nil {
			return err
		}
	}
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + rig.Database + " WITH (FORCE)", "CREATE DATABASE " + rig.Database} {
		if _, err := rig.Query(ctx, server.DSN("postgres"), sql); err != nil {
			return err
		}
	}
	return nil
}
