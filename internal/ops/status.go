package ops

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/topics"
)

func statusCommand() command {
	return command{
		name: "status",
		args: "--config F [--json]",
		what: "show programs, lag, diverged tables, doubts and the last error",
		run: func(ctx context.Context, stdio IO, c *call) error {
			path, asJSON := c.configFlag(), c.jsonFlag()
			if err := c.parse("config"); err != nil {
				return err
			}
			f, err := load(*path)
			if err != nil {
				return err
			}
			k, err := openKafka(ctx, f)
			if err != nil {
				return err
			}
			s, err := readStatus(ctx, k, f)
			if err != nil {
				return err
			}
			if *asJSON {
				if err := json.NewEncoder(stdio.Out).Encode(s); err != nil {
					return fmt.Errorf("writing the status: %w", err)
				}
				return nil
			}
			printStatus(stdio.Out, s)
			return nil
		},
	}
}

// report is what status tells. Diverged, Suspect, Lag and LastError are always
// there: tools read them.
type report struct {
	Diverged  []divergedTable `json:"diverged"`
	Suspect   []suspectEpoch  `json:"suspect"`
	Lag       lag             `json:"lag"` // of the worst source
	LastError string          `json:"last_error"`
	InDoubt   []doubtful      `json:"in_doubt"`
	Sources   []sourceStatus  `json:"sources"`
	Programs  []programStatus `json:"programs"`
	// Prepared are transactions that applications have prepared, of an agent's primary.
	Prepared []preparedTx `json:"prepared,omitempty"`
	// Problems are what could not be looked at.
	Problems []string `json:"problems,omitempty"`
}

type divergedTable struct {
	Table     string `json:"table"`
	Reason    string `json:"reason"`
	Statement string `json:"statement"`
	Source    string `json:"source"`
	Offset    int64  `json:"offset"`
}

type suspectEpoch struct {
	Source string `json:"source"`
	Agent  string `json:"agent"`
	Epoch  int64  `json:"epoch"`
}

type lag struct {
	Transactions int64   `json:"transactions"`
	Seconds      float64 `json:"seconds"`
}

type sourceStatus struct {
	Source string `json:"source"`
	Start  int64  `json:"start"` // first offset of the topic
	End    int64  `json:"end"`   // behind the last one
	// Targets are those that follow the source, as far as is known.
	Targets []targetStatus `json:"targets"`
}

type targetStatus struct {
	Target string `json:"target"`
	Low    int64  `json:"low"` // everything below is applied
	Lag    lag    `json:"lag"`
}

type programStatus struct {
	Role      string    `json:"role"`
	Name      string    `json:"name"`
	Source    string    `json:"source,omitempty"`
	Target    string    `json:"target,omitempty"`
	State     string    `json:"state"` // ready, not ready, silent, closed
	Seen      time.Time `json:"seen"`
	Gate      string    `json:"gate,omitempty"`
	Epoch     int64     `json:"epoch"` // of an agent; -1: it has closed its epoch
	N         int64     `json:"n"`
	Open      int       `json:"open,omitempty"`
	LastError string    `json:"last_error,omitempty"`
}

// statusReader gathers a report.
type statusReader struct {
	*kafka
	file  *config.File
	beats map[string]topics.Heartbeat
	out   *report
}

func readStatus(ctx context.Context, k *kafka, f *config.File) (*report, error) {
	beats, err := k.heartbeats(ctx)
	if err != nil {
		return nil, err
	}
	r := &statusReader{kafka: k, file: f, beats: beats, out: &report{
		Diverged: []divergedTable{}, Suspect: []suspectEpoch{}, InDoubt: []doubtful{}, Sources: []sourceStatus{}, Programs: []programStatus{},
	}}
	r.programs()
	r.suspects(ctx)
	for _, source := range f.Sources() {
		if err := r.source(ctx, source); err != nil {
			return nil, err
		}
		doubts, err := k.inDoubt(ctx, source, beats)
		if err != nil {
			r.problem("source %s: %v", source, err)
		}
		r.out.InDoubt = append(r.out.InDoubt, doubts...)
	}
	r.diverged(ctx)
	r.prepared(ctx, f.Agent)
	for _, s := range r.out.Sources {
		for _, t := range s.Targets {
			r.out.Lag.Transactions = max(r.out.Lag.Transactions, t.Lag.Transactions)
			r.out.Lag.Seconds = max(r.out.Lag.Seconds, t.Lag.Seconds)
		}
	}
	return r.out, nil
}

func (r *statusReader) problem(format string, args ...any) {
	r.out.Problems = append(r.out.Problems, fmt.Sprintf(format, args...))
}

// concerns says whether a program works on what the configuration names.
func (r *statusReader) concerns(h topics.Heartbeat) bool {
	sources := r.file.Sources()
	switch h.Role {
	case topics.RoleAgent:
		return slices.Contains(sources, h.Source)
	case topics.RoleWorker:
		if targets := r.file.Targets(); len(targets) > 0 {
			return slices.Contains(targets, h.Target)
		}
		return slices.ContainsFunc(sources, func(s string) bool { _, ok := h.Positions[s]; return ok })
	default:
		return true
	}
}

// programs lists who is at work and takes the last error: that of the program
// whose configuration was given before those of others, and that of one which is
// gone only where none of its kind is at work.
func (r *statusReader) programs() {
	role := topics.RoleVerifier
	switch {
	case r.file.Agent != nil:
		role = topics.RoleAgent
	case r.file.Worker != nil:
		role = topics.RoleWorker
	}
	var own, gone, others string
	working := false
	for _, h := range sortedBeats(r.beats) {
		if !r.concerns(h) {
			continue
		}
		r.out.Programs = append(r.out.Programs, programStatus{
			Role: h.Role, Name: h.Name, Source: h.Source, Target: h.Target, Seen: h.Time.UTC(), State: stateOf(h),
			Gate: h.Gate, Epoch: h.Epoch, N: h.N, Open: h.Open, LastError: h.LastError,
		})
		lives := alive(h, now())
		switch {
		case h.Role == role && lives:
			working = true
			own = cmp.Or(own, h.LastError)
		case h.Role == role:
			gone = cmp.Or(gone, h.LastError)
		case lives:
			others = cmp.Or(others, h.LastError)
		}
	}
	if working {
		gone = ""
	}
	r.out.LastError = cmp.Or(own, gone, others)
}

func stateOf(h topics.Heartbeat) string {
	switch {
	case h.Role == topics.RoleAgent && h.Epoch < 0:
		return "closed"
	case !alive(h, now()):
		return "silent"
	case h.Ready:
		return "ready"
	default:
		return "not ready"
	}
}

// diverged lists tables that targets do not follow: a worker's from its target,
// otherwise what the programs say of themselves.
func (r *statusReader) diverged(ctx context.Context) {
	if w := r.file.Worker; w != nil {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		list, err := apply.Diverged(ctx, w.DSN)
		if err == nil {
			for _, d := range list {
				r.out.Diverged = append(r.out.Diverged, divergedTable{Table: d.Table, Reason: d.Reason, Statement: d.Statement, Source: d.Source, Offset: d.Offset})
			}
			return
		}
		r.problem("target %s: cannot be read: %v", w.Target, connectCause(err))
	}
	type key struct{ source, table string }
	seen := map[key]bool{}
	for _, h := range sortedBeats(r.beats) {
		if !r.concerns(h) {
			continue
		}
		for _, d := range h.Diverged {
			if k := (key{h.Source, d.Table}); !seen[k] {
				seen[k] = true
				r.out.Diverged = append(r.out.Diverged, divergedTable{Table: d.Table, Reason: d.Reason, Statement: d.Statement, Source: h.Source, Offset: d.Offset})
			}
		}
	}
}

// source finds out how far the targets of a source are.
func (r *statusReader) source(ctx context.Context, source string) error {
	b, err := r.bounds(ctx, source)
	if err != nil {
		return err
	}
	s := sourceStatus{Source: source, Start: b.start, End: b.end, Targets: []targetStatus{}}
	known := map[string]topics.Heartbeat{} // target → its newest heartbeat
	for _, h := range r.beats {
		if _, ok := h.Positions[source]; ok && h.Role == topics.RoleWorker && r.concerns(h) && h.Time.After(known[h.Target].Time) {
			known[h.Target] = h
		}
	}
	lows := map[string]int64{}
	for target, h := range known {
		lows[target] = h.Positions[source].Low
	}
	r.fromTarget(ctx, source, b, lows)
	for target, low := range lows {
		t := targetStatus{Target: target, Low: low}
		if h, ok := known[target]; ok && alive(h, now()) {
			p := h.Positions[source]
			t.Lag = lag{Transactions: p.LagTransactions, Seconds: p.LagSeconds}
		} else if t.Lag, err = r.lagFrom(ctx, source, max(low, b.start), b.end); err != nil {
			return err
		}
		s.Targets = append(s.Targets, t)
	}
	slices.SortFunc(s.Targets, func(a, b targetStatus) int {
		if a.Target < b.Target {
			return -1
		}
		return 1
	})
	r.out.Sources = append(r.out.Sources, s)
	return nil
}

// fromTarget asks a worker's target itself, which knows best.
func (r *statusReader) fromTarget(ctx context.Context, source string, b bounds, lows map[string]int64) {
	w := r.file.Worker
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	positions, err := apply.ReadPosition(ctx, w.DSN)
	if err != nil {
		return // diverged reports that the target cannot be read
	}
	p, ok := positions[source]
	switch {
	case !ok:
		lows[w.Target] = b.start
	case p.Topic != b.id:
		r.problem("target %s: its position in source %s belongs to topic id %s, and the topic's id is %s", w.Target, source, p.Topic, b.id)
	default:
		lows[w.Target] = p.Low
	}
}

// maxCounted bounds the records that are read to count a lag; beyond it, the
// distance in records stands for the rest.
const maxCounted = 50_000

// lagFrom counts the transactions in [low, end), for a target whose worker does
// not say.
func (r *statusReader) lagFrom(ctx context.Context, source string, low, end int64) (lag, error) {
	var l lag
	to := min(end, low+maxCounted)
	err := r.each(ctx, source, low, to, func(m topics.Message, rec *event.Record) error {
		if _, ok := rec.Body.(*event.Transaction); ok {
			if l.Transactions == 0 {
				l.Seconds = max(0, now().Sub(m.Timestamp).Seconds())
			}
			l.Transactions++
		}
		return nil
	})
	l.Transactions += end - to
	return l, err
}
