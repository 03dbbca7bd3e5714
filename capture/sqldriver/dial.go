package sqldriver

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"
)

// DialContext connects to the agent in place of the primary: for DialFunc of
// pgx's configurations, native connections and pools included. The address is the
// primary's; any other is an error. TLS belongs to the agent's way to the primary
// (upstream.tls), so the configuration has sslmode=disable.
func (a *Agent) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if err := a.alive(); err != nil {
		return nil, err
	}
	host, port := address, ""
	if !strings.HasPrefix(network, "unix") {
		var err error
		if host, port, err = net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("sqldriver: expected host:port of the primary to connect to: %w", err)
		}
	}
	if err := a.isPrimary(ctx, host, port); err != nil {
		return nil, err
	}
	s, err := a.dialled()
	if err != nil {
		return nil, err
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", s.path)
	if err != nil {
		return nil, a.instead(err)
	}
	return c, nil
}

// dialled is the way in of DialContext's connections.
func (a *Agent) dialled() (*socket, error) {
	a.dialing.Lock()
	defer a.dialing.Unlock()
	if a.dials == nil {
		s, err := a.door.socket()
		if err != nil {
			return nil, a.instead(err)
		}
		a.dials = s
	}
	return a.dials, nil
}

// instead gives the end of the agent as the reason of what failed for it.
func (a *Agent) instead(err error) error {
	if ended := a.alive(); ended != nil {
		return ended
	}
	return err
}

// Dialer is DialContext in the form in which lib/pq takes it, for its connector's
// Dialer, DialOpen and NewDialListener.
type Dialer struct{ agent *Agent }

// Dialer returns a dialer for lib/pq.
func (a *Agent) Dialer() Dialer { return Dialer{a} }

// DialContext is Agent.DialContext.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d.agent.DialContext(ctx, network, address)
}

// Dial is DialContext without a context.
func (d Dialer) Dial(network, address string) (net.Conn, error) {
	return d.agent.DialContext(context.Background(), network, address)
}

// DialTimeout is DialContext within a time.
func (d Dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.agent.DialContext(ctx, network, address)
}
