package session

import "github.com/opmux/opmux/capture/classify"

// What a statement that the capture triggers carry leaves to be run later runs in
// statements that otherwise publish nothing: a cursor's query in FETCH, deferred
// triggers in SET CONSTRAINTS. Behind such a statement they are carried likewise.

// cursorByProtocol is the answer to an Execute that runs a cursor which SQL has opened.
var cursorByProtocol = &refusal{code: stateNotSupported,
	message: "Execute of a cursor, in a transaction of which the capture triggers carry statements: what its query may write is not seen",
	hint:    "FETCH from it."}

// behindTraced says that the capture triggers have carried a statement of the open
// transaction.
func (s *Session) behindTraced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tx != nil && s.tx.traced
}

// awake is how a plan goes as the transaction stands.
func (s *Session) awake(p *classify.Plan) *classify.Plan {
	if p.Awake == nil || !s.behindTraced() {
		return p
	}
	return p.Awake
}

// holds remembers a cursor of the client's whose query runs in the COMMIT, by the
// text that the server knows it by: what it says was found to write nothing.
func (s *Session) holds(p *classify.Plan, sent string, e *entry) error {
	if !p.Holds || !s.inBlock() {
		return nil
	}
	tx, err := s.currentTx()
	if err != nil {
		return err
	}
	e.onTag = both(e.onTag, func(string) {
		if tx.holds == nil {
			tx.holds = map[string]bool{}
		}
		tx.holds[sent] = true
	})
	return nil
}
