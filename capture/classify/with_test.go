package classify_test

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
)

// I6: parts that no order of them comes to the same as are refused; of the others each is
// published behind what it needs.
func TestI6PartsOfWithAreInOrder(t *testing.T) {
	r := newRig(t, append([]string{
		`create table p (id int primary key, u int unique, x int)`, `create table c (id int primary key, p int references p)`,
		`create table cascading (id int primary key, p int references p on delete cascade)`, `create table following (id int primary key, u int references p(u) on update cascade)`,
		`create table grand (id int primary key, c int references cascading)`,
	}, shop...)...)
	for sql, want := range map[string]string{
		`WITH a AS (INSERT INTO c VALUES (1, 1)) INSERT INTO p VALUES (1)`:                                              "p c",
		`WITH a AS (DELETE FROM p WHERE id = 1), b AS (DELETE FROM cascading WHERE p = 1) DELETE FROM c WHERE p = 1`:    "cascading c p",
		`WITH a AS (DELETE FROM p WHERE id = 1) UPDATE cascading SET p = 2 WHERE p = 1`:                                 "cascading p",
		`WITH a AS (INSERT INTO jobs (id) VALUES (1)), b AS (UPDATE jobs SET worker = 1) DELETE FROM jobs WHERE id = 1`: "jobs jobs jobs",
		`WITH a AS (INSERT INTO history DEFAULT VALUES), b AS (SELECT 1) INSERT INTO jobs SELECT 1 FROM b`:              "history jobs",
		`WITH a AS (DELETE FROM p), b AS (INSERT INTO p VALUES (1)) INSERT INTO c VALUES (1, 1)`:                        "refused by foreign keys and unique keys|put in one that rows",
		`WITH a AS (UPDATE p SET u = 1 WHERE id = 1) UPDATE p SET u = 2 WHERE id = 2`:                                   "refused unique key",
		`WITH a AS (UPDATE p SET u = 1 WHERE id = 1) INSERT INTO following VALUES (1, 1)`:                               "refused foreign keys change other tables",
		`WITH a AS (DELETE FROM p) INSERT INTO p VALUES (1)`:                                                            "refused put in one that rows of",
		`WITH a AS (DELETE FROM p), b AS (DELETE FROM grand) DELETE FROM cascading`:                                     "grand cascading p",
		`WITH a AS (INSERT INTO tree VALUES (1)) DELETE FROM tree`:                                                      "refused refer to one another",
		`WITH a AS (INSERT INTO reading_all VALUES (1, now())) DELETE FROM history`:                                     "refused partition",
		`WITH a AS (DELETE FROM jobs) SELECT * FROM a`:                                                                  "refused no RETURNING",
		`WITH a AS (DELETE FROM jobs RETURNING (SELECT 1)) SELECT * FROM a`:                                             "refused names of what it returns",
		`WITH a AS (DELETE FROM jobs USING customer RETURNING *) SELECT * FROM a`:                                       "refused names of what it returns",
		`WITH a AS (DELETE FROM jobs RETURNING id) SELECT setval('counter', id) FROM a`:                                 "refused setval",
		`WITH a AS (DELETE FROM jobs RETURNING id) SELECT writer(id) FROM a`:                                            "refused writer",
		`WITH a AS (DELETE FROM audited RETURNING id) UPDATE audited SET x = 1`:                                         "refused trigger",
		`WITH a AS (DELETE FROM jobs RETURNING id) SELECT 1 AS "opmux 1"`:                                               "refused opmux's own",
		`WITH a AS (UPDATE history SET tid = 1 RETURNING tid) SELECT * FROM a`:                                          "refused no usable key",
		`WITH RECURSIVE n(x) AS (SELECT 1) SEARCH DEPTH FIRST BY x SET o, a AS (DELETE FROM jobs) SELECT * FROM n`:      "refused SEARCH",
	} {
		p := r.plan(sql)
		if refused, ok := strings.CutPrefix(want, "refused "); ok {
			found := false
			for _, w := range strings.Split(refused, "|") {
				found = found || p.Refusal != nil && strings.Contains(p.Refusal.Error(), w)
			}
			if p.Kind != classify.Refused || !found {
				t.Errorf("%s: %v %v, want it refused: %s", sql, p.Kind, p.Refusal, refused)
			}
			continue
		}
		var order []string
		for i := range p.Parts {
			order = append(order, strings.TrimPrefix(p.Parts[i].Tables[0], "public."))
		}
		if got := strings.Join(order, " "); p.Kind != classify.Write || got != want {
			t.Errorf("%s: %v %v in the order %q, want %q", sql, p.Kind, p.Refusal, got, want)
		}
	}
}
