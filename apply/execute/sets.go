package execute

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/opmux/opmux/event"
)

// Bounds of what is gathered before it is sent (I7), and of what is worth a set.
const (
	maxSetRows  = 20_000
	maxSetBytes = 4 << 20
	// firstSend is the number of rows from which on they are sent, between two
	// transactions: the target works on them while further ones are gathered. It doubles
	// with each time, since longer sets fold more and the target is busy by then.
	firstSend = 500
	// minSetJob is the number of operations of a group from which on sets are tried.
	minSetJob = 8
	// minSetRows is the number of rows from which on a statement over arrays is
	// better than one for each.
	minSetRows = 3
	// farthest is how many buckets back an operation looks for one to join.
	farthest = 32
)

// sets gathers operations of an attempt that can become statements over arrays.
// An operation joins a bucket only if it commutes with everything in the buckets
// behind it, so what they do together is what the operations do one after the
// other (I3). Everything that is no set is sent after all that was gathered.
type sets struct {
	*attempt
	buckets []*bucket
	rows    int
	bytes   int
	send    int  // the number of rows that hurry waits for
	used    bool // something was gathered in this attempt
	key     []byte
}

// newSets returns nil where operations are to run one by one.
func (a *attempt) newSets() *sets {
	n := 0
	for _, tx := range a.job.Transactions {
		n += len(tx.Transaction.Operations)
		if tx.Transaction.Chunks > 0 {
			n += minSetJob
		}
	}
	if a.cfg.Shape == nil || a.job.single || a.once || n < minSetJob || a.cfg.Shared.has(anyTable) || a.rest() ||
		a.conn.ParameterStatus("server_encoding") != "UTF8" {
		return nil
	}
	return &sets{attempt: a, send: firstSend}
}

// take gathers an operation; false where it has to be sent on its own.
func (s *sets) take(r *replay, op *event.Operation) (bool, error) {
	if s == nil || op.More || r.current.affected >= 0 || len(op.Digest.Hash) > 0 || len(op.Diverged) > 0 || !s.readable() {
		return false, nil
	}
	var members []*member
	var sh *setShape
	var err error
	switch {
	case op.Kind == event.OpStatement && op.Digest.Affected == 1:
		sh, members, err = s.ofStatement(op)
	case op.Kind == event.OpRows && op.Rows != nil && op.Digest.Affected == int64(len(op.Rows.Rows)):
		sh, members, err = s.ofImages(op.Rows)
	}
	if err != nil || len(members) == 0 {
		return false, err
	}
	for _, m := range members {
		s.join(sh, m)
	}
	r.current.affected, r.current.gathered = op.Digest.Affected, true
	s.used = true
	if s.rows >= maxSetRows || s.bytes >= maxSetBytes {
		return true, s.flush()
	}
	return true, nil
}

// readable says that texts can be read as UTF-8 under the standard's rules.
func (s *sets) readable() bool {
	encoding, ok := s.settings.current["client_encoding"]
	strings, has := s.settings.current["standard_conforming_strings"]
	return (!ok || encoding == "UTF8") && (!has || strings == "on")
}

// join puts a row into the last bucket that it may be written with, or a new one.
func (s *sets) join(sh *setShape, m *member) {
	s.rows++
	for _, v := range m.values {
		s.bytes += len(v) + valueBytes
	}
	for i := len(s.buckets) - 1; i >= max(0, len(s.buckets)-farthest); i-- {
		b := s.buckets[i]
		if b.setShape == sh {
			if b.join(m) {
				b.ops++
				return
			}
			break
		}
		if !b.commutes(sh, m) {
			break
		}
	}
	b := newBucket(sh)
	b.add(m)
	b.ops++
	s.buckets = append(s.buckets, b)
}

// flush sends what was gathered.
func (s *sets) flush() error {
	if s == nil || len(s.buckets) == 0 {
		return nil
	}
	buckets := s.buckets
	s.buckets, s.rows, s.bytes = s.buckets[:0:0], 0, 0
	for _, b := range buckets {
		if err := s.sendBucket(b); err != nil {
			return err
		}
	}
	return nil
}

// hurry sends what was gathered, once it is worth that, without waiting for answers.
func (s *sets) hurry() error {
	if s == nil || s.rows < s.send {
		return nil
	}
	s.send *= 2
	if err := s.flush(); err != nil {
		return err
	}
	return s.pipe.push()
}

// settled sends what was gathered and waits until all counts are known: the server
// does not know that a set which misses a row must not be committed.
func (s *sets) settled() error {
	if err := s.flush(); err != nil || s == nil || !s.used {
		return err
	}
	return s.pipe.drain()
}

func (s *sets) sendBucket(b *bucket) error {
	if b.ops < minSetRows {
		return s.sendApart(b)
	}
	sql, params, oids, formats := b.params()
	return s.pipe.query(sql, params, oids, formats, b.request(int64(b.rows)))
}

// sendApart sends the rows of a small bucket each on its own, those that were
// folded together.
func (s *sets) sendApart(b *bucket) error {
	if len(b.sums) > 0 || b.ops != b.rows {
		sql, params, oids, formats := b.params()
		return s.pipe.query(sql, params, oids, formats, b.request(int64(b.rows)))
	}
	for row := range b.rows {
		params := make([][]byte, len(b.values))
		for i := range params {
			params[i] = b.values[i][row]
		}
		if err := s.sendIn(b.context, b.template, params, b.declared, b.formats, b.request(1)); err != nil {
			return err
		}
	}
	return nil
}

// setError says that a set did something else than its operations are known to do
// one by one, or that the target refused it.
type setError struct {
	sql string
	err error
}

func (e *setError) Error() string { return fmt.Sprintf("a set of operations (%s): %v", e.sql, e.err) }

func (e *setError) Unwrap() error { return e.err }

// request expects that a statement hits each of its keys: each key names at most
// one row, so that the count adds up only if each operation hit the row that it
// hit on the primary.
func (b *bucket) request(want int64) request {
	fail := func(err error) error { return &setError{b.template, err} }
	return request{fail: fail, done: func(tag pgconn.CommandTag) error {
		if got := tag.RowsAffected(); got != want {
			return fmt.Errorf("it hit %d rows, expected %d", got, want)
		}
		return nil
	}}
}

// The number of groups that run without sets after one whose sets failed; it
// doubles each time.
const (
	firstRest = 4
	lastRest  = 256
)

// rest says that sets have failed lately.
func (a *attempt) rest() bool { return a.resting > 0 }

// oneByOne says whether a failure is one of an attempt with sets; the next attempt,
// without them, has the last word and names the culprit.
func (l *Lane) oneByOne(job *Job, err error) bool {
	var pg *pgconn.PgError
	var set *setError
	if !l.inSets || job.single || !errors.As(err, &pg) && !errors.As(err, &set) {
		return false
	}
	job.single = true
	l.restLength = min(max(2*l.restLength, firstRest), lastRest)
	l.resting = l.restLength
	l.cfg.Log.Info("sets of operations failed; running the group's operations one by one",
		zap.Int("transactions", len(job.Transactions)), zap.Error(err))
	return true
}

// rested notes the end of a group.
func (l *Lane) rested(job *Job) {
	switch {
	case l.resting > 0:
		l.resting--
	case l.inSets && !job.single:
		l.restLength /= 2
	}
}
