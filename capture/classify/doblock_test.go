package classify_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// definingBlocks are DO of migrations, with the tables that they are about.
var definingBlocks = map[string][]string{
	// Drizzle
	"DO $$ BEGIN\n CREATE TYPE \"public\".\"mood\" AS ENUM('sad', 'ok');\nEXCEPTION\n WHEN duplicate_object THEN null;\nEND $$": nil,
	"DO $$ BEGIN\n ALTER TABLE \"jobs\" ADD CONSTRAINT \"fk\" FOREIGN KEY (\"worker\") REFERENCES \"public\".\"customer\"(\"id\") ON DELETE no action ON UPDATE no action;\n" +
		"EXCEPTION\n WHEN duplicate_object THEN null;\nEND $$": {"public.jobs"},
	// Sequelize
	`DO 'BEGIN CREATE TYPE "public"."enum_s" AS ENUM(''a'', ''b''); EXCEPTION WHEN duplicate_object THEN null; END'`:                                nil,
	`DO LANGUAGE plpgsql $$ BEGIN CREATE TABLE made (id int primary key); EXCEPTION WHEN duplicate_table OR duplicate_object THEN END; $$`:          {"public.made"},
	`DO $$ BEGIN BEGIN CREATE SCHEMA a; EXCEPTION WHEN duplicate_schema THEN END; BEGIN CREATE SCHEMA b; END; END $$`:                               nil,
	`DO $$ BEGIN ALTER TABLE jobs ADD COLUMN more int; ALTER TABLE jobs ADD UNIQUE (more); EXCEPTION WHEN duplicate_column THEN NULL; END $$`:       {"public.jobs"},
	`DO $$ BEGIN CREATE INDEX i ON jobs (worker); CREATE DOMAIN d AS int CHECK (value > 0); CREATE SEQUENCE s; ALTER TYPE d2 ADD VALUE 'x'; END $$`: {"public.jobs", "public.s"},
}

// otherBlocks may do more, or hide what befalls one server alone.
var otherBlocks = []string{
	`DO $$ BEGIN CREATE TYPE t AS ENUM (); EXCEPTION WHEN others THEN NULL; END $$`,
	`DO $$ BEGIN CREATE TYPE t AS ENUM (); EXCEPTION WHEN duplicate_object OR insufficient_privilege THEN NULL; END $$`,
	`DO $$ BEGIN CREATE TYPE t AS ENUM (); EXCEPTION WHEN duplicate_alias THEN NULL; END $$`,
	`DO $$ BEGIN CREATE TYPE t AS ENUM (); EXCEPTION WHEN SQLSTATE '42710' THEN NULL; END $$`,
	`DO $$ BEGIN CREATE TYPE t AS ENUM (); EXCEPTION WHEN duplicate_object THEN CREATE TABLE x (); END $$`,
	`DO $$ BEGIN CREATE TYPE t AS ENUM (); EXCEPTION WHEN duplicate_object THEN RETURN; END $$`,
	`DO $$ BEGIN NULL; END $$`,
	`DO $$ DECLARE x int := writer(1); BEGIN CREATE TYPE t AS ENUM (); END $$`,
	`DO $$ DECLARE found int := writer(1); BEGIN CREATE TYPE t AS ENUM (); END $$`,
	`DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_type WHERE typname = 't') THEN CREATE TYPE t AS ENUM (); END IF; END $$`,
	`DO $$ BEGIN INSERT INTO jobs VALUES (1); END $$`,
	`DO $$ BEGIN CREATE TYPE t AS ENUM (); INSERT INTO jobs VALUES (1); END $$`,
	`DO $$ BEGIN PERFORM writer(1); CREATE TYPE t AS ENUM (); END $$`,
	`DO $$ BEGIN EXECUTE 'CREATE TYPE t AS ENUM ()'; END $$`,
	`DO $$ BEGIN CREATE TABLE t AS SELECT 1; END $$`,
	`DO $$ BEGIN CREATE TEMP TABLE t (); END $$`,
	`DO $$ BEGIN CREATE TEMP TABLE t (); CREATE TABLE u (); END $$`,
	`DO $$ BEGIN CREATE ROLE r; END $$`,
	`DO $$ BEGIN DROP TABLE jobs; END $$`,
	`DO $$ BEGIN CREATE TYPE t AS ENUM (); COMMIT; END $$`,
	`DO $$ BEGIN ALTER TABLE jobs ADD COLUMN more float DEFAULT random(); END $$`,
	`DO $$ BEGIN ALTER TABLE jobs ADD COLUMN more timestamptz DEFAULT now(); END $$`,
	`DO $$ BEGIN ALTER TABLE jobs ALTER COLUMN worker TYPE text; END $$`,
	`DO $$ BEGIN CREATE TABLE opmux.t (); END $$`,
	`DO $$ BEGIN RETURN; CREATE TYPE t AS ENUM (); END $$`,
	`DO $$ <<l>> BEGIN CREATE TYPE t AS ENUM (); EXIT l; END $$`,
	`DO $$ BEGIN LOOP CREATE TYPE t AS ENUM (); END LOOP; END $$`,
	`DO $$ BEGIN SET LOCAL work_mem = '1MB'; CREATE TYPE t AS ENUM (); END $$`,
	`DO $$ #variable_conflict use_column BEGIN CREATE TYPE t AS ENUM (); BOGUS; END $$`,
	`DO LANGUAGE sql 'CREATE TYPE t AS ENUM ()'`,
}

// I6: a DO that only defines objects is DDL; whatever may do more is refused.
func TestI6BlocksThatDefine(t *testing.T) {
	r := newRig(t, append([]string{`create type d2 as enum ()`}, shop...)...)
	for sql, tables := range definingBlocks {
		p := r.plan(sql)
		if p.Kind != classify.DDL || p.Class != event.ClassText || !p.Barrier || !p.CatalogChanges || p.SQL != sql || !slices.Equal(p.Tables, tables) {
			t.Errorf("%s: %v %v of %q, %v", sql, p.Kind, p.Class, p.Tables, p.Refusal)
		}
	}
	for _, sql := range otherBlocks {
		if p := r.plan(sql); p.Kind != classify.Refused || !strings.Contains(p.Refusal.Error(), "DO") {
			t.Errorf("%s: %v %v, want it refused", sql, p.Kind, p.Reason)
		}
	}
}

// A block is a constant in its statement, by which plans are shared.
func TestI6BlocksAreNotEachOthersPlans(t *testing.T) {
	r := newRig(t, shop...)
	r.in.Inline = true
	if p := r.plan(`DO $$ BEGIN CREATE TYPE t AS ENUM (); END $$`); p.Kind != classify.DDL {
		t.Fatal(p.Kind)
	}
	if p := r.plan(`DO $$ BEGIN DELETE FROM jobs; END $$`); p.Kind != classify.Refused {
		t.Error(p.Kind)
	}
}

// A worker is told what a block is about.
func TestDefinitionOfABlock(t *testing.T) {
	d, err := classify.Definition(`DO $$ BEGIN ALTER TABLE s.a ADD CONSTRAINT k FOREIGN KEY (b) REFERENCES c; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
	if err != nil || len(d.Names) != 2 || d.Names[0].Schema != "s" || d.Names[0].Name != "a" || d.Names[1].Name != "c" {
		t.Errorf("%+v, %v", d, err)
	}
	own := catalog.Numbered{Kind: "INDEX", Schema: "s", Name: "a_b_idx1", Free: "a_b_idx", Table: "s.a"}.Operation()
	if d, err = classify.Definition(own.Text); err != nil || len(d.Names) != 1 || d.Names[0].Name != "a_b_idx" || d.Becomes("s.a") != "" {
		t.Errorf("%+v, %v", d, err)
	}
}
