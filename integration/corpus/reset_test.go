package corpus

import (
	"context"
	"fmt"
	"os"
	"regexp"

	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
)

// globalsSQL lists roles and tablespaces, quoted for a list in SQL.
const globalsSQL = `SELECT coalesce(string_agg(quote_literal(name), ',' ORDER BY name), '''''')
FROM (SELECT rolname FROM pg_roles UNION SELECT spcname FROM pg_tablespace) g(name)`

func globals(ctx context.Context, s *pgserver.Server) (string, error) {
	rows, err := rig.Query(ctx, s.DSN("postgres"), globalsSQL)
	if err != nil {
		return "", err
	}
	return rows[0][0], nil
}

// What keeps a database from being dropped, each a query that writes statements.
const (
	holdSQL = `SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = current_database()
UNION ALL SELECT format('ALTER SUBSCRIPTION %I DISABLE', subname) FROM pg_subscription
UNION ALL SELECT format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', subname) FROM pg_subscription
UNION ALL SELECT format('DROP SUBSCRIPTION %I', subname) FROM pg_subscription`
	dropSQL = `SELECT format('DROP DATABASE %%I WITH (FORCE)', datname) FROM pg_database
WHERE NOT datistemplate AND datname <> 'postgres' AND datname NOT LIKE 'corpus\_template\_%%'
UNION ALL SELECT format('SELECT pg_drop_replication_slot(%%L)', slot_name) FROM pg_replication_slots
UNION ALL SELECT format('DROP TABLESPACE %%I', spcname) FROM pg_tablespace WHERE spcname NOT IN (%[1]s)
UNION ALL SELECT format('DROP OWNED BY %%1$I CASCADE; DROP ROLE %%1$I', rolname) FROM pg_roles WHERE rolname NOT IN (%[1]s)
UNION ALL SELECT 'ALTER ROLE ALL RESET ALL'
UNION ALL SELECT 'ALTER ROLE postgres RESET ALL'
UNION ALL SELECT 'ALTER SYSTEM RESET ALL'
UNION ALL SELECT 'SELECT pg_reload_conf()'`
)

// reset gives a server the database that a script starts from, and takes away
// what the one before it left outside of it.
func (l *lab) reset(ctx context.Context, s *pgserver.Server, level int) error {
	there, err := rig.Query(ctx, s.DSN("postgres"), "SELECT FROM pg_database WHERE datname = '"+rig.Database+"'")
	if err != nil {
		return err
	}
	if len(there) > 0 {
		if err := obey(ctx, s.DSN(rig.Database), holdSQL); err != nil {
			return err
		}
	}
	if err := obey(ctx, s.DSN("postgres"), fmt.Sprintf(dropSQL, l.kept[s])); err != nil {
		return err
	}
	_, err = rig.Query(ctx, s.DSN("postgres"), fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", rig.Database, template(level)))
	return err
}

var createsRole = regexp.MustCompile(`(?im)^\s*(?:step\s.*\{\s*)?(?:CREATE\s+(?:ROLE|USER|GROUP)|ALTER\s+(?:ROLE|USER|GROUP)\s+\S+\s+RENAME\s+TO)\s+("[^"]+"|\w+)`)

var createsTablespace = regexp.MustCompile(`(?im)^\s*(?:CREATE\s+TABLESPACE|ALTER\s+TABLESPACE\s+\S+\s+RENAME\s+TO)\s+("[^"]+"|\w+)`)

// globals makes on the backup, as its operator has to, the roles and tablespaces that a
// script makes or renames on the primary, and lets the roles do everything, since no GRANT reaches it either.
func (l *lab) globals(ctx context.Context, s script) error {
	text, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	// What there is already, or has a name that is reserved, the script does not make either.
	for _, found := range createsRole.FindAllStringSubmatch(string(text), -1) {
		_, _ = rig.Query(ctx, l.backup.DSN("postgres"), "CREATE ROLE "+found[1]+" SUPERUSER")
	}
	inPlace := l.backup.DSN("postgres") + "&options=-c%20allow_in_place_tablespaces%3Don"
	for _, found := range createsTablespace.FindAllStringSubmatch(string(text), -1) {
		_, _ = rig.Query(ctx, inPlace, "CREATE TABLESPACE "+found[1]+" LOCATION ''")
	}
	return nil
}

// obey runs the statements that a query writes.
func obey(ctx context.Context, dsn, sql string) error {
	rows, err := rig.Query(ctx, dsn, sql)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if _, err := rig.Query(ctx, dsn, row[0]); err != nil {
			return err
		}
	}
	return nil
}
