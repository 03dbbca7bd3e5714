package memory

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

const counters = 1000

// I7: a worker that was away for a day catches up without holding what it missed,
// and the verifier joins its digests with those that have been waiting.
func TestI7Backlog(t *testing.T) {
	s := form(t)
	w := up(t, s, rig.Config{VerifyTimeout: time.Hour},
		"CREATE TABLE day (id bigint PRIMARY KEY, v text)", "CREATE TABLE counter (id int PRIMARY KEY, n bigint)",
		fmt.Sprintf("INSERT INTO counter SELECT g, 0 FROM generate_series(0, %d) g", counters-1))
	template := w.template()
	w.must(w.worker.Terminate())
	w.must(w.write(template, s.backlog))
	w.must(w.worker.Start(w.ctx))
	w.stage("catching up", func() {
		w.must(w.Wait(w.ctx, s.timeout))
		w.verdicts(2 * int64(s.backlog))
	})
	// The ledger's transactions were never run on the primary.
	have := w.query(w.Backup.DSN(rig.Database), "SELECT (SELECT count(*) FROM day), (SELECT sum(n) FROM counter)")[0]
	if want := strconv.Itoa(s.backlog + 1); have[0] != want || have[1] != want {
		t.Errorf("the backup has %s rows and counted to %s, expected %s", have[0], have[1], want)
	}
}

// template runs one transaction and returns its event.
func (w *world) template() *event.Transaction {
	w.t.Helper()
	conn := testkit.Connect(w.t, w.agent.DSN())
	tx, err := conn.Begin(w.ctx)
	w.must(err)
	_, err = tx.Exec(w.ctx, "INSERT INTO day VALUES ($1, $2)", 0, "the work of a day")
	w.must(err)
	_, err = tx.Exec(w.ctx, "UPDATE counter SET n = n + 1 WHERE id = $1", 0)
	w.must(err)
	w.must(tx.Commit(w.ctx))
	var found *event.Transaction
	codec := avro.New()
	w.must(topics.ReadEach(w.ctx, w.kafka(), w.kafka().Names().Ops(rig.Source), func(m topics.Message) error {
		record, err := codec.DecodeRecord(m.Value)
		if err != nil {
			return err
		}
		if tx, ok := record.Body.(*event.Transaction); ok && len(tx.Operations) == 2 {
			found = tx
		}
		return nil
	}))
	if found == nil {
		w.t.Fatal("the transaction is not on the topic")
	}
	w.must(w.Wait(w.ctx, time.Minute))
	return found
}

func (w *world) kafka() topics.Config {
	return topics.Config{Brokers: []string{w.Broker.Address()}, Prefix: rig.Prefix}
}

// write appends transactions by a ledger of this process, as another agent would.
func (w *world) write(template *event.Transaction, count int) (err error) {
	ctx, cancel := context.WithCancel(w.ctx)
	producer, err := topics.NewProducer(ctx, w.kafka())
	if err != nil {
		cancel()
		return err
	}
	dsn := w.Primary.DSN(rig.Database)
	settler, err := settle.Open(dsn)
	if err != nil {
		cancel()
		return errors.Join(err, producer.Close())
	}
	ledger, err := order.Open(ctx, order.Config{Source: rig.Source, Agent: "day", Gate: order.GateRecorded, Timeout: time.Minute},
		order.Deps{Producer: producer, Topics: w.kafka(), Codec: avro.New(), Settler: settler, DSN: dsn, Normalise: classify.Normalise, Log: zap.NewNop()})
	if err != nil {
		cancel()
		return errors.Join(err, settler.Close(), producer.Close())
	}
	ran := make(chan error, 1)
	go func() { ran <- ledger.Run(ctx) }()
	defer func() {
		err = errors.Join(err, ledger.Close(ctx))
		cancel()
		<-ran
		err = errors.Join(err, settler.Close(), producer.Close())
	}()
	const writers = 64
	g, gctx := errgroup.WithContext(ctx)
	for i := range writers {
		g.Go(func() error {
			for n := i + 1; n <= count; n += writers {
				if err := commit(gctx, ledger, numbered(template, n)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func commit(ctx context.Context, ledger *order.Ledger, tx *event.Transaction) error {
	tx.DependsOn = ledger.High()
	ticket, err := ledger.Ticket(tx)
	if err != nil {
		return err
	}
	if err := ticket.Recorded(ctx); err != nil {
		ticket.Aborted()
		return err
	}
	ticket.Committed()
	return nil
}

// numbered is the template as another transaction. Its counter is one that no
// other writer counts on at the same time.
func numbered(template *event.Transaction, n int) *event.Transaction {
	tx := *template
	tx.ID[8], tx.ID[9], tx.ID[10], tx.ID[11], tx.ID[12] = byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	tx.Postgres.XID += uint64(n)
	tx.Shapes = nil // an agent tells them once; a worker looks each time
	tx.Operations = append([]event.Operation(nil), template.Operations...)
	for i, value := range []int{n, n % counters} {
		params := append([]event.Param(nil), tx.Operations[i].Params...)
		params[0].Binary, params[0].Value = false, []byte(strconv.Itoa(value))
		tx.Operations[i].Params = params
	}
	return &tx
}

// verdicts waits for that many, all of them matches.
func (w *world) verdicts(want int64) {
	w.t.Helper()
	testkit.Eventually(w.t, w.remaining(), func() error {
		v, err := w.Verdicts(w.ctx)
		if err != nil {
			return err
		}
		if v.Mismatch+v.Missing > 0 {
			w.t.Fatalf("verdicts %+v, expected matches alone", v)
		}
		if v.Match < want {
			return fmt.Errorf("%d matches, expected %d", v.Match, want)
		}
		return nil
	})
}

func (w *world) remaining() time.Duration {
	deadline, _ := w.ctx.Deadline()
	return time.Until(deadline)
}
