package integration

import (
	"cmp"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// What Drizzle, Sequelize and people write into migrations that may run twice.
var migrations = []string{
	"DO $$ BEGIN\n CREATE TYPE \"public\".\"mood\" AS ENUM('sad', 'ok');\nEXCEPTION\n WHEN duplicate_object THEN null;\nEND $$",
	"CREATE TABLE IF NOT EXISTS \"posts\" (\"id\" serial PRIMARY KEY NOT NULL, \"author\" integer, \"mood\" \"mood\" DEFAULT 'ok' NOT NULL)",
	"DO $$ BEGIN\n ALTER TABLE \"posts\" ADD CONSTRAINT \"posts_author_users_id_fk\" FOREIGN KEY (\"author\") REFERENCES \"public\".\"users\"(\"id\") " +
		"ON DELETE no action ON UPDATE no action;\nEXCEPTION\n WHEN duplicate_object THEN null;\nEND $$",
	`INSERT INTO posts (author) VALUES (1), (2)`,
	`DO 'BEGIN CREATE TYPE "public"."enum_jobs_state" AS ENUM(''new'', ''done''); EXCEPTION WHEN duplicate_object THEN null; END'`,
	`DO $$ BEGIN ALTER TABLE posts ADD COLUMN state enum_jobs_state DEFAULT 'new', ADD COLUMN n int DEFAULT 7; EXCEPTION WHEN duplicate_column THEN NULL; END $$`,
	`DO $$ BEGIN CREATE SCHEMA app; CREATE DOMAIN app.positive AS int CHECK (value > 0); CREATE SEQUENCE app.s START 5; EXCEPTION WHEN duplicate_schema OR duplicate_object THEN END $$`,
	`DO $$ BEGIN BEGIN CREATE TABLE app.t (id app.positive PRIMARY KEY DEFAULT nextval('app.s'), v text); EXCEPTION WHEN duplicate_table THEN END;
		BEGIN ALTER TABLE app.t ADD CONSTRAINT v_unique UNIQUE (v); EXCEPTION WHEN duplicate_table THEN END; END $$`,
	`INSERT INTO app.t (v) VALUES (md5(random()::text))`,
	`BEGIN; UPDATE users SET name = 'before' WHERE id = 1; DO $$ BEGIN ALTER TABLE users ADD COLUMN nick text;EXCEPTION WHEN duplicate_column THEN END $$; UPDATE users SET nick = 'n' WHERE id = 1; COMMIT`,
	`BEGIN; DO $$ BEGIN CREATE TYPE never AS ENUM ();EXCEPTION WHEN duplicate_object THEN END $$; ROLLBACK`,
	`SET search_path = other, public`, `DO $$ BEGIN CREATE TABLE users (id int PRIMARY KEY); EXCEPTION WHEN duplicate_table THEN END $$`,
	`INSERT INTO users SELECT coalesce(max(id), 0) + 1 FROM users`, `RESET search_path`,
}

// I6: blocks of DDL that pass over what is there already are carried without capture triggers.
func TestI6BlocksThatDefine(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeDescribeExec} {
		t.Run(mode.String(), func(t *testing.T) {
			b := up(t, rig.Config{Digest: "full", Verify: "full"}, `CREATE TABLE users (id int PRIMARY KEY, name text)`, `INSERT INTO users VALUES (1, 'a'), (2, 'b')`, `CREATE SCHEMA other`)
			conn := testkit.Connect(t, b.agent("a1").DSN())
			for range 2 {
				for _, sql := range migrations {
					b.runParts(conn, mode, sql)
				}
			}
			b.identical()
			b.sequencesFollow()
			b.sameCatalogue()
			if rows := b.onBackup("SELECT FROM pg_type WHERE typname = 'never'"); len(rows) > 0 {
				t.Error("type never is on the backup (I2)")
			}
			if v := b.verdicts(20); v.Match != v.Sum() {
				t.Errorf("verdicts %+v, want matches alone", v)
			}
		})
	}
}

// I3: what a block finds is what is there at its place in the order. Here one that found a
// type commits behind the DROP of another session, which may not be recorded before it.
func TestI3BlocksThatDefineBesideOthers(t *testing.T) {
	b := up(t, rig.Config{}, `CREATE TABLE stays (id int PRIMARY KEY)`, `CREATE TYPE kind AS ENUM ('a')`, `CREATE TYPE other AS ENUM ('a')`)
	for _, mode := range []struct {
		name string
		pgx.QueryExecMode
	}{{"kind", pgx.QueryExecModeSimpleProtocol}, {"other", pgx.QueryExecModeDescribeExec}} {
		first, second := testkit.Connect(t, b.agent("a1").DSN()), testkit.Connect(t, b.agent("a1").DSN())
		b.runParts(first, mode.QueryExecMode, `BEGIN; DO $$ BEGIN CREATE TYPE `+mode.name+` AS ENUM ('a');EXCEPTION WHEN duplicate_object THEN NULL;END $$`)
		dropped := make(chan error, 1)
		go func() {
			_, err := second.Exec(b.ctx, "DROP TYPE "+mode.name)
			dropped <- err
		}()
		var err error
		testkit.Eventually(t, testkit.Patience, func() error {
			select {
			case err = <-dropped:
				close(dropped)
				return nil
			default:
			}
			if len(b.onPrimary("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")) == 0 {
				return errors.New("the DROP neither waits nor has it run")
			}
			return nil
		})
		b.runParts(first, mode.QueryExecMode, "COMMIT")
		if err = cmp.Or(err, <-dropped); err != nil {
			t.Error(err)
		}
		b.identical()
		b.sameCatalogue()
	}
}
