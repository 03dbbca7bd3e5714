"""Cursors, COPY, LISTEN and advisory locks in SQLAlchemy: python sqlalchemy_habits.py DSN
prints a transcript."""

import sys

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

HELD = text("SELECT mode, classid, objid, objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1, 2, 3, 4")
table = Table("sah", MetaData(), Column("id", Integer, primary_key=True), Column("name", String, unique=True), Column("n", Integer))


def cursors(engine):
    table.create(engine)
    with engine.begin() as c:
        c.execute(table.insert(), [{"name": f"h{i}", "n": i} for i in range(400)])
    with engine.connect().execution_options(stream_results=True, max_row_buffer=64) as c:
        rows = c.execute(select(table.c.id, table.c.n).order_by(table.c.id))
        print(rows.fetchone(), len(rows.fetchmany(70)), sum(r.n for r in rows))
        c.commit()
        rows = c.execute(select(table.c.id).order_by(table.c.id))
        print(rows.fetchone())
        rows.close()
        # A stream beside writes of its own transaction.
        stream = c.execute(select(table.c.id).where(table.c.n < 100).order_by(table.c.id))
        for part in stream.partitions(40):
            c.execute(table.update().where(table.c.id == part[0].id).values(n=-1), execution_options={"stream_results": False})
        c.commit()
    with Session(engine) as s:
        print([n for n in s.scalars(select(table.c.n).where(table.c.n < 3).order_by(table.c.n, table.c.id).execution_options(yield_per=2))])
    with engine.begin() as c:
        c.exec_driver_sql("DECLARE held CURSOR WITH HOLD FOR SELECT name FROM sah ORDER BY id")
    with engine.connect() as c:
        try:
            print(c.exec_driver_sql("FETCH 2 FROM held").fetchall())
        except DBAPIError as e:  # the pool has given another connection
            print(e.orig.sqlstate)


def copy(engine):
    raw = engine.raw_connection()
    with raw.cursor() as cursor:
        with cursor.copy("COPY sah (name, n) FROM STDIN") as rows:
            for i in range(50):
                rows.write_row((f"copied {i}", i))
        print(cursor.rowcount)
        with cursor.copy("COPY (SELECT name, n FROM sah WHERE name LIKE 'copied 4%' ORDER BY 1) TO STDOUT") as rows:
            print([row for row in rows.rows()])
    raw.commit()
    raw.close()


def notifications(engine):
    raw = engine.raw_connection()
    raw.driver_connection.autocommit = True
    raw.driver_connection.execute("LISTEN sah")
    with engine.begin() as c:
        c.execute(text("SELECT pg_notify('sah', :payload)"), {"payload": "hello"})
        c.execute(table.insert().values(name="told"))
    for notice in raw.driver_connection.notifies(timeout=10, stop_after=1):
        print(notice.channel, notice.payload)
    raw.driver_connection.execute("UNLISTEN *")
    raw.driver_connection.autocommit = False
    raw.close()


def locks(engine):
    with engine.connect() as one, engine.connect() as two:
        print(one.scalar(select(func.pg_try_advisory_lock(1))), two.scalar(select(func.pg_try_advisory_lock(1))))
        one.execute(select(func.pg_advisory_xact_lock(2)))
        one.execute(table.insert().values(name="locked"))
        print(one.execute(HELD).all(), two.scalar(select(func.pg_try_advisory_xact_lock(2))))
        one.commit()
        print(one.execute(HELD).all(), two.scalar(select(func.pg_try_advisory_xact_lock(2))), two.execute(HELD).all())
        two.rollback()
        print(one.scalar(select(func.pg_advisory_unlock(1))), two.scalar(select(func.pg_try_advisory_lock(1))), two.execute(HELD).all())
        two.execute(select(func.pg_advisory_unlock_all()))
    with Session(engine) as s, s.begin():
        s.execute(select(func.pg_advisory_xact_lock(func.hashtext("sah"))))
        s.execute(table.update().where(table.c.name == "locked").values(n=7))
    with engine.connect() as c:
        print(c.execute(select(func.count(), func.sum(table.c.n)).select_from(table)).all(), c.execute(HELD).all())


dsn = sys.argv[1].replace("postgres://", "postgresql+psycopg://", 1).replace("postgresql://", "postgresql+psycopg://", 1)
engine = create_engine(dsn, pool_size=2)
for part in (cursors, copy, notifications, locks):
    print("==", part.__name__)
    part(engine)
engine.dispose()
