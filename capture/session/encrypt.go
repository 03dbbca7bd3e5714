package session

import (
	"crypto/tls"
	"io"
	"net"

	"github.com/opmux/opmux/wire/pgwire"
)

// offerTLS answers an SSLRequest.
func (l *Listener) offerTLS(h *hello) error {
	if l.cfg.ClientTLS == nil || h.tls {
		_, err := h.conn.Write([]byte{'N'})
		return err
	}
	// Bytes that came in behind the request were not encrypted; taking them for
	// the session's would let a third party speak first (CVE-2021-23214).
	if h.reader.Buffered() > 0 {
		return clientError(&pgwire.ProtocolError{What: "unencrypted data behind SSLRequest"})
	}
	if _, err := h.conn.Write([]byte{'S'}); err != nil {
		return clientError(err)
	}
	return l.encrypt(h, h.conn)
}

// directTLS serves a client that begins with TLS and asks nothing before
// (sslnegotiation=direct). It must name the protocol, as PostgreSQL demands: else a
// client of another protocol could be led here (ALPACA).
func (l *Listener) directTLS(h *hello) error {
	first, err := h.reader.First()
	if err != nil {
		return clientError(err)
	}
	if first != pgwire.TLSHandshake {
		return nil
	}
	if l.cfg.ClientTLS == nil {
		return clientError(&pgwire.ProtocolError{What: "the client begins with TLS (sslnegotiation=direct), and there is no listen.tls"})
	}
	if err := l.encrypt(h, replayed{h.conn, h.reader.Rest()}); err != nil {
		return err
	}
	if tlsState(h.conn).NegotiatedProtocol != pgwire.ALPN {
		return turnAway(h, &refusal{code: stateProtocol, message: "TLS from the first byte on must name the protocol " + pgwire.ALPN + " (ALPN)",
			hint: "Use a client that knows sslnegotiation=direct, or sslnegotiation=postgres."})
	}
	return nil
}

func (l *Listener) encrypt(h *hello, plain net.Conn) error {
	encrypted := tls.Server(plain, l.cfg.ClientTLS)
	if err := encrypted.Handshake(); err != nil {
		return clientError(err)
	}
	h.conn, h.tls = encrypted, true
	h.reader = pgwire.NewReader(encrypted, bufferSize)
	return nil
}

// replayed is a connection of which a beginning has been read, and is read again.
type replayed struct {
	net.Conn
	from io.Reader
}

func (c replayed) Read(p []byte) (int, error) { return c.from.Read(p) }

// tlsState is what a connection knows of its TLS, nil where it is plain.
func tlsState(conn Conn) *tls.ConnectionState {
	encrypted, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := encrypted.ConnectionState()
	return &state
}
