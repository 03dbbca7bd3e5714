package execute

import (
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"
)

// Config is what a lane needs to know.
type Config struct {
	Source string
	DSN    string
	Lane   int
	Fence  int64
	Open   OpenFunc
	Shared *Shared
	// Normalise takes the constants out of a statement, for messages.
	Normalise func(sql string) string
	// Shape says what a statement does to one row; nil: operations run one by one.
	Shape ShapeFunc
	// Definition says which relations a definition has to do with; nil: definitions of
	// what has diverged are told by the operation's tables alone.
	Definition DefinitionFunc
	// Trouble is told of every transient error, and of nil once it is over.
	Trouble func(reason Reason, err error)
	// Differs is told where a table is defined otherwise than on the primary, before the
	// transaction at that offset commits, and again with each attempt at it.
	Differs func(offset int64, table, where string)
	Log     *zap.Logger
}

// Lane executes groups one after the other on a connection of its own. It is for
// one goroutine.
type Lane struct {
	cfg  Config
	conn *pgconn.PgConn
	pid  uint32 // of the last connection, which may live on at the server

	// seq is the lane's row's as of the last commit that is known; unsure says
	// that a COMMIT was sent since whose end is not.
	seq    int64
	known  bool // seq was read
	unsure bool
	losses int64 // Shared.Losses that the connection was made at
	lost   bool  // it is gone, and Shared does not know

	statements *statements
	types      map[string]uint32            // OIDs by name
	tables     map[string]map[string]string // see columnTypes
	ties       map[string]*ties             // by table
	schema     int64                        // Shared.schema that these belong to
	settings   settings
	shapes     *shapes

	inSets     bool // the last attempt had sets
	resting    int  // groups that are to run without sets
	restLength int  // how many it were last

	troubled bool // Trouble was told of an error that is not over

	// last is the last attempt, with what it declared diverged.
	last *attempt
}

// NewLane returns a lane; it connects when it has something to do.
func NewLane(cfg Config) *Lane {
	return &Lane{cfg: cfg, settings: settings{seed: maphash.MakeSeed()}}
}

// Close ends the lane's connection. It may be called twice.
func (l *Lane) Close() error {
	l.disconnect()
	return nil
}

// The pauses between attempts.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 3 * time.Second
)

// Run executes a group and returns when it is committed on the target. Transient
// errors are tried again for as long as ctx lives. A group that the target
// refuses is tried transaction by transaction, so that the error names the
// culprit: results are those of the transactions before it, which are committed.
func (l *Lane) Run(ctx context.Context, job Job) ([]Result, error) {
	results, err := l.persist(ctx, &job)
	if err == nil || len(job.Transactions) == 1 || !refused(err) {
		return results, err
	}
	l.cfg.Log.Info("the target refuses a group of transactions; trying them one by one",
		zap.Int("transactions", len(job.Transactions)), zap.Error(err))
	var all []Result
	for i := range job.Transactions {
		single := Job{Transactions: job.Transactions[i : i+1], Base: job.position(i), apart: job.apart, single: true}
		results, err := l.persist(ctx, &single)
		if err != nil {
			return all, err
		}
		all = append(all, results...)
	}
	return all, nil
}

func refused(err error) bool {
	var op *OperationError
	return errors.As(err, &op)
}

// errCommitted says that the attempt before has reached the target after all.
var errCommitted = errors.New("the group is committed already")

// persist tries a group until it is committed, refused or fenced.
func (l *Lane) persist(ctx context.Context, job *Job) ([]Result, error) {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		results, err := l.attempt(ctx, job)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, errCommitted) {
			if err = l.readDiverged(ctx); err == nil {
				results = unknown(job)
				l.cfg.Shared.schema.Add(1) // whatever it was
			}
			if err == nil {
				err = l.confirm(ctx)
			}
		} else if err == nil {
			if err = l.confirm(ctx); err == nil {
				l.cfg.Shared.follow(l.last)
			}
		}
		if err == nil {
			l.seq++
			l.unsure = false
			l.over()
			l.rested(job)
			return results, nil
		}
		reason, again := Transient(err)
		if !again {
			if l.oneByOne(job, err) || l.takeApart(job, err) || l.unfit(ctx, job, err) {
				continue
			}
			return nil, err
		}
		l.trouble(reason, err)
		if err := wait(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func (l *Lane) trouble(reason Reason, err error) {
	l.troubled = true
	l.cfg.Trouble(reason, err)
}

func (l *Lane) over() {
	if l.troubled {
		l.troubled = false
		l.cfg.Trouble("", nil)
	}
}

func wait(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause/2 + rand.N(pause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// unknown are the results of a group that is committed and whose responses were
// lost.
func unknown(job *Job) []Result {
	results := make([]Result, len(job.Transactions))
	for i, tx := range job.Transactions {
		results[i] = Result{Tx: tx, Unknown: "connection lost at commit"}
	}
	return results
}
