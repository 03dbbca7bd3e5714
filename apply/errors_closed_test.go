package apply

import (
	"testing"

	"github.com/opmux/opmux/apply/execute"
	"github.com/opmux/opmux/internal/testkit"
)

// TestI4ConnectionThatClosedItselfIsTriedAgain: the error of a connection that
// pgconn has closed meanwhile is its own and neither the server's nor the network's.
func TestI4ConnectionThatClosedItselfIsTriedAgain(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	conn := testkit.Connect(t, pg.DSN(pg.CreateDB(t))).PgConn()
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Exec(t.Context(), "SELECT 1").ReadAll()
	if reason, again := execute.Transient(err); !again || reason != execute.ReasonConnection {
		t.Errorf("%v: got %q, %v, want it to be tried again as a lost connection", err, reason, again)
	}
}
