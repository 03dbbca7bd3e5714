-- Errors keep position, detail, hint, context and the place where they arose.
SELECT nothing FROM town;
SELECT 1; SELECT 2 FROM nowhere; SELECT 3;
SELECT 1 \; SELECT 2 \; SELECT 3 FROM nowhere;
INSERT INTO town (name, people) VALUES ('town 1', 1);
INSERT INTO town (name, people) VALUES ('new', -1);
UPDATE town SET people = 1 / 0 WHERE id = 3;
UPDATE town SET peple = 1 WHERE id = 3;
selct 1;
SELECT 'unterminated;
';
BEGIN;
DELETE FROM nowhere WHERE id = 1;
SELECT 1;
ROLLBACK;
COMMIT;
INSERT INTO town (name) VALUES ('a'), ('b') RETURNING id, name;
INSERT INTO town (name) VALUES ('a') ON CONFLICT (name) DO UPDATE SET people = 7 RETURNING id, people;
DROP TABLE IF EXISTS nowhere;
