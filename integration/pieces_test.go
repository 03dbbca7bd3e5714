package integration

import (
	"testing"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// piecesSchema has tables whose rows refer to one another, or are referred to by values that
// an UPDATE hands on: each foreign key that checks, and each that acts.
var piecesSchema = []string{
	`CREATE ROLE writer`,
	`CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree, filler text)`,
	`CREATE TABLE strict (id int PRIMARY KEY, parent int REFERENCES strict ON DELETE RESTRICT, filler text)`,
	`CREATE TABLE falls (id int PRIMARY KEY, parent int REFERENCES falls ON DELETE CASCADE, filler text)`,
	`CREATE TABLE moved (parent int NOT NULL DEFAULT 0, id int, UNIQUE (id), PRIMARY KEY (parent, id), FOREIGN KEY (parent) REFERENCES moved (id) ON DELETE SET DEFAULT, filler text)`,
	`CREATE TABLE parts (id int PRIMARY KEY, parent int REFERENCES parts, filler text) PARTITION BY RANGE (id)`,
	`CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (600)`, `CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (600) TO (2000)`,
	`CREATE TABLE places (id int PRIMARY KEY, n int UNIQUE, filler text)`, `CREATE TABLE stays (n int REFERENCES places (n))`,
	`CREATE TABLE named (id int PRIMARY KEY, code int UNIQUE, parent int REFERENCES named (code) ON UPDATE CASCADE, filler text)`,
	`CREATE TABLE few (id int PRIMARY KEY, n int UNIQUE)`, `CREATE TABLE clings (n int REFERENCES few (n))`,
	`CREATE TABLE owners (id int PRIMARY KEY, filler text)`,
	`CREATE TABLE pets (id int PRIMARY KEY, owner int REFERENCES owners ON DELETE CASCADE)`, `ALTER TABLE owners ADD pet int REFERENCES pets`,
	`GRANT ALL ON tree TO writer`,
}

// up is a thousand rows, each of which refers to the next one; down to one before it.
const (
	piecesUp   = ` SELECT i, CASE WHEN i < 1000 THEN i + 1 END, repeat('f', 100) FROM generate_series(1, 1000) i`
	piecesDown = ` SELECT i, CASE WHEN i > 1 THEN i / 2 END, repeat('f', 100) FROM generate_series(1, 1000) i`
)

var piecesWork = []string{
	`SET ROLE writer`, `INSERT INTO tree` + piecesUp, `RESET ROLE`,
	`UPDATE tree SET parent = 1001 - id WHERE filler > ''`,
	`BEGIN; SAVEPOINT a; INSERT INTO tree SELECT i, i + 1, repeat('f', 100) FROM generate_series(2001, 2500) i UNION ALL SELECT 2501, NULL, NULL; ROLLBACK TO a;
		INSERT INTO tree SELECT i, i + 1, repeat('f', 100) FROM generate_series(3001, 3500) i UNION ALL SELECT 3501, NULL, NULL; DELETE FROM tree WHERE id > 3000; COMMIT`,
	`DELETE FROM tree WHERE filler > ''`,
	`INSERT INTO strict` + piecesUp, `DELETE FROM strict WHERE filler > ''`,
	`INSERT INTO falls` + piecesDown, `DELETE FROM falls WHERE id % 7 < 5`,
	`INSERT INTO moved SELECT 0, 0`, `INSERT INTO moved SELECT i / 2, i, repeat('f', 100) FROM generate_series(1, 1000) i`, `DELETE FROM moved WHERE id % 7 BETWEEN 1 AND 5`,
	`INSERT INTO parts` + piecesUp, `UPDATE parts SET parent = 1001 - id WHERE filler > ''`, `INSERT INTO parts_low SELECT 0, 0`, `DELETE FROM parts WHERE filler > ''`,
	`INSERT INTO places SELECT i, i, repeat('f', 100) FROM generate_series(1, 1000) i`, `INSERT INTO stays SELECT 500`,
	`UPDATE places SET n = n - 1, filler = repeat('g', 100)`,
	`INSERT INTO named SELECT i, i, i, repeat('f', 100) FROM generate_series(1, 1000) i`, `UPDATE named SET parent = code / 2 WHERE code > 1`,
	`UPDATE named SET code = code - 1, parent = parent, filler = repeat('g', 100)`,
	`INSERT INTO few SELECT i, i FROM generate_series(1, 90) i`, `INSERT INTO clings SELECT 50`, `UPDATE few SET n = n - 1`,
	`INSERT INTO owners SELECT i, repeat('f', 100) FROM generate_series(1, 1000) i`, `INSERT INTO pets SELECT i, i FROM generate_series(1, 1000) i`,
	`UPDATE owners SET pet = 1 + id % 1000`, `DELETE FROM owners WHERE id > 0`,
}

// I6: what foreign keys check and do at the end of the statement that wrote rows on the
// primary, they do then on a backup, though the rows come in pieces there.
func TestI6RowsOfPiecesThatReferToOneAnother(t *testing.T) {
	b := up(t, rig.Config{Digest: "full", Verify: "full", AgentYAML: "capture: {chunk: 16KiB}\n"}, piecesSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	for _, sql := range piecesWork {
		if _, err := conn.Exec(b.ctx, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	b.identical()
	if v, err := b.Verdicts(b.ctx); err != nil || v.Mismatch+v.Missing > 0 {
		t.Errorf("verdicts %+v, %v; want no mismatch and nothing missing", v, err)
	}
}
