-- What people do with psql. Run directly and through the agent; every line that
-- psql prints must be the same.
\set ON_ERROR_STOP off
\echo == tables
DROP TABLE IF EXISTS item, line, parent, child;
CREATE TABLE item (
  id serial PRIMARY KEY,
  name text NOT NULL UNIQUE,
  price numeric(10,2) DEFAULT 0 CHECK (price >= 0),
  tags text[],
  data jsonb,
  made date DEFAULT '2024-01-01'
);
CREATE TABLE IF NOT EXISTS item (id int);
CREATE TABLE parent (id int PRIMARY KEY, v text);
CREATE TABLE child (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  parent_id int REFERENCES parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
CREATE VIEW cheap AS SELECT id, name FROM item WHERE price < 10;
CREATE INDEX ON item (made);
\d item

\echo == writes, with and without RETURNING
INSERT INTO item (name, price, tags) VALUES ('apple', 1.5, '{red,round}');
INSERT INTO item (name, price) VALUES ('pear', 2), ('plum', 3.25) RETURNING *;
INSERT INTO item (name, data) VALUES ('größe ☃', '{"a": [1, 2, null]}') RETURNING id, data->'a' AS a;
INSERT INTO item DEFAULT VALUES;
\echo :SQLSTATE
INSERT INTO item (name) SELECT 'bulk ' || i FROM generate_series(1, 5) i;
INSERT INTO item (name, price) VALUES ('apple', 9) ON CONFLICT (name) DO UPDATE SET price = excluded.price RETURNING name, price;
INSERT INTO item (name) VALUES ('apple') ON CONFLICT DO NOTHING;
UPDATE item SET price = price + 1 WHERE id = 1;
UPDATE item SET price = price * 2 WHERE name LIKE 'bulk%' RETURNING name, price;
UPDATE item SET price = 7 FROM parent WHERE parent.id = item.id;
UPDATE item SET price = -1 WHERE id = 1;
\echo :SQLSTATE
UPDATE item SET price = 1 WHERE id = 4711;
DELETE FROM item WHERE id = 2 RETURNING *;
DELETE FROM item WHERE name LIKE 'bulk%';
SELECT id, name, price, tags, data, made FROM item ORDER BY id;
SELECT * FROM cheap ORDER BY id;

\echo == errors
SELEC 1;
\echo :SQLSTATE
SELECT nothere FROM item;
\echo :SQLSTATE
INSERT INTO nothere VALUES (1);
\echo :SQLSTATE
INSERT INTO item (name) VALUES ('apple');
\echo :SQLSTATE
INSERT INTO item (name) VALUES ('x' || 1/0);
\echo :SQLSTATE
UPDATE item SET nothere = 1;
INSERT INTO item (name, price) VALUES ('too much', 1e20);
;

\echo == several statements in one message
SELECT 1 AS one\; SELECT 2 AS two;
INSERT INTO parent VALUES (1, 'a')\; INSERT INTO parent VALUES (2, 'b')\; SELECT count(*) FROM parent;
INSERT INTO parent VALUES (3, 'c')\; SELECT 1/0\; INSERT INTO parent VALUES (4, 'd');
SELECT count(*) FROM parent;
INSERT INTO parent VALUES (5, 'e')\; SELECT 1\; SELEC 2;
SELECT count(*) FROM parent;
BEGIN\; INSERT INTO parent VALUES (6, 'f')\; COMMIT;
BEGIN\; INSERT INTO parent VALUES (7, 'g')\; ROLLBACK\; INSERT INTO parent VALUES (8, 'h');
INSERT INTO parent VALUES (9, 'i')\; BEGIN\; INSERT INTO parent VALUES (10, 'j');
COMMIT;
SELECT * FROM parent ORDER BY id;

\echo == transactions
BEGIN;
INSERT INTO parent VALUES (20, 'kept');
SAVEPOINT a;
INSERT INTO parent VALUES (21, 'undone');
ROLLBACK TO a;
INSERT INTO parent VALUES (1, 'duplicate');
\echo :SQLSTATE
SELECT 1;
\echo :SQLSTATE
ROLLBACK TO SAVEPOINT a;
RELEASE a;
INSERT INTO parent VALUES (22, 'kept too');
COMMIT;
BEGIN;
BEGIN;
INSERT INTO parent VALUES (23, 'chain');
COMMIT AND CHAIN;
INSERT INTO parent VALUES (24, 'chained');
ROLLBACK AND CHAIN;
ROLLBACK;
COMMIT;
ROLLBACK;
BEGIN;
SELECT 1/0;
COMMIT;
START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY;
INSERT INTO parent VALUES (25, 'read only');
\echo :SQLSTATE
ROLLBACK;
RELEASE nothing;
SELECT * FROM parent WHERE id >= 20 ORDER BY id;

\echo == deferred constraints
INSERT INTO child (parent_id) VALUES (1);
INSERT INTO child (parent_id) VALUES (999);
\echo :SQLSTATE
BEGIN;
INSERT INTO child (parent_id) VALUES (999);
SELECT 'still fine';
COMMIT;
\echo :SQLSTATE
BEGIN;
INSERT INTO child (parent_id) VALUES (100);
INSERT INTO parent VALUES (100, 'just in time');
COMMIT;
DELETE FROM parent WHERE id = 1;
SELECT parent_id FROM child ORDER BY id;

\echo == cursors
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, v FROM parent ORDER BY id;
FETCH 2 FROM c;
MOVE 1 IN c;
FETCH BACKWARD 1 FROM c;
CLOSE c;
FETCH 1 FROM c;
ROLLBACK;
\set FETCH_COUNT 3
SELECT i FROM generate_series(1, 8) i;
\unset FETCH_COUNT

\echo == copy
CREATE TABLE line (id int PRIMARY KEY, t text, n numeric);
COPY line FROM STDIN;
1	one	1.5
2	\N	2
3	tab\tand\\backslash	-3
\.
COPY line (id, t) FROM STDIN WITH (FORMAT csv, HEADER);
id,t
4,"quoted, ""four"""
5,
\.
COPY line FROM STDIN;
6	six	not a number
\.
\echo :SQLSTATE
COPY line FROM STDIN;
1	duplicate	0
\.
\echo == copy without the serial column
CREATE TABLE drawn (id serial PRIMARY KEY, t text UNIQUE, n int, at timestamptz DEFAULT now());
COPY drawn (t, n) FROM STDIN;
one	1
\N	2
\.
\copy drawn (n, t) from program 'printf "3,three\\n4,\"f\"\"our\"\\n"' with (format csv)
COPY drawn (t, n) FROM STDIN;
five	5
six	x
\.
COPY drawn (t, n) FROM STDIN;
seven	7
one	8
\.
SELECT t, n, at IS NULL FROM drawn ORDER BY id;
SELECT count(DISTINCT id) FROM drawn;
\echo == ON_ERROR_ROLLBACK
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO drawn (t) VALUES ('nine');
INSERT INTO drawn (t) VALUES ('nine');
COPY drawn (t) FROM STDIN;
ten
nine
\.
INSERT INTO drawn (t) VALUES ('eleven');
COMMIT;
\set ON_ERROR_ROLLBACK off
SELECT t FROM drawn ORDER BY t;
COPY (SELECT * FROM line ORDER BY id) TO STDOUT;
COPY line TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE *);
BEGIN;
COPY line FROM STDIN;
7	seven	7
\.
ROLLBACK;
SELECT count(*) FROM line;

\echo == prepared statements
PREPARE put (int, text) AS INSERT INTO line (id, t) VALUES ($1, $2);
EXECUTE put (30, 'thirty');
EXECUTE put (30, 'again');
\echo :SQLSTATE
PREPARE get (int) AS SELECT t FROM line WHERE id = $1;
EXECUTE get (30);
PREPARE change AS UPDATE line SET n = $2 WHERE id = $1 RETURNING n;
EXECUTE change (30, 12);
EXECUTE change (31, 12);
DEALLOCATE put;
EXECUTE put (31, 'gone');
\echo :SQLSTATE
DEALLOCATE ALL;

\echo == commands of psql itself
SELECT id, t, n, 'x'::varchar(3) AS x FROM line \gdesc
SELECT 5 AS five, 'six' AS six \gset
\echo :five :six
SELECT 'SELECT ' || i FROM generate_series(1, 2) i \gexec
SELECT 'r' || r AS r, 'c' || c AS c, r * c AS v FROM generate_series(1, 2) r, generate_series(1, 2) c \crosstabview
\x on
SELECT id, t FROM line WHERE id = 1;
\x off

\echo == session
SHOW search_path;
SET search_path = pg_catalog, public;
SHOW search_path;
SET TimeZone = 'Asia/Tokyo';
SELECT timestamptz '2024-02-29 12:00:00+00';
INSERT INTO public.parent VALUES (40, (timestamptz '2024-02-29 12:00:00+00')::text);
RESET TimeZone;
SET DateStyle = 'German';
SELECT date '2024-02-29';
RESET ALL;
SET client_encoding = 'LATIN1';
SELECT octet_length(v), length(v) FROM (VALUES (chr(233))) AS one (v);
SELECT name = 'gr' || chr(246) || chr(223) || 'e ' || chr(9731) FROM item WHERE id = 4;
RESET client_encoding;
SET nothing.at.all = 1;
SET work_mem = 'much';
\echo :SQLSTATE
BEGIN;
SET LOCAL statement_timeout = 50;
SELECT pg_sleep(5);
\echo :SQLSTATE
ROLLBACK;
SHOW statement_timeout;
SET ROLE nobody_of_that_name;
\echo :SQLSTATE

\echo == sequences, temporary tables, locks, notifications
CREATE SEQUENCE s START 500 INCREMENT 2;
SELECT nextval('s'), nextval('s');
SELECT currval('s'), lastval();
INSERT INTO parent VALUES (nextval('s'), 'drawn') RETURNING id;
CREATE TEMP TABLE scratch AS SELECT i FROM generate_series(1, 3) i;
UPDATE scratch SET i = i * 10;
SELECT sum(i) FROM scratch;
DISCARD TEMP;
SELECT pg_try_advisory_lock(7), pg_advisory_unlock(7);
LISTEN news;
NOTIFY news, 'first';
BEGIN;
NOTIFY news, 'second';
INSERT INTO parent VALUES (50, 'notified');
COMMIT;
UNLISTEN news;

\echo == results
SELECT count(*), md5(string_agg(i::text, ',')) FROM generate_series(1, 100000) i;
SELECT repeat('long ', 20000) \g /dev/null
SELECT;
VALUES (1, 'a'), (2, NULL);
TABLE line;
EXPLAIN (COSTS OFF) SELECT * FROM line WHERE id = 1;
SELECT '2024-01-31'::date + i AS d FROM generate_series(0, 2) i;
SELECT ARRAY[1, 2], ROW(1, 'x'), '{"k": 1}'::jsonb, E'\\x00ff'::bytea, 1.0::float4, 'NaN'::float8, '1 day 02:00'::interval;

\echo == more definitions
ALTER TABLE line ADD COLUMN extra int DEFAULT 3;
ALTER TABLE line RENAME COLUMN extra TO more;
INSERT INTO line (id) VALUES (60) RETURNING *;
CREATE INDEX CONCURRENTLY line_t ON line (t);
VACUUM line;
ANALYZE line;
BEGIN;
ALTER TABLE line DROP COLUMN more;
VACUUM line;
\echo :SQLSTATE
ROLLBACK;
BEGIN;
CREATE TABLE made (id int PRIMARY KEY, v text);
INSERT INTO made VALUES (1, 'in the same transaction');
UPDATE made SET v = 'updated there' WHERE id = 1;
COMMIT;
TABLE made;
TRUNCATE made;
SELECT count(*) FROM made;
COMMENT ON TABLE made IS 'empty';
DROP TABLE made, line;
DROP TABLE made;
\echo :SQLSTATE
DROP VIEW cheap;
