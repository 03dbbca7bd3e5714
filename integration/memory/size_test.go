package memory

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// I7: whatever is large passes in pieces, and nobody holds more than a piece.
func TestI7SizesOfAllKinds(t *testing.T) {
	s := form(t)
	w := up(t, s, rig.Config{GateTimeout: time.Minute},
		"CREATE TABLE copied (id int, v text)", "CREATE TABLE many (id int PRIMARY KEY, v text)",
		"CREATE TABLE big (id int PRIMARY KEY, v text)")
	w.stage("COPY", func() {
		w.copyIn(s.copyBytes)
		w.follows(s.timeout)
	})
	w.stage("result", func() {
		w.read(fmt.Sprintf("SELECT repeat('x', 1000000) FROM generate_series(1, %d)", s.resultBytes/1_000_000), s.resultBytes/1_000_000*1_000_000)
		w.read(fmt.Sprintf("SELECT repeat('x', %d)", s.rowBytes), s.rowBytes)
	})
	w.stage("result of a write", func() {
		rows := s.resultBytes / 6 / 1000
		w.read(fmt.Sprintf("INSERT INTO big SELECT g, repeat(md5(g::text), 31) FROM generate_series(1, %d) g RETURNING v", rows), rows*31*32)
		w.follows(s.timeout)
	})
	w.stage("statements", func() {
		w.manyStatements(s.statements)
		w.follows(s.timeout)
	})
}

func (w *world) connect() *pgconn.PgConn {
	w.t.Helper()
	return testkit.Connect(w.t, w.agent.DSN()).PgConn()
}

func (w *world) exec(conn *pgconn.PgConn, sql string) {
	w.t.Helper()
	if _, err := conn.Exec(w.ctx, sql).ReadAll(); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// lines yields rows of COPY text, about size bytes of them.
type lines struct {
	size, given int64
	n           int
	rest        string
}

func (l *lines) Read(p []byte) (int, error) {
	if l.rest == "" {
		if l.given >= l.size {
			return 0, io.EOF
		}
		var b strings.Builder
		for b.Len() < 60<<10 {
			l.n++
			fmt.Fprintf(&b, "%d\t%x%s\n", l.n, l.n*7919, filler)
		}
		l.rest = b.String()
		l.given += int64(b.Len())
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

var filler = strings.Repeat("0123456789abcdef", 60)

func (w *world) copyIn(size int64) {
	w.t.Helper()
	data := &lines{size: size}
	tag, err := w.connect().CopyFrom(w.ctx, data, "COPY copied FROM STDIN")
	w.must(err)
	if tag.RowsAffected() != int64(data.n) {
		w.t.Fatalf("%d rows were copied, expected %d", tag.RowsAffected(), data.n)
	}
}

// read runs a query of one column and demands that its values have size bytes.
func (w *world) read(sql string, size int64) {
	w.t.Helper()
	result := w.connect().ExecParams(w.ctx, sql, nil, nil, nil, nil)
	var have int64
	for result.NextRow() {
		have += int64(len(result.Values()[0]))
	}
	_, err := result.Close()
	w.must(err)
	if have != size {
		w.t.Fatalf("%s gave %d bytes, expected %d", sql, have, size)
	}
}

// manyStatements runs one transaction of that many statements: prepared ones in
// pipelines, texts that are all different, and savepoints.
func (w *world) manyStatements(count int) {
	w.t.Helper()
	const batch = 1000
	conn := w.connect()
	if _, err := conn.Prepare(w.ctx, "ins", "INSERT INTO many VALUES ($1, $2)", nil); err != nil {
		w.t.Fatal(err)
	}
	w.exec(conn, "BEGIN")
	for done := 0; done < count; done += batch {
		if done/batch%2 == 0 {
			w.pipeline(conn, done, batch)
		} else {
			w.script(conn, done, batch)
		}
	}
	w.exec(conn, "COMMIT")
}

func (w *world) pipeline(conn *pgconn.PgConn, from, count int) {
	w.t.Helper()
	p := conn.StartPipeline(w.ctx)
	for i := range count {
		id := fmt.Sprint(from + i)
		p.SendQueryPrepared("ins", [][]byte{[]byte(id), []byte("prepared " + id)}, nil, nil)
	}
	w.must(p.Sync())
	w.must(p.Close())
}

// script sends texts that are all different, a savepoint for every ten.
func (w *world) script(conn *pgconn.PgConn, from, count int) {
	w.t.Helper()
	for i := 0; i < count; i += 10 {
		var b strings.Builder
		b.WriteString("SAVEPOINT s;")
		for j := range 8 {
			fmt.Fprintf(&b, "INSERT INTO many VALUES (%d, 'text');", from+i+j)
		}
		b.WriteString("RELEASE s")
		w.exec(conn, b.String())
	}
}
