package session_test

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
)

// TestI6FlaggedIndexes: under policy flag what makes an index valid here alone, or builds
// upon it, runs, and gives the index up by its name and not its table.
func TestI6FlaggedIndexes(t *testing.T) {
	for sql, want := range map[string]string{
		`REINDEX INDEX odd`:                           " > public.odd",
		`REINDEX TABLE CONCURRENTLY t`:                " > public.odd",
		`VACUUM FULL t`:                               " > public.odd",
		`CREATE INDEX IF NOT EXISTS odd ON t (b)`:     " > public.odd",
		`CREATE TABLE copied (LIKE t INCLUDING ALL)`:  " > public.odd public.copied",
		`TRUNCATE t`:                                  "public.t > public.odd",
		`ALTER TABLE t ALTER b TYPE int USING b::int`: "public.t > public.odd",
		`ALTER INDEX odd RENAME TO odder`:             "public.t > public.odd",
	} {
		t.Run(sql, func(t *testing.T) {
			r := newRig(t, func(c *session.Config) { c.Flag = true }, `CREATE TABLE t (a int, b text)`, `CREATE INDEX odd ON t (b)`,
				`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'odd'::regclass`)
			r.client().query(sql).ready()
			got := ""
			for _, op := range r.committed() {
				if op.Kind == event.OpFlagged {
					got += strings.Join(op.Tables, " ") + " > " + strings.Join(op.Diverged, " ")
				}
			}
			if got != want {
				t.Errorf("given up: %q, want %q", got, want)
			}
		})
	}
}
