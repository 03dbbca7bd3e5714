package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/testkit"
)

// workload is one file of testdata/workloads, a statement a line. In it $t is a table, $c a column, $n
// and $m are numbers; `; ` parts what is sent in turn, `;` is within one message; behind `|` is what COPY sends.
type workload struct {
	name                         string
	schema, ddl, unlocked, write []string
}

func readWorkload(t *testing.T, path string) workload {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w := workload{name: strings.TrimSuffix(filepath.Base(path), ".sql")}
	sections := map[string]*[]string{"-- schema": &w.schema, "-- ddl": &w.ddl, "-- unlocked": &w.unlocked, "-- writes": &w.write}
	var into *[]string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if section, ok := sections[line]; ok {
			into = section
		} else if line != "" && !strings.HasPrefix(line, "--") {
			*into = append(*into, line)
		}
	}
	return w
}

// mover is a session that runs statements and DDL of a workload as chance has it.
type mover struct {
	workload
	b         *bench
	agent     string
	conn      *pgx.Conn
	random    *rand.Rand
	ran       []string // with what came of it
	committed int
}

// patience is for one statement; the server ends what waits for one another much earlier.
const patience = time.Minute

func (m *mover) connect() {
	m.conn = testkit.Connect(m.b.t, m.b.agent(m.agent).DSN())
}

// send runs one statement in any mode, or a COPY with its data.
func (m *mover) send(sql string) error {
	ctx, cancel := context.WithTimeout(m.b.ctx, patience)
	defer cancel()
	if head, data, ok := strings.Cut(sql, "|"); ok && strings.HasPrefix(sql, "COPY") {
		lines := strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(data)
		_, err := m.conn.PgConn().CopyFrom(ctx, strings.NewReader(lines), head)
		return err
	}
	modes := []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe}
	_, err := m.conn.Exec(ctx, sql, modes[m.random.IntN(len(modes))])
	return err
}

// exec runs one statement; in a block it takes back what failed, which is often: what sessions
// do to each other are errors. It tells whether there is still a connection.
func (m *mover) exec(sql string) bool {
	block := m.conn.PgConn().TxStatus() == 'T'
	if block && strings.Contains(sql, "CONCURRENTLY") {
		return true // would end the transaction
	}
	if block {
		_ = m.send("SAVEPOINT each")
	}
	err := m.send(sql)
	if err != nil && block {
		_ = m.send("ROLLBACK TO each")
	}
	m.note(sql, err)
	if m.conn.IsClosed() {
		m.b.t.Errorf("%s: the connection is closed behind %s: %v", m.name, sql, err)
		m.connect()
		return false
	}
	return true
}

func (m *mover) note(sql string, err error) {
	m.ran = append(m.ran, fmt.Sprintf("%s %s: %v", time.Now().Format("05.000"), sql, err))
}

// one runs one of some forms.
func (m *mover) one(forms []string) {
	number := func(below int) string { return strconv.Itoa(m.random.IntN(below)) }
	values := strings.NewReplacer("$t", number(2), "$c", number(3), "$n", number(40), "$m", number(30))
	for sql := range strings.SplitSeq(values.Replace(forms[m.random.IntN(len(forms))]), "; ") {
		if !m.exec(sql) {
			return
		}
	}
}

// block runs a transaction.
func (m *mover) block() {
	levels := []string{"READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"}
	begin := "BEGIN ISOLATION LEVEL " + levels[m.random.IntN(len(levels))]
	_, err := m.conn.Exec(m.b.ctx, begin)
	m.note(begin, err)
	for range 1 + m.random.IntN(5) {
		if m.random.IntN(4) == 0 {
			m.one(m.ddl)
		} else {
			m.one(m.write)
		}
	}
	tag, committed := m.conn.Exec(m.b.ctx, "COMMIT")
	if err == nil && committed == nil && tag.String() == "COMMIT" {
		m.committed++
	}
	m.note("COMMIT, "+tag.String(), committed)
}

func (m *mover) run(rounds int) {
	for range rounds {
		switch m.random.IntN(3) {
		case 0:
			m.one(m.ddl)
		case 1:
			m.one(m.write)
		default:
			m.block()
		}
		if m.conn.PgConn().TxStatus() != 'I' {
			_, _ = m.conn.Exec(m.b.ctx, "ROLLBACK")
		}
	}
}
