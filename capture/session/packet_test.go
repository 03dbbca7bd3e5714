package session_test

import "testing"

// TestCommitAndSyncAreAnsweredInOnePacket: a client that sends both at once is not
// woken twice, and neither is the server.
func TestCommitAndSyncAreAnsweredInOnePacket(t *testing.T) {
	r := newRig(t, nil, `CREATE TABLE t (id int PRIMARY KEY)`)
	c := r.client()
	c.parse("begin", "BEGIN").parse("insert", insert(1)).parse("commit", "COMMIT").sync().ready()
	c.bind("", "begin", nil).execute("", 0).bind("", "insert", nil).execute("", 0).sync().ready()
	c.bind("", "commit", nil).execute("", 0).sync().flush()
	answer := make([]byte, 4096)
	n, err := c.conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	// BindComplete, CommandComplete, ReadyForQuery.
	if want := "2\x00\x00\x00\x04C\x00\x00\x00\x0bCOMMIT\x00Z\x00\x00\x00\x05I"; string(answer[:n]) != want {
		t.Errorf("the first packet is %q, want all of %q", answer[:n], want)
	}
	c.query(insert(2)).ready()
	if got := inserted(r.committed()); got != "1 2" {
		t.Errorf("inserted %q", got)
	}
}
