// Package pgwire frames the PostgreSQL frontend/backend protocol 3.x (PostgreSQL
// manual, chapter "Frontend/Backend Protocol") for a relay: it finds message
// borders, takes apart and builds the few messages that a relay must
// understand, and streams the rest through without holding them. It has no
// policy: what to do with a message is its caller's affair.
//
// Nothing is allocated from a length that a peer declared: buffers grow with
// the bytes that arrive, up to a limit that the caller sets.
package pgwire

// Frontend message types.
const (
	Query        = 'Q'
	Parse        = 'P'
	Bind         = 'B'
	Describe     = 'D'
	Execute      = 'E'
	Close        = 'C'
	Sync         = 'S'
	Flush        = 'H'
	FunctionCall = 'F'
	Terminate    = 'X'
	PasswordData = 'p' // password, SASL and GSS responses
)

// Backend message types.
const (
	Authentication       = 'R'
	BackendKeyData       = 'K'
	ParameterStatus      = 'S'
	ReadyForQuery        = 'Z'
	RowDescription       = 'T'
	DataRow              = 'D'
	CommandComplete      = 'C'
	EmptyQueryResponse   = 'I'
	ErrorResponse        = 'E'
	NoticeResponse       = 'N'
	NotificationResponse = 'A'
	ParseComplete        = '1'
	BindComplete         = '2'
	CloseComplete        = '3'
	ParameterDescription = 't'
	NoData               = 'n'
	PortalSuspended      = 's'
	CopyInResponse       = 'G'
	CopyOutResponse      = 'H'
	CopyBothResponse     = 'W'
	FunctionCallResponse = 'V'
	NegotiateProtocol    = 'v'
)

// Message types that both sides send.
const (
	CopyData = 'd'
	CopyDone = 'c'
	CopyFail = 'f'
)

// Transaction status bytes of ReadyForQuery.
const (
	StatusIdle   = 'I'
	StatusBlock  = 'T'
	StatusFailed = 'E'
)
