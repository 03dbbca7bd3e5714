// Package readiness counts the statements that an application sends, in forms
// without their constants, with what opmux would do with each, and reports the
// share that it would carry: as text, as JSON and as one page of HTML.
package readiness

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// The actions: what an agent would do with a statement.
const (
	Pass    = "pass"    // it runs, and changes nothing that backups hold
	Publish = "publish" // it runs, and its effect is published
	Flag    = "flag"    // it runs, and its tables count as diverged from then on
	Refuse  = "refuse"  // it does not run
	Fail    = "fail"    // it goes to the primary, which rejects it
	Unknown = "unknown" // it could not be told
)

// order is that of reports: what needs somebody's eyes comes first.
var order = []string{Refuse, Flag, Unknown, Publish, Pass, Fail}

// Form is a statement without its constants, and what would be done with it. A
// text that comes to be classified in another way is another form.
type Form struct {
	Statement string   `json:"statement"`
	Action    string   `json:"action"`
	Class     string   `json:"class"`
	Construct string   `json:"construct"`
	Reason    string   `json:"reason"`
	Hint      string   `json:"hint,omitempty"`
	Tables    []string `json:"tables,omitempty"`
	// Write says that it changes what backups hold, or may.
	Write bool `json:"write"`
}

// Line is a form with how often the application had it run; 0: it prepared it.
type Line struct {
	Form
	Count int64 `json:"count"`
}

// maxText bounds the text of a form that is kept, in bytes.
const maxText = 2 << 10

// Tally counts. It is safe for concurrent use.
type Tally struct {
	forms int // at most so many are told apart

	mu         sync.Mutex
	lines      map[[sha256.Size]byte]*Line
	leftOut    int64
	actions    map[string]int64
	writes     map[string]int64 // those of actions that are writes
	sessions   int64
	unobserved map[string]int64
	warnings   []string
}

// NewTally returns a Tally that tells up to so many forms apart (I7).
func NewTally(forms int) *Tally {
	return &Tally{forms: forms, lines: map[[sha256.Size]byte]*Line{}, actions: map[string]int64{}, writes: map[string]int64{}, unobserved: map[string]int64{}}
}

// Add counts runs of a form. Sums count those too that no form is kept of.
func (t *Tally) Add(f Form, runs int64) {
	key := sha256.Sum256(fmt.Appendf(nil, "%q", []any{f.Statement, f.Action, f.Class, f.Construct, f.Reason, f.Hint, f.Tables}))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.actions[f.Action] += runs
	if f.Write {
		t.writes[f.Action] += runs
	}
	l := t.lines[key]
	if l == nil {
		if len(t.lines) >= t.forms {
			t.leftOut += runs
			return
		}
		f.Statement = cut(f.Statement)
		l = &Line{Form: f}
		t.lines[key] = l
	}
	l.Count += runs
}

// cut bounds a text at the end of a character.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + " …"
}

// Session counts a session whose statements are counted.
func (t *Tally) Session() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sessions++
}

// Unobserved counts a session whose statements are not, by the reason.
func (t *Tally) Unobserved(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unobserved[why]++
}

// Warn notes, once, what makes the report worth less than it looks.
func (t *Tally) Warn(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.warnings, what) {
		t.warnings = append(t.warnings, what)
	}
}

// Share is how much of something opmux would carry.
type Share struct {
	Seen    int64 `json:"seen"` // without what the primary rejects
	Carried int64 `json:"carried"`
	// Percent is rounded down to one decimal, so that 100 says that nothing is left;
	// nil where nothing was seen.
	Percent *float64 `json:"percent"`
}

func share(counts map[string]int64) Share {
	s := Share{Carried: counts[Pass] + counts[Publish]}
	s.Seen = s.Carried + counts[Refuse] + counts[Flag] + counts[Unknown]
	if s.Seen > 0 {
		percent := float64(s.Carried*1000/s.Seen) / 10
		s.Percent = &percent
	}
	return s
}

// Fill puts what was counted into a report.
func (t *Tally) Fill(r *Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.Sessions, r.LeftOut, r.Forms = t.sessions, t.leftOut, t.forms
	r.Warnings = slices.Clone(t.warnings)
	for why, n := range t.unobserved {
		r.Unobserved = append(r.Unobserved, Count{Name: why, Count: n})
	}
	slices.SortFunc(r.Unobserved, func(a, b Count) int { return strings.Compare(a.Name, b.Name) })
	r.Statements, r.Writes = share(t.actions), share(t.writes)
	for _, action := range order {
		r.Actions = append(r.Actions, Count{Name: action, Count: t.actions[action]})
	}
	r.Lines = make([]Line, 0, len(t.lines))
	for _, l := range t.lines {
		r.Lines = append(r.Lines, *l)
	}
	slices.SortFunc(r.Lines, compare)
}
