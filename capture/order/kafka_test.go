package order

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/broker"
	"github.com/opmux/opmux/internal/freeport"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// stoppable is a broker that keeps its data while it is away.
type stoppable struct {
	cfg broker.Config
	b   *broker.Broker
}

func newStoppable(t testing.TB) *stoppable {
	t.Helper()
	port, err := freeport.Pick()
	if err != nil {
		t.Fatal(err)
	}
	s := &stoppable{cfg: broker.Config{Listen: freeport.Address(port), DataDir: t.TempDir()}}
	s.start(t)
	t.Cleanup(func() { s.b.Close() })
	return s
}

func (s *stoppable) start(t testing.TB) {
	t.Helper()
	var err error
	if s.b, err = broker.Start(s.cfg); err != nil {
		t.Fatal(err)
	}
}

func (s *stoppable) stop(t testing.TB) {
	t.Helper()
	if err := s.b.Close(); err != nil {
		t.Fatal(err)
	}
}

// stoppableWorld is a world whose Kafka can go away.
func stoppableWorld(t testing.TB) (*world, *stoppable) {
	s := newStoppable(t)
	w := &world{t: t, kafka: topics.Config{Brokers: []string{s.cfg.Listen}}, pg: testkit.SharedPostgres(t)}
	w.db = w.pg.CreateDB(t)
	w.fill()
	return w, s
}

func awaitAdmit(t testing.TB, a *agent, want bool) {
	t.Helper()
	testkit.Eventually(t, testkit.Patience, func() error {
		if err := a.Admit(); (err == nil) != want {
			return errors.Join(errors.New("admitted, or not"), err)
		}
		return nil
	})
}

// I2: Kafka goes away under a commit, which is refused after the gate's timeout;
// when Kafka is back its record is there, with the outcome aborted, and the epoch
// goes on.
func TestI2_RecordedWhileKafkaIsAway(t *testing.T) {
	w, kafka := stoppableWorld(t)
	cfg := w.config("a1", GateRecorded)
	cfg.Timeout = 500 * time.Millisecond
	a, err := w.open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	x := w.begin(1)
	kafka.stop(t)
	ticket, err := a.Ticket(x.Transaction)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	mustRefuse(t, ticket.Recorded(context.Background()))
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("refused after %s", d)
	}
	if _, err := x.conn.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	ticket.Aborted()
	awaitAdmit(t, a, false)
	kafka.start(t)
	awaitAdmit(t, a, true)
	after := a.commit(2)
	w.awaitOutcome(a.ref(ticket), false, "")
	w.awaitOutcome(a.ref(after), true, "")
	if err := a.Err(); err != nil {
		t.Errorf("the epoch has ended: %v", err)
	}
	a.close()
}

// Under gate none commits go on while Kafka is away, and are there in their order
// when it is back (I1, I3).
func TestI1_I3_NoneBuffersWhileKafkaIsAway(t *testing.T) {
	w, kafka := stoppableWorld(t)
	a := w.agent("a1", GateNone)
	kafka.stop(t)
	for i := range 20 {
		if err := a.Admit(); err != nil {
			t.Fatal(err)
		}
		a.commit(i)
	}
	kafka.start(t)
	a.close()
	records := w.records()
	for i := range 20 {
		if r := records[i+1]; r.N != int64(i)+1 || r.Body.Kind() != event.KindTransaction {
			t.Errorf("record %d: %+v", i+1, r)
		}
	}
}
