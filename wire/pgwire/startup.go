package pgwire

import (
	"encoding/binary"
	"fmt"
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

// TLSHandshake is the first byte of a client that begins with TLS, without asking
// (sslnegotiation=direct). No start-up packet begins with it: the first byte of
// their length is 0 up to MaxStartup.
const TLSHandshake = 0x16

// ALPN is the name that a client which begins with TLS gives to the protocol.
const ALPN = "postgresql"

// Bounds of a cancel key in bytes: 4 up to protocol 3.0, any of these from 3.2 on.
const (
	minCancelKey = 4
	maxCancelKey = 256
)

// CheckCancelRequest refuses the body of a CancelRequest whose key nobody has.
func CheckCancelRequest(body []byte) error { return checkCancelKey("CancelRequest", len(body)-8) }

// CheckKeyData refuses the body of a BackendKeyData whose key no CancelRequest could bring back.
func CheckKeyData(body []byte) error { return checkCancelKey("BackendKeyData", len(body)-4) }

func checkCancelKey(message string, n int) error {
	if n < minCancelKey || n > maxCancelKey {
		return &ProtocolError{fmt.Sprintf("%s has a cancel key of %d bytes; the protocol has %d to %d", message, n, minCancelKey, maxCancelKey)}
	}
	return nil
}

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

// BindsChannel tells whether a SASL mechanism binds to the TLS channel.
func BindsChannel(mechanism string) bool { return strings.HasSuffix(mechanism, "-PLUS") }

// WithoutChannelBinding drops the SASL mechanisms that bind to a TLS channel
// from an AuthenticationSASL body, and tells whether there was one.
func WithoutChannelBinding(body []byte) (without []byte, had bool) {
	c := cursor{b: body[4:]}
	without = append([]byte(nil), body[:4]...)
	for {
		mechanism := c.cstring()
		switch {
		case c.bad || mechanism == "":
			return append(without, 0), had
		case BindsChannel(mechanism):
			had = true
		default:
			without = appendCString(without, mechanism)
		}
	}
}

// SASLChoice takes the body of a SASLInitialResponse apart: the mechanism that the
// client has chosen, and its first message.
func SASLChoice(body []byte) (mechanism string, first []byte, err error) {
	c := cursor{b: body}
	mechanism = c.cstring()
	first, _ = c.value()
	return mechanism, first, c.done("SASLInitialResponse")
}
