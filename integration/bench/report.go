package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Between these lines of a report stands what a person wrote; it outlives runs.
const (
	keepBegin = "<!-- written by hand, kept by make bench: begin -->"
	keepEnd   = "<!-- written by hand, kept by make bench: end -->"
)

// report is what a run found.
type report struct {
	machine  []string // lines
	goals    []goal
	sections []section
	took     time.Duration
}

type section struct {
	title, intro string
	tables       []table
}

type table struct {
	title string // may be empty
	head  []string
	rows  [][]string
}

// goal is a figure that the project set itself.
type goal struct {
	what      string
	want, got float64
	atMost    bool // want is the most, not the least
	unit      string
}

func (g goal) reached() bool {
	if g.atMost {
		return g.got <= g.want
	}
	return g.got >= g.want
}

func (r *report) goal(g goal) { r.goals = append(r.goals, g) }

// add adds a table to the section of that title.
func (r *report) add(title, intro string, t table) {
	for i := range r.sections {
		if r.sections[i].title == title {
			r.sections[i].tables = append(r.sections[i].tables, t)
			return
		}
	}
	r.sections = append(r.sections, section{title, intro, []table{t}})
}

// write writes the report to a file, or to standard output where there is none.
func (r *report) write(path, command string) error {
	if path == "" {
		_, err := io.WriteString(os.Stdout, r.text(command, ""))
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	kept, err := keep(string(old))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(r.text(command, kept)), 0o644)
}

// keep returns what stands between the markers of an earlier report.
func keep(old string) (string, error) {
	_, rest, begun := strings.Cut(old, keepBegin)
	if !begun {
		if strings.TrimSpace(old) != "" {
			return "", fmt.Errorf("the file is not empty and has no line %q, behind which text is kept; it was left as it is", keepBegin)
		}
		return "", nil
	}
	kept, _, ended := strings.Cut(rest, keepEnd)
	if !ended {
		return "", fmt.Errorf("the file has no line %q behind %q; it was left as it is", keepEnd, keepBegin)
	}
	return strings.TrimSpace(kept), nil
}

func (r *report) text(command, kept string) string {
	var b strings.Builder
	b.WriteString("# Benchmarks\n\nMade by `make bench` in one run; do not edit, but for the part that says so. What counts are the\nratios: absolute figures are those of one machine on one day.\n\n")
	fmt.Fprintf(&b, "- command: `%s`, which took %s\n", command, r.took.Round(time.Second))
	for _, line := range r.machine {
		fmt.Fprintf(&b, "- %s\n", line)
	}
	b.WriteString("- everything shares these cores: pgbench, PostgreSQL, the broker, and what is measured. PostgreSQL runs without fsync, so that\n  the disk decides nothing and the processor everything, which is the hardest case for whatever stands in between\n")
	b.WriteString("\n## Goals\n\n")
	g := table{head: []string{"goal", "wanted", "measured", "reached"}}
	for _, goal := range r.goals {
		g.rows = append(g.rows, goal.row())
	}
	g.write(&b)
	fmt.Fprintf(&b, "\n## What holds it back\n\n%s\n%s\n%s\n", keepBegin, kept, keepEnd)
	for _, s := range r.sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", s.title, s.intro)
		for _, t := range s.tables {
			b.WriteString("\n")
			t.write(&b)
		}
	}
	return b.String()
}

func (g goal) row() []string {
	sign, reached := "≥", "**no**"
	if g.atMost {
		sign = "≤"
	}
	if g.reached() {
		reached = "yes"
	}
	return []string{g.what, fmt.Sprintf("%s %g %s", sign, g.want, g.unit), g.figure() + " " + g.unit, reached}
}

func (g goal) figure() string {
	if g.unit == "×" {
		return ratio(g.got)
	}
	return fmt.Sprintf("%.1f", g.got)
}

func (t table) write(b *strings.Builder) {
	if t.title != "" {
		fmt.Fprintf(b, "### %s\n\n", t.title)
	}
	line := func(cells []string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = "--:"
	}
	rule[0] = "---"
	line(rule)
	for _, row := range t.rows {
		line(row)
	}
}

func ratio(x float64) string  { return fmt.Sprintf("%.2f", x) }
func millis(x float64) string { return fmt.Sprintf("%.2f", x) }

// number rounds and groups digits: 1,234.
func number(x float64) string {
	digits := fmt.Sprintf("%.0f", x)
	start := len(digits) % 3
	if strings.HasPrefix(digits, "-") {
		start = (len(digits)-1)%3 + 1
	}
	out := digits[:start]
	for i := start; i < len(digits); i += 3 {
		if out != "" && out != "-" {
			out += ","
		}
		out += digits[i : i+3]
	}
	return out
}
