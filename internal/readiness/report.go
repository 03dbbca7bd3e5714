package readiness

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Report is what was seen.
type Report struct {
	Source   string    `json:"source"`
	Database string    `json:"database"`
	OnUnsafe string    `json:"on_unsafe"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
	Sessions int64     `json:"sessions"`
	// Unobserved are sessions whose statements were not looked at.
	Unobserved []Count `json:"unobserved,omitempty"`
	// Statements and Writes are the coverage.
	Statements Share   `json:"statements"`
	Writes     Share   `json:"writes"`
	Actions    []Count `json:"actions"`
	Lines      []Line  `json:"forms"`
	// Forms is how many forms are told apart; LeftOut are runs of others, which the
	// sums hold and Lines does not.
	Forms    int      `json:"max_forms"`
	LeftOut  int64    `json:"left_out"`
	Warnings []string `json:"warnings,omitempty"`
}

// Count is how often something was seen.
type Count struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// compare puts the action that matters most first, and of one the most frequent.
func compare(a, b Line) int {
	return cmp.Or(cmp.Compare(slices.Index(order, a.Action), slices.Index(order, b.Action)), cmp.Compare(b.Count, a.Count),
		strings.Compare(a.Statement, b.Statement), strings.Compare(a.Reason, b.Reason), strings.Compare(a.Construct, b.Construct))
}

// JSON writes the report for programs.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Took is how long was watched, in whole seconds.
func (r *Report) Took() time.Duration { return r.Ended.Sub(r.Began).Round(time.Second) }

// Say puts a share into words.
func (s Share) Say() string {
	if s.Percent == nil {
		return "none seen"
	}
	return fmt.Sprintf("%.1f %% (%d of %d)", *s.Percent, s.Carried, s.Seen)
}

// Notes are what a reader must know beside the numbers.
func (r *Report) Notes() []string {
	notes := slices.Clone(r.Warnings)
	for _, u := range r.Unobserved {
		notes = append(notes, fmt.Sprintf("%d sessions were relayed without a look at them: %s", u.Count, u.Name))
	}
	if r.LeftOut > 0 {
		notes = append(notes, fmt.Sprintf("%d runs are in the sums and in no line, since %d forms are told apart at most: raise --forms", r.LeftOut, r.Forms))
	}
	return notes
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "source      %s, database %s, on_unsafe: %s\nwatched     %s from %s, %d sessions\n", r.Source, r.Database, r.OnUnsafe, r.Took(), r.Began.Format(time.RFC3339), r.Sessions)
	fmt.Fprintf(&b, "statements  %s would be carried\nwrites      %s would be carried\nactions    ", r.Statements.Say(), r.Writes.Say())
	for _, a := range r.Actions {
		if a.Count > 0 {
			fmt.Fprintf(&b, " %s %d", a.Name, a.Count)
		}
	}
	b.WriteByte('\n')
	for _, note := range r.Notes() {
		fmt.Fprintf(&b, "note        %s\n", note)
	}
	for _, l := range r.Lines {
		fmt.Fprintf(&b, "\n%s\n  count     %d\n  action    %s\n  class     %s\n  construct %s\n  reason    %s\n", l.Statement, l.Count, l.Action, l.Class, l.Construct, l.Reason)
		if len(l.Tables) > 0 {
			fmt.Fprintf(&b, "  tables    %s\n", strings.Join(l.Tables, ", "))
		}
		if l.Hint != "" {
			fmt.Fprintf(&b, "  way out   %s\n", l.Hint)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
