package property

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opmux/opmux/internal/rig"
)

// catchUp bounds how long the backup may take to have everything.
const catchUp = 3 * time.Minute

// check waits until the backup has everything that was committed and compares
// tables, their definitions, sequences and the verdicts.
func (w *world) check(ctx context.Context, patience time.Duration) ([]failure, error) {
	if err := w.Wait(ctx, patience); err != nil {
		kind := ofLate
		if strings.Contains(err.Error(), "has stopped") {
			kind = ofStop
		}
		return []failure{failuref(kind, "%v", err)}, ctx.Err()
	}
	looks := []func(context.Context) ([]failure, error){w.rows, w.definitions, w.sequences, w.status}
	if w.wanted == "" || w.wanted == ofVerdicts {
		looks = append(looks, w.verdicts)
	}
	var out []failure
	for _, look := range looks {
		found, err := look(ctx)
		if err != nil {
			return out, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func (w *world) rows(ctx context.Context) ([]failure, error) {
	diffs, err := w.Compare(ctx)
	if err != nil {
		return nil, err
	}
	rows := int64(0)
	for _, d := range diffs {
		rows += d.Primary
	}
	w.log("%d tables with %d rows compared", len(diffs), rows)
	if text := rig.Explain(diffs); text != "" {
		return []failure{failuref(ofRows, "%s", text)}, nil
	}
	return nil, nil
}

func (w *world) status(ctx context.Context) ([]failure, error) {
	status, err := w.Status(ctx)
	if err != nil {
		return nil, err
	}
	if len(status.Diverged)+len(status.Suspect) > 0 || status.LastError != "" {
		return []failure{failuref(ofStatus, "%+v", status)}, nil
	}
	return nil, nil
}

// dump writes what was published beside the clients' logs.
func (w *world) dump(ctx context.Context) error {
	records, err := w.Must(ctx, "tail", "--config", w.WorkerConfig("w1"), "--from", "beginning", "--json")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.Dir, "ops.jsonl"), []byte(records), 0o600)
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

func (w *world) definitions(ctx context.Context) ([]failure, error) {
	primary, backup, err := w.both(ctx, definitionSQL)
	var out []failure
	for _, row := range lacking(primary, backup) {
		out = append(out, failuref(ofShape, "defined on the primary only: %s", row))
	}
	for _, row := range lacking(backup, primary) {
		out = append(out, failuref(ofShape, "defined on the backup only: %s", row))
	}
	return out, err
}

func (w *world) both(ctx context.Context, sql string) (primary, backup [][]string, err error) {
	if primary, err = rig.Query(ctx, w.Primary.DSN(rig.Database), sql); err != nil {
		return nil, nil, err
	}
	backup, err = rig.Query(ctx, w.Backup.DSN(rig.Database), sql)
	return primary, backup, err
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
func (w *world) sequences(ctx context.Context) ([]failure, error) {
	primary, backup, err := w.both(ctx, sequenceSQL)
	have := map[string]int64{}
	for _, row := range backup {
		have[row[0]] = number(row[2])
	}
	var out []failure
	for _, row := range primary {
		step, want := number(row[1]), number(row[2])
		got, ok := have[row[0]]
		if !ok || step > 0 && got < want || step < 0 && got > want {
			out = append(out, failuref(ofSequences, "sequence %s is at %d on the primary and at %d (%v) on the backup", row[0], want, got, ok))
		}
	}
	return out, err
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// stillFor is how often in a row the verdicts must be the same to be all.
const stillFor = 20

// verdicts waits until the verifier has spoken of everything.
func (w *world) verdicts(ctx context.Context) ([]failure, error) {
	var v rig.Verdicts
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	poll := time.NewTicker(200 * time.Millisecond)
	defer poll.Stop()
	for still := 0; still < stillFor; still++ {
		now, err := w.Verdicts(ctx)
		if err != nil {
			return nil, fmt.Errorf("verdicts (%+v so far): %w", v, err)
		}
		if now != v || now.Sum() == 0 && w.wanted == "" {
			still = 0
		}
		v = now
		<-poll.C
	}
	w.log("verdicts %+v", v)
	if v.Mismatch > 0 || v.Missing > 0 {
		return []failure{failuref(ofVerdicts, "%+v, want none but match and skipped%s", v, w.mismatches())}, nil
	}
	return nil, nil
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
