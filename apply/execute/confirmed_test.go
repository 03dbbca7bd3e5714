package execute

import (
	"strconv"
	"testing"

	"github.com/opmux/opmux/internal/freeport"
)

// A commit on a connection from before another one was lost is not taken for confirmed.
func TestCommitsAreConfirmedByConnectionsThatAreSure(t *testing.T) {
	var c Confirmed
	before := c.Losses()
	if !c.Note(1, 5, before) {
		t.Error("a commit is not noted though no connection was lost")
	}
	c.Lose()
	if c.Note(1, 6, before) || c.seqs[1] != 5 {
		t.Error("a commit is noted on the word of a server that may have crashed since")
	}
	if !c.Note(1, 6, c.Losses()) || c.seqs[1] != 6 {
		t.Error("a commit is not noted on a connection that was made since")
	}
}

// A lane that does not get through to the target tells of its lost connection once: the
// others, which have theirs, are not to connect anew for each of its tries.
func TestALostConnectionIsToldOnce(t *testing.T) {
	port, err := freeport.Pick()
	if err != nil {
		t.Fatal(err)
	}
	l := &Lane{cfg: Config{Source: "s", DSN: "host=127.0.0.1 sslmode=disable port=" + strconv.Itoa(port), Shared: &Shared{}}, pid: 1, lost: true}
	for range 3 {
		if err := l.connect(t.Context()); err == nil {
			t.Fatal("nobody listens there")
		}
	}
	if n := l.cfg.Shared.Losses(); n != 1 {
		t.Errorf("it was told %d times, want once", n)
	}
}
