package catalog_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/internal/testkit"
)

// I6: encodings that a database may be in, and in which a character comes back from UTF-8
// in other bytes, are known.
func TestI6EncodingsOfTwoForms(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, db, `CREATE FUNCTION moves(b bytea, e text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN convert(convert(b, e, 'UTF8'), 'UTF8', e) <> b; EXCEPTION WHEN others THEN RETURN false; END $$`)
	single := []string{"LATIN1", "LATIN2", "LATIN3", "LATIN4", "LATIN5", "LATIN6", "LATIN7", "LATIN8", "LATIN9", "LATIN10", "WIN1250", "WIN1251", "WIN1252", "WIN1253", "WIN1254", "WIN1255",
		"WIN1256", "WIN1257", "WIN1258", "WIN866", "WIN874", "KOI8R", "KOI8U", "ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8"}
	euc := []string{"EUC_JP", "EUC_CN", "EUC_KR", "EUC_TW", "EUC_JIS_2004"}
	for _, name := range slices.Concat(single, euc) {
		got := pg.Query(t, db, `SELECT EXISTS (SELECT FROM (
			SELECT set_byte('\x00', 0, i) FROM generate_series(128, 255) i
			UNION ALL SELECT head || set_byte(set_byte('\x0000', 0, i), 1, j)
			FROM unnest('{"","\\x8f","\\x8ea1","\\x8ea2"}'::bytea[]) head, generate_series(142, 254) i, generate_series(161, 254) j WHERE '`+name+`' LIKE 'EUC%') x (b) WHERE moves(b, '`+name+`'))`)[0][0]
		if (got == "t") != catalog.HasTwoForms(name) {
			t.Errorf("%s: characters that come back as others: %s", name, got)
		}
	}
}

// I6: nor do capture triggers take a row with the form that a backup does not get.
func TestI6CaptureTriggersSeeTwoForms(t *testing.T) {
	pg := testkit.SharedPostgres(t)
	db := pg.CreateDB(t)
	pg.Exec(t, "postgres", "DROP DATABASE "+db, "CREATE DATABASE "+db+" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING 'EUC_JP'")
	pg.Exec(t, db, `CREATE TABLE t (id int PRIMARY KEY, v text)`, `INSERT INTO t VALUES (1, convert_from('\xadfc', 'EUC_JP'))`)
	c, err := catalog.Open(context.Background(), catalog.Config{DSN: pg.DSN(db), Triggers: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	run := func(sql string) error {
		_, err := pg.Connect(t, db).Exec(context.Background(), `SET opmux.capture = 'on'; `+sql)
		return err
	}
	if err := run(`INSERT INTO t VALUES (2, convert_from('\xb0a1', 'EUC_JP')); UPDATE t SET v = v || v WHERE id = 2; DELETE FROM t WHERE id = 2`); err != nil {
		t.Error(err)
	}
	for _, sql := range []string{`INSERT INTO t VALUES (3, convert_from('\xadfc', 'EUC_JP'))`, `UPDATE t SET v = 'x' WHERE id = 1`, `DELETE FROM t WHERE id = 1`} {
		if err := run(sql); err == nil || !strings.Contains(err.Error(), "two forms") {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
