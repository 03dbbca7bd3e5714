package kill

import (
	"testing"
	"time"

	"github.com/opmux/opmux/internal/crashpoint"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// The variables of a run, and what the short form has.
const (
	roundsVariable = "OPMUX_KILL_ROUNDS"
	seedVariable   = "OPMUX_KILL_SEED"
	shortRounds    = 84
	shortSeed      = 7
	// roundsPerCount is how many rounds go by between counts.
	roundsPerCount = 6
)

// I1, I2, I4: whatever part is killed or frozen, where and when it may be, what
// clients were told is true on both sides, and nothing stays open.
func TestKilled(t *testing.T) {
	rounds := variable(t, roundsVariable, shortRounds)
	w := begin(t, rig.Config{Gate: "recorded", GateTimeout: 2 * time.Second}, seed(t, rounds), "a1", "a2")
	w.rounds(rounds, faults())
	w.finish()
}

// The same on Apache Kafka, whose restarts take longer.
func TestKilledOnApacheKafka(t *testing.T) {
	const rounds = 8
	w := begin(t, rig.Config{Kafka: rig.KafkaReal, Gate: "recorded", GateTimeout: 2 * time.Second}, seed(t, rounds), "a1", "a2")
	w.rounds(rounds, faults())
	w.finish()
}

// I1 under gate none: what a killed agent takes with it is reported, as an epoch
// that is suspect; nothing else loses anything, and nothing is on the backup alone
// or twice.
func TestLossIsReported(t *testing.T) {
	const rounds = 9
	w := begin(t, rig.Config{Gate: "none"}, seed(t, rounds), "a1")
	deck := faultDeck([]fault{
		{"agent killed", 3, func(w *world) { w.killProgram(w.agent()) }},
		{"agent dies at a named place", 2, func(w *world) { w.diesAtPoint(w.agent()) }},
		{"worker killed", 1, func(w *world) { w.killProgram(w.worker()) }},
		{"broker killed", 1, (*world).killBroker},
		{"primary killed", 1, func(w *world) { w.killServer("primary") }},
		{"backup killed", 1, func(w *world) { w.killServer("backup") }},
	})
	w.points["capture-agent"].cards = []crashpoint.Point{crashpoint.CommitBefore, crashpoint.CommitSent, crashpoint.CommitAfter}
	for range rounds {
		w.within(400 * time.Millisecond)
		f := deck.draw(w.random)
		died := w.diary.agentsDied
		f.do(w)
		w.diary.took(f.name, w.back(w.agents...))
		w.expectAlive()
		w.countLoss(w.diary.agentsDied - died)
	}
	w.finish()
}

// rounds does one fault after the other, while clients write.
func (w *world) rounds(n int, list []fault) {
	w.t.Helper()
	deck := faultDeck(list)
	for round := 1; round <= n && !w.t.Failed(); round++ {
		w.within(400 * time.Millisecond)
		f := deck.draw(w.random)
		w.diary.write("round %d: %s, %d committed so far", round, f.name, w.book.commits())
		f.do(w)
		w.diary.took(f.name, w.back(w.agents...))
		w.expectAlive()
		if round%roundsPerCount == 0 || round == n {
			w.count()
		}
	}
}

// finish tells what was done.
func (w *world) finish() {
	w.t.Helper()
	verdicts, states := w.book.counts()
	v, err := w.Verdicts(w.ctx)
	w.must(err)
	if v.Match == 0 {
		w.t.Errorf("the verifier has compared nothing: %+v", v)
	}
	w.t.Logf("clients were told: %d committed, %d failed, %d unknown, by %v\nverdicts: %+v\n%s",
		verdicts[committed], verdicts[failed], verdicts[unknown], states, v, w.diary)
}

func seed(t *testing.T, rounds int) uint64 {
	t.Helper()
	value := shortSeed
	if rounds > shortRounds {
		value = int(time.Now().UnixNano() % 1_000_000)
	}
	return uint64(variable(t, seedVariable, value))
}

func variable(t *testing.T, name string, value int) int {
	t.Helper()
	n := testkit.FromEnv(t, name, value)
	if n < 1 {
		t.Fatalf("%s: expected a number from 1 on, got %d", name, n)
	}
	return n
}
