"""What programs do behind a pooler in transaction mode, with psycopg and no prepared
statements: python pooled_features.py DSN prints a transcript."""

import sys

import psycopg


def connect(dsn, **options):
    connection = psycopg.connect(dsn, **options)
    connection.prepare_threshold = None
    return connection


def main(dsn):
    with connect(dsn) as c:
        c.execute("CREATE TABLE pooled (id serial PRIMARY KEY, name text UNIQUE, n int, at timestamptz DEFAULT now())")
    connections = [connect(dsn, autocommit=i % 2 == 0) for i in range(12)]
    for turn in range(3):
        for i, c in enumerate(connections):
            c.execute("INSERT INTO pooled (name, n) VALUES (%s, %s)", (f"{turn} {i}", i))
            if not c.autocommit:
                c.execute("UPDATE pooled SET n = n + 1 WHERE name = %s", (f"{turn} {i}",))
                c.rollback() if i == 3 else c.commit()
    for c in connections:
        try:
            with c.transaction():
                c.execute("SET LOCAL TimeZone = 'Asia/Tokyo'")
                c.execute("UPDATE pooled SET n = n + 10 WHERE n < 3")
                with c.transaction():
                    c.execute("INSERT INTO pooled (name) VALUES ('0 0')")
        except psycopg.Error as error:
            print(type(error).__name__, error.sqlstate)
    with connections[0].transaction(), connections[0].cursor() as cursor:
        with cursor.copy("COPY pooled (name, n) FROM STDIN") as copy:
            for i in range(100):
                copy.write_row((f"copied {i}", i))
        print(cursor.rowcount)
    print(connections[1].execute("SELECT id, name, n FROM pooled ORDER BY id").fetchall())
    for c in connections:
        c.close()


main(sys.argv[1])
