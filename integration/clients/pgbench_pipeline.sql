\set id random(1, 10)
\startpipeline
BEGIN;
UPDATE pgbench_branches SET bbalance = bbalance + :id WHERE bid = 1;
UPDATE pgbench_tellers SET tbalance = tbalance + :id WHERE tid = :id;
END;
UPDATE pgbench_tellers SET tbalance = tbalance - 1 WHERE tid = :id;
SELECT tbalance FROM pgbench_tellers WHERE tid = :id;
\endpipeline
