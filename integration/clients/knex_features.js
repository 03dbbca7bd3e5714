// Knex, as programs use it: migrations up and down, the query builder, transactions.
const K = require('knex')
const p = console.log
;(async () => {
  const k = K({ client: 'pg', connection: process.argv[2], searchPath: ['knex_client'], pool: { min: 0, max: 5 } })
  await k.raw('CREATE SCHEMA knex_client')
  const mig = {
    getMigrations: async () => ['1', '2', '3'],
    getMigrationName: (x) => x,
    getMigration: async (n) =>
      ({
        1: {
          up: async (t) => {
            await t.schema.createTable('users', (b) => {
              b.increments('id')
              b.string('email').unique()
              b.enu('kind', ['a', 'b'], { useNative: true, enumName: 'kind_t' })
              b.jsonb('meta').defaultTo('{}')
              b.timestamps(true, true)
              b.uuid('u').defaultTo(t.fn.uuid ? t.fn.uuid() : null)
              b.specificType('tags', 'text[]')
              b.decimal('amt', 10, 2)
            })
            await t.schema.createTable('posts', (b) => {
              b.bigIncrements()
              b.integer('user_id').references('users.id').onDelete('CASCADE').index()
              b.text('body')
              b.boolean('ok').defaultTo(false)
            })
          },
          down: async (t) => {
            await t.schema.dropTable('posts')
            await t.schema.dropTable('users')
            await t.raw('DROP TYPE kind_t')
          },
        },
        2: {
          up: async (t) => {
            await t.schema.alterTable('users', (b) => {
              b.string('name')
              b.renameColumn('meta', 'data')
              b.dropUnique(['email'])
              b.unique(['email', 'name'])
              b.string('email', 500).notNullable().alter()
            })
            await t('users').insert([{ email: 'x', name: 'n' }])
            await t.schema.createView('v', (v) => {
              v.columns(['id'])
              v.as(t('users').select('id'))
            })
          },
          down: async (t) => {
            await t.schema.dropView('v')
            await t.schema.alterTable('users', (b) => {
              b.dropUnique(['email', 'name'])
              b.dropColumn('name')
              b.renameColumn('data', 'meta')
            })
          },
        },
        3: {
          config: { transaction: false },
          up: async (t) => {
            await t.raw('CREATE INDEX CONCURRENTLY pix ON posts(body)')
          },
          down: async (t) => {
            await t.raw('DROP INDEX CONCURRENTLY pix')
          },
        },
      })[n],
  }
  await k.migrate.latest({ migrationSource: mig })
  await k.migrate.rollback({ migrationSource: mig }, true)
  await k.migrate.up({ migrationSource: mig })
  await k.migrate.latest({ migrationSource: mig })
  p(await k.migrate.currentVersion({ migrationSource: mig }))
  p(
    await k('users').insert(
      [
        { email: 'a', name: 'a', tags: ['x', 'y'], amt: 1.5, data: { z: 1 } },
        { email: 'b', name: 'b' },
      ],
      ['id', 'email'],
    ),
  )
  p(await k('users').insert({ email: 'a', name: 'a', amt: 9 }).onConflict(['email', 'name']).merge().returning('id'))
  p(await k('users').insert({ email: 'a', name: 'a', amt: 9 }).onConflict(['email', 'name']).ignore().returning('id'))
  await k.batchInsert(
    'posts',
    Array.from({ length: 100 }, (_, i) => ({ user_id: 1 + (i % 3), body: 'b' + i })),
    30,
  )
  await k.transaction(async (t) => {
    await t('posts').where({ id: 3 }).update({ ok: true })
    await t('users').increment('amt', 1).where('id', 1)
    try {
      await t.transaction(async (s) => {
        await s('users').del()
        throw new Error('x')
      })
    } catch (e) {
      p(e.message)
    }
    p(await t('posts').where('id', '<', 4).orderBy('id').forUpdate().skipLocked().select('id'))
  })
  p(
    await k('posts')
      .where('id', '>', 90)
      .update({ body: k.raw("body || '!'") }),
  )
  p(await k('posts').whereIn('user_id', k('users').select('id').where('email', 'b')).del())
  p((await k.raw('select ?::int as a, now() is not null as n', [5])).rows)
  await k('posts').truncate()
  p(await k('users').count())
  p(await k('users').with('w', k('users').select('id').limit(1)).whereIn('id', k('w').select('id')).update({ amt: 3 }))
  await k.schema.alterTable('users', (b) => {
    b.dropColumns('created_at')
    b.json('j').defaultTo(JSON.stringify([1]))
    b.comment('hi')
  })
  await k.schema.renameTable('posts', 'p2')
  p(await k('users').columnInfo('amt'))
  await k.destroy()
})().catch((e) => {
  console.log('FAIL', e.message)
  process.exit(1)
})
