package simulation

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The environment variables of the long form and of one run again.
const (
	envRuns = "OPMUX_SIMULATION_RUNS" // how many; default shortRuns
	envSeed = "OPMUX_SIMULATION_SEED" // the first seed; default 1
)

const shortRuns = 1000

func TestMain(m *testing.M) {
	// One thread: what runs next is then decided by the simulated clock, and hardly
	// ever by the runtime, so that a seed means one run.
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q: a number was expected: %v", name, text, err)
	}
	return n
}

// I1, I2, I3, I4, I6: whatever the interleaving and whatever crashes, the target has
// in the end what the primary has, each transaction once and in order, and what a
// client was told of is there.
func TestI1_I2_I3_I4_AnyInterleaving(t *testing.T) {
	first, runs := number(t, envSeed, 1), number(t, envRuns, shortRuns)
	begun, sum := time.Now(), newTotals()
	for seed := first; seed < first+runs; seed++ {
		s := scenario(seed, None)
		r := simulate(t, s)
		sum.add(r)
		if len(r.violations) > 0 {
			report(t, s, r)
			if sum.failed++; sum.failed == 3 {
				break // more of them tell no more
			}
		}
	}
	sum.log(t, time.Since(begun))
	sum.mustBeVaried(t)
}

// A failure can be looked at again only if a seed means one run. It nearly always
// does: what is left to chance are a select's choice between two that are ready at
// one instant, and identifiers that nothing depends on.
func TestASeedIsOneRun(t *testing.T) {
	const seeds = 60
	differ := 0
	for seed := range uint64(seeds) {
		s := scenario(seed, None)
		if first, second := simulate(t, s), simulate(t, s); first.trace != second.trace {
			differ++
		}
	}
	t.Logf("%d of %d seeds made two different topics", differ, seeds)
	if differ > seeds/10 {
		t.Errorf("%d of %d seeds made two different topics", differ, seeds)
	}
}

// report fails the test with the smallest scenario that fails like s.
func report(t *testing.T, s Scenario, r result) {
	t.Helper()
	small, less := shrink(t, s, r)
	t.Errorf("%v:\n  %s\nat its smallest, %v:\n  %s\nagain: %s=%d %s=1 go test ./integration/simulation", s, strings.Join(r.violations, "\n  "),
		small, strings.Join(less.violations, "\n  "), envSeed, s.Seed, envRuns)
}

// shrink takes away from a failing scenario what it fails without.
func shrink(t *testing.T, s Scenario, r result) (Scenario, result) {
	t.Helper()
	for {
		smaller := false
		for _, take := range []func(*Scenario) *int{
			func(s *Scenario) *int { return &s.Faults }, func(s *Scenario) *int { return &s.Clients },
			func(s *Scenario) *int { return &s.Transactions }, func(s *Scenario) *int { return &s.Lanes }, func(s *Scenario) *int { return &s.Rows },
		} {
			next := s
			n := take(&next)
			if *n--; *n < 1 {
				continue
			}
			if less := simulate(t, next); len(less.violations) > 0 {
				s, r, smaller = next, less, true
			}
		}
		if !smaller {
			return s, r
		}
	}
}
