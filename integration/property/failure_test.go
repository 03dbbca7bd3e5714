package property

import (
	"errors"
	"fmt"
)

// failure is one thing that a run ended with and must not. Kind is what a smaller
// plan has to fail with too.
type failure struct{ kind, text string }

// The kinds of failures; a client's has the SQLSTATE behind it.
const (
	ofClient    = "client"
	ofStop      = "the backup does not catch up"
	ofRows      = "the backup differs"
	ofShape     = "definitions differ"
	ofSequences = "sequences are behind"
	ofStatus    = "status"
	ofVerdicts  = "verdicts"
)

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
