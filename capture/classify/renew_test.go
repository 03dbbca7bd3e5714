package classify_test

import (
	"context"
	"testing"
)

// What others altered is taken over where a statement that has run does just the same by it, and the locks that it holds
// say when that was altered (I5); all else is told (I6).
func TestI6RenewedPlans(t *testing.T) {
	r := newRig(t, shop...)
	r.pg.Exec(t, r.db, `create function own() returns int immutable language sql as 'select 1'`, `create unique index jobs_pair on jobs(worker, id)`, `alter table jobs add constraint one unique (id, state), add constraint two unique (state, id)`,
		`create table pointing(job int)`, `alter table jobs add constraint unsure check (worker > 0) not valid`)
	ctx := context.Background()
	const insert, update, remove, named = `INSERT INTO jobs(id) VALUES (1)`, `UPDATE jobs SET worker = 1 WHERE id = 1`, `DELETE FROM jobs WHERE id = 1`,
		`INSERT INTO jobs(id, state) VALUES (1, 'a') ON CONFLICT ON CONSTRAINT one DO UPDATE SET worker = 5`
	for _, c := range []struct {
		sql, ddl, back string
		// holds: as it is; renews: the record must say of the table what has become of it.
		holds, renews bool
	}{
		{insert, `ALTER TABLE pointing ADD CONSTRAINT p FOREIGN KEY (job) REFERENCES jobs`, `ALTER TABLE pointing DROP CONSTRAINT p`, true, true},
		{remove, `ALTER TABLE pointing ADD CONSTRAINT p FOREIGN KEY (job) REFERENCES jobs`, `ALTER TABLE pointing DROP CONSTRAINT p`, true, true},
		{remove, `ALTER TABLE pointing ADD CONSTRAINT p FOREIGN KEY (job) REFERENCES jobs ON DELETE CASCADE`, `ALTER TABLE pointing DROP CONSTRAINT p`, false, false},
		{insert, `ALTER TABLE pointing ADD CONSTRAINT p FOREIGN KEY (job) REFERENCES jobs ON DELETE CASCADE`, `ALTER TABLE pointing DROP CONSTRAINT p`, false, true},
		{insert, `ALTER TABLE pointing ADD CONSTRAINT p FOREIGN KEY (job) REFERENCES jobs DEFERRABLE`, `ALTER TABLE pointing DROP CONSTRAINT p`, false, false},
		{insert, `CREATE UNIQUE INDEX u ON jobs(at, id)`, `DROP INDEX u`, true, true},
		{insert, `CREATE UNIQUE INDEX u ON jobs((id + 1))`, `DROP INDEX u`, false, false},
		{insert, `CREATE UNIQUE INDEX u ON jobs(id) WHERE worker > 1`, `DROP INDEX u`, false, false},
		{insert, `DROP INDEX jobs_pair`, `CREATE UNIQUE INDEX jobs_pair ON jobs(worker, id)`, false, false},
		{named, `ALTER TABLE jobs RENAME CONSTRAINT one TO three`, `ALTER TABLE jobs RENAME CONSTRAINT three TO one`, false, false},
		{named, `ALTER INDEX one RENAME TO three; ALTER INDEX two RENAME TO one; ALTER INDEX three RENAME TO two`, `ALTER INDEX one RENAME TO three; ALTER INDEX two RENAME TO one; ALTER INDEX three RENAME TO two`, false, false},
		{insert, `ALTER TABLE jobs VALIDATE CONSTRAINT unsure`, `ALTER TABLE jobs DROP CONSTRAINT unsure, ADD CONSTRAINT unsure CHECK (worker > 0) NOT VALID`, true, true},
		{insert, `ALTER TABLE jobs ALTER worker SET DEFAULT 5`, `ALTER TABLE jobs ALTER worker DROP DEFAULT`, false, true},
		{update, `ALTER TABLE jobs ALTER at SET DEFAULT now()`, `ALTER TABLE jobs ALTER at DROP DEFAULT`, false, true},
		{insert, `ALTER TABLE jobs ALTER at SET DEFAULT now()`, `ALTER TABLE jobs ALTER at DROP DEFAULT`, false, false},
		{insert, `ALTER TABLE jobs ALTER worker SET DEFAULT random()`, `ALTER TABLE jobs ALTER worker DROP DEFAULT`, false, false},
		{update, `ALTER TABLE jobs ALTER worker SET DEFAULT own()`, `ALTER TABLE jobs ALTER worker DROP DEFAULT`, false, false},
		{update, `ALTER TABLE jobs ADD x int DEFAULT own()`, `ALTER TABLE jobs DROP x`, false, false},
		{update, `ALTER TABLE jobs ADD x mood`, `ALTER TABLE jobs DROP x`, false, false},
		{update, `ALTER TABLE jobs ADD x serial`, `ALTER TABLE jobs DROP x`, false, false},
		{update, `ALTER TABLE jobs ADD x int GENERATED ALWAYS AS (id + 1) STORED`, `ALTER TABLE jobs DROP x`, false, false},
		{update, `ALTER TABLE jobs ADD x int[] DEFAULT array_append('{1}', 2)`, `ALTER TABLE jobs DROP x`, false, true},
		{update, `ALTER TABLE jobs ALTER at SET NOT NULL`, `ALTER TABLE jobs ALTER at DROP NOT NULL`, true, true},
		{update, `ALTER TABLE jobs ALTER worker TYPE bigint`, `ALTER TABLE jobs ALTER worker TYPE int`, false, false},
		{update, `CREATE TRIGGER t AFTER INSERT ON jobs EXECUTE FUNCTION touch()`, `DROP TRIGGER t ON jobs`, false, false},
		{`DELETE FROM customer WHERE id = 1`, `ALTER TABLE item ADD x int`, `ALTER TABLE item DROP x`, false, true},
		{`INSERT INTO jobs(id, worker) SELECT 1, count(*) FROM history`, `ALTER TABLE jobs ADD x int`, `ALTER TABLE jobs DROP x`, false, false},
	} {
		p := r.plan(c.sql)
		r.pg.Exec(t, r.db, c.ddl)
		if v, err := r.cat.Version(ctx); err != nil || v == p.CatalogVersion {
			t.Fatalf("%s: version %d, %v", c.ddl, v, err)
		}
		if what, err := r.c.Differs(ctx, p); (what == "") != c.holds || err != nil {
			t.Errorf("%s behind %s: %q %v", c.sql, c.ddl, what, err)
		}
		if now, err := r.c.Renew(ctx, p); (now != p) != c.renews || err != nil {
			t.Errorf("%s behind %s: renewed %v, %v", c.sql, c.ddl, now != p, err)
		}
		r.pg.Exec(t, r.db, c.back)
		if _, err := r.cat.Version(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// A plan that was filled in from that of another text is no other than one that is made anew.
func TestI5FilledPlansAreRenewed(t *testing.T) {
	r := newRig(t, shop...)
	r.pg.Exec(t, r.db, `create table pointing(job int)`)
	r.in.Inline = true
	ctx := context.Background()
	for _, sql := range [][]string{
		{`INSERT INTO jobs(id) VALUES (1)`, `INSERT INTO jobs(id) VALUES (2)`, `INSERT INTO jobs(id) VALUES (3)`}, {`UPDATE jobs SET state = 'a' WHERE id = 1`, `UPDATE jobs SET state = 'b' WHERE id = 2`, `UPDATE jobs SET state = 'c' WHERE id = 3`},
		{`DELETE FROM jobs WHERE worker > 1`, `DELETE FROM jobs WHERE worker > 2`, `DELETE FROM jobs WHERE worker > 3`}, {`INSERT INTO customer(name) VALUES ('a')`, `INSERT INTO customer(name) VALUES ('b')`, `INSERT INTO customer(name) VALUES ('c')`},
	} {
		r.plan(sql[0])
		r.plan(sql[1])
		p := r.plan(sql[2])
		r.pg.Exec(t, r.db, `ALTER TABLE pointing ADD CONSTRAINT p FOREIGN KEY (job) REFERENCES jobs, ADD CONSTRAINT c FOREIGN KEY (job) REFERENCES customer`)
		if _, err := r.cat.Version(ctx); err != nil {
			t.Fatal(err)
		}
		if what, err := r.c.Differs(ctx, p); what != "" || err != nil {
			t.Errorf("%s: %q %v", sql[2], what, err)
		}
		r.pg.Exec(t, r.db, `ALTER TABLE pointing DROP CONSTRAINT p, DROP CONSTRAINT c`)
		if _, err := r.cat.Version(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
