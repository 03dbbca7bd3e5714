package session

import (
	"errors"
	"strconv"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/wire/pgwire"
)

// SQLSTATEs of the agent's own errors (PostgreSQL manual, appendix A).
const (
	stateNotSupported  = "0A000"
	stateSerialization = "40001"
	stateUnknown       = "08007"
	stateShutdown      = "57P01"
	stateNotReady      = "57P03"
	stateNoDatabase    = "3D000"
	stateProtocol      = "08P01"
	stateAuthSpec      = "28000"
	stateUpstream      = "08006"
	stateLimit         = "54000"
	stateNoTransaction = "25P01"
	stateNotPrepared   = "55000"

	stateUndefinedObject = "42704"
)

// refusal is an error of the agent's to a client.
type refusal struct {
	severity string
	code     string
	message  string
	hint     string
	position int // 1-based characters, 0: none
	// plain says that the words are the server's, which the agent stands in for.
	plain bool
}

func (r *refusal) fields() []pgwire.Field {
	severity := r.severity
	if severity == "" {
		severity = "ERROR"
	}
	message := r.message
	if !r.plain {
		message = "opmux: " + message
	}
	fields := []pgwire.Field{
		{Code: pgwire.FieldSeverity, Value: severity},
		{Code: pgwire.FieldSeverityPlain, Value: severity},
		{Code: pgwire.FieldCode, Value: r.code},
		{Code: pgwire.FieldMessage, Value: message},
	}
	if r.hint != "" {
		fields = append(fields, pgwire.Field{Code: pgwire.FieldHint, Value: r.hint})
	}
	if r.position > 0 {
		fields = append(fields, pgwire.Field{Code: pgwire.FieldPosition, Value: strconv.Itoa(r.position)})
	}
	return fields
}

func (r *refusal) body() []byte { return pgwire.AppendFields(nil, r.fields()) }

// refusedStatement is the answer to a statement that cannot be carried.
func refusedStatement(c *classify.Refusal, offset int) *refusal {
	r := &refusal{code: stateNotSupported, message: c.Construct + ": " + c.Reason, hint: c.Hint}
	if c.Position > 0 {
		r.position = c.Position + offset
	}
	return r
}

// refusedPlanning is the answer to a statement that could not be classified.
func refusedPlanning(err error) *refusal {
	var cannot *classify.Refusal
	if errors.As(err, &cannot) {
		return refusedStatement(cannot, 0)
	}
	return &refusal{code: stateSerialization, message: "the catalogue could not be read: " + err.Error(),
		hint: "Nothing was run. Try again; if it persists, see the agent's log."}
}

// refusedByGate is the answer to a transaction that surely did not happen.
func refusedByGate(err error) *refusal {
	r := &refusal{code: stateSerialization, message: err.Error(), hint: "The transaction was rolled back; it can be retried."}
	var refused *order.RefusedError
	if !errors.As(err, &refused) {
		r.message = "the transaction could not be recorded: " + err.Error()
	}
	return r
}

// moved is the answer when the catalogue changed under a classified statement.
func moved(what string) *refusal {
	return &refusal{code: stateSerialization,
		message: "the catalogue changed while the transaction ran: " + what,
		hint:    "The transaction was rolled back; it can be retried."}
}

// otherProcess is the answer where a pooler has given the session another process.
var otherProcess = &refusal{code: stateNotPrepared, message: errOtherProcess.Error(), hint: "Set pool_mode = session there."}

// brokenTx is the answer to the COMMIT of a transaction that cannot be recorded.
func brokenTx(err error) *refusal {
	var cannot *classify.Refusal
	var large *pgwire.TooLargeError
	var refused *order.RefusedError
	var many *manyRowsError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return refusedByGate(err)
	case errors.Is(err, errOtherProcess):
		return otherProcess
	case errors.Is(err, errHeldBack):
		return &refusal{code: stateLimit, message: err.Error(), hint: "Fetch a statement's rows before the next is executed."}
	case errors.Is(err, errUndivided):
		return &refusal{code: stateLimit, message: err.Error(), hint: "Add a primary key, delete fewer rows at a time, or set capture.predicates."}
	case errors.Is(err, errTaken):
		return &refusal{code: stateNotSupported, message: err.Error(), hint: "Start an agent of the newest build once more: its functions are put in place then."}
	case errors.As(err, &many):
		return &refusal{code: stateLimit, message: err.Error(), hint: many.hint}
	case errors.Is(err, errManyParts):
		return &refusal{code: stateLimit, message: err.Error(), hint: "Change fewer rows at a time, run the statements one after the other, or set capture.chunk."}
	case errors.As(err, &cannot):
		return refusedStatement(cannot, 0)
	case errors.As(err, &large):
		return tooLarge(large)
	}
	return moved(err.Error())
}

// tooLarge is the answer to a message that is not kept whole.
func tooLarge(e *pgwire.TooLargeError) *refusal {
	return &refusal{code: stateLimit, message: e.Error(),
		hint: "Send less in one statement, use COPY, or raise capture.max_message."}
}

// malformed is the answer to a message whose length is right and whose content is not:
// an error, behind which the session goes on, as behind the server's.
func malformed(err error) *refusal { return &refusal{code: stateProtocol, message: err.Error()} }

// refuseExtended makes the server fail at this point of the pipeline, and shows
// the client the agent's error in the place of the server's.
func (s *Session) refuseExtended(r *refusal) error {
	return s.failParse("opmux_refused", &entry{kind: answerParse, refusal: r})
}

func (s *Session) failParse(name string, e *entry) error {
	return s.send(pgwire.Parse, pgwire.ParseBody{Name: name, Text: failingSQL}.Append(nil), e)
}

// refuseParse is refuseExtended for a Parse of that name. One of the unnamed statement
// takes the one before away though it fails, or what follows in the packet would be
// taken for that one's.
func (s *Session) refuseParse(r *refusal, name string) error {
	if name != "" {
		return s.refuseExtended(r)
	}
	e := &entry{kind: answerParse, refusal: r}
	s.locked(func() {
		before := s.statements[""]
		s.dropStatement(before)
		e.onFail = func() {
			if e.skipped && before != nil && s.statements[""] == nil { // the server did not look at it
				before.gone, s.statements[""] = false, before
			}
		}
	})
	return s.failParse("", e)
}
