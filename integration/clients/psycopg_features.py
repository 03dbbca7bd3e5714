"""What programs do with psycopg 3: python psycopg_features.py DSN prints a transcript."""

import datetime
import decimal
import sys

import psycopg
from psycopg.types.json import Jsonb


def say(*values):
    print(*values)


def failing(connection, sql, *args):
    try:
        connection.execute(sql, *args)
    except psycopg.Error as error:
        say(type(error).__name__, error.sqlstate, error.diag.message_primary, error.diag.statement_position)


def basics(dsn):
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE py (id serial PRIMARY KEY, name text UNIQUE, n numeric, b bytea, j jsonb, a int[], d date)")
        row = connection.execute(
            "INSERT INTO py (name, n, b, j, a, d) VALUES (%s, %s, %s, %s, %s, %s) RETURNING *",
            ("första", decimal.Decimal("12.50"), b"\x00\xff", Jsonb({"k": [1, None]}), [1, 2], datetime.date(2024, 2, 29)),
        ).fetchone()
        say(row)
    with psycopg.connect(dsn) as connection:
        cursor = connection.execute("SELECT * FROM py")
        say([(c.name, c.type_code) for c in cursor.description], cursor.rowcount, cursor.statusmessage)
        say(cursor.fetchall())


def many(dsn):
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO py (name, n) VALUES (%s, %s)", [(f"many {i}", i) for i in range(50)])
        say(cursor.rowcount)
        cursor.executemany("INSERT INTO py (name) VALUES (%s) RETURNING id", [("r1",), ("r2",)], returning=True)
        say(cursor.fetchone())
        while cursor.nextset():
            say(cursor.fetchone())
        cursor.execute("UPDATE py SET n = n + 1 WHERE name LIKE 'many%'")
        say(cursor.rowcount, cursor.statusmessage)
        cursor.execute("SELECT name, n FROM py WHERE id = %s", (3,), binary=True)
        say(cursor.fetchall(), cursor.description[1].type_code)


def transactions(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.transaction():
            connection.execute("UPDATE py SET n = 1 WHERE id = 1")
            try:
                with connection.transaction():
                    connection.execute("UPDATE py SET n = 2 WHERE id = 1")
                    connection.execute("INSERT INTO py (name) VALUES ('r1')")
            except psycopg.errors.UniqueViolation as error:
                say("inner", error.diag.constraint_name)
            say(connection.info.transaction_status.name)
        say(connection.info.transaction_status.name)
        say(connection.execute("SELECT n FROM py WHERE id = 1").fetchone())
        failing(connection, "SELECT nothere")
        failing(connection, "INSERT INTO py (id, name) VALUES (1, 'x')")
        failing(connection, "SELECT %s / 0", (1,))
        connection.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        say(connection.execute("SHOW transaction_isolation").fetchone())


def prepared(dsn):
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=0) as connection:
        for i in range(8):
            connection.execute("UPDATE py SET n = %s WHERE id = %s", (i, 2))
        say(connection.execute("SELECT n FROM py WHERE id = %s", (2,)).fetchone())
        connection.execute("ALTER TABLE py ADD COLUMN later int")
        say(connection.execute("UPDATE py SET later = %s WHERE id = %s RETURNING later", (5, 2)).fetchone())
        connection.execute("DEALLOCATE ALL")


def pipeline(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.pipeline() as pipe:
            cursors = [connection.execute("INSERT INTO py (name) VALUES (%s) RETURNING name", (f"piped {i}",)) for i in range(5)]
            pipe.sync()
            say([c.fetchone() for c in cursors])
        try:
            with connection.pipeline() as pipe:
                connection.execute("INSERT INTO py (name) VALUES ('never')")
                connection.execute("SELECT 1 / 0")
                connection.execute("INSERT INTO py (name) VALUES ('aborted')")
                pipe.sync()
        except psycopg.Error as error:
            say(type(error).__name__, error.sqlstate)
        say(connection.execute("SELECT count(*) FROM py WHERE name IN ('never', 'aborted')").fetchone())


def copy(dsn):
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE py_copy (id serial, name text PRIMARY KEY, n numeric, at timestamptz DEFAULT now())")
        with cursor.copy("COPY py_copy (name, n) FROM STDIN") as out:
            for i in range(2000):
                out.write_row((f"copied {i}", i))
        say(cursor.rowcount, cursor.statusmessage)
        with cursor.copy("COPY (SELECT id, name, n FROM py_copy WHERE name LIKE 'copied 199%' ORDER BY n) TO STDOUT") as rows:
            say([row for row in rows.rows()])
        with cursor.copy("COPY (SELECT n::int4 FROM py_copy WHERE name = 'copied 7') TO STDOUT (FORMAT binary)") as rows:
            say(b"".join(bytes(part) for part in rows))


def server_cursor(dsn):
    with psycopg.connect(dsn) as connection:
        with connection.cursor(name="big") as cursor:
            cursor.execute("SELECT i FROM generate_series(1, 1000) i")
            say(cursor.fetchmany(3), len(cursor.fetchall()))


def notifications(dsn):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: say("notice", notice.message_primary))
        connection.execute("DROP TABLE IF EXISTS no_such_table")
        connection.execute("LISTEN py")
        connection.execute("NOTIFY py, 'hello'")
        connection.execute("SELECT pg_notify('py', 'again')")
        for notice in connection.notifies(timeout=5, stop_after=2):
            say(notice.channel, notice.payload, notice.pid == connection.info.backend_pid)


def cancel(dsn):
    with psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=100") as connection:
        failing(connection, "SELECT pg_sleep(10)")
    import threading

    with psycopg.connect(dsn, autocommit=True) as connection:
        timer = threading.Timer(0.3, connection.cancel)
        timer.start()
        failing(connection, "SELECT pg_sleep(20)")
        timer.join()
        say(connection.execute("SELECT 'alive'").fetchone(), connection.info.server_version, connection.info.encoding)


def main(dsn):
    for part in (basics, many, transactions, prepared, pipeline, copy, server_cursor, notifications, cancel):
        say("==", part.__name__)
        part(dsn)
    with psycopg.connect(dsn) as connection:
        say(connection.execute("SELECT count(*), sum(n) FROM py").fetchone())


main(sys.argv[1])
