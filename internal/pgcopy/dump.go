// Package pgcopy copies a PostgreSQL database as of one snapshot into an empty
// one: the schema by PostgreSQL's own pg_dump, which knows every object there is,
// the rows by COPY through memory of a fixed size. opmux's own objects stay behind.
package pgcopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/opmux/opmux/capture/catalog"
)

// OwnSchema is where opmux keeps its tables; it is never copied.
const OwnSchema = "opmux"

// archive is a dump of a schema, in pg_dump's custom format, in a directory of
// its own.
type archive struct {
	dir   string
	owned bool // ALTER … OWNER and GRANT are restored as well
	skip  func(entry) bool
}

func (a *archive) file() string { return filepath.Join(a.dir, "schema.dump") }

// remove deletes the archive.
func (a *archive) remove() error {
	if err := os.RemoveAll(a.dir); err != nil {
		return fmt.Errorf("removing the dump of the schema: %w", err)
	}
	return nil
}

// dumpSchema dumps everything but the rows as of the exported snapshot. ErrBusy
// where pg_dump cannot lock a table.
func dumpSchema(ctx context.Context, s *Source) (*archive, error) {
	if err := checkTool(ctx, "pg_dump", s.version/10000); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "opmux-snapshot-")
	if err != nil {
		return nil, fmt.Errorf("directory for the dump of the schema: %w", err)
	}
	a := &archive{dir: dir}
	_, err = tool(ctx, environment(s.conn.Config(), s.dsn), "pg_dump", "--format=custom", "--section=pre-data", "--section=post-data",
		"--snapshot="+s.exported, "--lock-wait-timeout=3000", "--exclude-schema="+OwnSchema, "--no-publications", "--no-subscriptions",
		"--no-blobs", "--no-password", "--file="+a.file())
	if err != nil {
		// psql's programs print messages in the server's language: LOCK TABLE is not.
		if strings.Contains(err.Error(), "LOCK TABLE") || strings.Contains(err.Error(), "lock timeout") {
			err = fmt.Errorf("%w: a statement waits for a table of its own: %w", ErrBusy, err)
		}
		return nil, errors.Join(err, a.remove())
	}
	return a, nil
}

// entry is one line of an archive's table of contents.
type entry struct {
	line  string // as pg_restore --list prints it
	kind  string // "TABLE", "EVENT TRIGGER", "FK CONSTRAINT", …
	rest  string // schema, name and owner, between spaces
	owner string
}

// kinds are the kinds of more than one word that matter here.
var kinds = []string{"EVENT TRIGGER", "DEFAULT ACL", "DATABASE PROPERTIES", "MATERIALIZED VIEW DATA"}

var entryLine = regexp.MustCompile(`^\d+; \d+ \d+ (.+)$`)

func (a *archive) entries(ctx context.Context) ([]entry, error) {
	out, err := tool(ctx, os.Environ(), "pg_restore", "--list", a.file())
	if err != nil {
		return nil, err
	}
	var list []entry
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\r\n")
		m := entryLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		e := entry{line: line}
		for _, k := range kinds {
			if strings.HasPrefix(m[1], k+" ") {
				e.kind = k
			}
		}
		if e.kind == "" {
			e.kind, _, _ = strings.Cut(m[1], " ")
		}
		e.rest = strings.TrimPrefix(m[1], e.kind+" ")
		e.owner = e.rest[strings.LastIndexByte(e.rest, ' ')+1:]
		list = append(list, e)
	}
	return list, nil
}

// section gives the SQL of one section ("pre-data", "post-data").
func (a *archive) section(ctx context.Context, section string) (string, error) {
	all, err := a.entries(ctx)
	if err != nil {
		return "", err
	}
	var list strings.Builder
	for _, e := range all {
		if !a.skip(e) {
			list.WriteString(e.line + "\n")
		}
	}
	toc := filepath.Join(a.dir, "toc")
	if err := os.WriteFile(toc, []byte(list.String()), 0o600); err != nil {
		return "", fmt.Errorf("list of the schema's objects: %w", err)
	}
	args := []string{"--section=" + section, "--use-list=" + toc, "--file=-"}
	if !a.owned {
		args = append(args, "--no-owner", "--no-privileges")
	}
	out, err := tool(ctx, os.Environ(), "pg_restore", append(args, a.file())...)
	return string(out), err
}

// clientOnly matches lines of a script that its reader does not know: psql's
// \restrict and \unrestrict, and settings of newer servers.
func clientOnly(line string, serverVersion int) bool {
	line = strings.TrimSpace(line)
	return strings.HasPrefix(line, `\restrict `) || strings.HasPrefix(line, `\unrestrict `) ||
		(serverVersion < 170000 && line == "SET transaction_timeout = 0;")
}

func forServer(script string, serverVersion int) string {
	var b strings.Builder
	for line := range strings.Lines(script) {
		if !clientOnly(line, serverVersion) {
			b.WriteString(line)
		}
	}
	return b.String()
}

var toolVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// checkTool makes sure that one of PostgreSQL's programs is there and not older
// than the server (major version; 0: any).
func checkTool(ctx context.Context, name string, server int) error {
	out, err := tool(ctx, os.Environ(), name, "--version")
	if err != nil {
		return err
	}
	m := toolVersion.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("%s --version: expected PostgreSQL's program, got %q", name, strings.TrimSpace(string(out)))
	}
	if major, err := strconv.Atoi(string(m[1])); err != nil || major < server {
		return fmt.Errorf("%s is of PostgreSQL %s and the primary of %d: install the client programs of version %d or later and put them first in PATH", name, m[1], server, server)
	}
	return nil
}

// tool runs one of PostgreSQL's programs and returns what it printed.
func tool(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // fixed programs
	cmd.Env = env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	switch err := cmd.Run(); {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%s is not installed: install PostgreSQL's client programs (postgresql-client), at least of the primary's version", name)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %s", name, err, lastLines(stderr.String(), 5))
	}
	return stdout.Bytes(), nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// own says whether an entry is one of opmux's event triggers, which belong to no
// schema, or of its capture triggers, which belong to the schema's tables; names are
// those of event triggers whose function is in OwnSchema.
func own(e entry, triggers []string) bool {
	switch e.kind {
	case "TRIGGER":
		return slices.ContainsFunc([]string{catalog.TriggerName, catalog.TruncateTriggerName, catalog.ComputedTriggerName},
			func(name string) bool { return strings.Contains(e.rest, " "+name+" ") })
	case "EVENT TRIGGER":
		return slices.ContainsFunc(triggers, func(t string) bool { return strings.HasPrefix(e.rest, "- "+t+" ") })
	case "COMMENT", "SECURITY":
		return slices.ContainsFunc(triggers, func(t string) bool { return strings.Contains(e.rest, "EVENT TRIGGER "+t+" ") })
	}
	return false
}
