package socket

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// pair makes both ends of a connection, the first one direct.
func pair(t *testing.T, network string) (near, far net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if far, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	near = Direct(accepted)
	if near == accepted {
		t.Fatalf("a %T is not taken for a socket", accepted)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

func each(t *testing.T, test func(t *testing.T, near, far net.Conn)) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			near, far := pair(t, network)
			test(t, near, far)
		})
	}
}

// More than the kernel holds passes whole, both ways at once.
func TestMuchPassesWhole(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		sent := make([]byte, 16<<20)
		if _, err := rand.Read(sent); err != nil {
			t.Fatal(err)
		}
		ends := make(chan error, 4)
		for _, c := range []net.Conn{near, far} {
			go func() {
				n, err := c.Write(sent)
				if err == nil && n != len(sent) {
					err = io.ErrShortWrite
				}
				ends <- err
			}()
			go func() {
				got := make([]byte, len(sent))
				_, err := io.ReadFull(c, got)
				if err == nil && !bytes.Equal(got, sent) {
					err = errors.New("other bytes arrived")
				}
				ends <- err
			}()
		}
		for range cap(ends) {
			if err := <-ends; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestTheEndOfThePeerIsEOF(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		if _, err := far.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		far.Close()
		if got, err := io.ReadAll(near); string(got) != "last" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if n, err := near.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("read %d bytes, %v, want EOF", n, err)
		}
	})
}

func TestPeerThatIsGone(t *testing.T) {
	each(t, func(t *testing.T, near, far net.Conn) {
		far.Close()
		var err error
		for err == nil { // TCP learns of it from the answer to the first bytes
			_, err = near.Write(make([]byte, 1<<16))
		}
		var failed *net.OpError
		if !errors.As(err, &failed) || failed.Op != "write" || !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
	})
}

// What waits ends by a deadline set meanwhile, and by Close.
func TestWhatWaitsEnds(t *testing.T) {
	type wait func(net.Conn) error
	reads := func(c net.Conn) error {
		_, err := c.Read(make([]byte, 1))
		return err
	}
	writes := func(c net.Conn) (err error) {
		for err == nil {
			_, err = c.Write(make([]byte, 1<<20)) // nobody reads
		}
		return err
	}
	for name, w := range map[string]wait{"reads": reads, "writes": writes} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, near, _ net.Conn) {
				for _, end := range []struct {
					do   func() error
					want error
				}{
					{func() error { return near.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
					{near.Close, net.ErrClosed},
				} {
					if err := near.SetDeadline(time.Time{}); err != nil {
						t.Fatal(err)
					}
					ended := make(chan error)
					go func() { ended <- w(near) }()
					if err := end.do(); err != nil {
						t.Fatal(err)
					}
					if err := <-ended; !errors.Is(err, end.want) {
						t.Errorf("ended by %v, want %v", err, end.want)
					}
				}
			})
		})
	}
}

func TestNothingIsReadOrWritten(t *testing.T) {
	each(t, func(t *testing.T, near, _ net.Conn) {
		if n, err := near.Read(nil); n != 0 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
		if n, err := near.Write(nil); n != 0 || err != nil {
			t.Errorf("wrote %d, %v", n, err)
		}
	})
}

func TestOtherConnectionsStayThemselves(t *testing.T) {
	c, d := net.Pipe()
	defer c.Close()
	defer d.Close()
	if Direct(c) != c {
		t.Error("a pipe of the program's own is no socket")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	near, far := pair(t, "tcp")
	p := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := near.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Read(p); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Write(p); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(near, p); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a message", n)
	}
}
