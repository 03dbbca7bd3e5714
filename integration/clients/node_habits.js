// Cursors, COPY, LISTEN and advisory locks in node-postgres: node node_habits.js DSN
// prints a transcript. NODE_PATH names the modules.
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const copy = require('pg-copy-streams')
const { pipeline } = require('stream/promises')
const { Readable, PassThrough } = require('stream')

const HELD = "SELECT mode, classid, objid, objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1, 2, 3, 4"
const say = (...values) => console.log(...values.map((v) => (typeof v === 'string' ? v : JSON.stringify(v))))
const failing = async (body) => {
  try {
    say('no error', await body())
  } catch (e) {
    say('error', e.severity, e.code, e.message)
  }
}
const connect = async (dsn) => {
  const c = new Client({ connectionString: dsn })
  await c.connect()
  return c
}

async function cursors(c) {
  await c.query('CREATE TABLE ndh (id serial PRIMARY KEY, name text UNIQUE, n int, at timestamptz DEFAULT now())')
  await c.query("INSERT INTO ndh (name, n) SELECT 'h' || i, i FROM generate_series(1, 300) i")
  let cursor = c.query(new Cursor('SELECT id, n FROM ndh WHERE id > $1 ORDER BY id', [10]))
  say((await cursor.read(2)).length, (await cursor.read(100)).length, (await cursor.read(1000)).length, (await cursor.read(1)).length)
  await cursor.close()
  // Closed before its end, in a transaction that writes.
  await c.query('BEGIN')
  cursor = c.query(new Cursor('SELECT id FROM ndh ORDER BY id'))
  say(await cursor.read(3))
  await cursor.close()
  await c.query("UPDATE ndh SET n = -1 WHERE name = 'h1'")
  await c.query('COMMIT')
  // Rows that a write returns, piece by piece.
  cursor = c.query(new Cursor('UPDATE ndh SET n = n + 1000 WHERE id <= $1 RETURNING name', [5]))
  await failing(async () => [await cursor.read(2), await cursor.read(100)])
  await cursor.close()
  cursor = c.query(new Cursor('SELECT 1/(n - 20) FROM ndh WHERE id > 15 ORDER BY id'))
  await failing(() => cursor.read(100))
  await c.query('BEGIN')
  await c.query('DECLARE held SCROLL CURSOR WITH HOLD FOR SELECT id, name FROM ndh ORDER BY id')
  await c.query('DECLARE mine CURSOR FOR SELECT id FROM ndh ORDER BY id')
  say((await c.query('FETCH 2 FROM mine')).rows, (await c.query('MOVE 10 IN mine')).rowCount, (await c.query('FETCH 1 FROM mine')).rows)
  await c.query("INSERT INTO ndh (name) VALUES ('beside')")
  await c.query('COMMIT')
  await failing(() => c.query('FETCH 1 FROM mine'))
  say((await c.query('FETCH LAST FROM held')).rows, (await c.query('FETCH ABSOLUTE 2 FROM held')).rows)
  await c.query('CLOSE held')
}

async function copies(c, dsn) {
  const into = (sql, lines) => pipeline(Readable.from(lines), c.query(copy.from(sql)))
  const out = async (sql) => {
    const pieces = []
    for await (const piece of c.query(copy.to(sql))) pieces.push(piece)
    return Buffer.concat(pieces)
  }
  await into('COPY ndh (name, n) FROM STDIN (FORMAT csv, HEADER)', ['name,n\ncsv 1,1\n"csv', ', 2",2\n'])
  await c.query('BEGIN')
  await into('COPY ndh (name, n) FROM STDIN', ['in a block\t1\n'])
  await c.query("UPDATE ndh SET n = 2 WHERE name = 'in a block'")
  await c.query('COMMIT')
  await c.query('BEGIN')
  await into('COPY ndh (name, n) FROM STDIN', ['undone\t1\n'])
  await c.query('ROLLBACK')
  await failing(() => into('COPY ndh (name, n) FROM STDIN', ['x\tnot a number\n']))
  await failing(() => into('COPY ndh (name, n) FROM STDIN', ['csv 1\t1\n']))
  say((await out("COPY (SELECT name, n FROM ndh WHERE name ~ '^(csv|in)' ORDER BY 1) TO STDOUT (FORMAT csv)")).toString())
  say((await out("COPY (SELECT n FROM ndh WHERE name = 'csv 1') TO STDOUT (FORMAT binary)")).toString('hex'))
  await failing(() => out('COPY (SELECT 1/(n - 20) FROM ndh WHERE id > 15 ORDER BY id) TO STDOUT'))
  const other = await connect(dsn)
  await c.query('CREATE TABLE ndh_two (id int PRIMARY KEY, name text)')
  await pipeline(c.query(copy.to('COPY (SELECT id, name FROM ndh WHERE id <= 100) TO STDOUT')), new PassThrough(), other.query(copy.from('COPY ndh_two FROM STDIN')))
  say((await other.query('SELECT count(*), sum(id) FROM ndh_two')).rows)
  await other.end()
}

async function notifications(c, dsn) {
  const other = await connect(dsn)
  const heard = []
  const all = new Promise((resolve) => c.on('notification', (m) => {
    heard.push([m.channel, m.payload, m.processId === other.processID])
    if (m.payload === 'last') resolve()
  }))
  await c.query('LISTEN ndh')
  await c.query('LISTEN "Other One"')
  await other.query("NOTIFY ndh, 'first'")
  await other.query('BEGIN')
  await other.query("NOTIFY ndh, 'with a write'")
  await other.query("INSERT INTO ndh (name) VALUES ('told')")
  await other.query('COMMIT')
  await other.query("BEGIN; NOTIFY ndh, 'never'; ROLLBACK")
  await other.query("SELECT pg_notify($1, $2)", ['Other One', 'x'])
  await other.query("NOTIFY ndh, 'last'")
  await all
  say(heard)
  await c.query('UNLISTEN *')
  await other.end()
}

async function locks(c, dsn) {
  const held = async (of) => (await of.query(HELD)).rows
  const other = await connect(dsn)
  await c.query('SELECT pg_advisory_lock($1)', [1])
  await c.query('BEGIN')
  await c.query('SELECT pg_advisory_xact_lock(2), pg_advisory_lock_shared(3, 4)')
  await c.query("INSERT INTO ndh (name) VALUES ('locked')")
  say(await held(c), (await other.query('SELECT pg_try_advisory_lock(1) AS one, pg_try_advisory_xact_lock(2) AS two')).rows)
  const waits = other.query('SELECT pg_advisory_xact_lock(2)').then(() => 'got it')
  await c.query('COMMIT')
  say(await waits, await held(c), await held(other))
  await c.query('BEGIN; SELECT pg_advisory_xact_lock(5)')
  await c.query('ROLLBACK')
  say((await c.query('SELECT pg_advisory_unlock(1) AS once, pg_advisory_unlock(1) AS twice')).rows, await held(c))
  await c.query('SELECT pg_advisory_unlock_all()')
  say(await held(c))
  await other.end()
  const pool = new Pool({ connectionString: dsn, max: 3 })
  await Promise.all(Array.from({ length: 12 }, async (_, i) => {
    const p = await pool.connect()
    await p.query('BEGIN')
    await p.query('SELECT pg_advisory_xact_lock(6)')
    await p.query("UPDATE ndh SET n = coalesce(n, 0) + 1 WHERE name = 'locked'")
    await p.query(i % 4 ? 'COMMIT' : 'ROLLBACK')
    p.release()
  }))
  await pool.end()
}

async function main(dsn) {
  const c = await connect(dsn)
  for (const part of [cursors, copies, notifications, locks]) {
    say('==', part.name)
    await part(c, dsn)
  }
  // A COPY that fails may draw other numbers.
  say((await c.query('SELECT name, n FROM ndh ORDER BY name')).rows)
  await c.end()
}

main(process.argv[2]).catch((e) => {
  console.error(e)
  process.exit(1)
})
