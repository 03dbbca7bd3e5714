package kill

import (
	"fmt"

	"github.com/opmux/opmux/internal/testkit"
)

// countLoss is count under gate none, after so many agents have died: then, and
// only then, the backup may lack something, and each of their epochs is suspect.
func (w *world) countLoss(died int) {
	w.t.Helper()
	w.clients.pause.Lock()
	defer w.clients.pause.Unlock()
	w.endPrepared()
	w.settle()
	told := w.book.take()
	primary := w.tokens("primary", told, asTold)
	backup := w.tokens("backup", told, func(times int, e entry) bool { return times == 0 || asTold(times, e) })
	lost := 0
	for token := range primary {
		if !backup[token] {
			lost++
		}
	}
	for token := range backup {
		if !primary[token] {
			w.t.Errorf("%s is on the backup alone (I2): its client was told %s", token, told[token])
		}
	}
	w.diary.write("count: %d of %d transactions are not on the backup, %d agents had died", lost, len(primary), died)
	w.diary.lost += lost
	if lost > 0 && died == 0 {
		w.t.Errorf("%d transactions are not on the backup, and no agent has died (I1)", lost)
	}
	w.suspects += died
	testkit.Eventually(w.t, settleTimeout, func() error {
		s, err := w.Status(w.ctx)
		if err == nil && len(s.Suspect) != w.suspects {
			err = fmt.Errorf("opmux status names %d suspect epochs, want %d: %+v", len(s.Suspect), w.suspects, s.Suspect)
		}
		return err
	})
	w.nothingWrong()
	w.empty()
}
