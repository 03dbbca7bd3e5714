-- Defaults, functions, columns, triggers, keys and rules that change, tables that are made anew.

-- schema
CREATE FUNCTION number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := (random() * 1000000)::int; RETURN NEW; END $$
CREATE TABLE moving_0 (id serial PRIMARY KEY, a int, b int, n int DEFAULT 1)
CREATE TABLE moving_1 (id serial PRIMARY KEY, a int, b int, n int DEFAULT 1)
CREATE VIEW seen AS SELECT id, a, b FROM moving_0

-- ddl
ALTER TABLE moving_$t ALTER n SET DEFAULT 1
ALTER TABLE moving_$t ALTER n SET DEFAULT (random() * 1000000)::int
ALTER TABLE moving_$t ALTER n SET DEFAULT number()
ALTER TABLE moving_$t ALTER n SET DEFAULT extract(microseconds FROM clock_timestamp())
CREATE OR REPLACE FUNCTION number() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $n'
CREATE OR REPLACE FUNCTION number() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT (random() * 1000000)::int'
ALTER FUNCTION number() IMMUTABLE
ALTER FUNCTION number() VOLATILE
ALTER TABLE moving_$t ADD COLUMN c_$c int DEFAULT $n
ALTER TABLE moving_$t DROP COLUMN c_$c
ALTER TABLE moving_$t ADD COLUMN IF NOT EXISTS c_$c int DEFAULT $n
CREATE OR REPLACE TRIGGER touch BEFORE INSERT OR UPDATE ON moving_$t FOR EACH ROW EXECUTE FUNCTION touch()
DROP TRIGGER touch ON moving_$t
DO $$ BEGIN ALTER TABLE moving_$t RENAME a TO x;ALTER TABLE moving_$t RENAME b TO a;ALTER TABLE moving_$t RENAME x TO b;END $$
DROP TABLE IF EXISTS moving_1; CREATE TABLE moving_1 (b int, n int DEFAULT 1, a int, id serial PRIMARY KEY)
DROP TABLE IF EXISTS moving_1; CREATE TABLE moving_1 (id serial PRIMARY KEY, a int, b int, n int DEFAULT 1)
ALTER TABLE moving_$t DROP CONSTRAINT moving_$t_pkey
ALTER TABLE moving_$t ADD PRIMARY KEY (id)
CREATE UNIQUE INDEX IF NOT EXISTS moving_$t_a ON moving_$t (a)
DROP INDEX IF EXISTS moving_$t_a
ALTER TABLE moving_$t ALTER b TYPE bigint
ALTER TABLE moving_$t ALTER b TYPE int
CREATE OR REPLACE VIEW seen AS SELECT id, a, b FROM moving_0
CREATE OR REPLACE RULE also AS ON INSERT TO moving_0 DO ALSO INSERT INTO stays SELECT max(id) + 1 FROM stays
DROP RULE IF EXISTS also ON moving_0
TRUNCATE moving_$t
CREATE TEMP TABLE mine_$c (id int)
DROP TABLE mine_$c
CREATE TEMP TABLE moving_$t (id int, a int, b int, n int)
DROP TABLE pg_temp.moving_$t

-- writes
INSERT INTO moving_$t (a, b) VALUES ($n, 2)
INSERT INTO moving_$t DEFAULT VALUES
INSERT INTO moving_$t (a) VALUES ($n) RETURNING id, n
INSERT INTO moving_$t (a, b) SELECT id, $n FROM stays
INSERT INTO moving_$t (a, n) VALUES ($n, number())
UPDATE moving_$t SET a = $n WHERE id = (SELECT min(id) FROM moving_$t)
UPDATE moving_$t SET b = b + 1 WHERE id = $n
UPDATE moving_$t SET n = DEFAULT WHERE id < $n
UPDATE moving_$t SET a = b, b = a WHERE a > $n
DELETE FROM moving_$t WHERE id = $n
DELETE FROM moving_$t WHERE a < b
INSERT INTO moving_$t (id, a, b) VALUES ($n, 1, 1) ON CONFLICT (id) DO UPDATE SET a = moving_$t.a + 1
INSERT INTO seen (a, b) VALUES ($n, 7)
UPDATE seen SET a = $n WHERE id = $n
DO $$ BEGIN INSERT INTO moving_$t (a) VALUES ($n);UPDATE moving_$t SET b = 5 WHERE a = $n;END $$
SELECT count(*) FROM moving_$t
