"""Cursors, COPY, LISTEN and advisory locks in psycopg 3: python psycopg_habits.py DSN
prints a transcript."""

import sys

import psycopg

HELD = "SELECT mode, classid, objid, objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1, 2, 3, 4"


def say(*values):
    print(*values)


def failing(body):
    try:
        say("no error", body())
    except psycopg.Error as error:
        say(type(error).__name__, error.sqlstate, error.diag.message_primary)


def tables(dsn):
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE pyh (id serial PRIMARY KEY, name text UNIQUE, n int, at timestamptz DEFAULT now())")
        connection.execute("INSERT INTO pyh (name, n) SELECT 'h' || i, i FROM generate_series(1, 500) i")


def cursors(dsn):
    with psycopg.connect(dsn) as connection:
        with connection.cursor(name="forward") as cursor:
            cursor.itersize = 70
            cursor.execute("SELECT id, name FROM pyh WHERE id <= %s ORDER BY id", (300,))
            say([c.name for c in cursor.description], sum(row[0] for row in cursor))
        with connection.cursor(name="both ways", scrollable=True) as cursor:
            cursor.execute("SELECT id FROM pyh ORDER BY id")
            say(cursor.fetchmany(2), cursor.scroll(100), cursor.fetchone(), cursor.scroll(5, mode="absolute"), cursor.fetchone(), cursor.scroll(-3), cursor.fetchall()[:2])
        with connection.cursor(name="narrow", scrollable=False, binary=True) as cursor:
            cursor.execute("SELECT n, name FROM pyh WHERE id = 7")
            say(cursor.fetchall())
            failing(lambda: cursor.scroll(-1))
        connection.rollback()
        # A cursor beside writes of its own transaction, and of the rows under it.
        with connection.cursor(name="beside") as cursor:
            cursor.execute("SELECT id, n FROM pyh WHERE id <= 20 ORDER BY id FOR UPDATE")
            for id, n in cursor.fetchmany(5):
                connection.execute("UPDATE pyh SET n = %s WHERE id = %s", (n * 10, id))
            connection.execute("INSERT INTO pyh (name) VALUES ('beside')")
            say(len(cursor.fetchall()))
        connection.commit()
        held = connection.cursor(name="held", withhold=True)
        held.execute("SELECT id, n FROM pyh ORDER BY id")
        say(held.fetchmany(2))
        connection.execute("UPDATE pyh SET n = 0 WHERE id = 3")
        connection.commit()
        say(held.fetchmany(2))
        connection.execute("DELETE FROM pyh WHERE id = 5")
        connection.rollback()
        say(held.fetchone())
        held.close()
        connection.commit()
        gone = connection.cursor(name="gone")
        gone.execute("SELECT 1")
        connection.commit()
        failing(gone.fetchone)
        connection.rollback()
        failing(lambda: connection.cursor(name="writes").execute("INSERT INTO pyh (name) VALUES ('x') RETURNING id").fetchone())
        connection.rollback()
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.cursor(name="held", withhold=True) as cursor:
            cursor.execute("SELECT count(*) FROM pyh")
            say(cursor.fetchone())
        failing(lambda: connection.cursor(name="outside").execute("SELECT 1"))
        # The same by hand.
        with connection.transaction():
            connection.execute("DECLARE mine CURSOR FOR SELECT id FROM pyh ORDER BY id")
            say(connection.execute("FETCH 3 FROM mine").fetchall())
        client = psycopg.ClientCursor(connection)
        say(client.execute("UPDATE pyh SET n = %s WHERE name = %s RETURNING n", (8, "h8")).fetchone())


def copy(dsn):
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        with cursor.copy("COPY pyh (name, n) FROM STDIN (FORMAT csv)") as rows:
            rows.write("csv 1,1\n\"csv, 2\",")
            rows.write(b"2\ncsv 3,\n")
        say(cursor.rowcount, cursor.statusmessage)
        first = 100_000
        with cursor.copy("COPY pyh (id, name, n) FROM STDIN (FORMAT binary)") as rows:
            rows.set_types(["int4", "text", "int4"])
            for i in range(100):
                rows.write_row((first + i, f"binary {i}", i if i % 7 else None))
        say(cursor.rowcount, cursor.statusmessage)
        connection.commit()

        def abandoned():
            with cursor.copy("COPY pyh (name) FROM STDIN") as rows:
                rows.write_row(("abandoned",))
                raise psycopg.DataError("the client gives up")

        def wrong(line):
            def body():
                with cursor.copy("COPY pyh (name, n) FROM STDIN") as rows:
                    rows.write(line)
            return body

        for body in (abandoned, wrong("x\tnot a number\n"), wrong("csv 1\t1\n"), wrong("too few\n")):
            failing(body)
            connection.rollback()
        with cursor.copy("COPY (SELECT name, n FROM pyh WHERE name LIKE 'csv%' ORDER BY 1) TO STDOUT (FORMAT csv, HEADER)") as rows:
            say(b"".join(bytes(part) for part in rows))
        with cursor.copy("COPY (SELECT name, n FROM pyh WHERE name LIKE 'binary 1%' ORDER BY 1) TO STDOUT (FORMAT binary)") as rows:
            rows.set_types(["text", "int4"])
            say(list(rows.rows()))
        # From one connection into another.
        with psycopg.connect(dsn) as other:
            connection.execute("CREATE TABLE pyh_two (id int PRIMARY KEY, name text)")
            connection.commit()
            with cursor.copy("COPY (SELECT id, name FROM pyh WHERE id <= 50) TO STDOUT (FORMAT binary)") as source:
                with other.cursor().copy("COPY pyh_two FROM STDIN (FORMAT binary)") as target:
                    for part in source:
                        target.write(part)
        say(connection.execute("SELECT count(*), sum(id) FROM pyh_two").fetchone())


def notifications(dsn):
    with psycopg.connect(dsn, autocommit=True) as hears, psycopg.connect(dsn) as tells:
        hears.execute("LISTEN pyh")
        tells.execute("NOTIFY pyh, 'with a write'")
        tells.execute("INSERT INTO pyh (name) VALUES ('told')")
        tells.execute("SELECT pg_notify('pyh', 'of a function')")
        tells.commit()
        tells.execute("NOTIFY pyh, 'never'")
        tells.rollback()
        for notice in hears.notifies(timeout=10, stop_after=2):
            say(notice.channel, notice.payload, notice.pid == tells.info.backend_pid)
        heard = []
        hears.add_notify_handler(lambda notice: heard.append(notice.payload))
        tells.execute("NOTIFY pyh, 'to the handler'")
        tells.commit()
        while not heard:
            hears.execute("SELECT 1")
        say(heard)
        hears.execute("UNLISTEN *")


def locks(dsn):
    with psycopg.connect(dsn) as one, psycopg.connect(dsn, autocommit=True) as two:
        one.execute("SELECT pg_advisory_lock(1), pg_advisory_lock_shared(2, 3)")
        one.execute("SELECT pg_advisory_xact_lock(%s)", (4,))
        one.execute("INSERT INTO pyh (name) VALUES ('locked')")
        say(one.execute(HELD).fetchall())
        for key in (1, 4, 5):
            say(two.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone())
        one.commit()
        say(one.execute(HELD).fetchall())
        say(two.execute("SELECT pg_try_advisory_xact_lock(4), pg_try_advisory_lock_shared(2, 3)").fetchone(), two.execute(HELD).fetchall())
        one.execute("SELECT pg_advisory_xact_lock(6)")
        one.rollback()
        say(one.execute(HELD).fetchall())
        two.execute("SET lock_timeout = 200")
        failing(lambda: two.execute("SELECT pg_advisory_lock(1)"))
        with two.pipeline():
            say(two.execute("SELECT pg_advisory_unlock(5)").fetchone(), two.execute("SELECT pg_advisory_unlock(5)").fetchone())
        one.close()
        two.execute("RESET lock_timeout")
        say(two.execute("SELECT pg_advisory_lock(1)").fetchone(), two.execute(HELD).fetchall())


for part in (tables, cursors, copy, notifications, locks):
    say("==", part.__name__)
    part(sys.argv[1])
with psycopg.connect(sys.argv[1]) as last:
    # A COPY that fails may draw other numbers.
    say(last.execute("SELECT name, n FROM pyh ORDER BY name").fetchall())
