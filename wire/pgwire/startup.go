package pgwire

import (
	"encoding/binary"
	"strings"
)

// Request codes of the start-up phase.
const (
	codeSSLRequest    = 80877103
	codeGSSENCRequest = 80877104
	codeCancelRequest = 80877102
	protocolMajor3    = 3
)

// StartupKind is what a client asks for with its first packet.
type StartupKind int

// The kinds of first packets.
const (
	StartupUnknown StartupKind = iota
	StartupSession
	StartupSSL
	StartupGSSENC
	StartupCancel
)

// MaxStartup bounds a start-up packet in bytes, as PostgreSQL does.
const MaxStartup = 10000

// KindOfStartup tells what the body of a start-up packet asks for.
func KindOfStartup(body []byte) StartupKind {
	if len(body) < 4 {
		return StartupUnknown
	}
	switch code := binary.BigEndian.Uint32(body); {
	case code == codeSSLRequest:
		return StartupSSL
	case code == codeGSSENCRequest:
		return StartupGSSENC
	case code == codeCancelRequest:
		return StartupCancel
	case code>>16 == protocolMajor3:
		return StartupSession
	}
	return StartupUnknown
}

// StartupParams returns the parameters of a StartupMessage's body.
func StartupParams(body []byte) (map[string]string, error) {
	c := cursor{b: body}
	c.int32()
	params := map[string]string{}
	for {
		name := c.cstring()
		if c.bad {
			return nil, c.done("StartupMessage")
		}
		if name == "" {
			return params, c.done("StartupMessage")
		}
		params[name] = c.cstring()
	}
}

// UntypedPacket returns a start-up packet with that body.
func UntypedPacket(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
}

// SSLRequestPacket asks a server for TLS.
func SSLRequestPacket() []byte {
	return UntypedPacket(binary.BigEndian.AppendUint32(nil, codeSSLRequest))
}

// AuthCode returns the kind of an Authentication message's body, -1 if it has none.
func AuthCode(body []byte) int32 {
	c := cursor{b: body}
	code := c.int32()
	if c.bad {
		return -1
	}
	return code
}

// Authentication kinds that end an exchange or need no answer of the client.
const (
	AuthOK        = 0
	AuthSASL      = 10
	AuthSASLFinal = 12
)

// WithoutChannelBinding drops the SASL mechanisms that bind to a TLS channel
// from an AuthenticationSASL body, since a relay has two channels.
func WithoutChannelBinding(body []byte) []byte {
	c := cursor{b: body[4:]}
	out := append([]byte(nil), body[:4]...)
	for {
		mechanism := c.cstring()
		if c.bad || mechanism == "" {
			return append(out, 0)
		}
		if !strings.HasSuffix(mechanism, "-PLUS") {
			out = appendCString(out, mechanism)
		}
	}
}
