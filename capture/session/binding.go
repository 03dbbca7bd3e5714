package session

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"fmt"

	"github.com/opmux/opmux/wire/pgwire"
)

// Channel binding (SCRAM-SHA-256-PLUS, tls-server-end-point): the client proves its
// password together with a hash of the certificate that it sees, and the server
// compares that with its own. TLS ends here, so it holds where the agent shows the
// primary's own certificate, and cannot be made to hold elsewhere: see docs/adr.

// leftUnbound is the log's word where a client leaves at the question for its
// password: the client itself gives its user no more than its own.
const leftUnbound = "the client left when it was asked for its password: it had none to give, or it demands channel binding " +
	"(channel_binding=require), which needs upstream.tls and the primary's own certificate in listen.tls"

// offer is what the client may choose from of the mechanisms that the server offers.
// A client without TLS has no channel, and takes the offer to bind to one for an
// attack. One with TLS gets the list as it is, wherever its binding leads: it would
// tell a shortened list to the server, which would take that for an attack.
func (s *Session) offer(h *hello, mechanisms []byte) (body []byte, binding bool) {
	without, binding := pgwire.WithoutChannelBinding(mechanisms)
	if !h.tls {
		return without, binding
	}
	return mechanisms, binding
}

// bindable ends the session of a client that has chosen what cannot succeed, by an
// error that says so: the server's would only tell of an attack.
func (s *Session) bindable(answer []byte) error {
	mechanism, first, err := pgwire.SASLChoice(answer)
	if err != nil {
		return clientError(err)
	}
	// A client that says y could bind and believes that the server cannot.
	if !pgwire.BindsChannel(mechanism) && !bytes.HasPrefix(first, []byte("y,")) {
		return nil
	}
	if Binds(s.server, s.cfg.ClientTLS) {
		return nil
	}
	return s.die(&refusal{code: stateAuthSpec, message: fmt.Sprintf(
		"SCRAM with channel binding cannot pass: the client sees the agent's certificate (SHA-256 %s), the primary has another (SHA-256 %s)",
		fingerprint(shown(s.cfg.ClientTLS)), fingerprint(peer(s.server))),
		hint: "Give the agent the primary's own certificate and key (listen.tls.cert, listen.tls.key), or connect with channel_binding=disable."})
}

// Binds tells whether the certificate that clients see is the one of the primary at
// the other end of a connection, so that SCRAM with channel binding passes.
func Binds(primary Conn, client *tls.Config) bool {
	theirs := peer(primary)
	return theirs != nil && bytes.Equal(theirs, shown(client))
}

// Encrypted tells whether a connection to the primary is.
func Encrypted(primary Conn) bool { return tlsState(primary) != nil }

// peer is the certificate of the other end, nil where the connection is plain.
func peer(conn Conn) []byte {
	state := tlsState(conn)
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	return state.PeerCertificates[0].Raw
}

// shown is the one certificate that a listener shows.
func shown(c *tls.Config) []byte {
	if c == nil || len(c.Certificates) == 0 || len(c.Certificates[0].Certificate) == 0 {
		return nil
	}
	return c.Certificates[0].Certificate[0]
}

// fingerprint is as much of a certificate's hash as tells it from another.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return fmt.Sprintf("%x…", sum[:8])
}
