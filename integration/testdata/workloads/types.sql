-- Enums, domains, composite types, and columns that change their type.

-- schema
CREATE TYPE mood AS ENUM ('a', 'b', 'c')
CREATE DOMAIN small AS int DEFAULT 5 CHECK (VALUE < 1000)
CREATE TYPE pair AS (x int, y text)
CREATE DOMAIN dmood AS mood DEFAULT 'b'
CREATE TABLE y_0 (id serial PRIMARY KEY, m mood DEFAULT 'a', s small, p pair, v text, n int)
CREATE TABLE y_1 (p pair, s small DEFAULT 7, n int, v text, m dmood, id serial PRIMARY KEY)
CREATE FUNCTION lim() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1000'
CREATE FUNCTION conv(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT length($1)'

-- ddl
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'd$n'
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'd$n' BEFORE 'b'
ALTER TYPE mood RENAME TO moody
ALTER TYPE moody RENAME TO mood
ALTER DOMAIN small SET DEFAULT $n
ALTER DOMAIN small SET DEFAULT (random() * 900)::int
ALTER DOMAIN small DROP DEFAULT
ALTER DOMAIN small ADD CONSTRAINT more CHECK (VALUE <> $n) NOT VALID
ALTER DOMAIN small DROP CONSTRAINT IF EXISTS more
ALTER DOMAIN small VALIDATE CONSTRAINT more
ALTER DOMAIN small ADD CONSTRAINT more CHECK (VALUE < lim())
ALTER DOMAIN small SET NOT NULL
ALTER DOMAIN small DROP NOT NULL
CREATE OR REPLACE FUNCTION lim() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $n'
CREATE OR REPLACE FUNCTION lim() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT (random() * 1000)::int'
ALTER DOMAIN dmood SET DEFAULT 'c'
ALTER DOMAIN dmood DROP DEFAULT
ALTER TYPE pair ADD ATTRIBUTE z_$c int CASCADE
ALTER TYPE pair DROP ATTRIBUTE IF EXISTS z_$c CASCADE
ALTER TYPE pair ADD ATTRIBUTE z_$c int
ALTER TYPE pair DROP ATTRIBUTE IF EXISTS z_$c
ALTER TABLE y_$t ALTER v TYPE varchar(10)
ALTER TABLE y_$t ALTER v TYPE text
ALTER TABLE y_$t ALTER n TYPE bigint
ALTER TABLE y_$t ALTER n TYPE text USING n::text || 'k'
ALTER TABLE y_$t ALTER n TYPE int USING conv(n::text)
ALTER TABLE y_$t ALTER n TYPE int USING (random() * 100)::int
ALTER TABLE y_$t ALTER n TYPE int USING length(n::text) + id
ALTER TABLE y_$t ALTER n TYPE numeric(10, 2) USING length(n::text)
ALTER TABLE y_$t ALTER n TYPE float USING length(n::text) / 3.0
ALTER TABLE y_$t ALTER s TYPE int
ALTER TABLE y_$t ALTER s TYPE small
ALTER TABLE y_$t ALTER m TYPE text
ALTER TABLE y_$t ALTER m DROP DEFAULT; ALTER TABLE y_$t ALTER m TYPE mood USING m::text::mood
ALTER TABLE y_$t ALTER m SET DEFAULT 'c'
ALTER TABLE y_$t ALTER m SET DEFAULT (ARRAY['a', 'b', 'c']::mood[])[1 + (random() * 2)::int]
CREATE OR REPLACE FUNCTION conv(text) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT length($1) + $n'
ALTER TABLE y_$t ADD COLUMN IF NOT EXISTS s_$c small
ALTER TABLE y_$t DROP COLUMN IF EXISTS s_$c
ALTER TABLE y_$t ADD COLUMN IF NOT EXISTS s_$c mood DEFAULT 'b'
ALTER TABLE y_$t ADD COLUMN IF NOT EXISTS s_$c dmood
CREATE INDEX IF NOT EXISTS y_$t_m ON y_$t (m)
DROP INDEX IF EXISTS y_$t_m
DO $$ BEGIN ALTER TYPE mood ADD VALUE IF NOT EXISTS 'e$n' AFTER 'a';END $$
TRUNCATE y_$t
ALTER TABLE y_$t DROP CONSTRAINT IF EXISTS y_$t_m_check
CREATE DOMAIN small_$c AS small CHECK (VALUE > 3)
DROP DOMAIN small_$c

-- unlocked
ALTER TYPE mood RENAME VALUE 'a' TO 'x'
ALTER TYPE mood RENAME VALUE 'x' TO 'a'
ALTER TYPE mood RENAME VALUE 'b' TO 'tmp';ALTER TYPE mood RENAME VALUE 'c' TO 'b';ALTER TYPE mood RENAME VALUE 'tmp' TO 'c'
ALTER TYPE pair RENAME ATTRIBUTE x TO w
ALTER TYPE pair RENAME ATTRIBUTE w TO x

-- writes
INSERT INTO y_$t (v) VALUES ('v$n')
INSERT INTO y_$t (m, s) VALUES ('b', $n)
INSERT INTO y_$t (m, s) VALUES ('a', $n) RETURNING *
INSERT INTO y_$t (m) VALUES ('d$n')
INSERT INTO y_$t (m) SELECT max(e.enumlabel)::mood FROM pg_enum e WHERE e.enumtypid = 'mood'::regtype
INSERT INTO y_$t (m, n) SELECT 'c', id FROM stays
INSERT INTO y_$t (p) VALUES (ROW($n, 'y'))
INSERT INTO y_$t (p) VALUES ('($n,q)')
INSERT INTO y_$t (p, n) SELECT ROW($n, 'r')::pair, id FROM stays
INSERT INTO y_$t (p.x, p.y) VALUES ($n, 'sub')
INSERT INTO y_$t (n) VALUES ($n)
INSERT INTO y_$t (s, v) VALUES (DEFAULT, 'x')
UPDATE y_$t SET m = 'b' WHERE id = $n
UPDATE y_$t SET m = 'c' WHERE m < 'c'
UPDATE y_$t SET m = 'a' WHERE m > 'b' AND id < $n
UPDATE y_$t SET s = DEFAULT WHERE id = $n
UPDATE y_$t SET s = s + 1 WHERE id = $n
UPDATE y_$t SET p.x = $n WHERE id = $m
UPDATE y_$t SET p = NULL WHERE id = $m
UPDATE y_$t SET n = $n WHERE id = $m
UPDATE y_$t SET n = n + 1 WHERE id < $m
UPDATE y_$t SET v = m::text WHERE id < $n
UPDATE y_$t SET v = s::text || n WHERE id = $n
DELETE FROM y_$t WHERE m = 'b' AND id < $n
DELETE FROM y_$t WHERE id = $n
DELETE FROM y_$t WHERE s > $n + 10
COPY y_$t (m, s) FROM STDIN|a\t$n\nb\t$m\n
COPY y_$t (p, v) FROM STDIN|($n,z)\thello\n
COPY y_$t (m) FROM STDIN|d$n\n
SELECT * FROM y_$t
DO $$ BEGIN INSERT INTO y_$t (m) VALUES ('a');UPDATE y_$t SET m = 'b' WHERE m = 'a';END $$
INSERT INTO y_$t (id, m) VALUES ($n, 'b') ON CONFLICT (id) DO UPDATE SET m = excluded.m, s = 3
