package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/capture/sqldriver"
	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Longest waits of the tests; they are for a busy machine and end much earlier.
const (
	testTimeout    = 6 * time.Minute
	catchUpTimeout = 2 * time.Minute
)

func TestMain(m *testing.M) {
	if config := os.Getenv(childVariable); config != "" {
		os.Exit(embeddingChild(config))
	}
	os.Exit(testkit.Main(m))
}

// bench is a rig of one test.
type bench struct {
	*rig.Rig
	t   *testing.T
	ctx context.Context
	// inside is set where Go clients go through an agent in the test's own process.
	inside *sqldriver.Agent
	// unlike says that the backup's tables are defined otherwise on purpose.
	unlike bool
}

// otherwise is what workers say of a table that is not defined as on the primary.
const otherwise = "defined otherwise than on the primary"

// setUp starts servers and broker and creates the topics; schema is run on the
// primary and on the backup. Programs are the test's to start.
func setUp(t *testing.T, cfg rig.Config, schema ...string) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	cfg.Bin, cfg.Dir = testkit.Build(t), t.TempDir()
	r, err := rig.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Rig: r, t: t, ctx: ctx}
	t.Cleanup(b.tearDown)
	if cfg.PrimaryTLS {
		b.useCertificate()
	}
	b.must(r.CreateTopics(ctx))
	for _, dsn := range []string{r.Primary.DSN(rig.Database), r.Backup.DSN(rig.Database)} {
		for _, sql := range schema {
			b.query(dsn, sql)
		}
	}
	return b
}

// up is setUp with one agent, one worker and the verifier running.
func up(t *testing.T, cfg rig.Config, schema ...string) *bench {
	t.Helper()
	b := setUp(t, cfg, schema...)
	b.must(b.agent("a1").Start(b.ctx))
	b.must(b.worker("w1").Start(b.ctx))
	b.must(b.verifier().Start(b.ctx))
	return b
}

// useCertificate has the agents show the primary's own certificate, which is
// what SCRAM with channel binding needs, and verify the primary by it.
func (b *bench) useCertificate() {
	cert := b.Primary.CAFile()
	key := filepath.Join(filepath.Dir(cert), "server.key")
	b.ListenKeys = fmt.Sprintf(", tls: {cert: %q, key: %q}", cert, key)
	b.UpstreamKeys = fmt.Sprintf(", tls: {mode: verify-full, ca: %q}", cert)
}

func (b *bench) tearDown() {
	logs, err := filepath.Glob(filepath.Join(b.Dir, "*.log"))
	if err != nil {
		b.t.Log(err)
	}
	b.definedAlike(logs)
	if b.t.Failed() {
		for _, path := range logs {
			b.t.Logf("end of %s:\n%s", filepath.Base(path), tail(path))
		}
		b.t.Logf("end of the primary's log:\n%s", b.Primary.LogTail())
		b.t.Logf("end of the backup's log:\n%s", b.Backup.LogTail())
	}
	if err := b.Close(); err != nil {
		b.t.Error(err)
	}
}

// definedAlike demands that no worker has told of tables that are defined otherwise, where
// they were not made so on purpose.
func (b *bench) definedAlike(logs []string) {
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			b.t.Error(err)
		}
		if at := strings.Index(string(text), otherwise); at >= 0 && !b.unlike {
			b.t.Errorf("%s: %.2000s", filepath.Base(path), text[at:])
		}
	}
}

func tail(path string) string {
	const most = 6000
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) agent(name string) *rig.Program {
	b.t.Helper()
	p, err := b.Agent(name)
	b.must(err)
	return p
}

func (b *bench) worker(name string) *rig.Program {
	b.t.Helper()
	p, err := b.Worker(name)
	b.must(err)
	return p
}

func (b *bench) verifier() *rig.Program {
	b.t.Helper()
	p, err := b.Verifier()
	b.must(err)
	return p
}

// query runs one statement on any server.
func (b *bench) query(dsn, sql string) [][]string {
	b.t.Helper()
	rows, err := rig.Query(b.ctx, dsn, sql)
	b.must(err)
	return rows
}

func (b *bench) onPrimary(sql string) [][]string {
	b.t.Helper()
	return b.query(b.Primary.DSN(rig.Database), sql)
}

func (b *bench) onBackup(sql string) [][]string {
	b.t.Helper()
	return b.query(b.Backup.DSN(rig.Database), sql)
}

// throughAgent runs one statement through agent a1.
func (b *bench) throughAgent(sql string) [][]string {
	b.t.Helper()
	return b.query(b.agent("a1").DSN(), sql)
}

// identical waits until the backup has everything and compares every table.
func (b *bench) identical() {
	b.t.Helper()
	b.must(b.Wait(b.ctx, catchUpTimeout))
	diffs, err := b.Compare(b.ctx)
	b.must(err)
	if len(diffs) == 0 {
		b.t.Fatal("there is no table to compare")
	}
	if text := rig.Explain(diffs); text != "" {
		b.t.Fatalf("the backup differs:\n%s", text)
	}
}

// sequencesFollow demands that no sequence of the backup is behind the primary's,
// so that an application which goes over to it draws no value twice.
func (b *bench) sequencesFollow() {
	b.t.Helper()
	const sql = "SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value - 1) FROM pg_sequences WHERE schemaname <> 'opmux' ORDER BY 1"
	testkit.Eventually(b.t, testkit.Patience, func() error {
		behind := map[string]int64{}
		for _, row := range b.onPrimary(sql) {
			behind[row[0]] = number(b.t, row[1])
		}
		for _, row := range b.onBackup(sql) {
			if number(b.t, row[1]) >= behind[row[0]] {
				delete(behind, row[0])
			}
		}
		if len(behind) > 0 {
			return fmt.Errorf("sequences of the backup are behind the primary's: %v", behind)
		}
		return nil
	})
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	var n int64
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// verdicts waits until the verifier has spoken of at least want operations.
func (b *bench) verdicts(want int64) rig.Verdicts {
	b.t.Helper()
	var v rig.Verdicts
	testkit.Eventually(b.t, catchUpTimeout, func() (err error) {
		if v, err = b.Verdicts(b.ctx); err != nil {
			return err
		}
		if v.Sum() < want {
			return fmt.Errorf("verdicts on %d operations, want %d: %+v", v.Sum(), want, v)
		}
		return nil
	})
	return v
}

// allMatch waits for verdicts on want operations and demands that each is a match.
func (b *bench) allMatch(want int64) {
	b.t.Helper()
	if v := b.verdicts(want); v.Match != v.Sum() || v.Sum() != want {
		b.t.Fatalf("verdicts %+v, want %d matches and nothing else", v, want)
	}
}

// tool runs a client program (psql, pgbench) of the server's installation
// against a DSN.
func (b *bench) tool(name, dsn string, args ...string) rig.Result {
	b.t.Helper()
	result, err := b.Run(b.ctx, filepath.Join(b.Primary.BinDir(), name), append(args, dsn)...)
	b.must(err)
	return result
}

// pgbench runs pgbench against a DSN and demands success.
func (b *bench) pgbench(dsn string, args ...string) string {
	b.t.Helper()
	result := b.tool("pgbench", dsn, args...)
	if result.Code != 0 {
		b.t.Fatalf("pgbench %s: exit code %d\n%s%s", strings.Join(args, " "), result.Code, result.Stdout, result.Stderr)
	}
	return result.Stdout
}

// psql runs one command by psql through agent a1 and returns all it printed.
func (b *bench) psql(sql string) rig.Result {
	b.t.Helper()
	return b.tool("psql", b.agent("a1").DSN(), "-X", "-v", "VERBOSITY=verbose", "-c", sql)
}

func (b *bench) count(dsn, sql string) int64 {
	b.t.Helper()
	return number(b.t, b.query(dsn, sql)[0][0])
}
