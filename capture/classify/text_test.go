package classify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

func TestSplit(t *testing.T) {
	c := classify.New(classify.Config{})
	text := "/* é */ SELECT ';' ; \n insert into t values ($$;$$) -- ; x\n;;  UPDATE t SET a = 1"
	got, err := c.Split(text)
	if err != nil || len(got) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, w := range []string{"/* é */ SELECT ';' ", "insert into t values ($$;$$) -- ; x\n", "UPDATE t SET a = 1"} {
		if got[i].Text != w || text[got[i].Offset:got[i].Offset+len(w)] != w {
			t.Errorf("statement %d: %q at %d", i, got[i].Text, got[i].Offset)
		}
	}
	if got, err = c.Split(" -- nothing\n"); err != nil || len(got) != 0 {
		t.Errorf("no statement: %+v, %v", got, err)
	}
	var syntax *classify.SyntaxError
	if _, err = c.Split("SELECT 1; SELEC 2"); !errors.As(err, &syntax) || syntax.Position != 11 {
		t.Errorf("syntax error: %v, %+v", err, syntax)
	}
	if _, err = c.Split("SELECT '\xff'"); !errors.As(err, &syntax) {
		t.Errorf("invalid UTF-8: %v", err)
	}
}

func TestNormalise(t *testing.T) {
	if got := classify.Normalise(`UPDATE t SET a = 'secret' WHERE id = 5`); strings.Contains(got, "secret") || !strings.Contains(got, "$1") {
		t.Error(got)
	}
	if got := classify.Normalise(`ALTER USER x PASSWORD 'secret'`); strings.Contains(got, "secret") {
		t.Error(got)
	}
	if got := classify.Normalise(`not ' sql`); strings.Contains(got, "sql") && !strings.Contains(got, "unparsable") {
		t.Error(got)
	}
}

// The text that goes upstream parses, ends in the hidden columns, and is otherwise
// the client's, whatever stands at its end.
func TestI5ReturningIsAddedToAnyText(t *testing.T) {
	r := newRig(t, shop...)
	for sql, w := range map[string]struct {
		tail   string
		client int
	}{
		`UPDATE jobs SET worker = id`:                                       {`RETURNING "jobs"."id", "jobs"."worker"`, -1},
		`UPDATE jobs SET worker = id;`:                                      {`RETURNING "jobs"."id", "jobs"."worker"`, -1},
		"UPDATE jobs SET worker = id -- why":                                {`RETURNING "jobs"."id", "jobs"."worker"`, -1},
		"UPDATE jobs SET worker = id -- why; not\n ; -- over":               {`RETURNING "jobs"."id", "jobs"."worker"`, -1},
		`UPDATE jobs SET worker = id /* ; */ RETURNING id /* x */`:          {`, "jobs"."id", "jobs"."worker"`, 1},
		`UPDATE ONLY public.jobs AS "J" SET worker = "J".id RETURNING *`:    {`, "J"."id", "J"."worker"`, 1},
		`DELETE FROM item i USING jobs WHERE i."order" = jobs.id`:           {`RETURNING "i"."order", "i"."no"`, -1},
		`INSERT INTO item("order", no) SELECT 1, 2 ORDER BY 1 FOR UPDATE`:   {`RETURNING "item"."order", "item"."no", "item"."qty", "item"."price"`, -1},
		`UPDATE jobs SET state = $$ RETURNING id $$ || id WHERE worker = 1`: {`RETURNING "jobs"."id", "jobs"."state"`, -1},
	} {
		p := r.plan(sql)
		got, err := r.c.Split(p.SQL)
		if err != nil || len(got) != 1 || !strings.HasSuffix(p.SQL, w.tail) || p.ClientColumns != w.client || p.Hidden != strings.Count(w.tail, ",")+1-max(0, w.client) {
			t.Errorf("%s\n  becomes %q, %d and %d columns: %v", sql, p.SQL, p.ClientColumns, p.Hidden, err)
		}
	}
	r.in.Level = event.LevelFull
	if p := r.plan(`INSERT INTO item("order", no) VALUES (1, 2)`); !strings.HasSuffix(p.SQL, `"item"."price", "item"."total"`) || p.Frozen() != p.SQL {
		t.Errorf("level full: %q, frozen %q", p.SQL, p.Frozen())
	}
}

func TestRefusalsSayWhere(t *testing.T) {
	r := newRig(t, shop...)
	p := r.plan(`SELECT 'é', writer(1)`)
	if p.Refusal == nil || p.Refusal.Position != 13 || !strings.HasPrefix(p.Refusal.Error(), "opmux: ") || p.Refusal.Hint == "" {
		t.Errorf("%+v", p.Refusal)
	}
	if p = r.plan(`PREPARE p AS SELECT writer(1)`); p.Kind != classify.Prepare || p.Inner.Refusal == nil || p.Inner.Refusal.Position != 21 {
		t.Errorf("%+v", p.Inner)
	}
}

func TestPsqlDescribes(t *testing.T) {
	r := newRig(t, shop...)
	for _, sql := range []string{
		`SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		 WHERE c.relname OPERATOR(pg_catalog.~) '^(jobs)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3`,
		`SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d
		 WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull FROM pg_catalog.pg_attribute a WHERE a.attrelid = '1' AND a.attnum > 0`,
		`SELECT d.datname, pg_catalog.pg_get_userbyid(d.datdba), pg_catalog.array_to_string(d.datacl, E'\n') FROM pg_catalog.pg_database d ORDER BY 1`,
		`SELECT * FROM information_schema.columns WHERE table_name = 'jobs'`, `SELECT version(), current_schema(), pg_backend_pid()`,
		`SELECT pg_size_pretty(pg_total_relation_size('jobs')), count(*) FILTER (WHERE id > 1) FROM jobs GROUP BY GROUPING SETS ((), (id))`,
		`SELECT relname, n_live_tup FROM pg_stat_user_tables`, `SELECT pid, pg_cancel_backend(pid) FROM pg_stat_activity WHERE false`,
		`WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT sum(n) OVER (ORDER BY n) FROM t`,
	} {
		if p := r.plan(sql); p.Kind != classify.Pass {
			t.Errorf("%s: %v %v", sql, p.Kind, p.Refusal)
		}
	}
}

// The other way out is told of what capture triggers would carry, and of nothing else.
func TestTriggersAreToldAsAWayOut(t *testing.T) {
	r := newRig(t, shop...)
	for sql, want := range map[string]bool{
		`UPDATE history SET tid = 1`: true, `DO $$ BEGIN END $$`: true, `UPDATE audited SET x = 1`: true,
		`INSERT INTO cache VALUES (1)`: false, `CREATE PUBLICATION p`: false, `SELECT lo_create(0)`: false,
		`WITH x AS (DELETE FROM jobs RETURNING id) SELECT lo_unlink(id) FROM x`: false,
	} {
		p := r.plan(sql)
		if p.Refusal == nil || strings.Contains(p.Refusal.Hint, "capture.triggers") != want {
			t.Errorf("%s: %+v, want it told: %v", sql, p.Refusal, want)
		}
	}
}
