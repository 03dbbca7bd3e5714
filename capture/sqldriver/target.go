package sqldriver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// redirect gives the connection string with which a driver comes to the agent by
// a socket, where that string leads to the agent's primary and asks for nothing
// that it would not get.
func (a *Agent) redirect(ctx context.Context, text string, s *socket) (string, error) {
	d, err := parseDSN(text)
	if err != nil {
		return "", fmt.Errorf("sqldriver: the connection string cannot be read: %w", err)
	}
	host, port, err := d.server()
	if err != nil {
		return "", fmt.Errorf("sqldriver: the connection string: %w", err)
	}
	if err := a.isPrimary(ctx, host, port); err != nil {
		return "", err
	}
	if err := a.encrypts(d, host); err != nil {
		return "", fmt.Errorf("sqldriver: the connection string: %w", err)
	}
	return d.through(s.dir, a.door.port), nil
}

// elsewhere are parameters and variables by which a driver connects to a place
// that stands outside of the connection string. Drivers disagree about which of
// them goes before its host, so that a connection could go around the agent.
var elsewhere = []struct{ key, variable string }{{"hostaddr", "PGHOSTADDR"}, {"service", "PGSERVICE"}}

// server is where a driver would connect by the string.
func (d *dsn) server() (host, port string, err error) {
	for _, e := range elsewhere {
		if value, err := d.get(e.key); err != nil || value != "" {
			return "", "", cmp.Or(err, fmt.Errorf("%s may lead around the agent; write the primary's address as host and port instead", e.key))
		}
		if os.Getenv(e.variable) != "" {
			return "", "", fmt.Errorf("the environment variable %s may lead around the agent; unset it and write the primary's address as host and port", e.variable)
		}
	}
	if host, err = d.one("host", d.host, "PGHOST"); err != nil {
		return "", "", err
	}
	if port, err = d.one("port", d.port, "PGPORT"); err != nil {
		return "", "", err
	}
	switch {
	case host == "":
		return "", "", errors.New("it names no host; write that of the primary, as in upstream.address")
	case strings.Contains(host, ",") || strings.Contains(port, ","):
		return "", "", errors.New("it names several servers, and an agent has one primary; write that one alone")
	}
	return host, cmp.Or(port, defaultPort), nil
}

// one finds what a URL can say in two places, and a variable instead of it.
func (d *dsn) one(key, authority, variable string) (string, error) {
	value, err := d.get(key)
	if err == nil && value != "" && authority != "" {
		err = fmt.Errorf("the %s is given twice, before and behind the question mark; keep one", key)
	}
	return cmp.Or(value, authority, os.Getenv(variable)), err
}

// strictness of libpq's modes of TLS: how much each makes sure of.
var strictness = map[string]int{"": 0, "disable": 0, "allow": 0, "prefer": 0, "require": 1, "verify-ca": 2, "verify-full": 3}

// impliedMode is what other parameters make of a mode that is not given.
func (d *dsn) impliedMode() (string, error) {
	roots, err := d.get("sslrootcert")
	if err != nil || roots == "system" {
		return "verify-full", err
	}
	ssl, err := d.get("ssl")
	if err != nil || ssl != "true" {
		return "", err
	}
	return "require", nil
}

// encrypts makes sure that the agent's way to the primary is no weaker than the
// string asks for its own: on the way to the agent there is no TLS.
func (a *Agent) encrypts(d *dsn, host string) error {
	mode, err := d.get("sslmode")
	if err != nil || strings.HasPrefix(host, "/") {
		return err
	}
	mode = cmp.Or(mode, os.Getenv("PGSSLMODE"))
	if mode == "" {
		mode, err = d.impliedMode()
	}
	if err != nil {
		return err
	}
	want, known := strictness[mode]
	if !known {
		return fmt.Errorf("sslmode=%s is a word of the driver's own; TLS towards the primary is the agent's upstream.tls, leave it out here", mode)
	}
	if have := a.cfg.Upstream.TLS.Mode; want > strictness[have] {
		return fmt.Errorf("it asks for sslmode=%s, and the agent connects to the primary with upstream.tls.mode %s; raise that to %[1]s", mode, have)
	}
	return nil
}
