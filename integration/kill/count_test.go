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
	w.endPrepared()
	w.settle()
	diffs, err := w.Compare(w.ctx)
	w.must(err)
	if text := rig.Explain(diffs); text != "" || len(diffs) != 6 {
		w.t.Fatalf("%d tables compared, want 6; the backup differs (I1, I2, I4):\n%s", len(diffs), text)
	}
	told := w.book.take()
	w.tokens("primary", told, asTold)
	w.tokens("backup", told, asTold)
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

// dsn is where a side's tables are.
func (w *world) dsn(side string) string {
	if side == "primary" {
		return w.Primary.DSN(rig.Database)
	}
	return w.Backup.DSN(rig.Database)
}

// asTold says whether it is true of a token what its client was told.
func asTold(times int, e entry) bool {
	return times <= 1 && (times == 1 || e.verdict != committed) && (times == 0 || e.verdict != failed)
}

// tokens demands that what clients were told is true on one side, and returns
// the tokens that are there.
func (w *world) tokens(side string, told map[string]entry, right func(times int, e entry) bool) map[string]bool {
	w.t.Helper()
	dsn := w.dsn(side)
	times, there, hot := map[string]int{}, map[string]bool{}, maps.Clone(w.base[side])
	for _, row := range w.query(dsn, tokensSQL) {
		times[row[0]]++
		there[row[0]] = true
		if row[1] != "-1" {
			hot[row[1]]++
		}
	}
	var wrong []string
	for token, e := range told {
		if n := times[token]; !right(n, e) {
			wrong = append(wrong, fmt.Sprintf("%s is there %d times, its client was told %s", token, n, e))
		}
		delete(times, token)
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
	for _, row := range w.query(dsn, "SELECT id, last_value FROM serials, serials_id_seq WHERE id > last_value ORDER BY id DESC LIMIT 1") {
		wrong = append(wrong, fmt.Sprintf("the sequence is at %s, and %s is used", row[1], row[0]))
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		w.t.Fatalf("on the %s, %d of %d tokens are not as told (I1, I2, I4):\n%s", side, len(wrong), len(told), strings.Join(wrong[:min(20, len(wrong))], "\n"))
	}
	return there
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
	w.must(w.Wait(w.ctx, settleTimeout))
	for _, side := range []string{"primary", "backup"} {
		w.base[side] = map[string]int64{}
		for _, row := range w.query(w.dsn(side), "SELECT id, n FROM hot") {
			var n int64
			_, err := fmt.Sscan(row[1], &n)
			w.must(err)
			w.base[side][row[0]] = n
		}
	}
}
