package session

import (
	"strconv"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/wire/pgwire"
)

// stateActiveTransaction warns that BEGIN came inside a transaction.
const stateActiveTransaction = "25001"

// inClientsText makes an error's position count from the client's own text, in
// front of which the agent had put shift characters (I5), and in which it had put others
// (original). A negative shift stands for text of the client's that was sent apart.
func (e *entry) inClientsText(fields []pgwire.Field) []pgwire.Field {
	for i := range fields {
		if fields[i].Code != pgwire.FieldPosition {
			continue
		}
		n, err := strconv.Atoi(fields[i].Value)
		if err != nil || n <= e.shift {
			continue
		}
		if e.sent != nil {
			n = e.sent(n)
		}
		if n -= e.shift; e.original != nil {
			n = e.original(n)
		}
		if e.read != nil {
			n = e.read(n)
		}
		fields[i].Value = strconv.Itoa(n)
	}
	return fields
}

// moves tells whether places of the client's text are others in what was sent.
func (e *entry) moves() bool {
	return e.shift != 0 || e.original != nil || e.sent != nil || e.read != nil
}

// rewrote says that a plan's own text has others in it, behind before characters of the
// client's that were sent apart.
func (e *entry) rewrote(p *classify.Plan, before int) {
	if p.Rewritten() {
		e.original = func(place int) int { return p.Original(place-before) + before }
	}
}
