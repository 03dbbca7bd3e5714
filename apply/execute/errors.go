package execute

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// OperationError names the operation that the target refused.
type OperationError struct {
	Source string
	Offset int64
	// Index is the operation's place in its transaction, -1 where the commit
	// itself failed.
	Index     int
	Statement string // normalised
	Tables    []string
	Err       error

	text    string // as it came
	defines bool   // it is DDL
}

func (e *OperationError) Error() string {
	where := fmt.Sprintf("operation %d", e.Index)
	if e.Index < 0 {
		where = "its commit"
	}
	text := fmt.Sprintf("transaction at offset %d of source %s: %s failed on the target: %s", e.Offset, e.Source, where, serverError(e.Err))
	if e.Statement != "" {
		text += "; statement: " + e.Statement
	}
	return text
}

func (e *OperationError) Unwrap() error { return e.Err }

// serverError is what a server said, with its detail.
func serverError(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err.Error()
	}
	text := fmt.Sprintf("%s: %s (SQLSTATE %s)", pg.Severity, pg.Message, pg.Code)
	if pg.Detail != "" {
		text += ", " + pg.Detail
	}
	return text
}

// Reason names a transient error for metrics.
type Reason string

// The reasons to try again.
const (
	ReasonConnection    Reason = "connection"
	ReasonDeadlock      Reason = "deadlock"
	ReasonSerialization Reason = "serialization"
	ReasonLock          Reason = "lock"
	ReasonResources     Reason = "resources"
	ReasonChunks        Reason = "chunks"
)

// Transient says whether the same may work when it is tried again.
func Transient(err error) (Reason, bool) {
	var chunks *ReadError
	if errors.As(err, &chunks) {
		return ReasonChunks, true
	}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return ReasonConnection, connectionLost(err)
	}
	switch pg.Code {
	case "40001":
		return ReasonSerialization, true
	case "40P01":
		return ReasonDeadlock, true
	case "55P03":
		return ReasonLock, true
	case "25P03", "57P01", "57P02", "57P03", "57P05", "25P04":
		return ReasonConnection, true
	}
	switch {
	case strings.HasPrefix(pg.Code, "08"):
		return ReasonConnection, true
	case strings.HasPrefix(pg.Code, "53"), pg.Code == "58030":
		return ReasonResources, true
	}
	return "", false
}

// connectionLost says whether an error that is not the server's word ended the
// connection. pgconn marks its own "conn closed" as safe to try again: nothing was sent.
func connectionLost(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, errClosed) || pgconn.SafeToRetry(err)
}

// errClosed stands for a connection that pgconn has given up without saying why.
var errClosed = errors.New("the connection to the target is closed")

// ReadError says that a transaction's chunks could not be read for now.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return fmt.Sprintf("reading chunks: %v", e.Err) }

// Unwrap returns the reason.
func (e *ReadError) Unwrap() error { return e.Err }
