package pgcopy

import (
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// libpqKeys are the connection parameters that pgx leaves no trace of and that
// libpq's programs take from these variables.
var libpqKeys = map[string]string{
	"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
	"sslsni": "PGSSLSNI", "passfile": "PGPASSFILE", "channel_binding": "PGCHANNELBINDING", "krbsrvname": "PGKRBSRVNAME",
}

// environment tells one of PostgreSQL's client programs where to connect. The
// password travels there, and never on a command line, which others can read.
func environment(cfg *pgx.ConnConfig, dsn string) []string {
	env := append(os.Environ(),
		"PGHOST="+cfg.Host, "PGPORT="+strconv.Itoa(int(cfg.Port)), "PGUSER="+cfg.User, "PGDATABASE="+cfg.Database,
		"PGPASSWORD="+cfg.Password, "PGAPPNAME=opmux snapshot", "PGCONNECT_TIMEOUT=10")
	for key, value := range parameters(dsn) {
		if name, ok := libpqKeys[key]; ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// parameters lists the parameters that a connection string gives, in either form.
func parameters(dsn string) map[string]string {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		out := map[string]string{}
		if u, err := url.Parse(dsn); err == nil {
			for key, values := range u.Query() {
				out[key] = values[0]
			}
		}
		return out
	}
	return keywords(dsn)
}

// keywords reads libpq's form "key = value key='a b'", with \ as the escape.
func keywords(dsn string) map[string]string {
	out := map[string]string{}
	rest := dsn
	for {
		key, after, ok := strings.Cut(rest, "=")
		if !ok {
			return out
		}
		var value strings.Builder
		after = strings.TrimLeft(after, " \t\n")
		quoted := strings.HasPrefix(after, "'")
		i := 0
		if quoted {
			i = 1
		}
		for ; i < len(after); i++ {
			c := after[i]
			if c == '\\' && i+1 < len(after) {
				i++
				value.WriteByte(after[i])
				continue
			}
			if (quoted && c == '\'') || (!quoted && strings.IndexByte(" \t\n", c) >= 0) {
				break
			}
			value.WriteByte(c)
		}
		out[strings.TrimSpace(key)] = value.String()
		rest = after[min(i+1, len(after)):]
	}
}
