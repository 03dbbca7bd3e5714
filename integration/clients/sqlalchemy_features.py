"""What programs do with SQLAlchemy: python sqlalchemy_features.py DSN prints a transcript."""

import sys
from decimal import Decimal

from sqlalchemy import Column, DateTime, ForeignKey, Integer, MetaData, Numeric, String, Table, create_engine, event, func, inspect, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, UUID, insert
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "sa_account"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    version: Mapped[int] = mapped_column(Integer, nullable=False)
    data = mapped_column(JSONB, default=dict)
    key = mapped_column(UUID, server_default=text("gen_random_uuid()"))
    made = mapped_column(DateTime(timezone=True), server_default=func.now())
    entries: Mapped[list["Entry"]] = relationship(back_populates="account", cascade="all, delete-orphan", order_by="Entry.id")
    __mapper_args__ = {"version_id_col": version}


class Entry(Base):
    __tablename__ = "sa_entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("sa_account.id"))
    amount = mapped_column(Numeric(12, 2))
    account: Mapped[Account] = relationship(back_populates="entries")


def orm(engine):
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    print(sorted(c["name"] for c in inspect(engine).get_columns("sa_account")), inspect(engine).get_unique_constraints("sa_account"))
    with Session(engine) as s:
        s.add_all([Account(name=f"räksmörgås {i}", data={"i": i}, entries=[Entry(amount=Decimal(i)), Entry(amount=Decimal("0.50"))]) for i in range(30)])
        s.commit()
        first = s.scalars(select(Account).order_by(Account.id)).first()
        print(first.id, first.name, first.version, first.key is not None, first.made is not None, len(first.entries))
        first.data = {"changed": True}
        first.entries.pop()
        first.entries.append(Entry(amount=99))
        s.flush()
        print(first.version)
        with s.begin_nested():
            s.add(Account(name="nested"))
        try:
            with s.begin_nested():
                s.add(Account(name="nested"))
        except IntegrityError as e:
            print(type(e.orig).__name__, e.orig.sqlstate, e.orig.diag.constraint_name)
        s.commit()
        s.delete(s.get(Account, 3))
        s.rollback()
        s.delete(s.get(Account, 3))
        s.commit()
        print(s.execute(update(Account).where(Account.id.between(10, 12)).values(name=Account.name + "!").returning(Account.name)).all())
        print(s.execute(select(Account).where(Account.id == 10).with_for_update(skip_locked=True)).scalar_one().name)
        s.commit()
    with Session(engine) as one, Session(engine) as two:
        a, b = one.get(Account, 5), two.get(Account, 5)
        a.name = "a"
        one.commit()
        b.name = "b"
        try:
            two.commit()
        except Exception as e:
            print(type(e).__name__)


def core(engine):
    table = Table("sa_core", MetaData(), Column("id", Integer, primary_key=True), Column("v", String, unique=True), Column("n", Integer))
    table.create(engine)
    with engine.begin() as c:
        print(c.execute(table.insert(), [{"v": f"v{i}", "n": i} for i in range(500)]).rowcount)
        print(c.execute(table.insert().returning(table.c.id, sort_by_parameter_order=True), [{"v": f"r{i}"} for i in range(20)]).all())
        stmt = insert(table).values([{"v": "v1", "n": 5}, {"v": "new", "n": 6}])
        print(c.execute(stmt.on_conflict_do_update(index_elements=["v"], set_={"n": stmt.excluded.n}).returning(table.c.v, table.c.n)).all())
        print(c.execute(insert(table).values(v="v1").on_conflict_do_nothing()).rowcount)
        print(c.execute(table.update().where(table.c.n > 490).values(n=table.c.n + 1)).rowcount, c.execute(table.delete().where(table.c.n < 5)).rowcount)
    with engine.connect() as c:
        with c.begin():
            sp = c.begin_nested()
            c.execute(text("INSERT INTO sa_core (v) VALUES ('gone')"))
            sp.rollback()
        try:
            c.execute(text("INSERT INTO sa_core (v) VALUES (:v)"), {"v": "v9"})
        except DBAPIError as e:
            print(e.orig.sqlstate, c.in_transaction())
            c.rollback()
        with c.begin():
            rows = c.execution_options(stream_results=True, yield_per=50).execute(select(table.c.v).order_by(table.c.id))
            print(sum(len(p) for p in rows.partitions()))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        print(c.execute(text("UPDATE sa_core SET n = 0 WHERE v = 'v7'")).rowcount)
    with engine.connect().execution_options(isolation_level="SERIALIZABLE") as c, c.begin():
        c.execute(text("UPDATE sa_core SET n = n + 1 WHERE v = 'v8'"))
        print(c.execute(text("SHOW transaction_isolation")).scalar())
    table_two = Table("sa_gone", MetaData(), Column("id", Integer, primary_key=True))
    table_two.create(engine)
    table_two.drop(engine)


dsn = sys.argv[1].replace("postgres://", "postgresql+psycopg://", 1).replace("postgresql://", "postgresql+psycopg://", 1)
engine = create_engine(dsn, pool_size=2)
orm(engine)
core(engine)
engine.dispose()
