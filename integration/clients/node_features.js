// What programs do with node-postgres: node node_features.js DSN prints a transcript.
// NODE_PATH names the modules.
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const copy = require('pg-copy-streams')
const { pipeline } = require('stream/promises')
const { Readable } = require('stream')

const say = (...values) => console.log(...values.map((v) => (typeof v === 'string' ? v : JSON.stringify(v))))
const failing = async (body) => {
  try {
    const r = await body()
    say('no error', r && r.rowCount)
  } catch (e) {
    say('error', e.severity, e.code, e.message, e.detail || '', e.position || '', e.constraint || '', e.where || '')
  }
}

async function writes(c) {
  await c.query('CREATE TABLE nd (id serial PRIMARY KEY, name text UNIQUE, n numeric, j jsonb, tags text[], at timestamptz DEFAULT now(), b bytea)')
  const r = await c.query('INSERT INTO nd (name, n, j, tags, b) VALUES ($1, $2, $3, $4, $5) RETURNING id, name, n, j, tags, b',
    ['smörgås', '1.50', { a: [1, null] }, ['x', 'y z'], Buffer.from([0, 255])])
  say(r.command, r.rowCount, r.rows, r.fields.map((f) => [f.name, f.dataTypeID]))
  for (let i = 0; i < 3; i++) say((await c.query({ name: 'named', text: 'UPDATE nd SET n = n + $1 WHERE id = $2 RETURNING n', values: [i, 1] })).rows)
  say((await c.query({ text: 'SELECT name, n FROM nd', rowMode: 'array' })).rows)
  say((await c.query("INSERT INTO nd (name) SELECT 'many ' || g FROM generate_series(1, 20) g")).rowCount)
  const several = await c.query("INSERT INTO nd (name) VALUES ('one'); SELECT count(*) FROM nd; DELETE FROM nd WHERE name = 'one'")
  say(several.map((x) => [x.command, x.rowCount, x.rows]))
  await failing(() => c.query('INSERT INTO nd (name) VALUES ($1)', ['smörgås']))
  await failing(() => c.query('INSERT INTO nd (nothere) VALUES ($1)', [1]))
  await failing(() => c.query("INSERT INTO nd (name) VALUES ('two'); SELECT 1/0"))
  await failing(() => c.query('SELECT $1::int', ['x']))
  say((await c.query("INSERT INTO nd (name, n) VALUES ('many 1', 5) ON CONFLICT (name) DO UPDATE SET n = excluded.n RETURNING name, n")).rows)
}

async function transactions(c) {
  await c.query('BEGIN')
  await c.query("UPDATE nd SET n = 7 WHERE name = 'many 2'")
  await c.query('SAVEPOINT s')
  await failing(() => c.query("INSERT INTO nd (name) VALUES ('many 3')"))
  await failing(() => c.query('SELECT 1'))
  await c.query('ROLLBACK TO s')
  await c.query('COMMIT')
  await c.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
  await c.query('DELETE FROM nd')
  await c.query('ROLLBACK')
  // Queued without waiting, as programs do.
  const all = await Promise.allSettled([c.query('BEGIN'), c.query("INSERT INTO nd (name) VALUES ('q1')"), c.query("INSERT INTO nd (name) VALUES ('q1')"), c.query('SELECT 1'), c.query('COMMIT')])
  say(all.map((x) => x.status + ' ' + (x.reason ? x.reason.code : x.value.command)))
}

async function streams(c) {
  const cursor = c.query(new Cursor('SELECT name FROM nd ORDER BY id', []))
  say((await cursor.read(3)).length, (await cursor.read(100)).length, (await cursor.read(100)).length)
  await cursor.close()
  const lines = Array.from({ length: 12000 }, (_, i) => `copied ${i}\t${i}\n`)
  await pipeline(Readable.from(lines), c.query(copy.from('COPY nd (name, n) FROM STDIN')))
  say((await c.query("SELECT count(*), min(id), max(id), sum(n) FROM nd WHERE name LIKE 'copied%'")).rows)
  await failing(() => pipeline(Readable.from(['dup\t1\n', 'dup\t2\n']), c.query(copy.from('COPY nd (name, n) FROM STDIN'))))
  let out = ''
  for await (const piece of c.query(copy.to("COPY (SELECT name, n FROM nd WHERE n = 11999) TO STDOUT"))) out += piece
  say(out)
}

async function notify(c, dsn) {
  const other = new Client({ connectionString: dsn })
  await other.connect()
  const heard = new Promise((resolve) => c.on('notification', (m) => resolve([m.channel, m.payload])))
  await c.query('LISTEN nd')
  await other.query("SELECT pg_notify('nd', 'hello')")
  say(await heard)
  await other.end()
}

async function pool(dsn) {
  const p = new Pool({ connectionString: dsn, max: 4 })
  const done = await Promise.all(Array.from({ length: 40 }, (_, i) => p.query('INSERT INTO nd (name, n) VALUES ($1, $2)', [`pool ${i}`, i])))
  say(done.reduce((n, r) => n + r.rowCount, 0))
  await p.end()
}

async function main(dsn) {
  const c = new Client({ connectionString: dsn })
  await c.connect()
  await writes(c)
  await transactions(c)
  await streams(c)
  await notify(c, dsn)
  await pool(dsn)
  say((await c.query('SELECT count(*), sum(n) FROM nd')).rows)
  await c.end()
}

main(process.argv[2]).catch((e) => {
  console.error(e)
  process.exit(1)
})
