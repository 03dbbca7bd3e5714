package property

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// catchUp bounds how long the backup may take to have everything.
const catchUp = 3 * time.Minute

// compare waits until the backup has everything that was committed and compares
// tables, their definitions, and sequences.
func (w *world) compare() {
	w.t.Helper()
	if err := w.Wait(w.ctx, catchUp); err != nil {
		w.t.Fatalf("the backup did not catch up: %v", err)
	}
	diffs, err := w.Compare(w.ctx)
	w.must(err)
	if text := rig.Explain(diffs); text != "" {
		w.t.Errorf("the backup differs:\n%s", text)
		w.dump()
	}
	rows := int64(0)
	for _, d := range diffs {
		rows += d.Primary
	}
	w.t.Logf("%d tables with %d rows compared", len(diffs), rows)
	w.definitions()
	w.sequences()
	status, err := w.Status(w.ctx)
	w.must(err)
	if len(status.Diverged)+len(status.Suspect) > 0 || status.LastError != "" {
		w.t.Errorf("status %+v", status)
	}
}

// dump writes what was published beside the clients' logs.
func (w *world) dump() {
	records, err := w.Must(w.ctx, "tail", "--config", w.WorkerConfig("w1"), "--from", "beginning", "--json")
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.Dir, "ops.jsonl"), []byte(records), 0o600))
}

// definitionSQL lists what DDL makes: columns, constraints, indexes. An invalid
// index is what a cancelled CREATE INDEX CONCURRENTLY left on the primary.
const definitionSQL = `SELECT format('%s.%s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid))
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p') AND relnamespace IN ('public'::regnamespace, 'other'::regnamespace)
UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
WHERE indisvalid AND relnamespace IN ('public'::regnamespace, 'other'::regnamespace)
UNION ALL SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE connamespace IN ('public'::regnamespace, 'other'::regnamespace)
UNION ALL SELECT format('%s %s', objoid::regclass, description) FROM pg_description WHERE objoid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
ORDER BY 1`

func (w *world) definitions() {
	w.t.Helper()
	primary, backup := w.both(definitionSQL)
	for _, row := range lacking(primary, backup) {
		w.t.Errorf("defined on the primary only: %s", row)
	}
	for _, row := range lacking(backup, primary) {
		w.t.Errorf("defined on the backup only: %s", row)
	}
}

func (w *world) both(sql string) (primary, backup [][]string) {
	w.t.Helper()
	primary, err := rig.Query(w.ctx, w.Primary.DSN(rig.Database), sql)
	w.must(err)
	backup, err = rig.Query(w.ctx, w.Backup.DSN(rig.Database), sql)
	w.must(err)
	return primary, backup
}

// lacking are the rows of a that b does not have.
func lacking(a, b [][]string) []string {
	count := map[string]int{}
	for _, row := range b {
		count[strings.Join(row, " ")]++
	}
	var out []string
	for _, row := range a {
		key := strings.Join(row, " ")
		if count[key]--; count[key] < 0 {
			out = append(out, key)
		}
	}
	return out
}

const sequenceSQL = `SELECT schemaname || '.' || sequencename, increment_by, coalesce(last_value, start_value - increment_by) FROM pg_sequences
WHERE schemaname IN ('public', 'other') ORDER BY 1`

// sequences: a backup that takes over must not draw a value again that the
// primary gave away, rolled back or not.
func (w *world) sequences() {
	w.t.Helper()
	primary, backup := w.both(sequenceSQL)
	have := map[string]int64{}
	for _, row := range backup {
		have[row[0]] = number(row[2])
	}
	for _, row := range primary {
		step, want := number(row[1]), number(row[2])
		got, ok := have[row[0]]
		if !ok || step > 0 && got < want || step < 0 && got > want {
			w.t.Errorf("sequence %s is at %d on the primary and at %d (%v) on the backup", row[0], want, got, ok)
		}
	}
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// verdicts waits until the verifier has spoken of everything.
func (w *world) verdicts() {
	w.t.Helper()
	var v rig.Verdicts
	still := 0
	testkit.Eventually(w.t, catchUp, func() error {
		now, err := w.Verdicts(w.ctx)
		if err != nil {
			return err
		}
		if now != v {
			still = 0
		}
		v = now
		if still++; still < 20 || v.Sum() == 0 {
			return errors.New("the verdicts are still moving")
		}
		return nil
	})
	w.t.Logf("verdicts %+v", v)
	if v.Mismatch > 0 || v.Missing > 0 {
		w.dump()
		w.t.Errorf("verdicts %+v, want none but match and skipped%s", v, w.mismatches())
	}
}

// mismatches are the verifier's own words.
func (w *world) mismatches() string {
	var out []string
	for line := range strings.Lines(logTail(w.Dir + "/verifier.log")) {
		if strings.Contains(line, "mismatch") || strings.Contains(line, "missing") {
			out = append(out, line)
		}
	}
	return fmt.Sprintf("\n%s", strings.Join(out, ""))
}
