package classify_test

import (
	"strings"
	"testing"
)

// Which triggers an UPDATE fires is told by the columns that it sets (I6).
func TestI6TriggersThatAnUpdateFires(t *testing.T) {
	const trigger = ` execute function noted()`
	r := newRig(t, `create function noted() returns trigger language plpgsql as 'begin perform 1 from pg_class; return new; end'`,
		`create table part (id int, k int, kind text, v text, primary key (id, k, kind)) partition by range (k)`,
		`create table p1 partition of part for values from (0) to (9) partition by list (kind)`, `create table p1a partition of p1 default`,
		`create trigger noted before insert on part for each row`+trigger,
		`create table folded (v text, n int) partition by list (lower(v))`, `create table f1 partition of folded default`, `create trigger noted after delete on f1 for each row`+trigger,
		`create table parent (id int primary key, v text)`, `create table child (p int references parent on update cascade, v text) partition by range (p)`,
		`create table c1 partition of child default`, `create trigger noted before insert on c1 for each row`+trigger,
		`create table named (id int primary key, name text, n int, loud text generated always as (name || '!') stored)`,
		`create trigger noted after insert or update of loud on named for each row`+trigger, `create trigger other after update of id on named for each row`+trigger)
	for sql, want := range map[string]string{
		`UPDATE part SET v = 'x' WHERE id = 1 AND k = 1 AND kind = 'a'`:    "write",
		`UPDATE part SET k = 2 WHERE id = 1 AND k = 1 AND kind = 'a'`:      "refused",
		`UPDATE part SET kind = 'b' WHERE id = 1 AND k = 1 AND kind = 'a'`: "refused",
		`UPDATE p1 SET kind = 'b' WHERE id = 1 AND k = 1 AND kind = 'a'`:   "refused",
		`UPDATE p1a SET v = 'b' WHERE id = 1 AND k = 1 AND kind = 'a'`:     "write",
		`UPDATE folded SET n = 1`:                                                           "refused",
		`UPDATE parent SET v = 'x' WHERE id = 1`:                                            "write",
		`UPDATE parent SET id = 2 WHERE id = 1`:                                             "refused",
		`UPDATE named SET n = 1 WHERE id = 1`:                                               "write",
		`UPDATE named SET n = n + 1`:                                                        "write",
		`UPDATE named SET name = 'x' WHERE id = 1`:                                          "refused",
		`UPDATE named SET (n, id) = (1, 2) WHERE id = 1`:                                    "refused",
		`INSERT INTO named (id) VALUES (1)`:                                                 "refused",
		`INSERT INTO parent VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET v = 'b'`:         "write",
		`INSERT INTO named (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET n = excluded.n`:   "refused",
		`DELETE FROM named WHERE id = 1`:                                                    "write",
		`UPDATE named SET n = 1 FROM parent WHERE parent.id = named.id AND parent.v = name`: "write",
	} {
		if p := r.plan(sql); p.Kind.String() != want || want == "refused" && !strings.Contains(p.Refusal.Construct, "with trigger noted") && !strings.Contains(p.Refusal.Construct, "with trigger other") {
			t.Errorf("%s: %s (%s), want %s", sql, p.Kind, p.Reason, want)
		}
	}
}
