package corpus

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

// finding is what one file has shown.
type finding struct {
	name, dir     string // dir has the agent's and the worker's logs
	direct, agent time.Duration
	lines         int // of the answer
	unsteady      int // lines in which the direct runs differ; -1: not to be told one by one
	different     int // further lines in which the agent's answer differs; -1 likewise
	first         string
	operations    int // that were published
	flagged       map[string]int
	diverged      map[string]bool
	equal         int // tables
	skipped       int // tables that were flagged
	unequal       []string
	undefined     []string
	after         []string // permutations behind which something differed
	broken        []string // agent and worker
}

// compare compares the agent's answer with the direct ones, but for the lines in
// which those differ.
func (f *finding) compare(one, two, agent []byte) {
	a, b, c := lines(one), lines(two), lines(agent)
	f.lines = len(a)
	if len(a) != len(b) {
		f.unsteady = -1
		return
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			f.unsteady++
		}
	}
	if len(a) != len(c) {
		f.different = -1
	}
	for i := 0; i < min(len(a), len(c)); i++ {
		if !bytes.Equal(a[i], c[i]) && bytes.Equal(a[i], b[i]) {
			if f.first == "" {
				f.first = fmt.Sprintf("line %d:\n  direct: %s\n  agent:  %s", i+1, a[i], c[i])
			}
			if f.different < 0 {
				return
			}
			f.different++
		}
	}
	if f.first == "" && f.different < 0 {
		f.first = fmt.Sprintf("%d lines directly, %d through the agent", len(a), len(c))
	}
}

// own are names that depend on which of the server's processes serves the session.
var own = regexp.MustCompile(`pg_(toast_)?temp_[0-9]+`)

func lines(text []byte) [][]byte {
	return bytes.Split(own.ReplaceAll(text, []byte("pg_${1}temp_N")), []byte("\n"))
}

// problem tells what must not be; "" where there is nothing.
func (f *finding) problem() string {
	var out []string
	if f.different != 0 {
		out = append(out, "the answers differ, first in "+f.first)
	}
	if len(f.unequal) > 0 {
		out = append(out, "tables of the backup differ, and nothing was flagged:\n"+strings.Join(f.unequal, "\n"))
	}
	if len(f.undefined) > 0 {
		slices.Sort(f.undefined)
		out = append(out, "definitions on the backup differ, and nothing was flagged:\n"+strings.Join(f.undefined, "\n"))
	}
	return strings.Join(slices.Concat(out, f.after, f.broken), "\n")
}

// String is the file's line of the report.
func (f *finding) String() string {
	return fmt.Sprintf("%-28s %6d lines  direct runs: %-14s agent: %-14s  %4d operations, tables: %d equal, %d unequal, %d flagged; definitions: %d differ; %5.1fs direct, %5.1fs agent%s%s",
		f.name, f.lines, count(f.unsteady, "repeatable"), f.sameness(), f.operations, f.equal, len(f.unequal), f.skipped, len(f.undefined),
		f.direct.Seconds(), f.agent.Seconds(), reasons("; flagged: ", f.flagged), strings.Join(append([]string{""}, f.broken...), "\n    ! "))
}

func (f *finding) sameness() string {
	if f.unsteady < 0 {
		return "not comparable"
	}
	return count(f.different, "same")
}

func count(n int, none string) string {
	switch n {
	case 0:
		return none
	case -1:
		return "other lines"
	}
	return fmt.Sprintf("%d lines differ", n)
}

func reasons(before string, of map[string]int) string {
	var out []string
	for _, reason := range slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(of[b]-of[a], strings.Compare(a, b)) }) {
		out = append(out, fmt.Sprintf("%d %s", of[reason], reason))
	}
	if len(out) == 0 {
		return ""
	}
	return before + strings.Join(out, ", ")
}

// report is what all files have shown.
type report []*finding

// write writes the report for people, problems behind the table.
func (r report) write(path string) error {
	var out strings.Builder
	for _, f := range r {
		fmt.Fprintln(&out, f)
	}
	fmt.Fprintf(&out, "\n%s\n", r.sum())
	for _, f := range r {
		if problem := f.problem(); problem != "" {
			fmt.Fprintf(&out, "\n%s (%s)\n%s\n", f.name, f.dir, problem)
		}
	}
	return os.WriteFile(path, []byte(out.String()), 0o600)
}

// sum adds the findings up.
func (r report) sum() string {
	var repeatable, same, equal, unequal, skipped, undefined, broken int
	flagged := map[string]int{}
	for _, f := range r {
		if f.unsteady == 0 {
			repeatable++
		}
		if f.unsteady >= 0 && f.different == 0 {
			same++
		}
		if len(f.broken) > 0 {
			broken++
		}
		if len(f.undefined) > 0 {
			undefined++
		}
		equal, unequal, skipped = equal+f.equal, unequal+len(f.unequal), skipped+f.skipped
		for reason, n := range f.flagged {
			flagged[reason] += n
		}
	}
	return fmt.Sprintf("%d files: %d repeatable, %d with the same answers through the agent, %d with other definitions on the backup, %d in which agent or worker failed\n"+
		"tables: %d equal, %d unequal, %d flagged%s", len(r), repeatable, same, undefined, broken, equal, unequal, skipped, reasons("\nflagged: ", flagged))
}
