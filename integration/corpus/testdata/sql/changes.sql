-- Writes of all kinds, with the tags that psql prints without -q.
\set QUIET off
CREATE TABLE pair (a int, b int, PRIMARY KEY (a, b));
INSERT INTO pair SELECT n, n % 3 FROM generate_series(1, 20) n;
UPDATE town SET people = people + 10 WHERE id > 15;
DELETE FROM pair WHERE b = 1 AND a < 90;
COPY pair FROM stdin;
100	1
101	2
\.
COPY pair FROM stdin;
100	1
\.
COPY (SELECT * FROM pair ORDER BY a) TO stdout;
BEGIN;
SAVEPOINT s;
INSERT INTO pair VALUES (200, 1);
ROLLBACK TO s;
INSERT INTO pair VALUES (201, 1);
COMMIT;
PREPARE p (int) AS DELETE FROM pair WHERE a = $1 AND b = 1 RETURNING *;
EXECUTE p (201);
EXECUTE p (202);
DEALLOCATE p;
DECLARE c CURSOR FOR SELECT 1;
BEGIN;
DECLARE c CURSOR FOR SELECT a FROM pair ORDER BY a;
FETCH 2 FROM c;
MOVE 1 IN c;
CLOSE c;
END;
TRUNCATE pair;
ALTER TABLE town ADD COLUMN mayor text;
UPDATE town SET mayor = 'm' || id WHERE id < 5;
CREATE INDEX ON town (mayor);
CREATE VIEW big AS SELECT * FROM town WHERE people > 100;
COMMENT ON COLUMN town.mayor IS 'first of the town';
