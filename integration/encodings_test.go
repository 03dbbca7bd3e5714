package integration

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/wire/pgencoding"
)

var encodingSchema = []string{
	`CREATE TABLE words (id int PRIMARY KEY, enc text, w text, list text[], j jsonb, c char(40) DEFAULT 'é')`,
	`CREATE TABLE drawn (id serial PRIMARY KEY, w text, note text DEFAULT 'ñ')`,
	`CREATE TABLE audit (n serial PRIMARY KEY, was text, is_now text)`,
	`CREATE TABLE watched (id int PRIMARY KEY, w text)`,
	`CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (was, is_now) VALUES (CASE WHEN TG_OP = 'UPDATE' THEN OLD.w END, NEW.w || 'ü'); RETURN NEW; END $$`,
	`CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION noted()`,
}

// speaker is a session in one client encoding, which says random things in it.
type speaker struct {
	*bench
	conn  *pgconn.PgConn
	enc   *pgencoding.Encoding
	bytes []byte // those that are characters
	next  int    // key
	// said is what was given for each key.
	said map[int]string
}

func (b *bench) speaker(encoding string, next int) *speaker {
	b.t.Helper()
	cfg, err := pgconn.ParseConfig(b.agent("a1").DSN())
	b.must(err)
	cfg.RuntimeParams["client_encoding"] = encoding
	conn, err := pgconn.ConnectConfig(b.ctx, cfg)
	b.must(err)
	b.t.Cleanup(func() { _ = conn.Close(b.ctx) })
	s := &speaker{bench: b, conn: conn, enc: pgencoding.Named(encoding), next: next, said: map[int]string{}}
	for c := 0x20; c < 0x100; c++ {
		if _, ok := s.enc.Append(nil, []byte{byte(c)}); ok && c != 0x7f {
			s.bytes = append(s.bytes, byte(c))
		}
	}
	return s
}

// word is a random text in the encoding, and the next key, for which it is kept.
func (s *speaker) word() (id, word string) {
	w := make([]byte, 1+rand.IntN(12))
	for i := range w {
		if w[i] = s.bytes[rand.IntN(len(s.bytes))]; rand.IntN(2) == 0 {
			w[i] = s.bytes[len(s.bytes)-1-rand.IntN(len(s.bytes)/3)]
		}
	}
	s.next++
	s.said[s.next] = string(w)
	return strconv.Itoa(s.next), string(w)
}

func quoted(w string) string { return "'" + strings.ReplaceAll(w, "'", "''") + "'" }

// simple runs a Query, each %i of which is a new key and each %w its word, and returns
// the first value of the last answer.
func (s *speaker) simple(sql string) string {
	s.t.Helper()
	for strings.Contains(sql, "%w") {
		id, w := s.word()
		sql = strings.Replace(strings.Replace(sql, "%i", id, 1), "%w", quoted(w), 1)
	}
	results, err := s.conn.Exec(s.ctx, sql).ReadAll()
	if err != nil {
		s.t.Errorf("%s: %q: %v", s.enc.Name, sql, err)
		return ""
	}
	if last := results[len(results)-1]; len(last.Rows) > 0 && len(last.Rows[0]) > 0 {
		return string(last.Rows[0][0])
	}
	return ""
}

// extended runs a statement with a key and a word as $1 and $2.
func (s *speaker) extended(sql string, format int16, form func(string) []byte) {
	s.t.Helper()
	id, w := s.word()
	r := s.conn.ExecParams(s.ctx, sql, [][]byte{[]byte(id), form(w)}, nil, []int16{0, format}, nil).Read()
	if r.Err != nil {
		s.t.Errorf("%s: %s with %q: %v", s.enc.Name, sql, w, r.Err)
	}
	if len(r.Rows) > 0 && string(r.Rows[0][0]) != w {
		s.t.Errorf("%s: %s returns %q of %q (I5)", s.enc.Name, sql, r.Rows[0][0], w)
	}
}

func (s *speaker) copy(sql string, line func(id, w string) string) {
	s.t.Helper()
	var lines strings.Builder
	for range 20 {
		lines.WriteString(line(s.word()) + "\n")
	}
	if _, err := s.conn.CopyFrom(s.ctx, strings.NewReader(lines.String()), sql); err != nil {
		s.t.Errorf("%s: %s: %v", s.enc.Name, sql, err)
	}
}

func escaped(w string) string { return strings.ReplaceAll(w, `\`, `\\`) }

// arrayOf is the binary form of ARRAY[NULL, w].
func arrayOf(w string) []byte {
	form := []byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}
	return append(binary.BigEndian.AppendUint32(form, uint32(len(w))), w...)
}

// speak writes in every way that there is.
func (s *speaker) speak(triggers bool) {
	text := func(w string) []byte { return []byte(w) }
	last := quoted(string(s.bytes[len(s.bytes)-1:]))
	s.simple("INSERT INTO words (id, w) VALUES (%i, %w)")
	s.simple("INSERT INTO words (id, w) VALUES (%i, %w), (%i, %w); INSERT INTO words (id, w) VALUES (%i, %w)")
	if got, want := s.simple("INSERT INTO words (id, w) VALUES (%i, %w) RETURNING w"), s.said[s.next]; got != want {
		s.t.Errorf("%s: RETURNING gives %q of %q (I5)", s.enc.Name, got, want)
	}
	s.simple("BEGIN; SAVEPOINT a; INSERT INTO words (id, w) VALUES (-1, 'x'); ROLLBACK TO a; INSERT INTO words (id, w) VALUES (%i, %w); COMMIT")
	s.simple("INSERT INTO words (id, w) VALUES (%i, %w) ON CONFLICT (id) DO UPDATE SET w = excluded.w")
	s.simple(fmt.Sprintf("INSERT INTO words (id, w) VALUES (%d, 'old')", s.next+1))
	s.simple("INSERT INTO words (id, w) VALUES (%i, %w) ON CONFLICT (id) DO UPDATE SET w = excluded.w WHERE words.w = 'old'")
	s.simple("PREPARE p (int, text) AS INSERT INTO words (id, w) VALUES ($1, $2)")
	s.simple("EXECUTE p (%i, %w)")
	s.extended("INSERT INTO words (id, w) VALUES ($1, $2)", 0, text)
	s.extended("INSERT INTO words (id, w, enc) VALUES ($1, $2, "+last+") RETURNING w", 1, text)
	s.extended("INSERT INTO words (id, w) SELECT $1, x FROM unnest($2::text[]) x WHERE x IS NOT NULL RETURNING w", 1, arrayOf)
	s.extended("INSERT INTO words (id, list, w) VALUES ($1, $2, ($2::text[])[2]) RETURNING w", 1, arrayOf)
	s.copy("COPY words (id, w) FROM STDIN", func(id, w string) string { return id + "\t" + escaped(w) })
	s.copy("COPY words (id, w) FROM STDIN CSV", func(id, w string) string { return id + `,"` + strings.ReplaceAll(w, `"`, `""`) + `"` })
	s.copy("COPY drawn (w) FROM STDIN", func(_, w string) string { delete(s.said, s.next); return escaped(w) })
	// What other encodings have written is in these rows, too.
	s.simple("UPDATE words SET list = list || w, c = " + last + " WHERE id % 3 = 0 AND w <> " + last)
	s.simple("UPDATE words SET list = ARRAY[w] WHERE id % 7 = 0 RETURNING id")
	for _, sql := range []string{"BEGIN; SET LOCAL client_encoding = UTF8", "INSERT INTO drawn (w) VALUES ('日本'), (" + quoted(s.enc.Name) + ")", "COMMIT",
		"BEGIN; SET client_encoding = UTF8", "UPDATE drawn SET w = w || 'é' WHERE id % 2 = 0", "ROLLBACK"} {
		s.simple(sql)
	}
	s.simple("INSERT INTO words (id, w) VALUES (%i, %w)")
	if !triggers {
		return
	}
	s.simple("MERGE INTO words t USING (VALUES (%i, %w)) s (id, w) ON t.id = s.id WHEN MATCHED THEN UPDATE SET w = s.w WHEN NOT MATCHED THEN INSERT (id, w) VALUES (s.id, s.w)")
	s.simple("WITH w AS (INSERT INTO words (id, w) VALUES (%i, %w) RETURNING w) INSERT INTO drawn (w) SELECT w FROM w")
	s.simple("DO $$ BEGIN INSERT INTO words (id, w) VALUES (%i, %w); UPDATE drawn SET w = w || chr(26085) WHERE id % 5 = 0; END $$")
	s.simple(fmt.Sprintf("INSERT INTO watched VALUES (%d, %s)", s.next, quoted(s.said[s.next])))
	s.simple("UPDATE watched SET w = w || " + quoted(s.said[s.next]))
	s.simple("DO $$ BEGIN CREATE TABLE \"n" + strings.Trim(last, "'") + s.enc.Name + "\" (id int PRIMARY KEY, w text DEFAULT " + quoted(s.said[s.next]) + "); END $$")
}

// I6: what is written in a client encoding other than UTF8 is on the backup as it is on
// the primary, and as it was said.
func TestI6EncodedTextIsTheSame(t *testing.T) {
	for name, yaml := range map[string]string{"by text and rows": "", "with capture triggers": triggersOn} {
		t.Run(name, func(t *testing.T) {
			b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: yaml}, encodingSchema...)
			for i, encoding := range []string{"LATIN1", "LATIN2", "LATIN3", "LATIN4", "LATIN5", "LATIN6", "LATIN7", "LATIN8", "LATIN9", "LATIN10", "ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8",
				"WIN1250", "WIN1251", "WIN1252", "WIN1253", "WIN1254", "WIN1255", "WIN1256", "WIN1257", "WIN1258", "WIN866", "WIN874", "KOI8R", "KOI8U"} {
				s := b.speaker(encoding, 1000*i)
				s.speak(yaml != "")
				s.wasSaid()
			}
			b.identical()
			b.sequencesFollow()
			if v := b.verdicts(400); v.Match != v.Sum() {
				t.Errorf("verdicts %+v, want matches alone", v)
			}
		})
	}
}

// wasSaid compares what the primary has with what was given to it.
func (s *speaker) wasSaid() {
	s.t.Helper()
	keys := make([]int, 0, len(s.said))
	for id := range s.said {
		keys = append(keys, id)
	}
	slices.Sort(keys)
	has := map[string]string{}
	for _, row := range s.onPrimary(fmt.Sprintf("SELECT id, w FROM words WHERE id BETWEEN %d AND %d", keys[0], keys[len(keys)-1])) {
		has[row[0]] = row[1]
	}
	for _, id := range keys {
		want, _ := s.enc.Append(nil, []byte(s.said[id]))
		if got, ok := has[strconv.Itoa(id)]; !ok || got != string(want) {
			s.t.Errorf("%s: row %d has %q, want %q", s.enc.Name, id, got, want)
		}
	}
}
