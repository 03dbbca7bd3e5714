package classify_test

import (
	"slices"
	"testing"

	"github.com/opmux/opmux/capture/classify"
)

// predicated has what rows alone do not decide.
var predicated = append(slices.Clone(shop),
	`create table spans(id int primary key, k int, twice int generated always as (k * 2) stored unique, n int)`,
	`create table partly(id int primary key, k int, n int, what text)`, `create unique index on partly (k) where n > 0`,
	`create table computed(id int primary key, k int, n int)`, `create unique index on computed ((k + 1))`,
	`create table apart(id int primary key, r int4range, n int, exclude using gist (r with &&))`,
	`create table "od""d"(n int)`,
)

// byPredicate are writes that name no row by a key, under a policy that has them travel
// as text.
var byPredicate = []want{
	{`UPDATE item SET qty = 1 WHERE "order" = 5`, "write text", `UPDATE item SET qty = 1 WHERE "order" = 5`},
	{`UPDATE customer SET name = 'x' WHERE mail = 'a@b'`, "write text", ""}, {`UPDATE customer SET name = 'x' WHERE id IN (1, 2) OR id > $1`, "write text", ""},
	{`UPDATE customer SET name = upper(name), note = DEFAULT`, "write text", ""}, {`DELETE FROM customer WHERE id > 3`, "write text", ""},
	{`UPDATE deferred SET x = x + 1 WHERE id = 1`, "write text", ""}, {`DELETE FROM history`, "write text", ""}, {`DELETE FROM ONLY history h WHERE h.tid = 1`, "write text", ""},
	{`UPDATE history SET delta = delta * 2 WHERE bid % 3 = $1 RETURNING tid, delta`, "write text", "UPDATE history SET delta = delta * 2 WHERE (bid % 3) = $1 |"},
	{`DELETE FROM history WHERE mtime < now() - interval '1 day'`, "write pinned", "time is pinned"}, {`UPDATE "od""d" SET n = 1`, "write text", ""},
	{`UPDATE reading SET v = v * 2 WHERE sensor = 3`, "write text", ""}, {`DELETE FROM audited WHERE x > 1`, "write text", ""}, {`DELETE FROM spans WHERE n > 1`, "write text", ""},
}

// byImages are those that more than rows decide, or the order of the rows.
var byImages = []want{
	{`UPDATE customer SET mail = 'a@b' WHERE id < 2`, "write rows", ""}, {`UPDATE customer SET id = id + 1`, "refused", "key columns"}, {`UPDATE deferred SET id = id + 1`, "refused", "no usable key"},
	{`UPDATE spans SET n = 1 WHERE n > 1`, "write rows", ""}, {`UPDATE partly SET what = 'x' WHERE k > 1`, "write rows", ""}, {`UPDATE computed SET n = 1 WHERE n > 1`, "write rows", ""}, {`UPDATE apart SET n = 1 WHERE n > 1`, "write rows", ""},
	{`DELETE FROM jobs WHERE random() < 0.5`, "write rows", "random"}, {`DELETE FROM history WHERE random() < 0.5`, "write rows", "random"}, {`DELETE FROM jobs WHERE worker = reader(1)`, "write rows", "reader"},
	{`DELETE FROM jobs WHERE id IN (SELECT tid FROM history)`, "write rows", "subquery"}, {`DELETE FROM jobs USING customer c WHERE c.id = jobs.worker`, "write rows", "other tables"}, {`WITH x AS (SELECT 1) DELETE FROM jobs`, "write rows", "WITH"},
	{`UPDATE jobs SET state = c.name FROM customer c WHERE c.id = jobs.id`, "write rows", ""}, {`UPDATE jobs SET worker = (SELECT max(id) FROM customer)`, "write rows", ""}, {`UPDATE jobs SET worker = nextval('counter') WHERE state = 'new'`, "write rows", ""},
	{`UPDATE jobs SET (state, worker) = ('a', 1) WHERE id > 1`, "write rows", ""}, {`UPDATE orders SET tags[1] = 'x' WHERE total > 1`, "write rows", ""}, {`UPDATE reading SET v = sin(v) WHERE sensor = 3`, "write rows", "sin"},
	{`DELETE FROM jobs WHERE ctid = '(0,1)'`, "write rows", ""}, {`DELETE FROM jobs WHERE at < 'now'`, "write rows", ""}, {`UPDATE jobs SET state = current_user WHERE id > 1`, "write rows", ""},
	{`UPDATE audited SET x = 1 WHERE x > 1`, "refused", "trigger"}, {`UPDATE top SET x = 1 WHERE x > 1`, "refused", "inheritance parent"}, {`DELETE FROM cache WHERE v > 'a'`, "refused", "unlogged"},
}

// Writes by a condition travel as the policy of their table says, where nothing but the
// rows decides what they do to each.
func TestPredicatesByPolicy(t *testing.T) {
	r := newRig(t, predicated...)
	locks := func(list []want, want bool) {
		t.Helper()
		r.check(list)
		for _, w := range list {
			if p := r.plan(w.sql); (p.Lock != "") != want {
				t.Errorf("%s locks by %q", w.sql, p.Lock)
			}
		}
	}
	policy := func(list ...classify.Predicates) {
		r.c = classify.New(classify.Config{Catalog: r.cat, Predicates: list})
	}
	key := want{`UPDATE customer SET name = 'x' WHERE id = 1`, "write text", "the rows it names by key"}
	policy(classify.Predicates{Tables: "*.*", Carry: classify.CarryLock})
	locks(byPredicate, true)
	locks(append([]want{key}, byImages...), false)
	if got := r.plan(`UPDATE "od""d" SET n = 1`).Lock; got != `LOCK TABLE "public"."od""d" IN SHARE ROW EXCLUSIVE MODE` {
		t.Errorf("the lock is %s", got)
	}
	if p := r.plan(`PREPARE u AS UPDATE customer SET name = 'x' WHERE mail = 'a@b'`); p.Inner.Lock != "" || p.Inner.Class != "rows" {
		t.Errorf("what PREPARE holds is %s, behind %q", p.Inner.Class, p.Inner.Lock)
	}
	r.in.Unlockable = true
	locks([]want{{`UPDATE customer SET name = 'x' WHERE id > 1`, "write rows", ""}, {`DELETE FROM history`, "write rows", "no row by a key"}, key}, false)
	policy(classify.Predicates{Tables: "*.*", Carry: classify.CarryText})
	locks(append(slices.Clone(byPredicate), append(byImages, key)...), false)
	r.in.Unlockable = false
	policy(classify.Predicates{Tables: "public.h*y", Carry: classify.CarryLock}, classify.Predicates{Tables: "public.jobs", Carry: classify.CarryRows}, classify.Predicates{Tables: "*.j*", Carry: classify.CarryText})
	locks([]want{{`DELETE FROM history`, "write text", "was locked before it"}}, true)
	locks([]want{{`DELETE FROM jobs`, "write rows", ""}, {`DELETE FROM customer`, "write rows", ""}}, false)
}
