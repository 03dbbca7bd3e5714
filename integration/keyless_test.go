package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/rig"
)

// I3: of rows that are the same in every column, each DELETE on the primary takes
// another one, while transactions that ran beside one another on a backup would take
// the same. So each of them follows all before it: also those which got their places
// while it read the sequences that it had drawn from, just before its own.
func TestI3EqualRowsAreTakenAwayOneByOne(t *testing.T) {
	b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: triggersOn},
		`CREATE TABLE twins (a int, b text)`, `CREATE TABLE drawn (id serial PRIMARY KEY)`,
		`INSERT INTO twins SELECT i % 2, 'same' FROM generate_series(1, 2000) i`)
	script := filepath.Join(t.TempDir(), "twins.sql")
	b.must(os.WriteFile(script, []byte(`BEGIN;
INSERT INTO drawn DEFAULT VALUES;
DELETE FROM twins WHERE ctid = (SELECT ctid FROM twins WHERE a = 1 LIMIT 1 FOR UPDATE SKIP LOCKED);
\sleep 10 ms
COMMIT;
`), 0o600))
	b.pgbench(b.agent("a1").DSN(), "-n", "-c", "16", "-j", "2", "-t", "12", "-f", script)
	b.identical()
	if v, err := b.Verdicts(b.ctx); err != nil || v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, %v; want no mismatch and nothing missing", v, err)
	}
	out, err := b.Must(b.ctx, "tail", "--config", b.AgentConfig("a1"), "--json")
	b.must(err)
	removals := 0
	for record := range strings.Lines(out) {
		var r struct {
			N         int64
			DependsOn *int64 `json:"depends_on"`
		}
		b.must(json.Unmarshal([]byte(record), &r))
		if !strings.Contains(record, `"twins\"`) {
			continue
		}
		if removals++; r.DependsOn == nil || *r.DependsOn != r.N-1 {
			t.Errorf("a transaction that takes a row without a key away does not follow the one before it: %s", record)
		}
	}
	if removals != 16*12 {
		t.Errorf("%d of %d transactions were found", removals, 16*12)
	}
}
