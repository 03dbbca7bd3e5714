package session_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/wire/pgwire"
)

// lies are what a hostile, or broken, server may say. Each is told once.
var lies = map[string]lie{
	"COMMIT is not answered":             tag("COMMIT", instead()),
	"COMMIT is answered as something":    tag("COMMIT", instead(tagged("SELECT 1")...)),
	"COMMIT is answered without a tag":   tag("COMMIT", instead(raw(pgwire.CommandComplete)...)),
	"COMMIT is answered twice":           tag("COMMIT", before(tagged("COMMIT")...)),
	"a FATAL error before COMMIT's tag":  tag("COMMIT", before(errored("FATAL", "57P01")...)),
	"a PANIC in the place of COMMIT":     tag("COMMIT", instead(errored("PANIC", "XX000")...)),
	"INSERT is not answered":             tag("INSERT", instead()),
	"INSERT is answered twice":           tag("INSERT", before(tagged("INSERT 0 1")...)),
	"an error before INSERT's tag":       tag("INSERT", before(errored("ERROR", "XX000")...)),
	"an error in the place of INSERT's":  tag("INSERT", instead(errored("ERROR", "XX000")...)),
	"a row that INSERT did not return":   tag("INSERT", before(raw(pgwire.DataRow, 0, 1, 0, 0, 0, 1, 'x')...)),
	"ParseComplete in between":           tag("INSERT", before(raw(pgwire.ParseComplete)...)),
	"BindComplete in between":            tag("INSERT", before(raw(pgwire.BindComplete)...)),
	"CloseComplete before ReadyForQuery": message(pgwire.ReadyForQuery, before(raw(pgwire.CloseComplete)...)),
	"NoData before ReadyForQuery":        message(pgwire.ReadyForQuery, before(raw(pgwire.NoData)...)),
	"PortalSuspended for its tag":        tag("INSERT", instead(raw(pgwire.PortalSuspended)...)),
	"EmptyQueryResponse for its tag":     tag("INSERT", instead(raw(pgwire.EmptyQueryResponse)...)),
	"CopyIn for its tag":                 tag("INSERT", before(raw(pgwire.CopyInResponse, 0, 0, 0)...)),
	"the block is over":                  status('T', raw(pgwire.ReadyForQuery, 'I')...),
	"the block has failed":               status('T', raw(pgwire.ReadyForQuery, 'E')...),
	"a status that is none":              status('T', raw(pgwire.ReadyForQuery, 'Q')...),
	"no status":                          status('T', raw(pgwire.ReadyForQuery)...),
	"a status of two bytes":              status('I', raw(pgwire.ReadyForQuery, 'I', 'I')...),
	"ready twice":                        message(pgwire.ReadyForQuery, before(raw(pgwire.ReadyForQuery, 'T')...)),
	"a block that was not begun":         status('I', raw(pgwire.ReadyForQuery, 'T')...),
	"authentication":                     message(pgwire.ReadyForQuery, before(raw(pgwire.Authentication, 0, 0, 0, 3)...)),
	"another key":                        message(pgwire.ReadyForQuery, before(raw(pgwire.BackendKeyData, 0, 0, 0, 1, 0, 0, 0, 1)...)),
	"a message of the client's":          message(pgwire.ReadyForQuery, before(raw(pgwire.Query, 'x', 0)...)),
	"a type that nobody has":             message(pgwire.ReadyForQuery, before(raw('!')...)),
	"a length of 2 GB":                   message(pgwire.CommandComplete, instead(pgwire.CommandComplete, 0x7f, 0xff, 0xff, 0xff)),
	"a length below zero":                message(pgwire.CommandComplete, instead(pgwire.CommandComplete, 0xff, 0xff, 0xff, 0xff)),
	"a length of zero":                   message(pgwire.CommandComplete, instead(pgwire.CommandComplete, 0, 0, 0, 0)),
	"an error that does not end":         message(pgwire.ReadyForQuery, before(raw(pgwire.ErrorResponse, 'S', 'E')...)),
	"a warning that does not end":        message(pgwire.CommandComplete, before(raw(pgwire.NoticeResponse, 'S', 'W')...)),
	"a setting without its value":        message(pgwire.ReadyForQuery, before(raw(pgwire.ParameterStatus, 'x', 0)...)),
	"a row that is cut":                  message(pgwire.DataRow, instead(raw(pgwire.DataRow, 0, 9, 0, 0)...)),
	"a row without columns":              message(pgwire.DataRow, instead(raw(pgwire.DataRow, 0, 0)...)),
	"a row of too many columns":          message(pgwire.DataRow, instead(raw(pgwire.DataRow, 0, 3, 0, 0, 0, 1, '7', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)...)),
	"a description of nothing":           message(pgwire.RowDescription, instead(raw(pgwire.RowDescription)...)),
}

// TestI1HostileServer: whatever a server says, the client's session ends or goes on,
// others go on, and what was published is what is there.
func TestI1HostileServer(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	upstream := &liar{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}
	r := rigWith(t, setting{upstream: upstream, logs: core}, plainTable)
	bystander := r.client()
	runs := map[string]func(c *rawClient, id int){"rows": func(c *rawClient, id int) {
		c.query(fmt.Sprintf(`INSERT INTO t SELECT g FROM generate_series(%d, %d) g`, id, id))
	}}
	for name, run := range insertions {
		if name != "copy" { // it waits for an answer that may not come
			runs[name] = run
		}
	}
	id, names := 0, map[string]string{}
	for name, lie := range lies {
		for kind, run := range runs {
			if id++; kind == "pipeline" && name == "COMMIT is not answered" {
				continue // that is silence, see below
			}
			names[strconv.Itoa(id)] = name + ", " + kind
			began := time.Now()
			c := r.client()
			told, ended := upstream.told.Load(), logs.Len()
			upstream.arm(lie)
			run(c, id)
			c.send(pgwire.Terminate, nil)
			c.ends()
			upstream.arm(nil)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("%s, %s: the session hung; it got\n%s", name, kind, strings.Join(c.notes, "\n"))
			}
			if text := strings.Join(c.notes, "\n"); strings.Contains(text, "panic") || strings.Contains(text, "goroutine") {
				t.Errorf("%s, %s: %s", name, kind, text)
			}
			for _, entry := range logs.All()[ended:] {
				if err, _ := entry.ContextMap()["error"].(string); strings.Contains(err, "panic") {
					t.Errorf("%s, %s: %s", name, kind, err)
				}
			}
			if told == upstream.told.Load() {
				continue // there was nothing to lie about
			}
			if err := bystander.conn.SetDeadline(time.Now().Add(2 * testkit.Patience)); err != nil {
				t.Fatal(err)
			}
			bystander.query(`SELECT 1`).says(`SELECT 1`, `Z "I"`)
		}
	}
	if violations := logs.FilterMessage("session ended").Len(); violations < len(lies) {
		t.Errorf("%d sessions ended with a line in the log, expected at least one a lie", violations)
	}
	r.samePublished(names)
}

// samePublished compares by the images of rows too.
func (r *rig) samePublished(names map[string]string) {
	r.t.Helper()
	testkit.Eventually(r.t, testkit.Patience, func() error {
		ops, err := committedOf(r.records())
		if err != nil {
			return err
		}
		published := map[string]int{}
		for _, op := range ops {
			if op.Rows != nil {
				for _, row := range op.Rows.Rows {
					published[string(row.Values[0].Text)]++
				}
			}
		}
		for _, id := range strings.Fields(inserted(ops)) {
			published[id]++
		}
		for _, id := range strings.Fields(r.ids()) {
			if published[id] != 1 {
				return fmt.Errorf("row %s (%s) is there and was published %d times", id, names[id], published[id])
			}
			delete(published, id)
		}
		if len(published) > 0 {
			return fmt.Errorf("published and not there: %v", published)
		}
		return nil
	})
}

// TestI1SilentServer: a server that never answers at COMMIT holds its own session
// alone; once the agent gives it up, the outcome is settled.
func TestI1SilentServer(t *testing.T) {
	for _, kind := range []string{"simple", "extended", "pipeline"} {
		upstream := &liar{Primary: session.Primary{Address: upstreamAddress(testkit.SharedPostgres(t))}}
		r := rigWith(t, setting{upstream: upstream, drain: 300 * time.Millisecond}, plainTable)
		c, bystander := r.client(), r.client()
		upstream.arm(tag("COMMIT", func([]byte) []byte { return nil }))
		insertions[kind](c, 1)
		c.flush()
		testkit.Eventually(t, testkit.Patience, func() error {
			if upstream.told.Load() == 0 {
				return errors.New("there is no COMMIT yet")
			}
			return nil
		})
		upstream.arm(func(typ byte, _ []byte) ([]byte, bool) { return nil, true }) // nor the next message
		bystander.close()
		c.close()
		r.stop()
		<-r.stopped
		other := rigWith(t, setting{beside: r, agent: "a1"})
		other.client().query(insert(2)).says(`INSERT 0 1`)
		other.same()
	}
}
