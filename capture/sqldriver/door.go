package sqldriver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
)

// maxSocketPath is what every system takes as the path of a unix socket.
const maxSocketPath = 103

// door is where the program's own connections come in: unix sockets in a
// directory that only this user can enter. It has one for each connector, and so
// knows which connector's connections came. It is the listener of the agent.
type door struct {
	dir    string
	port   string // of the primary: libpq's names for sockets and lines of .pgpass hold it
	opened chan struct{}
	came   chan arrival
	shut   context.Context
	close  context.CancelFunc

	mu      sync.Mutex
	sockets map[*socket]struct{}
	live    map[*conn]struct{}
	number  int64
	wait    sync.WaitGroup
}

// arrival is what Accept returns.
type arrival struct {
	conn net.Conn
	err  error
}

// socket is one way in.
type socket struct {
	dir, path string
	ln        net.Listener
	accepted  atomic.Int64
}

func newDoor(port string) (*door, error) {
	dir, err := os.MkdirTemp("", "opmux-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("sqldriver: directory for the agent's sockets: %w", err)
	}
	d := &door{dir: dir, port: port, opened: make(chan struct{}), came: make(chan arrival),
		sockets: map[*socket]struct{}{}, live: map[*conn]struct{}{}}
	d.shut, d.close = context.WithCancel(context.Background())
	return d, nil
}

// Free implements agent.Door: the directory is this agent's own.
func (d *door) Free(context.Context) error { return nil }

// Open implements agent.Door.
func (d *door) Open(context.Context) (net.Listener, error) {
	close(d.opened)
	return d, nil
}

// socket opens another way in.
func (d *door) socket() (*socket, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut.Err() != nil {
		return nil, net.ErrClosed
	}
	d.number++
	s := &socket{dir: filepath.Join(d.dir, strconv.FormatInt(d.number, 10))}
	s.path = filepath.Join(s.dir, ".s.PGSQL."+d.port)
	if len(s.path) > maxSocketPath {
		return nil, fmt.Errorf("sqldriver: %s is too long for the path of a unix socket, %d bytes of at most %d; set TMPDIR to a shorter directory", s.path, len(s.path), maxSocketPath)
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("sqldriver: directory for a socket of the agent: %w", err)
	}
	var err error
	if s.ln, err = (&net.ListenConfig{}).Listen(d.shut, "unix", s.path); err != nil {
		return nil, fmt.Errorf("sqldriver: socket of the agent: %w", err)
	}
	d.sockets[s] = struct{}{}
	d.wait.Add(1)
	go func() {
		defer d.wait.Done()
		d.serve(s)
	}()
	return s, nil
}

// serve passes what comes to Accept, until the socket is closed.
func (d *door) serve(s *socket) {
	for {
		c, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			s.accepted.Add(1)
			c = d.enter(c)
		}
		select {
		case d.came <- arrival{c, err}:
		case <-d.shut.Done():
			if c != nil {
				_ = c.Close()
			}
			return
		}
	}
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	select {
	case a := <-d.came:
		return a.conn, a.err
	case <-d.shut.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: nobody comes in from now on.
func (d *door) Close() error {
	d.close()
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for s := range d.sockets {
		errs = append(errs, s.ln.Close())
	}
	clear(d.sockets)
	return errors.Join(errs...)
}

// closeSocket closes one way in; connections that came by it stay.
func (d *door) closeSocket(s *socket) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, open := d.sockets[s]; !open {
		return nil
	}
	delete(d.sockets, s)
	return errors.Join(s.ln.Close(), os.Remove(s.dir))
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: d.dir} }

// remove ends the door for good.
func (d *door) remove() error {
	err := d.Close()
	d.wait.Wait()
	return errors.Join(err, os.RemoveAll(d.dir))
}

// hangUp cuts every connection.
func (d *door) hangUp() {
	d.mu.Lock()
	var live []*conn
	for c := range d.live {
		live = append(live, c)
	}
	d.mu.Unlock()
	for _, c := range live {
		_ = c.Close()
	}
}

func (d *door) enter(inner net.Conn) *conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.number++
	c := &conn{Conn: inner, door: d, peer: peer(d.number)}
	d.live[c] = struct{}{}
	return c
}

// conn is the agent's end of a connection.
type conn struct {
	net.Conn
	door *door
	peer peer
}

// RemoteAddr names the connection in logs: the other end of a unix socket has no
// address of its own.
func (c *conn) RemoteAddr() net.Addr { return c.peer }

// Close implements net.Conn.
func (c *conn) Close() error {
	c.door.mu.Lock()
	delete(c.door.live, c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}

// peer is the number of a connection of this process.
type peer int64

// Network implements net.Addr.
func (p peer) Network() string { return "unix" }

// String implements net.Addr.
func (p peer) String() string { return fmt.Sprintf("in process %d, no. %d", os.Getpid(), int64(p)) }
