package ops

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/topics"
)

// pollEvery is how often a target's position is looked at.
const pollEvery = 100 * time.Millisecond

func waitCommand() command {
	return command{
		name: "wait",
		args: "--config <apply-worker.yaml> [--timeout 60s]",
		what: "wait until the target has everything that was committed when it was called",
		more: "Exit code 3 when the time runs out, 1 when the worker has stopped on an error.",
		run: func(ctx context.Context, _ IO, c *call) error {
			path := c.String("config", "", "the apply-worker's configuration `file`")
			timeout := c.Duration("timeout", time.Minute, "how long to wait at most")
			if err := c.parse("config"); err != nil {
				return err
			}
			if *timeout <= 0 {
				return c.wrong("--timeout: expected a duration above 0 such as 60s, got %s", *timeout)
			}
			w, err := loadWorker(*path)
			if err != nil {
				return err
			}
			return waitFor(ctx, &config.File{Path: *path, Worker: w}, *timeout)
		},
	}
}

// waiter waits for one target.
type waiter struct {
	*kafka
	cfg   *config.Worker
	goals map[string]int64 // source → offset that the target's position must reach
	ids   map[string]string
	beat  map[string]time.Time // the workers' last heartbeats as first seen, by key
	state string               // the last thing seen, for the message when time runs out
}

func waitFor(ctx context.Context, f *config.File, timeout time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	k, err := openKafka(limited, f)
	if err != nil {
		return err
	}
	w := &waiter{kafka: k, cfg: f.Worker, goals: map[string]int64{}, ids: map[string]string{}, beat: map[string]time.Time{}, state: "kafka has not answered yet"}
	err = w.run(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return exit.Timeoutf("target %s has not everything within %s: %s", w.cfg.Target, timeout, w.state)
	}
	return err
}

func (w *waiter) run(ctx context.Context) error {
	for _, source := range w.cfg.SourceNames() {
		goal, err := w.behindCommits(ctx, source)
		if err != nil {
			w.state = err.Error()
			return err
		}
		b, err := w.bounds(ctx, source)
		if err != nil {
			return err
		}
		w.goals[source], w.ids[source] = goal, b.id
	}
	watch := time.NewTicker(time.Second)
	defer watch.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		reached, err := w.reached(ctx)
		if reached || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-poll.C:
		case <-watch.C:
			if err := w.stopped(ctx); err != nil {
				return err
			}
		}
	}
}

// reached compares the target's position with the goals. A target that cannot be
// read is waited for: it may be starting.
func (w *waiter) reached(ctx context.Context) (bool, error) {
	positions, err := apply.ReadPosition(ctx, w.cfg.DSN)
	if err != nil && ctx.Err() != nil {
		return false, ctx.Err() // what was seen before says more than a read that was cut off
	}
	if err != nil {
		w.state = "its position cannot be read: " + connectCause(err).Error()
		return false, nil // tried again until the time is over, which tells it
	}
	for source, goal := range w.goals {
		p, ok := positions[source]
		switch {
		case !ok:
			w.state = fmt.Sprintf("source %s: it has no position yet; is an apply-worker running?", source)
			return false, nil
		case p.Topic != w.ids[source]:
			return false, fmt.Errorf("target %s: its position in source %s belongs to topic id %s, and the topic's id is %s; was it made anew? use opmux snapshot", w.cfg.Target, source, p.Topic, w.ids[source])
		case p.Low < goal:
			w.state = fmt.Sprintf("source %s: it is at offset %d of %d", source, p.Low, goal)
			return false, nil
		}
	}
	return true, nil
}

// errStopped says that an apply-worker stands still.
var errStopped = errors.New("the apply-worker has stopped")

// stopped looks whether a worker of the target has stopped on an error. Only a
// heartbeat that is newer than the first one seen counts: the worker of an older
// one may have been killed, and another one may be at work.
func (w *waiter) stopped(ctx context.Context) error {
	beats, err := w.heartbeats(ctx)
	if err != nil {
		return nil //nolint:nilerr // Kafka may come back; the time given decides
	}
	seen := false
	for _, h := range sortedBeats(beats) {
		if h.Role != topics.RoleWorker || h.Target != w.cfg.Target || !alive(h, now()) {
			continue
		}
		seen = true
		first, known := w.beat[h.Key()]
		if !known {
			w.beat[h.Key()] = h.Time
		}
		if known && h.Time.After(first) && stoppedOnError(h) {
			return fmt.Errorf("%w (worker %s of target %s): %s", errStopped, h.Name, h.Target, h.LastError)
		}
	}
	if !seen {
		w.state += fmt.Sprintf("; no apply-worker of target %s is running", w.cfg.Target)
	}
	return nil
}

// stoppedOnError tells a worker that stands still from one that is starting or
// tries again.
func stoppedOnError(h topics.Heartbeat) bool { return !h.Ready && h.LastError != "" }
