package ops

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

func tailCommand() command {
	return command{
		name: "tail",
		args: "--config F [--from beginning|OFFSET|RFC3339] [--follow] [--json]",
		what: "print the records of the ops topics, with how transactions ended",
		more: "Ends at the topic's end as of the call unless --follow is given. An outcome is committed,\naborted, or open where nobody has said yet.",
		run:  runTail,
	}
}

func runTail(ctx context.Context, stdio IO, c *call) error {
	path, asJSON := c.configFlag(), c.jsonFlag()
	from := c.String("from", "beginning", "where to begin: beginning, an `offset` or a time (RFC 3339)")
	follow := c.Bool("follow", false, "go on with what comes until interrupted")
	only := c.String("source", "", "print this `source` only (default: all that the configuration names)")
	if err := c.parse("config"); err != nil {
		return err
	}
	start, err := parsePlace(*from)
	if err != nil {
		return c.wrong("--from: %v", err)
	}
	f, err := load(*path)
	if err != nil {
		return err
	}
	sources := f.Sources()
	if *only != "" {
		if !slices.Contains(sources, *only) {
			return c.wrong("--source %s: the configuration names %v", *only, sources)
		}
		sources = []string{*only}
	}
	k, err := openKafka(ctx, f)
	if err != nil {
		return err
	}
	out := &lockedWriter{w: stdio.Out}
	show := printText(out)
	if *asJSON {
		show = printJSON(out)
	}
	if !*follow {
		for _, source := range sources {
			if err := (&tailer{kafka: k, source: source, print: show}).run(ctx, start); err != nil {
				return err
			}
		}
		return nil
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, source := range sources {
		group.Go(func() error {
			return (&tailer{kafka: k, source: source, print: show, follow: true}).run(groupCtx, start)
		})
	}
	if err := group.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil // interrupted, as --follow ends
}

// lockedWriter writes whole lines of several sources.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// The outcomes of transactions, in words.
const (
	committed = "committed"
	aborted   = "aborted"
	undecided = "open"
)

// held is a record that waits to be printed until its own outcome, and those of
// the records before it, are known.
type held struct {
	message topics.Message // its value is dropped once decoded
	record  *event.Record
	ref     event.Ref // of an intent that waits; else zero
	outcome string
	since   time.Time
}

// Bounds of what waits (I7): beyond them, outcomes are looked for ahead.
const (
	maxHeld      = 10_000
	maxHeldBytes = 64 << 20
	// patience is how long --follow holds an open intent back.
	patience = 2 * time.Second
	// grace is how long a tail that has reached the end waits for the outcomes
	// of what was under way: agents write them within milliseconds.
	grace = 300 * time.Millisecond
)

// tailer prints one source's records, joined with their outcomes.
type tailer struct {
	*kafka
	source string
	follow bool
	limit  int // of held records; 0: maxHeld
	print  func(source string, h *held) error

	queue []*held
	bytes int64
	open  map[event.Ref]*held
}

func (t *tailer) run(ctx context.Context, start place) error {
	t.open = map[event.Ref]*held{}
	b, err := t.bounds(ctx, t.source)
	if err != nil {
		return err
	}
	from, err := t.resolve(ctx, t.source, start, b)
	if err != nil {
		return err
	}
	if !t.follow {
		return t.once(ctx, from, b.end)
	}
	r, err := topics.NewReader(ctx, t.Config, t.Names().Ops(t.source), from)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	for {
		if err := t.step(ctx, r, patience); err != nil {
			return err
		}
		t.giveUp(time.Now().Add(-patience))
		if err := t.flush(); err != nil {
			return err
		}
	}
}

// step reads one record, or nothing within limit.
func (t *tailer) step(ctx context.Context, r *topics.Reader, limit time.Duration) error {
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := r.Next(wait)
	if err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return err
	}
	rec, err := t.decode(m)
	if err != nil {
		return err
	}
	t.take(m, rec)
	if t.full() {
		t.giveUp(time.Now())
	}
	return nil
}

// once prints [from, end) and is done.
func (t *tailer) once(ctx context.Context, from, end int64) error {
	err := t.each(ctx, t.source, from, end, func(m topics.Message, rec *event.Record) error {
		t.take(m, rec)
		if t.full() {
			if err := t.lookAhead(ctx, m.Offset+1, end); err != nil {
				return err
			}
		}
		return t.flush()
	})
	if err != nil {
		return err
	}
	if err := t.outcomesBehind(ctx, end); err != nil {
		return err
	}
	t.giveUp(time.Now())
	return t.flush()
}

// outcomesBehind reads a little beyond the end for outcomes of what is open.
func (t *tailer) outcomesBehind(ctx context.Context, end int64) error {
	if len(t.open) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	err := t.each(limited, t.source, end, 1<<62, func(_ topics.Message, rec *event.Record) error {
		t.settle(rec)
		if len(t.open) == 0 {
			return errStop
		}
		return nil
	})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil // the grace is over
	}
	return err
}

func (t *tailer) full() bool {
	limit := t.limit
	if limit == 0 {
		limit = maxHeld
	}
	return len(t.queue) >= limit || t.bytes >= maxHeldBytes
}

// lookAhead decides every open intent that is held: by an outcome up to end, or
// as open for good.
func (t *tailer) lookAhead(ctx context.Context, from, end int64) error {
	err := t.each(ctx, t.source, from, end, func(_ topics.Message, rec *event.Record) error {
		t.settle(rec)
		if len(t.open) == 0 {
			return errStop
		}
		return nil
	})
	t.giveUp(time.Now())
	return err
}

// take queues a record.
func (t *tailer) take(m topics.Message, rec *event.Record) {
	h := &held{message: m, record: rec, since: time.Now()}
	t.bytes += int64(len(m.Value))
	t.queue = append(t.queue, h)
	switch body := rec.Body.(type) {
	case *event.Transaction:
		if !body.Intent {
			h.outcome = committed
			break
		}
		h.ref = event.Ref{Agent: rec.Agent, Epoch: rec.Epoch, N: rec.N}
		t.open[h.ref] = h
	case *event.Void:
		h.outcome = aborted
	case *event.Outcomes:
		t.settle(rec)
	}
}

// settle takes outcomes.
func (t *tailer) settle(rec *event.Record) {
	list, ok := rec.Body.(*event.Outcomes)
	if !ok {
		return
	}
	for _, o := range list.List {
		if h := t.open[o.Ref]; h != nil {
			h.outcome = aborted
			if o.Committed {
				h.outcome = committed
			}
			delete(t.open, o.Ref)
		}
	}
}

// giveUp calls intents open that have waited since before the time.
func (t *tailer) giveUp(before time.Time) {
	for ref, h := range t.open {
		if !h.since.After(before) {
			h.outcome = undecided
			delete(t.open, ref)
		}
	}
}

// flush prints from the front what need not wait any more.
func (t *tailer) flush() error {
	for len(t.queue) > 0 {
		h := t.queue[0]
		if h.ref != (event.Ref{}) && h.outcome == "" {
			return nil
		}
		t.queue[0] = nil
		t.queue = t.queue[1:]
		t.bytes -= int64(len(h.message.Value))
		if err := t.print(t.source, h); err != nil {
			return err
		}
	}
	return nil
}
