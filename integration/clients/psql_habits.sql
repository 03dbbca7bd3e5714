-- Cursors, COPY, LISTEN and advisory locks in psql. Run directly and through the agent;
-- every line that psql prints must be the same.
\set ON_ERROR_STOP off
CREATE TABLE habit (id serial PRIMARY KEY, name text UNIQUE, n int, at timestamptz DEFAULT now());
INSERT INTO habit (name, n) SELECT 'h' || i, i FROM generate_series(1, 20) i;

\echo == cursors
BEGIN;
DECLARE plain CURSOR FOR SELECT id, name FROM habit ORDER BY id;
DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id, n FROM habit WHERE n <= 5 ORDER BY id;
DECLARE bits BINARY CURSOR FOR SELECT 1;
SELECT name, is_holdable, is_scrollable, is_binary FROM pg_cursors ORDER BY name;
FETCH 2 FROM plain;
MOVE FORWARD 3 IN plain;
FETCH FORWARD 1 FROM plain;
FETCH BACKWARD 1 FROM plain;
\echo :SQLSTATE
ROLLBACK;
BEGIN;
DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id, n FROM habit WHERE n <= 5 ORDER BY id;
DECLARE walk CURSOR FOR SELECT id, n FROM habit ORDER BY id FOR UPDATE;
UPDATE habit SET n = n + 100 WHERE id = 2;
FETCH 1 FROM walk;
UPDATE habit SET n = 1000 WHERE CURRENT OF walk;
FETCH 2 FROM walk;
DELETE FROM habit WHERE CURRENT OF walk;
SAVEPOINT a;
DECLARE gone CURSOR FOR SELECT 1;
ROLLBACK TO a;
FETCH ALL FROM gone;
\echo :SQLSTATE
ROLLBACK TO a;
COMMIT;
FETCH ALL FROM held;
INSERT INTO habit (name, n) VALUES ('while held', 0);
FETCH FIRST FROM held;
FETCH LAST FROM held;
FETCH ABSOLUTE 3 FROM held;
FETCH RELATIVE -1 FROM held;
FETCH 1 FROM walk;
\echo :SQLSTATE
DECLARE outside CURSOR FOR SELECT 1;
\echo :SQLSTATE
DECLARE standing CURSOR WITH HOLD FOR SELECT count(*) FROM habit;
FETCH 1 FROM standing;
CLOSE held;
CLOSE ALL;
FETCH 1 FROM standing;
\set FETCH_COUNT 7
SELECT id, name FROM habit ORDER BY id;
BEGIN;
UPDATE habit SET n = n + 1 WHERE id > 15 RETURNING id, n;
SELECT count(*) FROM habit;
COMMIT;
\unset FETCH_COUNT

\echo == copy
\copy (SELECT id, name, n FROM habit WHERE id <= 4 ORDER BY id) TO STDOUT
\copy (SELECT id, name, n FROM habit WHERE id <= 4 ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER, QUOTE '|', FORCE_QUOTE (name))
COPY habit (name, n) TO STDOUT;
\copy habit (name, n) FROM PROGRAM 'printf "p1\t1\\np2\t\\\\N\\n"'
COPY habit (name, n) FROM STDIN WITH (FORMAT csv, NULL 'nil', DELIMITER ';');
c1;1
"c;2";nil
\.
BEGIN;
COPY habit (name, n) FROM STDIN;
t1	1
\.
SAVEPOINT a;
COPY habit (name, n) FROM STDIN;
t1	1
\.
\echo :SQLSTATE
ROLLBACK TO a;
COPY habit (name, n) FROM STDIN;
t2	2
\.
COMMIT;
SELECT name, n FROM habit WHERE name ~ '^(p|c|t)' ORDER BY name;

\echo == listen
LISTEN habits;
LISTEN "Other One";
SELECT pg_listening_channels() ORDER BY 1;
NOTIFY habits;
NOTIFY habits, 'one';
BEGIN;
NOTIFY habits, 'two';
NOTIFY habits, 'two';
SELECT pg_notify('Other One', 'x' || n) FROM habit WHERE id = 3;
INSERT INTO habit (name) VALUES ('told');
SELECT 'not yet';
COMMIT;
BEGIN;
NOTIFY habits, 'never';
ROLLBACK;
BEGIN;
NOTIFY habits, 'kept';
SAVEPOINT a;
NOTIFY habits, 'undone';
ROLLBACK TO a;
COMMIT;
SELECT pg_notify('', 'x');
\echo :SQLSTATE
UNLISTEN habits;
NOTIFY habits, 'nobody hears';
BEGIN;
LISTEN late;
NOTIFY late, 'in one transaction';
COMMIT;
UNLISTEN *;
SELECT count(*) FROM pg_listening_channels();

\echo == advisory locks
PREPARE mine AS SELECT mode, classid, objid, objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1, 2, 3, 4;
SELECT pg_advisory_lock(1), pg_advisory_lock(1), pg_advisory_lock_shared(2, 3), pg_try_advisory_lock(4);
EXECUTE mine;
SELECT pg_advisory_unlock(1), pg_advisory_unlock(1), pg_advisory_unlock(1);
BEGIN;
SELECT pg_advisory_xact_lock(5), pg_advisory_xact_lock_shared(6), pg_try_advisory_xact_lock(7, 8), pg_advisory_lock(9);
INSERT INTO habit (name, n) VALUES ('under a lock', 1);
EXECUTE mine;
SAVEPOINT a;
SELECT pg_advisory_xact_lock(10), pg_advisory_lock(11);
ROLLBACK TO a;
EXECUTE mine;
COMMIT;
EXECUTE mine;
BEGIN;
SELECT pg_advisory_xact_lock(12), pg_advisory_lock(13);
UPDATE habit SET n = 2 WHERE name = 'under a lock';
ROLLBACK;
EXECUTE mine;
SELECT pg_advisory_xact_lock(14);
SELECT pg_advisory_unlock(4), pg_advisory_unlock_shared(2, 3);
EXECUTE mine;
SELECT pg_advisory_unlock_all();
EXECUTE mine;
SELECT pg_advisory_lock(15);
DISCARD ALL;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
-- A COPY that fails may draw other numbers.
SELECT name, n FROM habit ORDER BY name;
