// Package exit holds the exit codes of opmux's programs in one place, and ties
// them to errors, so that any function can decide how the program ends without
// ending it itself.
package exit

import (
	"errors"
	"fmt"
)

// The exit codes; tools depend on them.
const (
	OK      = 0 // done, or stopped by a signal
	Runtime = 1 // something failed while running
	Usage   = 2 // wrong flags or a wrong configuration: nothing was started
	Timeout = 3 // the time given ran out
)

// Error is an error that says with which code the program ends.
type Error struct {
	Code int
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives errors.Is and errors.As the way to the cause.
func (e *Error) Unwrap() error { return e.Err }

// AsUsage marks err as a mistake in flags or configuration; nil stays nil.
func AsUsage(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: Usage, Err: err}
}

// Usagef makes an error of wrong usage.
func Usagef(format string, args ...any) error {
	return &Error{Code: Usage, Err: fmt.Errorf(format, args...)}
}

// Timeoutf makes an error that says that the time given ran out.
func Timeoutf(format string, args ...any) error {
	return &Error{Code: Timeout, Err: fmt.Errorf(format, args...)}
}

// Code is the exit code for err: OK for nil, the code of the first Error in its
// chain, else Runtime.
func Code(err error) int {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Runtime
}
