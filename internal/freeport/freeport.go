// Package freeport finds loopback ports for servers that the tests and the demo
// start. It stays below the range that Linux gives to outgoing connections, so
// that a server which is killed and started again finds its port still free.
package freeport

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

const (
	lowest   = 20000
	highest  = 32000
	attempts = 200
	// mostHeld bounds the descriptors that claims keep. The ports that were given
	// last are the ones whose servers may not listen yet.
	mostHeld = 256
)

// held are the claims of the ports that this process has given out last.
var held struct {
	sync.Mutex
	claims []io.Closer
}

// Pick returns a port of 127.0.0.1 that nothing listens on, and that no other call
// gives meanwhile, in this process or, on Linux, in another one.
func Pick() (int, error) { return PickRun(1) }

// PickRun returns the first of n such ports that follow one another.
func PickRun(n int) (int, error) {
	var last error
	for range attempts {
		first := lowest + rand.IntN(highest-lowest-n+1)
		claims, err := claimRun(first, n)
		if err == nil {
			return first, hold(claims)
		}
		last = err
	}
	return 0, fmt.Errorf("no free port between %d and %d on 127.0.0.1: %w", lowest, highest, last)
}

// claimRun claims all of the ports, or none.
func claimRun(first, n int) ([]io.Closer, error) {
	claims := make([]io.Closer, 0, n)
	for port := first; port < first+n; port++ {
		c, err := claim(port)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("port %d: %w", port, err), closeAll(claims))
		}
		claims = append(claims, c)
	}
	return claims, nil
}

// hold keeps the claims, and gives up the oldest ones beyond mostHeld.
func hold(claims []io.Closer) error {
	held.Lock()
	defer held.Unlock()
	held.claims = append(held.claims, claims...)
	surplus := max(0, len(held.claims)-mostHeld)
	err := closeAll(held.claims[:surplus])
	held.claims = held.claims[surplus:]
	return err
}

func closeAll(claims []io.Closer) error {
	var all error
	for _, c := range claims {
		all = errors.Join(all, c.Close())
	}
	return all
}

// Address is "127.0.0.1:port".
func Address(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
