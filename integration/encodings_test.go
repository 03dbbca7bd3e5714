package integration

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

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
	`CREATE FUNCTION reads(form bytea, encoding text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN convert_from(form, encoding); EXCEPTION WHEN others THEN RETURN ''; END $$`,
	`CREATE FUNCTION writes(chars text, encoding text) RETURNS bytea LANGUAGE plpgsql AS $$ BEGIN RETURN convert_to(chars, encoding); EXCEPTION WHEN others THEN RETURN ''; END $$`,
	`CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION noted()`,
}

// speaker is a session in one client encoding, which says random things in it.
type speaker struct {
	*bench
	conn  *pgconn.PgConn
	name  string
	chars []string // of the encoding, ASCII first
	// reads and writes are what the server makes of each, and of that again.
	reads, writes map[string]string
	next          int // key
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
	s := &speaker{bench: b, conn: conn, name: encoding, reads: map[string]string{}, writes: map[string]string{}, next: next, said: map[int]string{}}
	for _, row := range b.onPrimary(charactersSQL(encoding)) {
		char, err := hex.DecodeString(row[0])
		b.must(err)
		again, err := hex.DecodeString(row[2])
		b.must(err)
		s.chars = append(s.chars, string(char))
		s.reads[string(char)], s.writes[string(char)] = row[1], string(again)
	}
	return s
}

// charactersSQL gives characters of an encoding, as bytes, as the server reads them, and as
// it writes that again: of those of four bytes, some. KOI8U has two that opmux refuses. SHIFT_JIS_2004
// has a second backslash, of two bytes, which a COPY takes for what begins an escape.
func charactersSQL(encoding string) string {
	forms := "SELECT set_byte('\\x00', 0, b) FROM generate_series(32, 127) b"
	if pgencoding.Named(encoding) != nil || strings.Contains(encoding, "JIS") {
		forms += " UNION ALL SELECT set_byte('\\x00', 0, b) FROM generate_series(128, 255) b WHERE b NOT IN (174, 190) OR '" + encoding + "' <> 'KOI8U'"
	}
	if pgencoding.Named(encoding) == nil {
		forms += ` UNION ALL SELECT set_byte(set_byte('\x0000', 0, a), 1, b) FROM generate_series(129, 254) a, generate_series(48, 254) b
			UNION ALL SELECT set_byte(set_byte('\x8f0000', 1, a), 2, b) FROM generate_series(161, 254) a, generate_series(161, 254) b
			UNION ALL SELECT set_byte(set_byte(set_byte('\x8ea20000', 1, p), 2, a), 3, b) FROM generate_series(161, 175, 4) p, generate_series(161, 254, 5) a, generate_series(161, 254, 3) b
			UNION ALL SELECT set_byte(set_byte(set_byte(set_byte('\x81308130', 0, l), 1, p), 2, a), 3, b) FROM generate_series(129, 150, 3) l, generate_series(48, 57, 2) p, generate_series(129, 254, 9) a, generate_series(48, 57) b`
	}
	return "SELECT encode(f, 'hex'), r, encode(writes(r, '" + encoding + "'), 'hex') FROM (" + forms + ") x (f), LATERAL reads(f, '" + encoding + "') r WHERE r <> '' AND (r <> '\\' OR length(f) = 1) AND writes(r, '" + encoding + "') <> '' ORDER BY get_byte(f, 0) > 127, get_byte(f, length(f) - 1) > 127, f"
}

// word is a random text in the encoding, and the next key, for which it is kept.
func (s *speaker) word() (id, word string) {
	var read strings.Builder
	for range 1 + rand.IntN(12) {
		char := s.chars[rand.IntN(len(s.chars))]
		switch rand.IntN(4) {
		case 0:
			char = s.chars[rand.IntN(96)] // ASCII
		case 1:
			char = s.chars[len(s.chars)-1-rand.IntN(len(s.chars)/3)]
		}
		word += char
		read.WriteString(s.reads[char])
	}
	s.next++
	s.said[s.next] = read.String()
	return strconv.Itoa(s.next), word
}

// same tells whether the server's answer is a word as the server writes it.
func (s *speaker) same(got, word string) bool {
	if strings.HasSuffix(s.name, "2004") {
		return true // two characters side by side may be written as one
	}
	want := ""
	for len(word) > 0 {
		n := 1
		for s.reads[word[:n]] == "" {
			n++
		}
		want, word = want+s.writes[word[:n]], word[n:]
	}
	return got == want
}

func quoted(w string) string { return "'" + strings.ReplaceAll(w, "'", "''") + "'" }

// simple runs a Query, each %i of which is a new key and each %w its word; where it
// returns something, that is to be the last word.
func (s *speaker) simple(sql string) {
	s.t.Helper()
	w := ""
	parts := strings.Split(sql, "%w")
	for i, part := range parts[:len(parts)-1] {
		var id string
		id, w = s.word()
		parts[i] = strings.Replace(part, "%i", id, 1) + quoted(w)
	}
	sql = strings.Join(parts, "")
	results, err := s.conn.Exec(s.ctx, sql).ReadAll()
	if err != nil {
		s.t.Errorf("%s: %q: %v", s.name, sql, err)
		return
	}
	if last := results[len(results)-1]; w != "" && len(last.Rows) > 0 && !s.same(string(last.Rows[0][0]), w) {
		s.t.Errorf("%s: RETURNING gives %q of %q (I5)", s.name, last.Rows[0][0], w)
	}
}

// extended runs a statement with a key and a word as $1 and $2.
func (s *speaker) extended(sql string, format int16, form func(string) []byte) {
	s.t.Helper()
	id, w := s.word()
	r := s.conn.ExecParams(s.ctx, sql, [][]byte{[]byte(id), form(w)}, nil, []int16{0, format}, nil).Read()
	if r.Err != nil {
		s.t.Errorf("%s: %s with %q: %v", s.name, sql, w, r.Err)
	}
	if len(r.Rows) > 0 && !s.same(string(r.Rows[0][0]), w) {
		s.t.Errorf("%s: %s returns %q of %q (I5)", s.name, sql, r.Rows[0][0], w)
	}
}

func (s *speaker) copy(sql string, line func(id, w string) string) {
	s.t.Helper()
	var lines strings.Builder
	for range 20 {
		lines.WriteString(line(s.word()) + "\n")
	}
	s.stream(sql, lines.String())
}

// copyBinary is copy of keys and words in the binary format.
func (s *speaker) copyBinary(sql string) {
	s.t.Helper()
	stream := append([]byte("PGCOPY\n\xff\r\n\x00"), make([]byte, 8)...)
	for range 20 {
		_, w := s.word()
		stream = append(stream, 0, 2, 0, 0, 0, 4)
		stream = binary.BigEndian.AppendUint32(stream, uint32(s.next))
		stream = append(binary.BigEndian.AppendUint32(stream, uint32(len(w))), w...)
	}
	s.stream(sql, string(append(stream, 0xff, 0xff)))
}

// stream sends a COPY's data in pieces that end anywhere.
func (s *speaker) stream(sql, data string) {
	s.t.Helper()
	if _, err := s.conn.CopyFrom(s.ctx, iotest.OneByteReader(strings.NewReader(data)), sql); err != nil {
		s.t.Errorf("%s: %s: %v", s.name, sql, err)
	}
}

// escaped doubles the backslashes that are characters.
func (s *speaker) escaped(w string) string {
	var out []byte
	mask := pgencoding.Masked(s.name)
	for _, b := range []byte(w) {
		if mask.Next(b) == '\\' {
			out = append(out, b)
		}
		out = append(out, b)
	}
	return string(out)
}

// arrayOf is the binary form of ARRAY[NULL, w].
func arrayOf(w string) []byte {
	form := []byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}
	return append(binary.BigEndian.AppendUint32(form, uint32(len(w))), w...)
}

// speak writes in every way that there is.
func (s *speaker) speak(triggers bool) {
	text := func(w string) []byte { return []byte(w) }
	last := quoted(s.chars[len(s.chars)-1])
	s.simple("INSERT INTO words (id, w) VALUES (%i, %w)")
	s.simple("INSERT INTO words (id, w) VALUES (%i, %w), (%i, %w); INSERT INTO words (id, w) VALUES (%i, %w)")
	s.simple("INSERT INTO words (id, w) VALUES (%i, %w) RETURNING w")
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
	s.copy("COPY words (id, w) FROM STDIN", func(id, w string) string { return id + "\t" + s.escaped(w) })
	s.copyBinary("COPY words (id, w) FROM STDIN BINARY")
	s.copy("COPY words (id, w) FROM STDIN CSV", func(id, w string) string { return id + `,"` + strings.ReplaceAll(w, `"`, `""`) + `"` })
	s.copy("COPY drawn (w) FROM STDIN", func(_, w string) string { delete(s.said, s.next); return s.escaped(w) })
	// What other encodings have written is in these rows, too.
	s.simple("UPDATE words SET list = list || w, c = " + last + " WHERE id % 3 = 0 AND w <> " + last)
	s.simple("UPDATE words SET list = ARRAY[w] WHERE id % 7 = 0 RETURNING id")
	for _, sql := range []string{"BEGIN; SET LOCAL client_encoding = UTF8", "INSERT INTO drawn (w) VALUES ('日本'), (" + quoted(s.name) + ")", "COMMIT",
		"BEGIN; SET client_encoding = UTF8", "UPDATE drawn SET w = w || 'é' WHERE id % 2 = 0", "ROLLBACK"} {
		s.simple(sql)
	}
	s.simple("INSERT INTO words (id, w) VALUES (%i, %w)")
	if !triggers {
		return
	}
	s.simple("MERGE INTO words t USING (VALUES (%i, %w)) s (id, w) ON t.id = s.id WHEN MATCHED THEN UPDATE SET w = s.w WHEN NOT MATCHED THEN INSERT (id, w) VALUES (s.id, s.w)")
	s.simple("WITH w AS (INSERT INTO words (id, w) VALUES (%i, %w) RETURNING w) INSERT INTO drawn (w) SELECT w FROM w")
	s.simple("DO $do$ BEGIN INSERT INTO words (id, w) VALUES (%i, %w); UPDATE drawn SET w = w || chr(26085) WHERE id % 5 = 0; END $do$")
	s.simple("INSERT INTO watched VALUES (%i, %w)")
	delete(s.said, s.next)
	s.simple("UPDATE watched SET w = w || " + last)
	s.simple("DO $do$ BEGIN CREATE TABLE \"n" + strings.Trim(last, "'") + s.name + "\" (id int PRIMARY KEY, w text DEFAULT " + last + "); END $do$")
}

// I6: what is written in a client encoding other than UTF8 is on the backup as it is on
// the primary, and as it was said.
func TestI6EncodedTextIsTheSame(t *testing.T) {
	for name, yaml := range map[string]string{"by text and rows": "", "with capture triggers": triggersOn} {
		t.Run(name, func(t *testing.T) {
			b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: yaml}, encodingSchema...)
			for i, encoding := range []string{"LATIN1", "LATIN2", "LATIN3", "LATIN4", "LATIN5", "LATIN6", "LATIN7", "LATIN8", "LATIN9", "LATIN10", "ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8",
				"SJIS", "SHIFT_JIS_2004", "EUC_JP", "EUC_JIS_2004", "EUC_CN", "EUC_KR", "EUC_TW", "BIG5", "GBK", "GB18030", "UHC", "JOHAB",
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
		if got, ok := has[strconv.Itoa(id)]; !ok || got != s.said[id] {
			s.t.Errorf("%s: row %d has %q, want %q", s.name, id, got, s.said[id])
		}
	}
}
