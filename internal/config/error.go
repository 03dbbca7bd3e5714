package config

import (
	"fmt"
	"strings"
)

// Error is one mistake in a configuration file: where it is and which rule it
// breaks. Its message never holds a value that may be a secret.
type Error struct {
	File    string
	Line    int    // 1-based; 0 where no line can be named
	Path    string // of the key, as in kafka.brokers[0]; empty for the file
	Message string
}

// Error implements error: file:line: path: message.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}
