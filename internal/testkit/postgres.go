package testkit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/pgserver"
)

// Null stands for a NULL in what PG.Query returns.
const Null = "<NULL>"

const sqlTimeout = 60 * time.Second

// PG is a private PostgreSQL server of a test.
type PG struct {
	*pgserver.Server
	databases atomic.Int64
}

// PGOption changes the server that Postgres starts.
type PGOption func(*pgserver.Config)

// WithConf adds lines of postgresql.conf ("max_prepared_transactions = 10").
func WithConf(lines ...string) PGOption {
	return func(c *pgserver.Config) { c.Settings = append(c.Settings, lines...) }
}

// WithTLS makes the server offer TLS; PG.CAFile verifies it as localhost.
func WithTLS() PGOption { return func(c *pgserver.Config) { c.TLS = true } }

// WithSCRAM makes the server ask every role but postgres for a SCRAM password
// on TCP connections. Roles are the test's to create.
func WithSCRAM() PGOption {
	return func(c *pgserver.Config) {
		c.Settings = append(c.Settings, "password_encryption = 'scram-sha-256'")
		c.HBA = []string{
			"host all postgres 127.0.0.1/32 trust",
			"host all all 127.0.0.1/32 scram-sha-256",
		}
	}
}

// Postgres starts a server that ends with the test.
func Postgres(t testing.TB, opts ...PGOption) *PG {
	t.Helper()
	p, err := start(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", p.LogTail())
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func start(opts ...PGOption) (*PG, error) {
	var cfg pgserver.Config
	for _, o := range opts {
		o(&cfg)
	}
	s, err := pgserver.Start(context.Background(), cfg)
	if err != nil {
		return nil, err
	}
	return &PG{Server: s}, nil
}

// shared is the server that the tests of one test binary have in common.
var shared struct {
	mu      sync.Mutex
	running bool // Main is there to stop it
	pg      *PG
}

// Main runs a package's tests and then stops what they shared. A package that
// calls SharedPostgres has
//
//	func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }
func Main(m *testing.M) int {
	shared.mu.Lock()
	shared.running = true
	shared.mu.Unlock()
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.pg != nil {
		if err := shared.pg.Close(); err != nil {
			fmt.Println("stopping the shared PostgreSQL:", err)
			code = max(code, 1)
		}
	}
	removeBuilt()
	return code
}

// SharedPostgres returns the one server that all tests of a test binary share,
// started at the first call; use CreateDB to be alone in a database. The package
// needs a TestMain that calls Main.
func SharedPostgres(t testing.TB) *PG {
	t.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if !shared.running {
		t.Fatal("SharedPostgres needs: func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }")
	}
	if shared.pg == nil {
		p, err := start(WithConf("max_prepared_transactions = 20"))
		if err != nil {
			t.Fatal(err)
		}
		shared.pg = p
	}
	return shared.pg
}

// CreateDB creates an empty database and returns its name.
func (p *PG) CreateDB(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("db%d", p.databases.Add(1))
	p.Exec(t, "postgres", "CREATE DATABASE "+name)
	return name
}

// Exec runs statements one by one, each in a transaction of its own.
func (p *PG) Exec(t testing.TB, db string, sql ...string) {
	t.Helper()
	conn, done := p.connect(t, db)
	defer done()
	for _, s := range sql {
		ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
		_, err := conn.Exec(ctx, s).ReadAll()
		cancel()
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// Query returns the rows of one statement in text form, NULL as Null.
func (p *PG) Query(t testing.TB, db, sql string) [][]string {
	t.Helper()
	conn, done := p.connect(t, db)
	defer done()
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var rows [][]string
	for _, r := range results {
		for _, row := range r.Rows {
			rows = append(rows, texts(row))
		}
	}
	return rows
}

func texts(row [][]byte) []string {
	out := make([]string, len(row))
	for i, v := range row {
		out[i] = string(v)
		if v == nil {
			out[i] = Null
		}
	}
	return out
}

// Connect opens a connection that ends with the test.
func (p *PG) Connect(t testing.TB, db string) *pgx.Conn {
	t.Helper()
	return Connect(t, p.DSN(db))
}

// Connect opens a connection to any DSN; it ends with the test.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = conn.Close(ctx) // the server may be gone by now, as the test wanted
	})
	return conn
}

func (p *PG) connect(t testing.TB, db string) (*pgconn.PgConn, func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	conn, err := pgconn.Connect(ctx, p.DSN(db))
	if err != nil {
		t.Fatal(err)
	}
	return conn, func() { _ = conn.Close(context.Background()) }
}

// Start starts the server again after Stop or Kill.
func (p *PG) Start(t testing.TB) { t.Helper(); must(t, p.Server.Start(context.Background())) }

// Stop shuts the server down in order.
func (p *PG) Stop(t testing.TB) { t.Helper(); must(t, p.Server.Stop()) }

// Kill ends the server with SIGKILL; Start recovers.
func (p *PG) Kill(t testing.TB) { t.Helper(); must(t, p.Server.Kill()) }

// Freeze stops the server's processes with SIGSTOP.
func (p *PG) Freeze(t testing.TB) { t.Helper(); must(t, p.Server.Freeze()) }

// Thaw ends a Freeze.
func (p *PG) Thaw(t testing.TB) { t.Helper(); must(t, p.Server.Thaw()) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// SameRows fails the test unless a query has the same rows in two databases.
func SameRows(t testing.TB, sql string, a *PG, adb string, b *PG, bdb string) {
	t.Helper()
	left, right := a.Query(t, adb, sql), b.Query(t, bdb, sql)
	if !slices.EqualFunc(left, right, slices.Equal) {
		t.Fatalf("%s differs:\n%v: %v\n%v: %v", sql, a, left, b, right)
	}
}
