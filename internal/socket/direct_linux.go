package socket

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// conn calls the kernel by RawSyscall, and waits as c itself does.
type conn struct {
	net.Conn
	raw     syscall.RawConn
	in, out transfer
	// Made once: a closure for each call would be garbage.
	read, write func(fd uintptr) bool
}

// transfer is one Read or Write under way.
type transfer struct {
	p    []byte // what is left of the caller's
	n    int    // bytes so far
	err  syscall.Errno
	trap uintptr // the system call
}

func direct(c net.Conn) net.Conn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return c // closed: reading and writing it will say so
	}
	d := &conn{Conn: c, raw: raw, in: transfer{trap: syscall.SYS_READ}, out: transfer{trap: syscall.SYS_WRITE}}
	d.read = d.in.once
	d.write = func(fd uintptr) bool {
		for d.out.once(fd) {
			if d.out.err != 0 || len(d.out.p) == 0 {
				return true
			}
		}
		return false
	}
	return d
}

// once makes the call; false: it has to wait.
func (t *transfer) once(fd uintptr) bool {
	for {
		n, _, err := syscall.RawSyscall(t.trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(len(t.p)))
		switch err {
		case 0:
			t.n, t.p = t.n+int(n), t.p[n:]
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.err = err
			return true
		}
	}
}

// begin and end keep the caller's bytes no longer than the call lasts.
func (t *transfer) begin(p []byte) { t.p, t.n, t.err = p, 0, 0 }

func (t *transfer) end() (int, syscall.Errno) {
	t.p = nil
	return t.n, t.err
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.in.begin(p)
	err := c.raw.Read(c.read)
	n, failed := c.in.end()
	switch {
	case err != nil:
		return 0, err
	case failed != 0:
		return 0, c.failed("read", failed)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.out.begin(p)
	err := c.raw.Write(c.write)
	n, failed := c.out.end()
	if err == nil && failed != 0 {
		err = c.failed("write", failed)
	}
	return n, err
}

func (c *conn) failed(call string, err syscall.Errno) error {
	local := c.LocalAddr()
	return &net.OpError{Op: call, Net: local.Network(), Source: local, Addr: c.RemoteAddr(), Err: os.NewSyscallError(call, err)}
}
