// Package freeport finds loopback ports for servers that the tests and the demo
// start. It stays below the range that Linux gives to outgoing connections, so
// that a server which is killed and started again finds its port still free.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	lowest   = 20000
	highest  = 32000
	attempts = 200
)

// Pick returns a port that nothing listens on at 127.0.0.1. Nothing reserves it:
// who uses it should try another one when it is taken meanwhile.
func Pick() (int, error) {
	var last error
	for range attempts {
		port := lowest + rand.IntN(highest-lowest)
		l, err := net.Listen("tcp", Address(port))
		if err != nil {
			last = err
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("closing the probe of port %d: %w", port, err)
		}
		return port, nil
	}
	return 0, fmt.Errorf("no free port between %d and %d on 127.0.0.1: %w", lowest, highest, last)
}

// Address is "127.0.0.1:port".
func Address(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
