-- What a name stands for: search paths, roles, rules, views, policies, temporary tables, prepared statements.

-- schema
CREATE ROLE some_user
CREATE ROLE some_owner SUPERUSER
CREATE SCHEMA one
CREATE SCHEMA two
GRANT ALL ON SCHEMA one, two, public TO some_user
CREATE TABLE one.t (id serial PRIMARY KEY, a int DEFAULT 1, b int)
CREATE TABLE two.t (b int, id serial PRIMARY KEY, a int DEFAULT 2)
GRANT ALL ON ALL TABLES IN SCHEMA one, two TO some_user
GRANT ALL ON ALL SEQUENCES IN SCHEMA one, two TO some_user
CREATE FUNCTION one.f() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1'
CREATE FUNCTION two.f() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT (random() * 1000)::int'
CREATE FUNCTION plus(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 - $2'
CREATE VIEW one.v AS SELECT id, a, b FROM one.t
CREATE VIEW two.v AS SELECT id, b, a FROM two.t
CREATE TABLE stays2 (a int, b int)
GRANT ALL ON stays2, stays TO some_user

-- ddl
CREATE FUNCTION one.abs(int) RETURNS int VOLATILE LANGUAGE sql AS 'SELECT (random() * 1000)::int'
DROP FUNCTION IF EXISTS one.abs(int)
CREATE OPERATOR two.+ (LEFTARG = int, RIGHTARG = int, FUNCTION = plus)
DROP OPERATOR IF EXISTS two.+ (int, int)
CREATE OR REPLACE FUNCTION one.f() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $n'
CREATE OR REPLACE FUNCTION one.f() RETURNS int VOLATILE LANGUAGE sql AS 'SELECT (random() * 1000)::int'
ALTER FUNCTION two.f() SET search_path = one
ALTER FUNCTION two.f() IMMUTABLE
CREATE OR REPLACE FUNCTION two.f() RETURNS int STABLE LANGUAGE sql AS 'SELECT max(id) FROM stays'
CREATE OR REPLACE FUNCTION f() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $n'
DROP FUNCTION IF EXISTS public.f()
ALTER TABLE one.t ALTER a SET DEFAULT one.f()
ALTER TABLE t ALTER a SET DEFAULT f()
ALTER TABLE t ALTER a SET DEFAULT $n
ALTER TABLE t ALTER a DROP DEFAULT
ALTER TABLE one.t SET SCHEMA public
ALTER TABLE public.t SET SCHEMA one
ALTER TABLE t RENAME TO tt
ALTER TABLE tt RENAME TO t
CREATE OR REPLACE VIEW one.v AS SELECT id, a, b FROM one.t WHERE a > $n
DROP VIEW one.v; CREATE VIEW one.v AS SELECT id, b AS a, a AS b FROM one.t
CREATE OR REPLACE VIEW two.v AS SELECT id, b, a FROM two.t
DROP VIEW two.v; CREATE VIEW two.v AS SELECT id, b, a FROM one.t
ALTER VIEW one.v ALTER a SET DEFAULT $n
ALTER VIEW v ALTER a SET DEFAULT (random() * 1000)::int
CREATE OR REPLACE RULE r AS ON INSERT TO t DO ALSO INSERT INTO stays2 VALUES (NEW.a, $n)
CREATE OR REPLACE RULE r AS ON UPDATE TO t WHERE NEW.a > $n DO INSTEAD NOTHING
DROP RULE IF EXISTS r ON t
CREATE OR REPLACE RULE r AS ON INSERT TO one.v DO INSTEAD INSERT INTO two.t (a, b) VALUES (NEW.a, NEW.b)
DROP RULE IF EXISTS r ON one.v
ALTER TABLE t ENABLE ROW LEVEL SECURITY
ALTER TABLE t DISABLE ROW LEVEL SECURITY
ALTER TABLE t FORCE ROW LEVEL SECURITY
CREATE POLICY p ON t USING (id % 2 = 0)
CREATE POLICY p ON t USING (a < f())
DROP POLICY p ON t
CREATE TABLE IF NOT EXISTS t (b int, a int, id serial PRIMARY KEY)
DROP TABLE IF EXISTS public.t
CREATE TEMP TABLE t (id serial, a int, b int)
DROP TABLE IF EXISTS pg_temp.t
ALTER TABLE one.t OWNER TO some_user
CREATE INDEX IF NOT EXISTS t_f ON t (a)
DROP INDEX IF EXISTS t_f
ALTER ROLE some_user SET search_path = two
DO $$ BEGIN SET LOCAL search_path = two;ALTER TABLE t ALTER a SET DEFAULT $n;END $$

-- unlocked
ALTER SCHEMA one RENAME TO three;ALTER SCHEMA two RENAME TO one;ALTER SCHEMA three RENAME TO two

-- writes
SET search_path = one, public
SET search_path = two, public
SET search_path = two, one
SET LOCAL search_path = one
SET search_path = public, one, pg_catalog
RESET search_path
SET search_path = two, pg_catalog
SELECT set_config('search_path', 'one,two', false)
SET ROLE some_user
SET ROLE some_owner
RESET ROLE
SET LOCAL ROLE some_user
DISCARD ALL
SET row_security = off
RESET row_security
INSERT INTO t (a, b) VALUES ($n, abs(-$m))
INSERT INTO t (b) VALUES ($m + 1)
INSERT INTO t (b) VALUES (f())
INSERT INTO t (a, b) SELECT f(), id FROM stays
INSERT INTO t DEFAULT VALUES
INSERT INTO one.t (b) VALUES (two.f())
INSERT INTO two.t (b) VALUES (one.f())
UPDATE t SET b = b + 1 WHERE id = $n
UPDATE t SET b = abs(b) + f() WHERE id = $n
UPDATE t SET a = $n WHERE id < $m
DELETE FROM t WHERE id = $n
DELETE FROM t WHERE a + 1 > $n AND id < 5
INSERT INTO v (a, b) VALUES ($n, 3)
UPDATE v SET a = $n WHERE id = $m
UPDATE one.v SET b = $n WHERE a < $m
DELETE FROM v WHERE id = $n
COPY t (a, b) FROM STDIN|$n\t$m\n
COPY t (b) FROM STDIN|$n\n$m\n
PREPARE q_$c AS INSERT INTO t (b) VALUES (f() + $n)
PREPARE q_$c AS UPDATE t SET b = abs(b) + 1 WHERE id = $n
PREPARE q_$c AS INSERT INTO t (a, b) VALUES ($n, 1) RETURNING *
PREPARE q_$c AS DELETE FROM t WHERE id = $n
EXECUTE q_$c
EXECUTE q_$c
EXECUTE q_$c
EXECUTE q_$c
DEALLOCATE q_$c
INSERT INTO t (id, a) VALUES ($n, 5) ON CONFLICT (id) DO UPDATE SET a = abs(t.a) + 1
TRUNCATE t
SELECT f(), abs(-1), count(*) FROM t
DO $$ BEGIN INSERT INTO t (b) VALUES (f());UPDATE t SET b = 1 + 2 WHERE id < 3;END $$
