package session

import (
	"slices"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/internal/crashpoint"
	"github.com/opmux/opmux/wire/pgwire"
)

// answerKind is the message of the client's (or the agent's) that an entry
// awaits the answer of.
type answerKind uint8

const (
	answerQuery answerKind = iota
	answerParse
	answerBind
	answerDescribe
	answerExecute
	answerClose
	answerSync
	answerFunction
)

// entry says what the answer to one message will look like and what to do with
// it. The front makes it, the back works it off.
type entry struct {
	kind answerKind
	// silent swallows the whole answer, errors too: the agent asked.
	silent bool
	// hold keeps CommandComplete and ReadyForQuery back for the front to release.
	hold bool
	// holdReady keeps ReadyForQuery alone back.
	holdReady bool
	// passReady forwards ReadyForQuery of an entry that is silent otherwise.
	passReady bool
	// muteWarning swallows notices: the agent's own BEGIN made the client's one warn.
	muteWarning bool
	// skipped is set before onFail where the server never looked at the message,
	// because one before it in the pipeline had failed.
	skipped bool
	// taken: a Parse whose name another statement has.
	taken bool
	// plain: nobody but the queue knows of it, so that it can be used again.
	plain bool
	// skipTags is how many CommandComplete messages precede the client's own
	// (BEGIN that was put before a statement).
	skipTags int
	// shift is how many characters the agent put before the client's text.
	shift int
	// original is the place in the client's text of one in the text that was sent, nil
	// where nothing but shift is between them.
	original func(place int) int
	// sent is the place in the text as opmux has it of one in what went to the server, read
	// that in the client's own text of one in what opmux takes it for; nil: these are the same.
	sent, read func(place int) int
	// refusal, when set, takes the place of the error that the server is made to give.
	refusal *refusal
	// unless, when set, is asked before ReadyForQuery with that status is forwarded; true: it is not.
	unless func(status byte) bool
	// onNotice gets a notice under the session's lock; true: the client does not.
	onNotice func(fields []pgwire.Field) bool
	// describes is the statement whose description passes, for entries that
	// describe it; plan tells its hidden columns.
	describes *statement
	plan      *classify.Plan
	// binds is the portal that a Bind of the client's makes.
	binds *portal
	// portal is the client's portal that an Execute runs, where it is a write's.
	portal *portal
	// where makes an error's context the client's own, nil: it is.
	where func(string) string
	// warning goes to the client before CommandComplete.
	warning *refusal
	// exec is the write being captured, nil for anything else.
	exec *execution
	// onTag runs under the session's lock when CommandComplete arrived.
	onTag func(tag string)
	// onDone runs under the session's lock when the answer has ended well.
	onDone func()
	// onFail runs under the session's lock when it ended in an error or was skipped.
	onFail func()
	// onRow gets the rows of a silent entry, which it must not keep.
	onRow func(values []pgwire.DataRowValue)
	// onError gets the error under the session's lock; true: the client does not.
	onError func(fields []pgwire.Field) bool
}

// done and fail end an entry. Callers hold the session's mu.
func (e *entry) done() {
	if e.binds != nil {
		e.binds.before = nil
	}
	if e.onDone != nil {
		e.onDone()
	}
}

func (s *Session) fail(e *entry) {
	if e.binds != nil {
		s.unbind(e)
	}
	if e.onFail != nil {
		e.onFail()
	}
}

// ends tells whether the entry's answer ends with ReadyForQuery.
func (e *entry) ends() bool {
	return e.kind == answerQuery || e.kind == answerSync || e.kind == answerFunction
}

// queueRoom is how many entries a session keeps memory for, for messages whose answers
// are under way together, and for answers to come.
const queueRoom = 16

// plainEntry makes an entry that nobody but the queue may know of. Most are; a
// transaction of a few statements has dozens.
func (s *Session) plainEntry(kind answerKind, silent bool) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.spares)
	if n == 0 {
		return &entry{kind: kind, silent: silent, plain: true}
	}
	e := s.spares[n-1]
	s.spares = s.spares[:n-1]
	e.kind, e.silent, e.plain = kind, silent, true
	return e
}

// spare takes a plain entry that has ended, for plainEntry. Callers hold s.mu.
func (s *Session) spare(e *entry) {
	if e.plain && len(s.spares) < queueRoom {
		*e = entry{} // it keeps nothing alive
		s.spares = append(s.spares, e)
	}
}

// push appends an entry. After an error the server skips everything up to the
// next Sync, so entries before that one are dropped as failed, and none behind it.
// False: it was dropped, and its message need not be sent; to a server that did not
// fail it must not be, since nobody would look at what it does (I1).
func (s *Session) push(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.skipping && e.kind != answerSync && !s.syncAhead() {
		e.skipped = true
		s.fail(e)
		return false
	}
	s.skipping = false
	if s.queue == nil {
		s.room = make([]*entry, 0, queueRoom)
		s.queue = s.room
	}
	s.queue = append(s.queue, e)
	return true
}

// syncAhead tells whether a Sync is on its way already, behind which the server
// skips no more. Callers hold s.mu.
func (s *Session) syncAhead() bool {
	return slices.ContainsFunc(s.queue, func(e *entry) bool { return e.kind == answerSync })
}

// pop removes the head, whose answer has ended. Callers hold s.mu.
func (s *Session) pop() {
	s.queue[0] = nil
	s.queue = s.queue[1:]
	if len(s.queue) == 0 {
		clear(s.room[:cap(s.room)]) // where the queue outgrew it, it has entries yet
		s.queue = s.room[:0]
		s.empty.Broadcast()
	}
}

// skip drops entries up to the next Sync after an error in the extended
// protocol; where that was not sent yet, push goes on. Callers hold s.mu.
func (s *Session) skip() {
	for len(s.queue) > 0 && s.queue[0].kind != answerSync {
		e := s.queue[0]
		s.pop()
		e.skipped = true
		s.fail(e)
		s.spare(e)
	}
	s.skipping = len(s.queue) == 0
}

// drain sends what is pending upstream and waits until every answer is in,
// asking for those of a pipeline that has had no Sync yet. The error is the one
// that ended the session's back.
func (s *Session) drain() error { return s.drainAt("") }

// drainAt is drain with a place of the kill test between sending and the answers.
func (s *Session) drainAt(sent crashpoint.Point) error {
	if s.unflushed() {
		if err := s.send(pgwire.Flush, nil, nil); err != nil {
			return err
		}
	}
	if err := s.up.Flush(); err != nil {
		return upstreamError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		crashpoint.At(sent)
	}
	for len(s.queue) > 0 && s.backErr == nil {
		s.empty.Wait()
	}
	return s.backErr
}

// unflushed tells whether the last answer awaited is one that the server need
// not send by itself.
func (s *Session) unflushed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0 && !s.queue[len(s.queue)-1].ends()
}

// running tells whether an answer is awaited that says what a statement did, or how
// the transaction stands, or that one was refused.
func (s *Session) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.queue, func(e *entry) bool { return e.kind == answerExecute || e.ends() || e.refusal != nil })
}

// mayFail tells whether an answer is awaited to a Bind before the last one, or to a Parse
// whose name is in use: a COMMIT behind one that fails does not run, which leaves its block
// open, where one that was refused ends it.
func (s *Session) mayFail() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	binds := 0
	for _, e := range s.queue {
		if e.kind == answerBind && !e.silent {
			binds++
		}
		if e.taken || binds > 1 {
			return true
		}
	}
	return false
}

// idle tells whether no answer is awaited.
func (s *Session) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) == 0
}
