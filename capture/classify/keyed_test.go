package classify_test

import "testing"

// A key that is given the value by which its row was found stays as it is only where
// equal values are the same (I6).
func TestI6KeysThatUpsertsWrite(t *testing.T) {
	r := newRig(t, `create collation blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)`, `create type mood as enum ('calm')`,
		`create table plain (k text primary key, v int)`, `create table folded (k text collate blind primary key, v int)`,
		`create table exact (k numeric primary key, v int)`, `create table padded (k char(5) primary key, v int)`, `create table moods (k mood primary key, v int)`,
		`create table wide (k text primary key, v int)`, `create unique index on wide (k collate blind)`,
		`create table pairs (a int, k timestamptz, v int, primary key (a, k))`)
	for table, want := range map[string]string{"plain": "write", "folded": "refused", "exact": "refused", "padded": "refused", "moods": "write", "wide": "refused"} {
		sql := `INSERT INTO ` + table + ` VALUES ($1, 2) ON CONFLICT (k) DO UPDATE SET k = excluded.k, v = excluded.v`
		if p := r.plan(sql); p.Kind.String() != want {
			t.Errorf("%s: %s (%s), want %s", sql, p.Kind, p.Reason, want)
		}
	}
	for sql, want := range map[string]string{
		`INSERT INTO pairs VALUES (1, $1, 2) ON CONFLICT (k, a) DO UPDATE SET k = excluded.k, a = excluded.a`:            "write",
		`INSERT INTO pairs VALUES (1, $1, 2) ON CONFLICT ON CONSTRAINT pairs_pkey DO UPDATE SET a = excluded.a`:          "write",
		`INSERT INTO pairs VALUES (1, $1, 2) ON CONFLICT (k, a) DO UPDATE SET a = excluded.v`:                            "refused",
		`INSERT INTO pairs VALUES (1, $1, 2) ON CONFLICT (k, a) DO UPDATE SET (k, a) = (excluded.k, excluded.a)`:         "refused",
		`INSERT INTO plain VALUES ($1, 2) ON CONFLICT (k COLLATE blind) DO UPDATE SET k = excluded.k, v = excluded.v`:    "refused",
		`INSERT INTO plain AS p VALUES ($1, 2) ON CONFLICT (k) DO UPDATE SET k = excluded.k || p.k`:                      "refused",
		`INSERT INTO plain VALUES ($1, 2) ON CONFLICT (k) DO UPDATE SET k = excluded.k WHERE plain.v < 9 RETURNING k, v`: "write",
	} {
		if p := r.plan(sql); p.Kind.String() != want {
			t.Errorf("%s: %s (%s), want %s", sql, p.Kind, p.Reason, want)
		}
	}
}
