package kill

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// tokensSQL lists the tokens with the hot row that each has counted.
const tokensSQL = `SELECT token, coalesce(hot, -1) FROM plain UNION ALL SELECT token, coalesce(hot, -1) FROM serials
	UNION ALL SELECT token, coalesce(hot, -1) FROM journal`

// count pauses the clients, waits until nothing is open, and counts the tokens on
// both sides. Then the tables are emptied, so that the next count is as quick.
func (w *world) count() {
	w.t.Helper()
	w.clients.pause.Lock()
	defer w.clients.pause.Unlock()
	w.settle()
	diffs, err := w.Compare(w.ctx)
	w.must(err)
	if text := rig.Explain(diffs); text != "" || len(diffs) != 6 {
		w.t.Fatalf("%d tables compared, want 6; the backup differs (I1, I2, I4):\n%s", len(diffs), text)
	}
	told := w.book.take()
	w.tokens("primary", w.Primary.DSN(rig.Database), told)
	w.tokens("backup", w.Backup.DSN(rig.Database), told)
	w.nothingWrong()
	w.empty()
}

// settle waits until the backup has everything and no intent is open: open ones
// settle by themselves.
func (w *world) settle() {
	w.t.Helper()
	began := time.Now()
	testkit.Eventually(w.t, settleTimeout, func() error {
		w.expectAlive()
		if err := w.Wait(w.ctx, 10*time.Second); err != nil {
			return err
		}
		s, err := w.Status(w.ctx)
		if err != nil {
			return err
		}
		for _, d := range s.InDoubt {
			err = errors.Join(err, fmt.Errorf("transaction %d of agent %s, epoch %d, is open: %s", d.N, d.Agent, d.Epoch, d.Reason))
		}
		for _, p := range s.Programs {
			if p.Role == "agent" && p.State == "ready" && p.Open > 0 {
				err = errors.Join(err, fmt.Errorf("agent %s knows of %d open intents", p.Name, p.Open))
			}
		}
		return err
	})
	took := time.Since(began)
	w.diary.write("count: settled after %v", took.Round(time.Millisecond))
	w.diary.settle = append(w.diary.settle, took)
}

// tokens demands that everything which clients were told is true on one side.
func (w *world) tokens(side, dsn string, told map[string]entry) {
	w.t.Helper()
	times, hot := map[string]int{}, maps.Clone(w.base)
	for _, row := range w.query(dsn, tokensSQL) {
		times[row[0]]++
		if row[1] != "-1" {
			hot[row[1]]++
		}
	}
	var wrong []string
	for token, e := range told {
		n := times[token]
		delete(times, token)
		if n > 1 || n == 0 && e.verdict == committed || n == 1 && e.verdict == failed {
			wrong = append(wrong, fmt.Sprintf("%s is there %d times, its client was told %s", token, n, e))
		}
	}
	for token := range times {
		wrong = append(wrong, token+" is there, and no client wrote it or has kept it")
	}
	for _, row := range w.query(dsn, "SELECT id, n FROM hot") {
		if want := fmt.Sprint(hot[row[0]]); row[1] != want {
			wrong = append(wrong, fmt.Sprintf("row %s of hot has counted %s transactions, and %s are there", row[0], row[1], want))
		}
	}
	for _, row := range w.query(dsn, fmt.Sprintf("SELECT token, count(*) FROM filler GROUP BY 1 HAVING count(*) <> %d", fillerRows)) {
		wrong = append(wrong, fmt.Sprintf("%s has %s rows of filler, want %d", row[0], row[1], fillerRows))
	}
	if row := w.query(dsn, "SELECT coalesce(max(id), 0), (SELECT last_value FROM serials_id_seq) FROM serials")[0]; len(row[0]) > len(row[1]) ||
		len(row[0]) == len(row[1]) && row[0] > row[1] {
		wrong = append(wrong, fmt.Sprintf("the sequence is at %s, and %s is used", row[1], row[0]))
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		w.t.Fatalf("on the %s, %d of %d tokens are not as told (I1, I2, I4):\n%s", side, len(wrong), len(told), strings.Join(wrong[:min(20, len(wrong))], "\n"))
	}
}

// nothingWrong demands that opmux itself knows of nothing that is wrong.
func (w *world) nothingWrong() {
	w.t.Helper()
	s, err := w.Status(w.ctx)
	w.must(err)
	if len(s.Diverged) > 0 || w.Gate != "none" && len(s.Suspect) > 0 {
		w.t.Fatalf("opmux status tells of diverged tables %v or suspect epochs %v", s.Diverged, s.Suspect)
	}
	v, err := w.Verdicts(w.ctx)
	w.must(err)
	if v.Mismatch > 0 {
		w.t.Fatalf("verdicts %+v, want no mismatch", v)
	}
}

// empty removes the tokens by way of an agent, for as long as that takes.
func (w *world) empty() {
	w.t.Helper()
	testkit.Eventually(w.t, backTimeout, func() error {
		_, err := rig.Query(w.ctx, w.agents[0].DSN(), "TRUNCATE plain, serials, journal, filler")
		return err
	})
	for _, row := range w.query(w.Primary.DSN(rig.Database), "SELECT id, n FROM hot") {
		var n int64
		_, err := fmt.Sscan(row[1], &n)
		w.must(err)
		w.base[row[0]] = n
	}
}
