package sqldriver

import (
	"context"
	"database/sql/driver"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// lookup bounds how long the names of servers may take to be looked up when a
// database is opened.
const lookup = 10 * time.Second

// Wrap returns a driver whose connections go through the agent: the one that is
// given, pgx's or lib/pq's, with another place to connect to. Connection strings
// stay what they were and name the primary by its host; user, password, database
// and all other parameters are the driver's as before. What is no connection
// string (a configuration that is registered with the driver, a connector made
// of one) is given DialContext instead.
func (a *Agent) Wrap(d driver.Driver) driver.Driver {
	return &wrapped{agent: a, inner: d, opened: map[string]driver.Connector{}}
}

// wrapped is a driver through the agent.
type wrapped struct {
	agent *Agent
	inner driver.Driver

	mu     sync.Mutex
	opened map[string]driver.Connector // by Open, which has nobody to close them
}

// Open implements driver.Driver.
func (w *wrapped) Open(name string) (driver.Conn, error) {
	w.mu.Lock()
	c := w.opened[name]
	if c == nil {
		var err error
		if c, err = w.OpenConnector(name); err != nil {
			w.mu.Unlock()
			return nil, err
		}
		w.opened[name] = c
	}
	w.mu.Unlock()
	return c.Connect(context.Background())
}

// OpenConnector implements driver.DriverContext; database/sql closes the connector
// with its DB.
func (w *wrapped) OpenConnector(name string) (driver.Connector, error) {
	if err := w.agent.alive(); err != nil {
		return nil, err
	}
	s, err := w.agent.door.socket()
	if err != nil {
		return nil, w.agent.instead(err)
	}
	c := &connector{driver: w, socket: s}
	if c.inner, err = w.connector(name, s); err != nil {
		_ = c.Close() // what is wrong with the string is the error
		return nil, err
	}
	return c, nil
}

// connector makes the inner driver's connector, which comes by the socket.
func (w *wrapped) connector(name string, s *socket) (driver.Connector, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookup)
	defer cancel()
	text, err := w.agent.redirect(ctx, name, s)
	if err != nil {
		return nil, err
	}
	if d, ok := w.inner.(driver.DriverContext); ok {
		return d.OpenConnector(text)
	}
	return plain{w.inner, text}, nil
}

// plain is the connector of a driver that has none.
type plain struct {
	of   driver.Driver
	name string
}

// Connect implements driver.Connector.
func (p plain) Connect(context.Context) (driver.Conn, error) { return p.of.Open(p.name) }

// Driver implements driver.Connector.
func (p plain) Driver() driver.Driver { return p.of }

// connector makes connections through the agent.
type connector struct {
	driver *wrapped
	inner  driver.Connector
	socket *socket
	made   atomic.Int64
}

// Connect implements driver.Connector. A driver that connects by something that
// the connection string does not say would write around the agent, unseen: its
// connections have not come by the socket, and are not given out (I6).
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	a := c.driver.agent
	if err := a.alive(); err != nil {
		return nil, err
	}
	made, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, a.instead(err)
	}
	if c.made.Add(1) > c.socket.accepted.Load() {
		_ = made.Close()
		return nil, fmt.Errorf("sqldriver: the driver %T has connected to another place than its connection string says, around agent %q: nothing would be captured; give the driver the agent's DialContext instead of wrapping it",
			c.driver.inner, a.cfg.Agent)
	}
	return made, nil
}

// Driver implements driver.Connector.
func (c *connector) Driver() driver.Driver { return c.driver }

// Close implements io.Closer.
func (c *connector) Close() error { return c.driver.agent.door.closeSocket(c.socket) }
