\set id random(1, 10)
SELECT tbalance AS before FROM pgbench_tellers WHERE tid = :id \gset
\if :before < 0
UPDATE pgbench_tellers SET tbalance = 0 WHERE tid = :id;
\else
UPDATE pgbench_tellers SET tbalance = tbalance - :before - 1 WHERE tid = :id RETURNING tbalance \gset
INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (:id, 1, 1, :tbalance);
\endif
