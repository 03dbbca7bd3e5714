package ops

import (
	"fmt"
	"io"
	"time"
)

// printStatus writes a report for people.
func printStatus(w io.Writer, s *report) {
	for _, p := range s.Programs {
		of := p.Source + p.Target
		fmt.Fprintf(w, "%-9s %-10s %-24s %-9s", p.Role, of, p.Name, p.State)
		switch {
		case p.Role == "agent" && p.Epoch >= 0:
			fmt.Fprintf(w, " gate %s, epoch %d, n %d, %d open", p.Gate, p.Epoch, p.N, p.Open)
		case p.State == "silent":
			fmt.Fprintf(w, " last heard of %s ago", now().Sub(p.Seen).Round(time.Second))
		}
		if p.LastError != "" {
			fmt.Fprintf(w, "\n          last error: %s", p.LastError)
		}
		fmt.Fprintln(w)
	}
	if len(s.Programs) == 0 {
		fmt.Fprintln(w, "no program has been heard of")
	}
	for _, source := range s.Sources {
		fmt.Fprintf(w, "source    %-10s offsets %d to %d\n", source.Source, source.Start, source.End)
		for _, t := range source.Targets {
			fmt.Fprintf(w, "          → %-8s applied below offset %d, %s behind (%.1f s)\n", t.Target, t.Low, counted(int(t.Lag.Transactions), "transaction"), t.Lag.Seconds)
		}
	}
	for _, d := range s.Diverged {
		fmt.Fprintf(w, "DIVERGED  %s from offset %d of source %s on: %s\n          %s\n", d.Table, d.Offset, d.Source, d.Reason, shortened(d.Statement))
	}
	if len(s.Diverged) > 0 {
		fmt.Fprintln(w, "          → opmux snapshot fills a target anew")
	}
	for _, e := range s.Suspect {
		fmt.Fprintf(w, "SUSPECT   source %s: the last commits of agent %s, epoch %d may be missing on targets, or be on them alone\n          → compare, or opmux snapshot into a new target\n", e.Source, e.Agent, e.Epoch)
	}
	for _, d := range s.InDoubt {
		fmt.Fprintf(w, "IN DOUBT  source %s, offset %d (%s/%d/%d): %s\n          → opmux indoubt list\n", d.Source, d.Offset, d.Agent, d.Epoch, d.N, d.Reason)
	}
	for _, p := range s.Prepared {
		fmt.Fprintf(w, "prepared  %q of %s, %s ago%s\n", p.GID, p.Owner, now().Sub(p.Prepared).Round(time.Second), map[string]string{
			preparedPast: ", past opmux: ROLLBACK PREPARED it", "ending": ", being ended"}[p.State])
	}
	for _, p := range s.Problems {
		fmt.Fprintf(w, "problem   %s\n", p)
	}
	if s.LastError != "" {
		fmt.Fprintf(w, "last error: %s\n", s.LastError)
	}
}
