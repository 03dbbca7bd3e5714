package agent

import (
	"context"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Surroundings are what the program around an agent gives it: capture-agent, or
// a program of somebody else's that has the agent in it. The agent itself writes
// to no standard stream, takes no signal and ends no process.
type Surroundings struct {
	Log     *zap.Logger
	Metrics prometheus.Registerer
	// Ready is given what tells whether the agent is ready, and if not, why.
	Ready func(ready func() error)
	Door  Door
}

// Door is where clients come in.
type Door interface {
	// Free finds out whether Open can succeed, before an epoch is opened: a program
	// started twice by mistake must not take the epoch of the one that serves, only
	// to find that it cannot listen.
	Free(ctx context.Context) error
	// Open lets clients in.
	Open(ctx context.Context) (net.Listener, error)
}

// Address is the door of an agent that listens on host:port.
type Address string

// Free implements Door.
func (a Address) Free(ctx context.Context) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", string(a))
	if err != nil {
		return fmt.Errorf("listen.address %s: %w; is another agent using it?", a, err)
	}
	return ln.Close()
}

// Open implements Door.
func (a Address) Open(ctx context.Context) (net.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", string(a))
	if err != nil {
		return nil, fmt.Errorf("listen.address: %w", err)
	}
	return ln, nil
}
