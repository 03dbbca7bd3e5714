package corpus

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/opmux/opmux/internal/pgserver"
)

// Longest times: of one statement, of a direct run of a file, and of one through
// the agent.
const (
	statementTimeout = "20s"
	directTimeout    = 2 * time.Minute
	agentTimeout     = 15 * time.Minute
)

// program runs a file against a database.
type program interface {
	command(ctx context.Context, bin string, s script, dsn string) (*exec.Cmd, error)
}

// psql runs a file as PostgreSQL's own regression tests do, but says of an error
// all that the server told, the file's line, and where in the server it arose.
type psql struct{}

func (psql) command(ctx context.Context, bin string, s script, dsn string) (*exec.Cmd, error) {
	return exec.CommandContext(ctx, filepath.Join(bin, "psql"), "-X", "-a", "-q", "-v", "VERBOSITY=verbose",
		"-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on", "-d", dsn, "-f", s.path), nil
}

// isolation runs a spec by PostgreSQL's isolationtester.
type isolation struct{}

func (isolation) command(ctx context.Context, bin string, s script, dsn string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, tester(bin), dsn)
	spec, err := os.ReadFile(s.path)
	cmd.Stdin = bytes.NewReader(spec)
	return cmd, err
}

// tester is where isolationtester is: OPMUX_ISOLATIONTESTER, or where Debian's
// postgresql-server-dev puts it.
func tester(bin string) string {
	return cmp.Or(os.Getenv("OPMUX_ISOLATIONTESTER"), filepath.Join(bin, "../lib/pgxs/src/test/isolation/isolationtester"))
}

func hasTester() bool {
	bin, err := pgserver.BinDir()
	if err != nil {
		return false
	}
	_, err = os.Stat(tester(bin))
	return err == nil
}

// answer runs a file and returns all that was printed. A file that takes too long
// is ended, and its answer says so.
func (l *lab) answer(ctx context.Context, s script, dsn string, longest time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	cmd, err := l.folder.program.command(ctx, l.primary.BinDir(), s, dsn)
	if err != nil {
		return nil, err
	}
	if err := l.scratch(); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.WaitDelay = &out, &out, l.results(), 5*time.Second
	cmd.Env = append(os.Environ(), "PGTZ=PST8PDT", "LC_ALL=C", "PGAPPNAME=corpus",
		"PGOPTIONS=-c intervalstyle=postgres_verbose -c statement_timeout="+statementTimeout,
		"PG_ABS_SRCDIR="+l.folder.path, "PG_ABS_BUILDDIR="+l.results(), "PG_LIBDIR="+l.folder.path, "PG_DLSUFFIX=.so",
		"PGISOLATIONTIMEOUT=20")
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(&out, "\n(ended after %v)\n", longest)
	case errors.As(err, &exit):
		fmt.Fprintf(&out, "\n(%v)\n", exit)
	case err != nil:
		return nil, err
	}
	return out.Bytes(), nil
}

// results is where the files have the server write, the same for all runs.
func (l *lab) results() string { return filepath.Join(l.work, "build") }

// scratch empties it.
func (l *lab) scratch() error {
	if err := os.RemoveAll(l.results()); err != nil {
		return err
	}
	for _, dir := range []string{l.results(), filepath.Join(l.results(), "results")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := l.primary.Own(dir); err != nil {
			return err
		}
	}
	return nil
}
