package kill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// schema is what the clients write: a token stands in one of plain, serials and
// journal, and hot, a row that all clients share, counts it.
var schema = []string{
	"CREATE TABLE plain (token text PRIMARY KEY, hot int)",
	"CREATE TABLE serials (id serial PRIMARY KEY, token text NOT NULL, hot int)",
	"CREATE TABLE journal (token text NOT NULL, hot int)", // no key keeps a row from being there twice
	"CREATE TABLE filler (token text, i int, pad text)",
	"CREATE TABLE hot (id int PRIMARY KEY, n bigint NOT NULL)",
	"CREATE TABLE newest (client int PRIMARY KEY, token text, times int NOT NULL)",
	"INSERT INTO hot SELECT i, 0 FROM generate_series(0, 3) i",
	"INSERT INTO newest VALUES (0, '', 0)", // the other one is inserted by the first client that comes
}

const (
	hotRows = 4
	// fillerRows of fillerBytes make a transaction that travels in chunks.
	fillerRows                = 40
	fillerBytes               = 2000
	transactionsPerConnection = 40 // on average
	// maxThink leaves the machine time to recover in.
	maxThink = 80 * time.Millisecond
	// clientTimeout is how long a client waits for a transaction.
	clientTimeout = 8 * time.Second
)

// clients write until they are stopped; they may be paused between transactions.
type clients struct {
	book   *book
	dsns   []string // of the agents: where one does not answer, another is tried
	cancel context.CancelFunc
	all    sync.WaitGroup
	pause  sync.RWMutex // held for writing: no transaction is under way
	tokens atomic.Int64
}

func startClients(ctx context.Context, n int, seed uint64, b *book, dsns []string) *clients {
	ctx, cancel := context.WithCancel(ctx)
	c := &clients{book: b, dsns: dsns, cancel: cancel}
	for i := range n {
		c.all.Go(func() { c.run(ctx, i, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	return c
}

func (c *clients) stop() {
	c.cancel()
	c.all.Wait()
}

// client is one of them; its connection may be gone at any time.
type client struct {
	*clients
	number int
	random *rand.Rand
	conn   *pgx.Conn
	dsn    string
}

func (c *clients) run(ctx context.Context, number int, random *rand.Rand) {
	one := &client{clients: c, number: number, random: random}
	defer one.hangUp()
	for ctx.Err() == nil {
		c.pause.RLock()
		err := one.transaction(ctx)
		c.pause.RUnlock()
		think := time.Duration(random.Int64N(int64(maxThink)))
		if err != nil {
			think += 20 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(think):
		}
	}
}

// transaction runs one transaction of any shape and notes what was told of it.
func (c *client) transaction(ctx context.Context) error {
	// A transaction in mid-flight at the end of the test is waited for like others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clientTimeout)
	defer cancel()
	if c.random.IntN(transactionsPerConnection) == 0 {
		c.hangUp() // so that an agent that was away is used again
	}
	if err := c.connect(ctx); err != nil {
		return err // nothing was written
	}
	token := fmt.Sprintf("%d-%d", c.number, c.tokens.Add(1))
	began := time.Now()
	shape := shapes[c.random.IntN(len(shapes))]
	asked, err := shape(ctx, c, token)
	c.book.note(token, entry{told(err, asked), err, began, time.Now()})
	if err == nil || errors.Is(err, errGivenUp) {
		return nil
	}
	if c.conn == nil || c.conn.IsClosed() {
		c.conn = nil
		return err
	}
	if _, rollbackErr := c.conn.Exec(ctx, "ROLLBACK"); rollbackErr != nil {
		c.hangUp()
	}
	return err
}

func (c *client) connect(ctx context.Context) (err error) {
	if c.conn != nil && !c.conn.IsClosed() {
		return nil
	}
	c.dsn = c.dsns[c.random.IntN(len(c.dsns))]
	ctx, cancel := context.WithTimeout(ctx, clientTimeout/4)
	defer cancel()
	if c.conn, err = pgx.Connect(ctx, c.dsn); err != nil {
		c.conn = nil
	}
	return err
}

func (c *client) hangUp() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.conn.Close(ctx) // its server may be dead
	c.conn = nil
}
