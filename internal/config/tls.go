package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// Config is the TLS that an agent offers to applications; nil, where t is nil: none.
func (t *ListenTLS) Config() (*tls.Config, error) {
	if t == nil {
		return nil, nil //nolint:nilnil // no TLS is no mistake
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("listen.tls.cert %s with key %s: %w", t.Cert, t.Key, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if t.ClientCA != "" {
		if c.ClientCAs, err = readPool("listen.tls.client_ca", t.ClientCA); err != nil {
			return nil, err
		}
		// As PostgreSQL does: a certificate that is shown must be valid.
		c.ClientAuth = tls.VerifyClientCertIfGiven
		if t.Require {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	return c, nil
}

// Config is the TLS that an agent speaks with the primary, nil for mode disable
// and for unix sockets. As in libpq, require encrypts without knowing with whom
// unless a CA is given.
func (u Upstream) Config() (*tls.Config, error) {
	host, _, err := net.SplitHostPort(u.Address)
	if err != nil || u.TLS.Mode == "disable" {
		return nil, nil //nolint:nilnil,nilerr // a unix socket's path is no host:port, and has no TLS
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if u.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(u.TLS.Cert, u.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("upstream.tls.cert %s with key %s: %w", u.TLS.Cert, u.TLS.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if u.TLS.CA != "" {
		if c.RootCAs, err = readPool("upstream.tls.ca", u.TLS.CA); err != nil {
			return nil, err
		}
	}
	if u.TLS.Mode == "verify-full" {
		return c, nil
	}
	c.InsecureSkipVerify = true //nolint:gosec // the mode asks for less than verify-full; the chain is verified below where a CA is given
	if c.RootCAs != nil {
		c.VerifyConnection = verifyChain(c.RootCAs)
	}
	return c, nil
}

// verifyChain checks that an authority of the pool signed the certificate,
// whatever name it carries.
func verifyChain(pool *x509.CertPool) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("the primary showed no certificate")
		}
		opts := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(opts)
		return err
	}
}
