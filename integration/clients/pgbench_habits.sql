\set id random(1, 10)
SELECT pg_advisory_lock(:id);
BEGIN;
SELECT pg_advisory_xact_lock(0, :id);
DECLARE c CURSOR FOR SELECT tid, tbalance FROM pgbench_tellers ORDER BY tid;
MOVE 5 IN c;
FETCH 1 FROM c \gset
NOTIFY pgbench, 'told';
UPDATE pgbench_tellers SET tbalance = tbalance + :id WHERE tid = :id;
INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (:id, 1, 1, :id);
END;
SELECT pg_advisory_unlock(:id);
