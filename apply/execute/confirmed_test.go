package execute

import "testing"

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
