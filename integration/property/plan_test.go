package property

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// mostSteps bounds what a recording holds; a run that is longer has none.
const mostSteps = 200_000

// verb is what a client does with its connection in one step.
type verb string

const (
	connects verb = "connect"
	leaves   verb = "leave"
	executes verb = "exec"
	several  verb = "several" // statements in one simple query
	pipes    verb = "pipeline"
	copies   verb = "copy"
)

// manner is how a statement travels; all of it is drawn, so it is recorded.
type manner struct {
	protocol string  // "simple", "extended" or "prepared"
	formats  []int16 // of results
	binary   bool    // parameters, where it is known how
}

// action is one thing that a client does and whose end it waits for.
type action struct {
	verb  verb
	st    stmt
	how   manner
	piped []piped // of a pipeline
	data  string  // of a COPY
}

// piped is a statement in a pipeline, or a Sync.
type piped struct {
	stmt
	formats []int16
}

// step is an action as one run saw it. What ended before it began came before it
// in any order that the server can have had; the others ran beside it.
type step struct {
	action
	client, script int
	began, ended   int64 // by the recording's own clock
}

// recording writes down what the clients of a run do.
type recording struct {
	mu      sync.Mutex
	clock   int64
	scripts int
	steps   []*step
	tooLong bool
}

// script numbers a script; its steps stay together as long as that is possible.
func (r *recording) script() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scripts++
	return r.scripts
}

func (r *recording) begin(client, script int, a action) *step {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	s := &step{action: a, client: client, script: script, began: r.clock}
	if len(r.steps) >= mostSteps {
		r.steps, r.tooLong = nil, true
	}
	if !r.tooLong {
		r.steps = append(r.steps, s)
	}
	return s
}

func (r *recording) end(s *step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clock++
	s.ended = r.clock
}

// plan is what can be run again: a schema, and what each client does in which
// order, as far as there was one.
type plan struct {
	schema *schema
	steps  []*step // in the order in which they began
}

// by lists each client's steps.
func (p plan) by() map[int][]*step {
	out := map[int][]*step{}
	for _, s := range p.steps {
		out[s.client] = append(out[s.client], s)
	}
	return out
}

// groups gathers steps that have something in common, in the order of the first
// of each.
func groups(steps []*step, of func(*step) int) [][]*step {
	var out [][]*step
	at := map[int]int{}
	for _, s := range steps {
		key := of(s)
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key], out = i, append(out, nil)
		}
		out[i] = append(out[i], s)
	}
	return out
}

// joined are the steps of all groups, in the order in which they began.
func joined(groups [][]*step) []*step {
	return slices.SortedFunc(slices.Values(slices.Concat(groups...)), func(a, b *step) int { return cmp.Compare(a.began, b.began) })
}

// String is the plan as SQL for people: the schema, then what each client sends.
// The numbers are the order in which the steps begin.
func (p plan) String() string {
	var b strings.Builder
	b.WriteString("-- both databases\n")
	for _, sql := range p.schema.ddl() {
		b.WriteString(sql + ";\n")
	}
	number := map[*step]int{}
	for i, s := range p.steps {
		number[s] = i + 1
	}
	by := p.by()
	for _, client := range sortedKeys(by) {
		fmt.Fprintf(&b, "-- client %d\n", client)
		for _, s := range by[client] {
			fmt.Fprintf(&b, "/* %d%s, %s */ %s\n", number[s], beside(p.steps, s, number), s.label(), s.sql())
		}
	}
	return b.String()
}

// beside names the steps that ran while s began.
func beside(steps []*step, s *step, number map[*step]int) string {
	var out []string
	for _, other := range steps {
		if other.client != s.client && other.began < s.began && other.ended > s.began {
			out = append(out, fmt.Sprint(number[other]))
		}
	}
	if out == nil {
		return ""
	}
	return " while " + strings.Join(out, ", ") + " ran"
}

func (a action) label() string {
	if a.verb != executes {
		return string(a.verb)
	}
	text := a.how.protocol
	if a.how.binary {
		text += ", binary"
	}
	return text
}

func (a action) sql() string {
	switch a.verb {
	case connects, leaves:
		return ""
	case copies:
		return a.st.sql + ";\n" + a.data + `\.`
	case pipes:
		var parts []string
		for _, p := range a.piped {
			if p.kind == syncs {
				parts = append(parts, "/* sync */")
				continue
			}
			parts = append(parts, p.inline()+";")
		}
		return strings.Join(parts, " ")
	}
	return a.st.inline() + ";"
}
