package property

import (
	"errors"
	"fmt"
	"slices"
)

// failure is one thing that a run ended with and must not. Kind is what a smaller
// plan has to fail with too.
type failure struct{ kind, text string }

// The kinds of failures; a client's has the SQLSTATE behind it.
const (
	ofClient    = "client"
	ofStop      = "the worker stopped"
	ofLate      = "the backup does not catch up"
	ofRows      = "the backup differs"
	ofShape     = "definitions differ"
	ofSequences = "sequences are behind"
	ofStatus    = "status"
	ofVerdicts  = "verdicts"
)

// divergence are the kinds that are one to a replay: what one plan shows as a
// worker that stops, a smaller one may show as a row that differs.
var divergence = []string{ofStop, ofRows, ofShape, ofSequences, ofVerdicts}

// like tells whether a failure is of a wanted kind.
func (f failure) like(kind string) bool {
	return f.kind == kind || slices.Contains(divergence, f.kind) && slices.Contains(divergence, kind)
}

func failuref(kind, format string, args ...any) failure {
	return failure{kind: kind, text: fmt.Sprintf(format, args...)}
}

// clientFailure is what a client found.
func clientFailure(err error) failure {
	kind := ofClient
	if f := (*finding)(nil); errors.As(err, &f) {
		kind += f.code
	}
	return failure{kind: kind, text: err.Error()}
}
