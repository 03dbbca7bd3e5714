package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opmux/opmux/topics"
)

// status is what a worker says of itself.
type status struct {
	mu      sync.Mutex
	member  bool
	problem error // of the membership
	streams map[string]*streamStatus
}

// streamStatus is what a worker says of one stream.
type streamStatus struct {
	mu        sync.Mutex
	stopped   error // it stands still
	problem   error // it is tried again
	lastRead  int64
	timestamp time.Time // of the record that was read last
	position  topics.Position
	open      int
	diverged  []topics.Diverged
}

func (s *status) add(source string) *streamStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &streamStatus{}
	s.streams[source] = st
	return st
}

func (s *status) remove(source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, source)
}

func (s *status) joined() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.member, s.problem = true, nil
}

func (s *status) trouble(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.member, s.problem = false, err
}

// errStarting is why a worker is not ready before it has joined its group.
var errStarting = errors.New("not a member of the consumer group yet")

func (s *status) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem != nil {
		return s.problem
	}
	if !s.member {
		return errStarting
	}
	for source, st := range s.streams {
		if err := st.error(); err != nil {
			return fmt.Errorf("source %s: %w", source, err)
		}
	}
	return nil
}

// beat describes the worker. Ready is false with an error only where a stream
// stands still; what is tried again is an error of a ready worker.
func (s *status) beat() topics.Heartbeat {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := topics.Heartbeat{Ready: s.member, Positions: map[string]topics.Position{}}
	if s.problem != nil {
		h.Ready, h.LastError = true, s.problem.Error()
	}
	for source, st := range s.streams {
		st.fill(&h, source)
	}
	return h
}

func (st *streamStatus) fill(h *topics.Heartbeat, source string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	h.Positions[source] = st.position
	h.Open += st.open
	h.Diverged = append(h.Diverged, st.diverged...)
	switch {
	case st.stopped != nil:
		h.Ready, h.LastError = false, st.stopped.Error()
	case st.problem != nil && h.LastError == "":
		h.LastError = "trying again: " + st.problem.Error()
	}
}

func (st *streamStatus) error() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stopped != nil {
		return fmt.Errorf("stopped: %w", st.stopped)
	}
	return st.problem
}

func (st *streamStatus) stop(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.stopped = err
}

// trouble notes that something is tried again, and says whether that is new.
func (st *streamStatus) trouble(err error) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	fresh := st.problem == nil || st.problem.Error() != err.Error()
	st.problem = err
	return fresh
}

func (st *streamStatus) over() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.problem = nil
}

func (st *streamStatus) read(offset int64, timestamp time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.lastRead, st.timestamp = offset, timestamp
}

// beatEvery is how often heartbeats and metrics are brought up to date.
const beatEvery = time.Second

// beat publishes heartbeats until ctx ends.
func (w *Worker) beat(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		h := w.status.beat()
		h.Role, h.Target, h.Name, h.Instance, h.Time = topics.RoleWorker, w.cfg.Target, w.cfg.Name, w.instance, time.Now()
		if err := w.producer.PublishHeartbeat(h); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// observe keeps a stream's status and metrics up to date.
func (st *stream) observe(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	var reader *topics.Reader
	defer func() {
		if reader != nil {
			_ = reader.Close() // it only reads
		}
	}()
	for {
		if reader == nil {
			// Without Kafka the end is not known; the next round tries again.
			reader, _ = topics.NewReader(ctx, st.deps.Topics, st.topic, topics.Latest)
		}
		end := int64(-1)
		if reader != nil {
			if e, err := reader.End(ctx); err == nil {
				end = e
			}
		}
		st.report(end)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// report brings status and metrics up to date; end is the topic's, -1 where it
// is not known.
func (st *stream) report(end int64) {
	st.mu.Lock()
	low, read := st.scheduler.Low(), st.scheduler.Read()
	waiting, oldest := st.scheduler.Backlog()
	open := len(st.scheduler.Open())
	st.mu.Unlock()
	end = max(end, read)
	p := topics.Position{Low: low, End: end, LagTransactions: int64(waiting) + end - read}
	now := time.Now()
	s := st.status
	s.mu.Lock()
	switch {
	case oldest != 0:
		p.LagSeconds = max(0, now.Sub(time.UnixMicro(oldest)).Seconds())
	case end > read && !s.timestamp.IsZero():
		p.LagSeconds = max(0, now.Sub(s.timestamp).Seconds())
	}
	s.position, s.open, s.diverged = p, open, nil
	for _, d := range st.shared.Diverged() {
		s.diverged = append(s.diverged, topics.Diverged{Table: d.Table, Reason: d.Reason, Statement: d.Statement, Offset: d.Offset})
	}
	s.mu.Unlock()
	st.metrics.lagTransactions.WithLabelValues(st.source).Set(float64(p.LagTransactions))
	st.metrics.lagSeconds.WithLabelValues(st.source).Set(p.LagSeconds)
	st.metrics.open.WithLabelValues(st.source).Set(float64(open))
	st.metrics.position.WithLabelValues(st.source).Set(float64(low))
}
