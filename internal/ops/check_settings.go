package ops

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// loginSetting is a setting as sessions start with it: the server's, or that of
// a database or of a role.
type loginSetting struct {
	name, value string
	login       string // role; empty for everybody
	scope       string // "the server", "role app", "database shop", "role app in database shop"
}

func (s loginSetting) String() string { return fmt.Sprintf("%s = %s for %s", s.name, s.value, s.scope) }

// sessionSettings lists what the server, this database and roles set the named
// settings to. A session's own SET is beyond it.
func sessionSettings(ctx context.Context, conn *pgx.Conn, names ...string) ([]loginSetting, error) {
	var list []loginSetting
	for _, name := range names {
		// The configuration file's value, not this session's, which its own role's
		// settings have changed already. pg_settings shows those of role and
		// database in reset_val, hence the sessions' defaults of pg_file_settings
		// are out of reach without superuser; the built-in one stands in.
		server, err := column[string](ctx, conn,
			"SELECT CASE WHEN source IN ('user', 'database', 'database user', 'client', 'session') THEN boot_val ELSE setting END FROM pg_settings WHERE name = $1", name)
		if err != nil {
			return nil, err
		}
		for _, value := range server { // none: the server does not know it
			list = append(list, loginSetting{name: name, value: value, scope: "the server"})
		}
	}
	rows, err := conn.Query(ctx, `SELECT coalesce(r.rolname, ''), coalesce(d.datname, ''), c
		FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS c
		LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
		WHERE (s.setdatabase = 0 OR d.datname = current_database()) AND split_part(c, '=', 1) = ANY($1)
		ORDER BY 1, 2, 3`, names)
	if err != nil {
		return nil, fmt.Errorf("settings of roles and databases: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var role, database, text string
		if err := rows.Scan(&role, &database, &text); err != nil {
			return nil, fmt.Errorf("settings of roles and databases: %w", err)
		}
		name, value, _ := strings.Cut(text, "=")
		list = append(list, loginSetting{name: name, value: value, login: role, scope: scopeOf(role, database)})
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("settings of roles and databases: %w", err)
	}
	return list, nil
}

func scopeOf(role, database string) string {
	switch {
	case role == "":
		return "database " + database
	case database == "":
		return "role " + role
	default:
		return "role " + role + " in database " + database
	}
}

var timeUnits = []struct {
	suffix string
	unit   time.Duration
}{
	{"us", time.Microsecond}, {"ms", time.Millisecond}, {"min", time.Minute}, {"s", time.Second}, {"h", time.Hour}, {"d", 24 * time.Hour},
}

// parseMilliseconds reads a setting of PostgreSQL's whose unit is milliseconds:
// "5000", "5s", "1min".
func parseMilliseconds(text string) (time.Duration, error) {
	number, unit := strings.TrimSpace(text), time.Millisecond
	for _, u := range timeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.unit
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("expected a number of milliseconds or a time such as 5s, got %q", text)
	}
	return time.Duration(n * float64(unit)), nil
}

// quote makes an SQL identifier.
func quote(parts ...string) string { return pgx.Identifier(parts).Sanitize() }
