package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Longest waits of the tests; they are for a busy machine and end much earlier.
const (
	testTimeout = 8 * time.Minute
	patience    = 2 * time.Minute
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// stage is a rig of one test, with one table of tokens on both sides.
type stage struct {
	*rig.Rig
	t   *testing.T
	ctx context.Context
}

var schema = []string{
	"CREATE TABLE token (id text PRIMARY KEY, v int NOT NULL DEFAULT 0)",
	"CREATE TABLE counter (id int PRIMARY KEY, v int NOT NULL)",
	"INSERT INTO counter SELECT i, 0 FROM generate_series(0, 3) i",
}

// setUp starts servers and broker; programs are the test's to start.
func setUp(t *testing.T, cfg rig.Config) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	cfg.Bin = testkit.Build(t)
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	r, err := rig.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{Rig: r, t: t, ctx: ctx}
	t.Cleanup(s.tearDown)
	s.must(r.CreateTopics(ctx))
	for _, dsn := range []string{s.primary(), s.backup()} {
		for _, sql := range schema {
			s.query(dsn, sql)
		}
	}
	return s
}

// up is setUp with agent a1 and worker w1.
func up(t *testing.T, cfg rig.Config) *stage {
	t.Helper()
	s := setUp(t, cfg)
	s.must(s.agent("a1").Start(s.ctx))
	s.must(s.worker("w1").Start(s.ctx))
	return s
}

func (s *stage) tearDown() {
	if s.t.Failed() {
		logs, err := filepath.Glob(filepath.Join(s.Dir, "*.log"))
		if err != nil {
			s.t.Log(err)
		}
		for _, path := range logs {
			text, err := os.ReadFile(path)
			s.t.Logf("end of %s: %v\n%s", filepath.Base(path), err, text[max(0, len(text)-4000):])
		}
		s.t.Logf("end of the primary's log:\n%s\nend of the backup's log:\n%s", s.Primary.LogTail(), s.Backup.LogTail())
	}
	if err := s.Close(); err != nil {
		s.t.Error(err)
	}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) primary() string { return s.Primary.DSN(rig.Database) }
func (s *stage) backup() string  { return s.Backup.DSN(rig.Database) }

func (s *stage) agent(name string) *rig.Program {
	s.t.Helper()
	p, err := s.Agent(name)
	s.must(err)
	return p
}

func (s *stage) worker(name string) *rig.Program {
	s.t.Helper()
	p, err := s.Worker(name)
	s.must(err)
	return p
}

// restart ends a program by SIGKILL and starts it again, not waiting for it.
func (s *stage) restart(p *rig.Program) {
	s.t.Helper()
	s.must(p.Kill())
	s.must(p.Launch())
}

func (s *stage) query(dsn, sql string) [][]string {
	s.t.Helper()
	rows, err := rig.Query(s.ctx, dsn, sql)
	s.must(err)
	return rows
}

// throughAgent runs one statement through agent a1.
func (s *stage) throughAgent(sql string) {
	s.t.Helper()
	s.query(s.agent("a1").DSN(), sql)
}

// tryThroughAgent runs one statement through agent a1 and returns its SQLSTATE.
func (s *stage) tryThroughAgent(sql string) string {
	s.t.Helper()
	_, err := rig.Query(s.ctx, s.agent("a1").DSN(), sql)
	return sqlState(err)
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return "00000"
	case errors.As(err, &pg):
		return pg.Code
	}
	return err.Error()
}

// connect opens a connection that ends with the test.
func (s *stage) connect(dsn string) *pgx.Conn {
	s.t.Helper()
	return testkit.Connect(s.t, dsn)
}

func (s *stage) exec(conn *pgx.Conn, sql ...string) {
	s.t.Helper()
	for _, text := range sql {
		if _, err := conn.Exec(s.ctx, text); err != nil {
			s.t.Fatalf("%s: %v", text, err)
		}
	}
}

// identical waits until the backup has everything and compares every table.
func (s *stage) identical() {
	s.t.Helper()
	s.must(s.Wait(s.ctx, patience))
	diffs, err := s.Compare(s.ctx)
	s.must(err)
	if len(diffs) == 0 {
		s.t.Fatal("there is no table to compare")
	}
	if text := rig.Explain(diffs); text != "" {
		s.t.Fatalf("the backup differs:\n%s", text)
	}
}

// tokens lists the tokens of a database that begin with a prefix.
func (s *stage) tokens(dsn, prefix string) string {
	s.t.Helper()
	return s.query(dsn, fmt.Sprintf("SELECT coalesce(string_agg(id, ' ' ORDER BY id), '') FROM token WHERE id LIKE '%s%%'", prefix))[0][0]
}

// eventually waits for a condition.
func (s *stage) eventually(check func() error) {
	s.t.Helper()
	testkit.Eventually(s.t, patience, check)
}

// says waits until a program's log, or its last word on /readyz, holds all texts.
func (s *stage) says(p *rig.Program, texts ...string) {
	s.t.Helper()
	s.eventually(func() error {
		answer, _ := p.ReadyAnswer(s.ctx) // not ready, or gone: then the log tells
		all := answer + p.Process.Log()
		for _, text := range texts {
			if !strings.Contains(all, text) {
				return fmt.Errorf("%s does not say %q; /readyz: %s; its log ends:\n%s", p.Name, text, answer, p.Process.LogTail())
			}
		}
		return nil
	})
}

// exits waits for a program to end with code 1, having said so many texts.
func (s *stage) exits(p *rig.Program, texts ...string) {
	s.t.Helper()
	s.eventually(func() error {
		if p.Process.Running() {
			return fmt.Errorf("%s still runs", p.Name)
		}
		return nil
	})
	if code := p.Process.ExitCode(); code != 1 {
		s.t.Errorf("%s ended with code %d, want 1", p.Name, code)
	}
	for _, text := range texts {
		if log := p.Process.Log(); !strings.Contains(log, text) {
			s.t.Errorf("%s does not say %q:\n%s", p.Name, text, p.Process.LogTail())
		}
	}
}

// metric waits until a program's metric, named with its labels, is at least 1.
func (s *stage) metric(p *rig.Program, name string) {
	s.t.Helper()
	s.eventually(func() error {
		text, err := p.Metrics(s.ctx)
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, name+" "); ok && strings.TrimSpace(rest) != "0" {
				return nil
			}
		}
		return fmt.Errorf("%s shows no %s above 0", p.Name, name)
	})
}

// kafka returns clients of the rig's broker, for faults that need one.
func (s *stage) kafka() (*kgo.Client, *kadm.Client) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Broker.Address()))
	s.must(err)
	s.t.Cleanup(client.Close)
	return client, kadm.NewClient(client)
}

// opsTopic is the topic of the rig's source.
const opsTopic = rig.Prefix + "." + rig.Source + ".ops"
