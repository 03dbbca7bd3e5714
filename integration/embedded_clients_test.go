package integration

import (
	"database/sql"
	"database/sql/driver"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"

	"github.com/opmux/opmux/capture/sqldriver"
	"github.com/opmux/opmux/internal/rig"
)

// pgxConfig is how pgx connects: by the DSN, or by the agent in this process.
func (b *bench) pgxConfig(dsn string) *pgx.ConnConfig {
	b.t.Helper()
	config, err := pgx.ParseConfig(dsn)
	b.must(err)
	if b.inside != nil {
		config.DialFunc = b.inside.DialContext
	}
	return config
}

// openPq opens lib/pq's driver, wrapped where there is an agent in this process.
func (b *bench) openPq(dsn string) *sql.DB {
	b.t.Helper()
	if b.inside != nil {
		return b.openWrapped(b.inside, &pq.Driver{}, dsn)
	}
	db, err := sql.Open("postgres", dsn)
	b.must(err)
	return db
}

func (b *bench) listenPq(dsn string) *pq.Listener {
	if b.inside != nil {
		return pq.NewDialListener(b.inside.Dialer(), dsn, time.Second, time.Second, nil)
	}
	return pq.NewListener(dsn, time.Second, time.Second, nil)
}

// openWrapped opens a database of the primary by a driver through an agent.
func (b *bench) openWrapped(a *sqldriver.Agent, d driver.Driver, dsn string) *sql.DB {
	b.t.Helper()
	connector, err := a.Wrap(d).(driver.DriverContext).OpenConnector(dsn)
	b.must(err)
	return sql.OpenDB(connector)
}

// embed starts an agent in this process; it ends with the test.
func (b *bench) embed(name string) *sqldriver.Agent {
	b.t.Helper()
	cfg, err := sqldriver.LoadConfig(b.EmbeddedConfig(name))
	b.must(err)
	a, err := sqldriver.Start(b.ctx, cfg)
	b.must(err)
	b.t.Cleanup(func() { _ = a.Close(b.ctx) }) // tests that are about Close look at its error
	return a
}

// I5: Go's clients see through an agent inside their program what they see
// directly, and the backup is the same: transactions, prepared statements, COPY,
// pipelines, LISTEN, contexts that end, cancel requests, errors.
func TestGoClientsSeeThroughAnEmbeddedAgentWhatTheySeeDirectly(t *testing.T) {
	b := setUp(t, rig.Config{Digest: "full", Verify: "full"})
	b.must(b.worker("w1").Start(b.ctx))
	b.must(b.verifier().Start(b.ctx))
	b.query(b.Primary.DSN("postgres"), "CREATE DATABASE "+direct)
	inside := b.embed("inside")
	for _, client := range []struct {
		name string
		run  func(b *bench, dsn string) string
	}{
		{"pgx", pgxFeatures},
		{"database_sql", sqlFeatures},
		{"database_sql_wrapped", wrappedPgxFeatures},
		{"lib_pq", pqFeatures},
	} {
		t.Run(client.name, func(t *testing.T) {
			mine := &bench{Rig: b.Rig, t: t, ctx: b.ctx}
			want := normalise(client.run(mine, b.Primary.DSN(direct)))
			mine.inside = inside
			got := normalise(client.run(mine, b.Primary.DSN(rig.Database)))
			if text := differences(want, got); text != "" {
				t.Errorf("through the agent the transcript differs:\n%s", text)
			}
			mine.identical()
			mine.sequencesFollow()
		})
	}
	if v, err := b.Verdicts(b.ctx); err != nil || v.Mismatch+v.Missing > 0 || v.Match == 0 {
		t.Errorf("verdicts %+v, %v; want matches, no mismatch and nothing missing", v, err)
	}
}

// wrappedPgxFeatures goes by connection strings; what pgx alone can do, COPY and
// LISTEN on its own connection, goes the same way.
func wrappedPgxFeatures(b *bench, dsn string) string {
	b.t.Helper()
	var s transcript
	db := sql.OpenDB(stdlib.GetConnector(*b.pgxConfig(dsn)))
	if b.inside != nil {
		b.must(db.Close())
		db = b.openWrapped(b.inside, stdlib.GetDefaultDriver(), dsn)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	sqlWrites(b.ctx, db, &s)
	sqlTransactions(b.ctx, db, &s)
	conn, err := db.Conn(b.ctx)
	b.must(err)
	defer conn.Close()
	b.must(conn.Raw(func(raw any) error {
		native := raw.(*stdlib.Conn).Conn()
		_, err := native.Exec(b.ctx, "DROP TABLE IF EXISTS gx, gx_copy CASCADE")
		s.say(err)
		pgxWrites(b.ctx, native, &s)
		pgxCopy(b.ctx, native, &s)
		pgxNotify(b.ctx, native, &s)
		pgxCancel(b.ctx, native, &s)
		return nil
	}))
	return s.String()
}
