package session

import (
	"testing"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/wire/pgstrings"
)

// The agent's own prepared statements, and what it puts before a client's, may be parsed under either
// value of standard_conforming_strings.
func TestOwnStatementsHaveNoBackslashes(t *testing.T) {
	own := []string{wrapPrefix, switchOnPrefix, failingSQL, identitySQL, probeSQL, unlistenSQL, catalog.LockPlace, catalog.KeepDDL}
	for _, sql := range ownSQL {
		own = append(own, sql)
	}
	for _, sql := range own {
		if !pgstrings.Same(sql) {
			t.Errorf("%s", sql)
		}
	}
}
