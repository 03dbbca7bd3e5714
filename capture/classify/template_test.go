package classify_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// constants that statements are filled with; some decide what a statement is.
var constants = []string{
	"1", "0", "7", "007", "-3", "- 3", "-0", "2147483647", "2147483648", "-2147483648", "9223372036854775807", "99999999999999999999", "1.50", "0.0", ".5", "1e3",
	"'a'", "''", "'it''s'", "'x;y'", "'--'", "'now'", "'TODAY'", "'tomorrow 10:00'", "'nowhere'", "'2024-02-29'", "'12'", "'t'", "'{1,2}'", "'ü'",
	"'s1'", "'s2'", "'public.s2'", "'t_id_seq'", "'search_path'", "'row_security'", "'off'", "E'a'", "B'1'", "NULL", "true", "$$x$$", "'a' 'b'",
}

// names decide more, in the places that forms mark by a !.
var names = []string{"'s1'", "'s2'", "'public.s2'", "'t_id_seq'", "'search_path'", "'row_security'", "'session_replication_role'", "'off'", "'replica'", "'origin'"}

// forms hold ? where a constant goes.
var forms = []string{
	"UPDATE t SET v = ? WHERE id = ?", "UPDATE t SET v = v + ?, note = ? WHERE id = ?;", " UPDATE t SET note = ? WHERE id = ? AND v > ? ; ",
	"UPDATE t SET v = ? WHERE v < ?", "UPDATE t SET at = ? WHERE id = ?", "UPDATE t SET at = ?::timestamptz WHERE id = ?", "UPDATE t SET o = ? WHERE id = ?",
	"UPDATE t SET ok = ?::bool, note = ?::text WHERE id = ?", "UPDATE t SET v = ? WHERE id IN (?, ?)", "UPDATE t SET v = ? WHERE id = ? RETURNING v, ?", "UPDATE t SET a = a || ? WHERE id = ?",
	"INSERT INTO t (id, v) VALUES (?, ?)", "INSERT INTO t (v, note) VALUES (?, ?), (?, ?)", "INSERT INTO t (id, v, at) VALUES (?, ?, now())", "INSERT INTO t VALUES (?, ?, ?, CURRENT_TIMESTAMP)",
	"INSERT INTO t (id, v) VALUES (nextval(!), ?)", "INSERT INTO t (id, v) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET v = ?", "INSERT INTO t (id, v) VALUES (?, ?) ON CONFLICT DO NOTHING",
	"INSERT INTO t (id, v) SELECT id + ?, ? FROM t WHERE v = ?", "INSERT INTO t (id, note) VALUES (?, random()::text || ?)", "INSERT INTO keyless VALUES (?, ?)",
	"INSERT INTO t (id, v) SELECT nextval(!), ? FROM t", "DELETE FROM t WHERE id = ?", "DELETE FROM t WHERE note = ?", "DELETE FROM keyless WHERE a = ?", "DELETE FROM t WHERE id = ? RETURNING *",
	"SELECT * FROM t WHERE id = ?", "SELECT nextval(!), ?", "SELECT setval(!, ?)", "SELECT setval(?, ?, true)", "SELECT set_config(!, !, false)", "SELECT lower(?), v FROM t ORDER BY ? LIMIT ?",
	"SELECT f(?)", "SELECT pg_get_serial_sequence('t', ?), nextval(pg_get_serial_sequence('t', 'id')), ?", "SELECT * FROM t WHERE at > ?::date + ? FOR UPDATE", "SELECT ?::numeric(10, 2), interval ?",
	"BEGIN", "SET work_mem = ?", "SELECT ?; SELECT ?", "SELECT '\\', ?", "VALUES (?, ?)", "EXPLAIN SELECT ?", "UPDATE t SET v = (SELECT max(v) + ? FROM t) WHERE id = ?",
}

// A text whose plan comes from another text's has the plan that it would have had.
func TestTemplatesGiveTheSamePlans(t *testing.T) {
	r := newRig(t, "create table t (id serial primary key, v int, note text, at timestamptz, o regclass, ok bool, a int[])", "create table keyless (a int, b text)",
		"create sequence s1", "create sequence s2", "create function f(int) returns int language sql as 'select $1'", "create function f(text) returns int language sql volatile as 'select 1'")
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, level := range []event.Level{event.LevelCount, event.LevelFull} {
		for _, form := range forms {
			for range 40 {
				sql := form
				for mark, pool := range map[string][]string{"?": constants, "!": names} {
					for strings.Contains(sql, mark) {
						sql = strings.Replace(sql, mark, pool[rng.IntN(len(pool))], 1)
					}
				}
				r.sameAsAnew(seed, sql, level)
			}
		}
	}
}

// sameAsAnew compares what the rig's classifier, which has seen other texts, says of
// a text with what one says that has seen none.
func (r *rig) sameAsAnew(seed uint64, sql string, level event.Level) {
	r.t.Helper()
	anew := classify.New(classify.Config{Catalog: r.cat})
	parts, err := r.c.Split(sql)
	want, wantErr := anew.Split(sql)
	if !reflect.DeepEqual(parts, want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
		r.t.Fatalf("seed %d: %s\nis split into %+v, %v\nand was into %+v, %v", seed, sql, parts, err, want, wantErr)
	}
	for _, part := range parts {
		in := r.in
		in.SQL, in.Level, in.Inline = part.Text, level, true
		got, err := r.c.Classify(context.Background(), in)
		want, wantErr := anew.Classify(context.Background(), in)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) || !reflect.DeepEqual(got, want) {
			r.t.Fatalf("seed %d: %s\nhas plan  %+v, %v\nand had %+v, %v", seed, sql, got, err, want, wantErr)
		}
	}
}

// Texts that differ in constants are parsed once.
func TestTemplatesAreUsed(t *testing.T) {
	r := newRig(t, "create table t (id serial primary key, v int, note text, at timestamptz)")
	for _, form := range []string{
		"UPDATE t SET v = v + %d WHERE id = %d", "INSERT INTO t (v, note, at) VALUES (%d, 'n%d', now())", "DELETE FROM t WHERE id = %d AND v = %d",
		"SELECT v FROM t WHERE id = %d OR v = %d", "UPDATE t SET v = %d WHERE v < %d",
	} {
		n := 0
		allocations := testing.AllocsPerRun(50, func() {
			n++
			in := r.in
			in.SQL, in.Inline = fmt.Sprintf(form, n, n), true
			if _, err := r.c.Classify(context.Background(), in); err != nil {
				t.Fatal(err)
			}
		})
		if allocations > 20 { // a parse makes some hundred
			t.Errorf("%s: %.0f allocations", form, allocations)
		}
	}
}
