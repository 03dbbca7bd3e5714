package corpus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/opmux/opmux/internal/rig"
)

// mostPermutations bounds how many permutations of a spec are looked at one by one.
const mostPermutations = 6

// A spec's own teardown takes away what there is to compare. So some permutations
// run once more without it, and the backup is looked at before it comes.
type spec struct {
	head         string   // everything but the global teardown and permutations
	teardown     []string // global, as SQL
	permutations []string
}

var (
	globalTeardown = regexp.MustCompile(`(?m)^\s*teardown\s*\{([^}]*)\}`)
	sessionWord    = regexp.MustCompile(`(?m)^\s*session\s+"?[\w-]+"?`)
	stepWord       = regexp.MustCompile(`(?m)^\s*step\s+"?(\w+)"?\s*\{`)
	permutation    = regexp.MustCompile(`(?m)^\s*permutation\b`)
	comment        = regexp.MustCompile(`(?m)^\s*#.*$`)
)

func readSpec(path string) (*spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text := comment.ReplaceAllString(string(data), "")
	first := sessionWord.FindStringIndex(text)
	if first == nil {
		return nil, fmt.Errorf("%s has no session", path)
	}
	s := &spec{}
	global, rest := text[:first[0]], text[first[0]:]
	for _, found := range globalTeardown.FindAllStringSubmatch(global, -1) {
		s.teardown = append(s.teardown, found[1])
	}
	starts := permutation.FindAllStringIndex(rest, -1)
	end := len(rest)
	for i := len(starts) - 1; i >= 0; i-- {
		s.permutations = append(s.permutations, rest[starts[i][0]:end])
		end = starts[i][0]
	}
	s.head = globalTeardown.ReplaceAllString(global, "") + rest[:end]
	if len(starts) == 0 {
		s.permutations = interleavings(rest)
	}
	return s, nil
}

// interleavings draws permutations of a spec that names none, which means all.
func interleavings(sessions string) []string {
	starts := sessionWord.FindAllStringIndex(sessions, -1)
	var steps [][]string
	for i, start := range starts {
		end := len(sessions)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		var names []string
		for _, found := range stepWord.FindAllStringSubmatch(sessions[start[0]:end], -1) {
			names = append(names, found[1])
		}
		steps = append(steps, names)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var out []string
	for range mostPermutations {
		out = append(out, "permutation "+strings.Join(interleave(r, steps), " ")+"\n")
	}
	return out
}

func interleave(r *rand.Rand, steps [][]string) []string {
	var turns []int
	for i, names := range steps {
		for range names {
			turns = append(turns, i)
		}
	}
	r.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	next := make([]int, len(steps))
	var out []string
	for _, i := range turns {
		out = append(out, steps[i][next[i]])
		next[i]++
	}
	return out
}

// permutations runs some of a spec's permutations through the agent and compares
// the backup after each.
func (l *lab) permutations(ctx context.Context, r *rig.Rig, s script, f *finding) error {
	parts, err := readSpec(s.path)
	if err != nil {
		return err
	}
	agent, err := r.Agent("a1")
	if err != nil {
		return err
	}
	// A run that took too long was ended amid its transactions.
	if err := obey(ctx, agent.DSN(), "SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = current_database()"); err != nil {
		return err
	}
	step := max(1, len(parts.permutations)/mostPermutations)
	for i := 0; i < len(parts.permutations) && i/step < mostPermutations && len(f.broken) == 0; i += step {
		path := filepath.Join(r.Dir, fmt.Sprintf("%s-%d.spec", s.name, i))
		if err := os.WriteFile(path, []byte(parts.head+"\n"+parts.permutations[i]), 0o600); err != nil {
			return err
		}
		out, err := l.answer(ctx, script{name: s.name, path: path}, agent.DSN(), directTimeout)
		if err != nil {
			return err
		}
		before := len(f.unequal) + len(f.undefined)
		if err := l.lookAtBackup(ctx, r, f); err != nil {
			return err
		}
		if len(f.unequal)+len(f.undefined) > before {
			f.after = append(f.after, "after "+path+"\n"+string(out))
		}
		for _, sql := range parts.teardown {
			// What it cannot drop, the next one's setup does not find free either,
			// and there is nothing new to compare then.
			_, _ = rig.Query(ctx, agent.DSN(), sql)
		}
	}
	return nil
}
