package topics

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/opmux/opmux/event"
)

// The roles of a heartbeat.
const (
	RoleAgent    = "agent"
	RoleWorker   = "worker"
	RoleVerifier = "verifier"
)

// Heartbeat is what a program says of itself each second on the status topic.
type Heartbeat struct {
	Role      string    `json:"role"`
	Source    string    `json:"source,omitempty"` // of an agent
	Target    string    `json:"target,omitempty"` // of a worker
	Name      string    `json:"name"`             // lasting: the agent's name, or the worker's
	Instance  string    `json:"instance"`         // new for each process
	Epoch     int64     `json:"epoch,omitempty"`
	N         int64     `json:"n,omitempty"` // highest taken
	Gate      string    `json:"gate,omitempty"`
	Time      time.Time `json:"time"`
	Ready     bool      `json:"ready"`
	LastError string    `json:"last_error,omitempty"`
	// ScanFrom says that every intent of the source below this offset has an
	// outcome below the topic's end.
	ScanFrom  int64               `json:"scan_from,omitempty"`
	Open      int                 `json:"open,omitempty"` // intents without outcome
	Diverged  []Diverged          `json:"diverged,omitempty"`
	Suspect   []event.EpochRef    `json:"suspect,omitempty"`
	InDoubt   []InDoubt           `json:"in_doubt,omitempty"`
	Positions map[string]Position `json:"positions,omitempty"` // of a worker, by source
}

// Diverged is a table that targets cannot follow any more.
type Diverged struct {
	Table     string `json:"table"` // schema.table, unquoted; "*": cannot be told
	Reason    string `json:"reason"`
	Statement string `json:"statement"`
	Offset    int64  `json:"offset"`
}

// InDoubt is an intent whose end nobody could find out.
type InDoubt struct {
	Agent  string    `json:"agent"`
	Epoch  int64     `json:"epoch"`
	N      int64     `json:"n"`
	Offset int64     `json:"offset"`
	XID    uint64    `json:"xid"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Position is how far a worker is with a source.
type Position struct {
	Low             int64   `json:"low"` // everything below is applied
	End             int64   `json:"end"` // of the topic
	LagTransactions int64   `json:"lag_transactions"`
	LagSeconds      float64 `json:"lag_seconds"`
}

// Key is the heartbeat's key on the status topic.
func (h Heartbeat) Key() string {
	of := h.Source
	if h.Role == RoleWorker {
		of = h.Target
	}
	return h.Role + "/" + of + "/" + h.Name
}

// PublishHeartbeat puts h on the status topic without waiting. While one with
// the same key is still on its way, h is left out, so that none pile up.
func (p *Producer) PublishHeartbeat(h Heartbeat) error {
	value, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("heartbeat of %s: %w", h.Key(), err)
	}
	p.beat(h.Key(), value)
	return nil
}

// RemoveHeartbeat takes a heartbeat off the status topic, for a program that
// ends and is not expected back.
func (p *Producer) RemoveHeartbeat(key string) { p.beat(key, nil) }

func (p *Producer) beat(key string, value []byte) {
	p.beatsMu.Lock()
	busy := p.beats[key] && value != nil // a removal is never left out
	p.beats[key] = true
	p.beatsMu.Unlock()
	if busy {
		return
	}
	r := &kgo.Record{Topic: p.cfg.Names().Status(), Key: []byte(key), Value: value}
	p.produce(r, false, func(int64, error) {
		p.beatsMu.Lock()
		delete(p.beats, key)
		p.beatsMu.Unlock()
	})
}

// ReadHeartbeats returns the last heartbeat of every program, by key. Whether
// one is alive is for the caller to tell from Time.
func ReadHeartbeats(ctx context.Context, cfg Config) (map[string]Heartbeat, error) {
	all := map[string]Heartbeat{}
	err := ReadEach(ctx, cfg, cfg.Names().Status(), func(m Message) error {
		if len(m.Value) == 0 {
			delete(all, string(m.Key))
			return nil
		}
		var h Heartbeat
		if err := json.Unmarshal(m.Value, &h); err != nil {
			return fmt.Errorf("topic %s, offset %d: a heartbeat in JSON was expected: %w", m.Topic, m.Offset, err)
		}
		all[string(m.Key)] = h
		return nil
	})
	return all, err
}
