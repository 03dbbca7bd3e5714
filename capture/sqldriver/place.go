package sqldriver

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

const (
	defaultPort  = "5432"
	socketPrefix = ".s.PGSQL."
)

// portOf is the port of a primary's address, that of a unix socket included.
func portOf(address string) string {
	_, port := split(address)
	return port
}

// split takes the primary's address apart: the host is a directory where it is a
// unix socket, and the port the default one where the address is only that.
func split(address string) (host, port string) {
	if !strings.HasPrefix(address, "/") {
		host, port, _ = net.SplitHostPort(address) // the configuration was checked
		return host, port
	}
	if name, ok := strings.CutPrefix(filepath.Base(address), socketPrefix); ok {
		return filepath.Dir(address), name
	}
	return filepath.Clean(address), defaultPort
}

// isPrimary tells whether a host and a port name the agent's primary. An
// application that means another server must hear so: its statements would run
// on this one.
func (a *Agent) isPrimary(ctx context.Context, host, port string) error {
	if strings.HasPrefix(host, "/") && port == "" {
		host, port = split(host)
	}
	want, wantPort := split(a.cfg.Upstream.Address)
	if port == wantPort && sameHost(ctx, host, want) {
		return nil
	}
	return fmt.Errorf("sqldriver: the connection is for the server %s, and agent %q of source %q captures %s (upstream.address); name that server, or connect to others without this agent",
		place(host, port), a.cfg.Agent, a.cfg.Source, a.cfg.Upstream.Address)
}

func place(host, port string) string {
	if strings.HasPrefix(host, "/") {
		return filepath.Join(host, socketPrefix+port)
	}
	return net.JoinHostPort(host, port)
}

// sameHost compares names and, where they differ, what they stand for: drivers
// that look names up dial addresses.
func sameHost(ctx context.Context, a, b string) bool {
	if strings.HasPrefix(a, "/") || strings.HasPrefix(b, "/") {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	if strings.EqualFold(a, b) {
		return true
	}
	left, err := net.DefaultResolver.LookupHost(ctx, a)
	if err != nil {
		return false
	}
	right, err := net.DefaultResolver.LookupHost(ctx, b)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(left, func(address string) bool { return slices.Contains(right, address) })
}
