package integration

import (
	"testing"

	"github.com/opmux/opmux/internal/rig"
)

// I6: a key that is written another way and equals what it was is the same row's, also
// where one statement writes that row twice.
func TestI6KeysThatAreWrittenAnotherWay(t *testing.T) {
	b := up(t, rig.Config{AgentYAML: triggersOn},
		`CREATE EXTENSION citext`,
		`CREATE TABLE num (k numeric PRIMARY KEY, v int)`, `INSERT INTO num SELECT i, 0 FROM generate_series(1, 40) i`,
		`CREATE TABLE word (k citext PRIMARY KEY, v int)`, `INSERT INTO word SELECT 'a' || i, 0 FROM generate_series(1, 40) i`)
	b.throughAgent(`DO $$ BEGIN FOR i IN 1..20 LOOP UPDATE num SET k = (i || '.0')::numeric WHERE k = i; UPDATE num SET v = v + 1 WHERE k = i; UPDATE num SET k = (i || '.00')::numeric, v = v + 1 WHERE k = i; END LOOP; END $$`)
	b.throughAgent(`DO $$ BEGIN FOR i IN 1..20 LOOP UPDATE word SET k = 'A' || i WHERE k = 'a' || i; UPDATE word SET v = v + 1 WHERE k = 'a' || i; END LOOP; END $$`)
	b.throughAgent(`UPDATE num SET k = (k || '.000')::numeric WHERE k > 20`)
	b.throughAgent(`UPDATE word SET k = upper(k::text) WHERE v = 0`)
	b.throughAgent(`UPDATE num SET v = 7 WHERE k = 30`)
	b.identical()
}
