package session_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/testkit"
)

// spoiltScripts are steps, each a Query or a pipeline, of statements; # is the next id.
var spoiltScripts = [][]string{
	{text},
	{rows, pinned},
	{deferred},
	{`BEGIN`, text, `SAVEPOINT a`, text, `COMMIT`},
	{`BEGIN`, rows, `SAVEPOINT a`, pinned, `ROLLBACK TO a`, deferred, `COMMIT`, text},
	{`BEGIN`, deferred, `SAVEPOINT a`, text, `ROLLBACK`, rows},
	{`BEGIN`, text, `COMMIT AND CHAIN`, rows, `COMMIT`},
	{`BEGIN`, predicate, `SAVEPOINT a`, text, `RELEASE a`, `COMMIT`},
	{text + `; ` + rows},
	{`BEGIN; ` + text + `; SAVEPOINT a; ` + text + `; COMMIT`, pinned},
	{`BEGIN; ` + text + `; COMMIT; ` + rows},
	{`BEGIN; ` + text + `; SAVEPOINT a`, rows + `; ROLLBACK TO a; ` + deferred, `COMMIT`},
	{text + `; BEGIN; SAVEPOINT a; ` + text, text, `COMMIT`},
	{`SELECT 1; ` + text + `; SELECT 2`, text},
}

const (
	text      = `INSERT INTO t VALUES (#)`
	rows      = `INSERT INTO t SELECT # WHERE random() < 2`
	pinned    = `INSERT INTO t VALUES (#, nextval('q'))`
	deferred  = `INSERT INTO d VALUES (#)`
	predicate = `UPDATE u SET v = v + 1 WHERE v >= 0`
)

// I1, I2, I5: whichever message to the server a cancel hits, the client's or one of the agent's own,
// the client hears of one error at most for each Query and Sync, its session goes on, what it was told
// to be committed is there and nothing else, and that is what is published.
func TestI1EveryMessageMayBeCancelled(t *testing.T) {
	for _, none := range []bool{false, true} {
		for _, extended := range []bool{false, true} {
			t.Run(fmt.Sprint("none ", none, ", extended ", extended), func(t *testing.T) {
				pg := testkit.SharedPostgres(t)
				s := &spoiler{Primary: session.Primary{Address: upstreamAddress(pg)}}
				r := rigWith(t, setting{pg: pg, upstream: s, session: func(c *session.Config) { c.None = none }},
					`CREATE TABLE t (id int PRIMARY KEY, n bigint)`, `CREATE SEQUENCE q`, `CREATE TABLE u (id int PRIMARY KEY, v int)`,
					`INSERT INTO u VALUES (1, 0)`, `CREATE TABLE d (id int PRIMARY KEY, v int UNIQUE DEFERRABLE INITIALLY DEFERRED)`)
				id := 0
				for _, script := range spoiltScripts {
					for at := 1; spoil(r, s, script, extended, at, &id); at++ {
						if t.Failed() {
							return
						}
					}
				}
				r.samePublishedByParts()
			})
		}
	}
}

// spoil runs a script with its at-th message spoilt; false: it has fewer.
func spoil(r *rig, s *spoiler, script []string, extended bool, at int, id *int) bool {
	r.t.Helper()
	from := *id
	c := r.client()
	defer c.close()
	told := &teller{spoiler: s}
	var heard []string
	s.arm(at)
	for _, step := range script {
		heard = append(heard, step, told.step(c, number(step, id), extended))
	}
	hit := s.struck()
	s.arm(0)
	if told.open { // nothing comes back that was said to be over
		heard = append(heard, told.step(c, `ROLLBACK TO a`, extended), told.step(c, `COMMIT`, extended))
	}
	if told.open {
		heard = append(heard, told.step(c, `ROLLBACK`, extended))
	}
	heard = append(heard, told.step(c, number(text, id), extended))
	have := r.pg.Query(r.t, r.db, fmt.Sprintf(`SELECT id FROM (SELECT id FROM t UNION ALL SELECT id FROM d) i WHERE id > %d ORDER BY id`, from))
	if got, want := strings.Trim(fmt.Sprint(have), "[]"), strings.Trim(fmt.Sprint(wrapped(told.done)), "[]"); got != want || told.odd != "" {
		r.t.Errorf("%q, with message %d spoilt (%q): told %s, on the primary %s; %s\n%s", script, at, hit, want, got, told.odd, strings.Join(heard, "\n"))
	}
	return hit != ""
}

func number(step string, id *int) string {
	for strings.Contains(step, "#") {
		*id++
		step = strings.Replace(step, "#", strconv.Itoa(*id), 1)
	}
	return step
}

// wrapped is in the form of a query's result.
func wrapped(ids []int) (out [][]string) {
	slices.Sort(ids)
	for _, id := range ids {
		out = append(out, []string{strconv.Itoa(id)})
	}
	return out
}

// teller keeps what a client knows of its rows by what it is told.
type teller struct {
	spoiler *spoiler
	open    bool  // ReadyForQuery said T or E
	block   bool  // BEGIN was told, and no end of it
	pending []int // 0: a savepoint
	done    []int
	odd     string
}

// step runs statements and returns the answer.
func (k *teller) step(c *rawClient, step string, extended bool) string {
	c.t.Helper()
	statements := strings.Split(step, "; ")
	if extended {
		for _, sql := range statements {
			c.run(sql)
		}
		c.sync().ready()
	} else {
		c.query(step).ready()
	}
	answer := c.take()
	failed := false
	for line := range strings.Lines(answer) {
		switch line[0] {
		case 'C':
			if len(statements) == 0 || failed {
				k.odd = "too many tags"
				return answer
			}
			k.tag(statements[0], line)
			statements = statements[1:]
		case 'E':
			if failed {
				k.odd = "a second error"
			}
			failed = true
			// Where COMMIT itself was hit, the server keeps the block, and the agent does not.
			if hit := k.spoiler.struck(); strings.HasPrefix(hit, "Q") && strings.Contains(hit, "COMMIT") && len(statements) > 0 && strings.HasPrefix(statements[0], "COMMIT") {
				k.block = false
			}
		case 'Z':
			k.ready(line, failed)
		}
	}
	if len(statements) > 0 && !failed {
		k.odd = "a statement without an answer"
	}
	return answer
}

func (k *teller) tag(sql, line string) {
	word, _, _ := strings.Cut(sql, " ")
	switch {
	case word == "BEGIN":
		k.block = true
	case word == "SAVEPOINT":
		k.pending = append(k.pending, 0)
	case strings.HasPrefix(sql, "ROLLBACK TO"):
		k.pending = k.pending[:slices.Index(k.pending, 0)+1]
	case strings.Contains(line, `"COMMIT`), strings.Contains(line, `"ROLLBACK`):
		if strings.Contains(line, `"COMMIT`) {
			k.end()
		}
		k.pending, k.block = nil, strings.HasSuffix(sql, "CHAIN")
	case word == "INSERT":
		var id int
		for _, f := range strings.FieldsFunc(sql, func(r rune) bool { return r < '0' || r > '9' }) {
			id, _ = strconv.Atoi(f)
			break
		}
		k.pending = append(k.pending, id)
	}
}

// end takes what is pending for committed.
func (k *teller) end() {
	k.done = append(k.done, slices.DeleteFunc(k.pending, func(id int) bool { return id == 0 })...)
	k.pending = nil
}

func (k *teller) ready(line string, failed bool) {
	k.open = !strings.Contains(line, `"I"`)
	switch {
	case k.open:
		if !k.block {
			k.odd = "it is left in a transaction"
		}
	case failed:
		k.pending, k.block = nil, false
	case k.block:
		k.odd = "its block is over, and it was not told so"
	default:
		k.end()
	}
}

// samePublishedByParts fails unless what is published of t and d, savepoints that were gone back to
// left out, is what is there.
func (r *rig) samePublishedByParts() {
	r.t.Helper()
	testkit.Eventually(r.t, testkit.Patience, func() error {
		ops, err := committedOf(r.records())
		if err != nil {
			return err
		}
		have := wrapped(kept(ops))
		want := r.pg.Query(r.t, r.db, `SELECT id FROM t UNION ALL SELECT id FROM d ORDER BY id`)
		if fmt.Sprint(have) != fmt.Sprint(want) {
			return fmt.Errorf("published: %v; on the primary: %v", have, want)
		}
		return nil
	})
}

// kept are the ids that operations leave.
func kept(ops []event.Operation) []int {
	var out []int
	for i := range ops {
		switch op := &ops[i]; op.Kind {
		case event.OpSavepoint:
			out = append(out, 0)
		case event.OpRollbackTo:
			out = out[:len(out)-slices.Index(reversed(out), 0)]
		case event.OpStatement, event.OpRows:
			if id := insertedBy(op); id > 0 {
				out = append(out, id)
			}
		}
	}
	return slices.DeleteFunc(out, func(id int) bool { return id == 0 })
}

// insertedBy is the id that an operation inserts into t or d; 0: none.
func insertedBy(op *event.Operation) int {
	value := ""
	if _, values, ok := strings.Cut(op.Text, "VALUES ("); ok {
		value = strings.FieldsFunc(values, func(r rune) bool { return strings.ContainsRune(",) ", r) })[0]
	} else if op.Rows != nil && op.Rows.Table == "t" {
		value = string(op.Rows.Rows[0].Values[0].Text)
	}
	id, _ := strconv.Atoi(value)
	return id
}

func reversed(list []int) []int {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}
