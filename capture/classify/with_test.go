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
		`create table k (id int primary key, n int not null unique, x int, y int unique)`, `create table of_k (id int primary key, k int references k)`,
		`create table z (id int primary key, n int not null unique)`, `create table of_z (id int primary key, z int default 0 references z on delete set default on update set default)`,
		`create table users (id int primary key)`, `create table orgs (id int primary key)`,
		`create table members (u int references users on delete cascade, o int references orgs on delete cascade, primary key (u, o))`,
		`create table docs (id int primary key, u int references users on delete set null, k int references k, z int references z on delete set default)`,
		`create table depts (id int, o int references orgs on delete cascade, primary key (o, id))`, `create table teams (id int, o int, primary key (o, id))`,
		`create table people (id int primary key, o int, d int, t int, foreign key (o, d) references depts on delete set null, foreign key (o, t) references teams on delete cascade)`,
		`create table notes (id int primary key, o int, d int, foreign key (o, d) references depts, z int not null references z on delete set null)`,
		`create table gone (id int primary key)`, `create table of_notes (id int primary key, n int references notes on delete cascade, g int references gone on delete cascade)`,
		`create table of_gone (id int primary key, g int references gone on delete cascade, z int not null references z on delete set null, o int, d int, foreign key (o, d) references depts)`,
	}, shop...)...)
	for sql, want := range map[string]string{
		`WITH a AS (INSERT INTO c VALUES (1, 1)) INSERT INTO p VALUES (1)`:                                                 "p c",
		`WITH a AS (DELETE FROM p WHERE id = 1), b AS (DELETE FROM cascading WHERE p = 1) DELETE FROM c WHERE p = 1`:       "cascading c p",
		`WITH a AS (DELETE FROM p WHERE id = 1) UPDATE cascading SET p = 2 WHERE p = 1`:                                    "cascading p",
		`WITH a AS (INSERT INTO jobs (id) VALUES (1)), b AS (UPDATE jobs SET worker = 1) DELETE FROM jobs WHERE id = 1`:    "jobs jobs jobs",
		`WITH a AS (INSERT INTO history DEFAULT VALUES), b AS (SELECT 1) INSERT INTO jobs SELECT 1 FROM b`:                 "history jobs",
		`WITH a AS (DELETE FROM p), b AS (INSERT INTO p VALUES (1)) INSERT INTO c VALUES (1, 1)`:                           "refused by foreign keys and unique keys|put in one that rows",
		`WITH a AS (UPDATE p SET u = 1 WHERE id = 1) UPDATE p SET u = 2 WHERE id = 2`:                                      "refused unique key",
		`WITH a AS (UPDATE p SET u = 1 WHERE id = 1) INSERT INTO following VALUES (1, 1)`:                                  "refused foreign keys change other tables",
		`WITH a AS (DELETE FROM p) INSERT INTO p VALUES (1)`:                                                               "refused put in one that rows of",
		`WITH a AS (DELETE FROM p), b AS (DELETE FROM grand) DELETE FROM cascading`:                                        "grand cascading p",
		`WITH a AS (INSERT INTO tree VALUES (1)) DELETE FROM tree`:                                                         "refused refer to one another",
		`WITH a AS (INSERT INTO reading_all VALUES (1, now())) DELETE FROM history`:                                        "refused partition",
		`WITH a AS (DELETE FROM jobs) SELECT * FROM a`:                                                                     "refused no RETURNING",
		`WITH a AS (DELETE FROM jobs RETURNING (SELECT 1)) SELECT * FROM a`:                                                "refused names of what it returns",
		`WITH a AS (DELETE FROM jobs USING customer RETURNING *) SELECT * FROM a`:                                          "refused names of what it returns",
		`WITH a AS (DELETE FROM jobs RETURNING id) SELECT setval('counter', id) FROM a`:                                    "refused setval",
		`WITH a AS (DELETE FROM jobs RETURNING id) SELECT writer(id) FROM a`:                                               "refused writer",
		`WITH a AS (DELETE FROM audited RETURNING id) UPDATE audited SET x = 1`:                                            "refused trigger",
		`WITH a AS (DELETE FROM jobs RETURNING id) SELECT 1 AS "opmux 1"`:                                                  "refused opmux's own",
		`WITH a AS (UPDATE history SET tid = 1 RETURNING tid) SELECT * FROM a`:                                             "refused no usable key",
		`WITH a AS (INSERT INTO k VALUES (2, 2, 2, 5)) INSERT INTO k VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET y = 100`: "refused unique key",
		`WITH a AS (INSERT INTO k VALUES (2, 2, 2, 5)) INSERT INTO k VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET x = 100`: "k k",
		`WITH a AS (UPDATE k SET y = 1 WHERE id = 1) UPDATE k SET x = 2 WHERE id = 2`:                                      "k k",
		`WITH a AS (INSERT INTO k VALUES (1, 2)) UPDATE k SET id = 100 WHERE n = 1`:                                        "refused put in one that rows of",
		`WITH a AS (INSERT INTO z VALUES (0, 0)) DELETE FROM z WHERE id = 1`:                                               "refused put in one that rows of",
		`WITH a AS (INSERT INTO z VALUES (0, 0)) UPDATE z SET id = 100 WHERE n = 1`:                                        "refused put in one that rows of",
		`WITH a AS (DELETE FROM users WHERE id = 1) DELETE FROM orgs WHERE id = 1`:                                         "users orgs",
		`WITH a AS (DELETE FROM users WHERE id = 1) UPDATE k SET id = 100 WHERE n = 1`:                                     "refused foreign keys take rows of",
		`WITH a AS (DELETE FROM users WHERE id = 1) UPDATE k SET n = 100 WHERE n = 1`:                                      "k users",
		`WITH a AS (DELETE FROM users WHERE id = 1) DELETE FROM z WHERE id = 1`:                                            "refused foreign keys take rows of",
		`WITH a AS (DELETE FROM gone WHERE id = 1) DELETE FROM z WHERE id = 1`:                                             "refused foreign keys take rows of",
		`WITH a AS (DELETE FROM gone WHERE id = 1) DELETE FROM orgs WHERE id = 1`:                                          "refused foreign keys take rows of",
		`WITH a AS (DELETE FROM depts WHERE id = 1) DELETE FROM teams WHERE id = 1`:                                        "refused that share columns",
		`WITH a AS (DELETE FROM jobs RETURNING (jobs).*) SELECT * FROM a`:                                                  "refused names of what it returns",
		`WITH RECURSIVE n(x) AS (SELECT 1) SEARCH DEPTH FIRST BY x SET o, a AS (DELETE FROM jobs) SELECT * FROM n`:         "refused SEARCH",
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
