package session

import (
	"fmt"
	"strings"

	"github.com/opmux/opmux/wire/pgwire"
)

// answersOf are the messages that may answer one message of a client's, beside
// those that the server may send at any time.
var answersOf = [...]string{
	answerQuery:    "TDCIEZGHWdc",
	answerParse:    "1E",
	answerBind:     "2E",
	answerDescribe: "tTnE",
	answerExecute:  "DCIsEGHWdc",
	answerClose:    "3E",
	answerSync:     "ZE",
	answerFunction: "VEZ",
}

// expect refuses a message that does not answer what the head of the queue asked:
// taken for the answer to another message, it could let a write pass unrecorded (I6).
func (e *entry) expect(typ byte) error {
	empty := typ == pgwire.EmptyQueryResponse && e.exec != nil // a captured statement never is
	if strings.IndexByte(answersOf[e.kind], typ) >= 0 && !empty {
		return nil
	}
	return violation("message %q answers nothing that was asked", typ)
}

// endsWell refuses ReadyForQuery where its status is none, where an error has not
// ended the block that it occurred in, and where the command that was captured has
// not ended: the effect would be recorded nowhere (I6).
// A block that has failed without an error would have its COMMIT forwarded as the
// ROLLBACK that it then is.
func (e *entry) endsWell(body []byte, was byte, failed bool) error {
	if len(body) != 1 || strings.IndexByte("ITE", body[0]) < 0 {
		return violation("ReadyForQuery with the status %q", body)
	}
	if !failed && body[0] == pgwire.StatusFailed && was != pgwire.StatusFailed {
		return violation("a transaction has failed without an error")
	}
	if failed && body[0] == pgwire.StatusBlock {
		return violation("an error that did not end its transaction")
	}
	if e.kind == answerQuery && e.exec != nil && !e.exec.finished && !failed {
		return violation("ReadyForQuery before the end of a command")
	}
	return nil
}

// hiddenAt is where the hidden columns of a row begin.
func (x *execution) hiddenAt(columns int) (int, error) {
	keep := columns - x.plan.Hidden
	if keep < 0 || (x.plan.ClientColumns < 0 && keep > 0) || (x.columns > 0 && columns != x.columns) {
		return 0, violation("DataRow with %d columns, of which the agent asked for %d", columns, x.plan.Hidden)
	}
	return keep, nil
}

func violation(format string, args ...any) error {
	return upstreamError(&pgwire.ProtocolError{What: fmt.Sprintf(format, args...)})
}
