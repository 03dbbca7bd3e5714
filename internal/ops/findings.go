package ops

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// severity says how bad a finding is.
type severity string

const (
	fine    severity = "ok"
	warning severity = "warning"
	fatal   severity = "fatal" // the program would not start, or not do its job
)

// finding is one thing that check looked at.
type finding struct {
	Severity severity `json:"severity"`
	Where    string   `json:"where"`            // "kafka", "primary", "target", …
	What     string   `json:"what"`             // what was found
	Remedy   string   `json:"remedy,omitempty"` // what to do; none when ok
}

// findings collects what check found, in the order in which it looked.
type findings struct{ list []finding }

func (f *findings) ok(where, format string, args ...any) {
	f.list = append(f.list, finding{fine, where, fmt.Sprintf(format, args...), ""})
}

func (f *findings) warn(where, remedy, format string, args ...any) {
	f.list = append(f.list, finding{warning, where, fmt.Sprintf(format, args...), remedy})
}

func (f *findings) fatal(where, remedy, format string, args ...any) {
	f.list = append(f.list, finding{fatal, where, fmt.Sprintf(format, args...), remedy})
}

func (f *findings) count(s severity) int {
	n := 0
	for _, one := range f.list {
		if one.Severity == s {
			n++
		}
	}
	return n
}

// print writes the findings, and fails when one is fatal.
func (f *findings) print(w io.Writer, asJSON bool) error {
	fatals, warnings := f.count(fatal), f.count(warning)
	if asJSON {
		if err := json.NewEncoder(w).Encode(map[string]any{"findings": f.list, "fatal": fatals, "warnings": warnings}); err != nil {
			return fmt.Errorf("writing the findings: %w", err)
		}
	} else {
		f.lines(w)
	}
	if fatals > 0 {
		return fmt.Errorf("%s and %s; mend what is fatal, then check again", counted(fatals, "fatal finding"), counted(warnings, "warning"))
	}
	return nil
}

func (f *findings) lines(w io.Writer) {
	// The worst last, where the eye is.
	order := []severity{fine, warning, fatal}
	sorted := slices.Clone(f.list)
	slices.SortStableFunc(sorted, func(a, b finding) int {
		return slices.Index(order, a.Severity) - slices.Index(order, b.Severity)
	})
	for _, one := range sorted {
		fmt.Fprintf(w, "%-8s %-8s %s\n", one.Severity, one.Where, one.What)
		if one.Remedy != "" {
			fmt.Fprintf(w, "%17s → %s\n", "", one.Remedy)
		}
	}
	if f.count(fatal) == 0 {
		fmt.Fprintf(w, "ready to start (%s)\n", counted(f.count(warning), "warning"))
	}
}

// counted writes a number with its noun: "1 table", "2 tables".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// broken is what a check that could not be made ends as; it is fatal.
func (f *findings) broken(where string, err error) {
	f.fatal(where, "see the error; the login may lack a privilege", "a check failed: %v", err)
}
