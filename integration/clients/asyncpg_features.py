# asyncpg, as programs use it: the binary protocol with named statements throughout.
import asyncio, asyncpg, datetime, decimal, io, ipaddress, json, sys, uuid

SCHEMA = {"search_path": "asyncpg_client"}


async def main():
    c = await asyncpg.connect(sys.argv[1], server_settings=SCHEMA)
    await c.execute("CREATE SCHEMA asyncpg_client")

    async def ex(sql, *a):
        try:
            print(await c.execute(sql, *a))
        except Exception as e:
            print(type(e).__name__, getattr(e, "sqlstate", None), e)

    async def f(sql, *a):
        try:
            print([tuple(r) for r in await c.fetch(sql, *a)])
        except Exception as e:
            print(type(e).__name__, getattr(e, "sqlstate", None), e)

    await ex("CREATE TYPE mood AS ENUM ('sad','ok'); CREATE TYPE comp AS (a int, b text); CREATE DOMAIN pos AS int CHECK (VALUE > 0)")
    await ex(
        "CREATE TABLE t(id serial PRIMARY KEY, a int, b text, c timestamptz, d date, e numeric, f jsonb, g uuid, h inet, i int4range, j mood, k comp, l pos, m text[], n bytea, o interval, p bool, q float8, r point, s bit varying, u time, v timetz, w money)"
    )
    args = (
        1,
        "x",
        datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
        datetime.date(2024, 1, 2),
        decimal.Decimal("1.50"),
        json.dumps({"a": 1}),
        uuid.UUID(int=5),
        ipaddress.ip_address("1.2.3.4"),
        asyncpg.Range(1, 5),
        "ok",
        (1, "z"),
        3,
        ["a", None],
        b"\0\1",
        datetime.timedelta(days=3, seconds=1),
        True,
        1.1,
        asyncpg.Point(1, 2),
        asyncpg.BitString("101"),
        datetime.time(1, 2, 3),
        datetime.time(1, 2, 3, tzinfo=datetime.timezone.utc),
    )
    await f(
        "INSERT INTO t(a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,u,v) VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21) RETURNING *",
        *args,
    )
    await c.executemany("INSERT INTO t(a,b,m) VALUES($1,$2,$3)", [(i, str(i), [str(i)] * 2) for i in range(50)])
    await f("SELECT count(*), sum(a) FROM t")
    try:
        await c.executemany("INSERT INTO t(id,a) VALUES($1,$2)", [(1000, 1), (1000, 2)])
    except Exception as e:
        print(type(e).__name__, e)
    await f("SELECT count(*) FROM t")
    print(
        await c.copy_records_to_table(
            "t",
            records=[(i, f"c{i}", datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)) for i in range(100)],
            columns=["a", "b", "c"],
        )
    )
    print(
        await c.copy_records_to_table(
            "t", records=[(5000 + i, i, "ok", asyncpg.Range(i, i + 3)) for i in range(10)], columns=["id", "a", "j", "i"]
        )
    )
    print(await c.copy_to_table("t", source=io.BytesIO(b"7,q\n8,r\n"), columns=["a", "b"], format="csv"))
    out = io.BytesIO()
    print(await c.copy_from_query("SELECT id,a,b FROM t WHERE id<$1 ORDER BY 1", 5, output=out))
    print(out.getvalue())
    async with c.transaction():
        await ex("UPDATE t SET a=a+1 WHERE id=$1", 3)
        try:
            async with c.transaction():
                await c.execute("UPDATE t SET a=a+100")
                raise KeyError
        except KeyError:
            pass
        async for r in c.cursor("SELECT id FROM t ORDER BY id LIMIT 4"):
            print(r)
        cur = await c.cursor("SELECT id FROM t ORDER BY id")
        print(await cur.fetch(3))
        await cur.forward(2)
        print(await cur.fetchrow())
        ps = await c.prepare("DELETE FROM t WHERE a = ANY($1::int[]) RETURNING id")
        print(await ps.fetch([40, 41, 42]))
        print(ps.get_parameters(), [x.name for x in ps.get_attributes()])
    await f(
        "INSERT INTO t(id,a) SELECT * FROM unnest($1::int[],$2::int[]) ON CONFLICT(id) DO UPDATE SET a=excluded.a RETURNING id,a,(xmax=0)",
        [1, 2, 9000],
        [5, 6, 7],
    )
    await ex("UPDATE t SET b=v.b FROM (SELECT * FROM unnest($1::int[],$2::text[]) AS v(id,b)) v WHERE v.id=t.id", [1, 2], ["n1", "n2"])
    await ex("WITH x AS (SELECT id FROM t ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED) UPDATE t SET p=false FROM x WHERE x.id=t.id")
    await ex("INSERT INTO t(a,c,d,g) VALUES($1, now(), current_date, gen_random_uuid())", 77)
    await ex("INSERT INTO t(a,c) VALUES($1, $2::text::timestamptz)", 77, "2024-05-05")
    await ex("UPDATE t SET f = jsonb_set(coalesce(f,'{}'), '{k}', to_jsonb($2::text)) WHERE id=$1", 1, "v")
    for iso in ["serializable", "repeatable_read", "read_committed"]:
        async with c.transaction(isolation=iso):
            await ex("UPDATE t SET a=0 WHERE a>$1 AND a<$2", 10, 14)
    async with c.transaction(readonly=True):
        await ex("UPDATE t SET a=0")
    await c.execute("CREATE TABLE coded (j jsonb)")
    await c.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    await f("UPDATE t SET f=$1 WHERE id=2 RETURNING f", {"é": [1]})
    await ex("ALTER TABLE t ADD COLUMN z int DEFAULT 5")
    await f("SELECT * FROM t WHERE id=2")
    await c.reset()
    await c.reload_schema_state()
    l = []
    await c.add_listener("ch", lambda *a: l.append(a[2:]))
    await c.execute("NOTIFY ch, 'hi'")
    while not l:
        await asyncio.sleep(0.01)
    print(l)
    try:
        await c.execute("SELECT pg_sleep(5)", timeout=0.2)
    except Exception as e:
        print(type(e).__name__)
    await f("SELECT 1")
    p = await asyncpg.create_pool(sys.argv[1], server_settings=SCHEMA, min_size=4, max_size=8)
    await p.execute("CREATE TABLE cnt(id int primary key, n int)")
    await p.execute("INSERT INTO cnt SELECT g, 0 FROM generate_series(1,5) g")

    async def w(k):
        for i in range(20):
            async with p.acquire() as cc:
                async with cc.transaction():
                    for j in sorted({(k + i) % 5 + 1, (k * i) % 5 + 1}):
                        await cc.execute("UPDATE cnt SET n=n+1 WHERE id=$1", j)

    await asyncio.gather(*[w(k) for k in range(8)])
    print(await p.fetch("SELECT sum(n) FROM cnt"))
    await p.close()
    await ex("TRUNCATE cnt RESTART IDENTITY CASCADE")
    await f("SELECT id,a,b,z FROM t ORDER BY id")
    await c.close()


asyncio.run(main())
