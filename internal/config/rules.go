package config

import (
	"errors"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// rules collects the mistakes of one document, so that all are reported at once.
type rules struct {
	d    *document
	errs []error
}

func (r *rules) fail(path, format string, args ...any) {
	r.errs = append(r.errs, r.d.errorf(path, format, args...))
}

func (r *rules) err() error { return errors.Join(r.errs...) }

func (r *rules) required(path, value, example string) bool {
	if value == "" {
		r.fail(path, "is required, for example %s", example)
		return false
	}
	return true
}

func (r *rules) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		r.fail(path, "expected %s, got %q", strings.Join(allowed, " or "), value)
	}
}

// planned refuses, with a word of its own, what the format has and this version
// does not do yet.
func (r *rules) planned(path, value string, built []string, planned ...string) {
	if slices.Contains(planned, value) {
		r.fail(path, "%q is not built yet; use %s", value, strings.Join(built, " or "))
		return
	}
	r.oneOf(path, value, built...)
}

func (r *rules) between(path string, value, low, high int) {
	if value < low || value > high {
		r.fail(path, "expected a number from %d to %d, got %d", low, high, value)
	}
}

func (r *rules) duration(path string, value, low, high time.Duration) {
	if value < low || value > high {
		r.fail(path, "expected a duration from %s to %s, got %s", low, high, value)
	}
}

func (r *rules) size(path string, value, low, high Size) {
	if value < low || value > high {
		r.fail(path, "expected a size from %s to %s, got %s", low, high, value)
	}
}

func (r *rules) named(path, value, example string) {
	if r.required(path, value, example) && !name.MatchString(value) {
		r.fail(path, "expected letters, digits, _ and -, at most 63 of them, since topics are named after it; got %q", value)
	}
}

func (r *rules) lasting(path, value string) {
	if !lastingName.MatchString(value) {
		r.fail(path, "expected letters, digits and _.:@-, at most 127 of them, got %q", value)
	}
}

func (r *rules) address(path, value string) {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		r.fail(path, "expected host:port, got %q", value)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		r.fail(path, "expected a port from 0 to 65535 behind the colon, got %q", value)
	}
	if strings.ContainsAny(host, " /") {
		r.fail(path, "expected a host name or an IP address before the colon, got %q", value)
	}
}

func (r *rules) file(path, value string) {
	if value == "" {
		return
	}
	f, err := os.Open(value) //nolint:gosec // the operator names the file
	if err != nil {
		r.fail(path, "cannot read the file: %v", err)
		return
	}
	if err := f.Close(); err != nil {
		r.fail(path, "cannot read the file: %v", err)
	}
}

// pair checks a certificate and its key, which come together or not at all.
func (r *rules) pair(path, cert, key string) {
	if (cert == "") != (key == "") {
		r.fail(path, "cert and key belong together: give both or none")
	}
	r.file(path+".cert", cert)
	r.file(path+".key", key)
}

func (r *rules) httpURL(path, value string) {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		r.fail(path, "expected an http:// or https:// URL") // not shown: it may hold a token
	}
}

// postgresDSN checks a connection string without showing it: it may hold a
// password.
func (r *rules) postgresDSN(path, value string) {
	if !r.required(path, value, `"postgres://user@host:5432/database"`) {
		return
	}
	if strings.Contains(value, "@tcp(") || strings.Contains(value, "@unix(") || strings.HasPrefix(value, "mysql:") {
		r.fail(path, "this is a MySQL connection string, and MySQL is not built yet; expected \"postgres://user@host:5432/database\"")
		return
	}
	if ambiguousUser(value) {
		r.fail(path, "more than one @ before the database, so that part of the password would be taken for the host; write @ in a user or password as %%40")
		return
	}
	if _, err := pgconn.ParseConfig(value); err != nil {
		r.fail(path, "not a PostgreSQL connection string: %s; expected \"postgres://user@host:5432/database\"", dsnProblem(err))
	}
}

// dsnProblem gives the part of pgconn's message that says what is wrong; the
// part before it repeats the connection string, less its password.
func dsnProblem(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		return text[i+3:]
	}
	return "it cannot be parsed"
}

// ambiguousUser tells whether a URL has an @ in its user or password. What follows the
// first one is taken for the host, which errors and logs show.
func ambiguousUser(dsn string) bool {
	_, rest, isURL := strings.Cut(dsn, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return isURL && strings.HasPrefix(dsn, "postgres") && strings.Count(rest, "@") > 1
}
