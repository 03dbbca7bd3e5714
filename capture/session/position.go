package session

import (
	"strconv"

	"github.com/opmux/opmux/wire/pgwire"
)

// stateActiveTransaction warns that BEGIN came inside a transaction.
const stateActiveTransaction = "25001"

// shiftPosition makes an error's position count from the client's own text, in
// front of which the agent had put shift characters (I5). A negative shift
// stands for text of the client's that was sent apart.
func shiftPosition(fields []pgwire.Field, shift int) []pgwire.Field {
	for i := range fields {
		if fields[i].Code != pgwire.FieldPosition {
			continue
		}
		if n, err := strconv.Atoi(fields[i].Value); err == nil && n > shift {
			fields[i].Value = strconv.Itoa(n - shift)
		}
	}
	return fields
}
