package integration

import (
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// altering is what migrations do to columns, in the words of their frameworks.
var altering = []string{
	`CREATE EXTENSION IF NOT EXISTS citext`, `CREATE EXTENSION IF NOT EXISTS hstore`, `CREATE EXTENSION IF NOT EXISTS ltree`, `DROP TABLE IF EXISTS m`, `DROP TYPE IF EXISTS state`, `CREATE TYPE state AS ENUM ('draft', 'done')`,
	`CREATE TABLE m (id serial PRIMARY KEY, email varchar(255) NOT NULL UNIQUE, path text, tags text, state int DEFAULT 0, made bigint, secs int, ints int[])`,
	`INSERT INTO m (email, path, tags, state, made, secs, ints) SELECT 'U' || i || '@Example.org', 'Top.n' || i, '"k' || i || '"=>"v", "n"=>NULL', i % 2, 1700000000000 + i * 999, i, ARRAY[i, NULL, 3] FROM generate_series(1, 40) i`,
	`ALTER TABLE m ALTER COLUMN email TYPE citext`, `ALTER TABLE m ALTER COLUMN path SET DATA TYPE ltree USING path::ltree, ALTER COLUMN tags TYPE hstore USING (tags)::hstore`,
	`ALTER TABLE m ALTER COLUMN state DROP DEFAULT, ALTER COLUMN state TYPE state USING ((ARRAY['draft', 'done']::state[])[state + 1]), ALTER COLUMN state SET DEFAULT 'draft'`,
	`ALTER TABLE m ALTER COLUMN made TYPE timestamp USING to_timestamp(made / 1000) AT TIME ZONE 'UTC'`, `ALTER TABLE m ALTER secs TYPE interval USING make_interval(secs => secs)`,
	`INSERT INTO m (email) VALUES ('u1@example.org') ON CONFLICT (email) DO UPDATE SET path = 'again'`, `UPDATE m SET tags = tags || 'z=>1', secs = secs * 2 WHERE email = 'u2@EXAMPLE.org'`,
	`ALTER TABLE m ALTER COLUMN email TYPE text, ALTER COLUMN tags TYPE text, ALTER ints TYPE int USING ints[3]`, `UPDATE m SET path = subpath(path, 1) WHERE id > 5`,
}

// I6: a column that becomes one of another type has the same values on a backup.
func TestI6AlteredColumns(t *testing.T) {
	b := up(t, rig.Config{Digest: "full", Verify: "full"})
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		conn := testkit.Connect(t, b.agent("a1").DSN())
		for _, sql := range altering {
			b.runParts(conn, mode, sql)
		}
		b.identical()
		const types = "SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'm'::regclass AND attnum > 0 ORDER BY attnum"
		if here, there := b.onPrimary(types), b.onBackup(types); !reflect.DeepEqual(here, there) {
			t.Errorf("columns are %v on the primary and %v on the backup", here, there)
		}
	}
}
