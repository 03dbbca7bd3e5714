// Package catalog reads what a PostgreSQL primary's catalogue says of the objects
// that statements name, caches it, and notices when it changes: DDL is counted on
// the primary by an event trigger of opmux, and a cached answer is good for as
// long as the counter stands where it stood before the look-up.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/wire/pgencoding"
)

// pollInterval is how often Run looks for DDL and restarts.
const pollInterval = 200 * time.Millisecond

// accessInterval is how long privileges are cached at most.
const accessInterval = 10 * time.Second

// maxEntries bounds each cache; a full one is emptied (I7).
const maxEntries = 10000

// Config configures a Catalog.
type Config struct {
	DSN string
	Log *zap.Logger
	// OnRestart is called by Run after the caches were emptied because the primary
	// was started again; nil: nobody to tell.
	OnRestart func(event.Primary)
	// ReadOnly leaves the database as it is: where the DDL counter is not installed,
	// a hash of the catalogue stands in for it.
	ReadOnly bool
	// Triggers installs the capture triggers, and keeps them on new tables.
	Triggers bool
}

// Catalog is the shared view of one database's catalogue. It is safe for
// concurrent use.
type Catalog struct {
	cfg     Config
	counted bool
	secret  []byte // of the capture triggers; nil: there are none
	unmoved string // see UnmovedSQL
	// lookups and versions are two connections, so that reading the counter, for
	// which commits wait, never waits for a look-up.
	lookups, versions *link
	// prepared is a third one, which writes, and waits for what it wrote to be flushed.
	prepared *link
	reads    struct {
		mu      sync.Mutex
		next    *batch
		running sync.Mutex
	}
	wides map[string]*pgencoding.Wide
	// known is the highest counter seen; cached answers of another one are stale.
	known atomic.Int64
	// settled is what Settled returns.
	settled atomic.Int64
	// restarts counts starts of the primary that were noticed.
	restarts atomic.Int64

	mu       sync.Mutex
	started  string // start time of the primary, as it prints it
	tables   map[tableKey]*Table
	access   map[accessKey]*Access
	facts    *Facts
	builtins *Builtins
}

type tableKey struct{ schemas, name string }

type accessKey struct {
	role string
	oid  uint32
}

// Open connects, and installs schema opmux with the DDL counter where it may.
// Where it may not, a hash of the catalogue stands in for the counter (Counted).
func Open(ctx context.Context, cfg Config) (*Catalog, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	pc, err := pgconn.ParseConfig(cfg.DSN)
	if err != nil {
		return nil, errors.New("catalogue: the DSN cannot be parsed: a PostgreSQL URL or key=value string is expected")
	}
	if pc.RuntimeParams["application_name"] == "" {
		pc.RuntimeParams["application_name"] = "opmux catalogue"
	}
	// Expressions are printed with every name that is not built in qualified.
	pc.RuntimeParams["search_path"] = "pg_catalog"
	pc.RuntimeParams["client_encoding"] = "UTF8"
	pc.RuntimeParams["standard_conforming_strings"] = "on" // the agent's own texts have backslashes
	// Printing a view locks what it reads; others must not wait behind that.
	pc.RuntimeParams["lock_timeout"] = "2s"
	pc.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	pc.RuntimeParams["jit"] = "off"
	if cfg.ReadOnly {
		pc.RuntimeParams["default_transaction_read_only"] = "on"
	}
	c := &Catalog{cfg: cfg}
	c.reset()
	c.wides = c.wideEncodings()
	c.lookups = &link{cfg: pc, connected: c.connected}
	c.versions = &link{cfg: pc, connected: c.connected}
	c.prepared = &link{cfg: writing(pc), connected: c.connected}
	if err := c.start(ctx); err != nil {
		_ = c.Close() // the first error is the one to tell
		return nil, err
	}
	return c, nil
}

func (c *Catalog) start(ctx context.Context) error {
	counted, err := install(ctx, c.lookups, c.cfg.ReadOnly)
	if err != nil {
		return err
	}
	c.counted = counted
	if !counted && !c.cfg.ReadOnly {
		c.cfg.Log.Warn("the catalogue login may not create the event trigger that counts DDL; a hash of the catalogue is read instead, which is slower. " +
			"Let a superuser run the agent's check once, or give the login the rights to create it")
	}
	if c.cfg.Triggers && !c.cfg.ReadOnly {
		if err := c.installTriggers(ctx); err != nil {
			return err
		}
	}
	if counted {
		if err := c.publish(ctx); err != nil {
			return err
		}
	}
	if _, err := c.Version(ctx); err != nil {
		return err
	}
	c.builtins, err = loadBuiltins(ctx, c.lookups)
	return err
}

// Counted says that DDL is counted by the event trigger; false: a hash stands in.
func (c *Catalog) Counted() bool { return c.counted }

// Known is the DDL counter as last read by anybody.
func (c *Catalog) Known() int64 { return c.known.Load() }

// Restarts counts the restarts of the primary that were noticed: with Known it
// tells how old a cached answer may be.
func (c *Catalog) Restarts() int64 { return c.restarts.Load() }

// Builtins are the server's built-in functions and types.
func (c *Catalog) Builtins() *Builtins { return c.builtins }

func (c *Catalog) saw(v int64) {
	if c.known.Swap(v) != v {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reset()
	}
}

// reset empties the caches; c.mu is held, or c is still unshared.
func (c *Catalog) reset() {
	c.tables = map[tableKey]*Table{}
	c.access = map[accessKey]*Access{}
	c.facts = nil
	c.settled.Store(0)
}

// connected looks whether a new connection leads to a primary that was started
// anew. After a crash its counter may stand lower than before, so nothing that
// was cached may live on.
func (c *Catalog) connected(ctx context.Context, conn *pgconn.PgConn) error {
	rows, err := query(ctx, conn, "select pg_catalog.pg_postmaster_start_time()::pg_catalog.text", nil)
	if err != nil {
		return err
	}
	started := string(rows[0][0].Text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started != "" && c.started != started {
		c.reset()
		c.restarts.Add(1)
	}
	c.started = started
	return nil
}

// Run watches for DDL and restarts until ctx ends. It returns nil then; while the
// primary is away it keeps trying.
func (c *Catalog) Run(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	told, failing := c.Restarts(), false
	forgot := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if now.Sub(forgot) >= accessInterval {
				forgot = now
				c.ForgetAccess()
			}
		}
		if err := c.stillCounted(ctx); err != nil {
			return err
		}
		_, err := c.Version(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			c.cfg.Log.Warn("the primary's catalogue cannot be read; trying again", zap.Error(err))
		case err == nil && failing:
			c.cfg.Log.Info("the primary's catalogue can be read again")
		}
		failing = err != nil
		if now := c.Restarts(); !failing && now != told {
			if told = c.restarted(ctx, told, now); told != now {
				failing = true
			}
		}
	}
}

// restarted tells the owner of a restart; it returns the count that is told.
func (c *Catalog) restarted(ctx context.Context, told, now int64) int64 {
	p, err := c.Primary(ctx)
	if err != nil {
		c.cfg.Log.Warn("the primary was started again and cannot be identified yet", zap.Error(err))
		return told
	}
	c.cfg.Log.Info("the primary was started again; the catalogue's caches are empty", zap.String("system", p.SystemID), zap.Int32("timeline", p.Timeline))
	if c.cfg.OnRestart != nil {
		c.cfg.OnRestart(p)
	}
	return now
}

// Close closes the connections. It may be called twice.
func (c *Catalog) Close() error {
	c.lookups.close()
	c.versions.close()
	c.prepared.close()
	return nil
}

// Prepared is the database by a connection of its own, for the transactions that
// applications prepare.
func (c *Catalog) Prepared() prepared.Database { return c.prepared }

// writing is a connection's configuration under which what is written is durable, and
// no statement fails for what others do beside it.
func writing(of *pgconn.Config) *pgconn.Config {
	cfg := of.Copy()
	for name, value := range map[string]string{"application_name": "opmux prepared", "synchronous_commit": "on",
		"default_transaction_isolation": "read committed", "default_transaction_read_only": "off", "bytea_output": "hex"} {
		cfg.RuntimeParams[name] = value
	}
	return cfg
}

const primarySQL = `select pg_catalog.current_setting('server_version'), (select system_identifier::pg_catalog.text from pg_catalog.pg_control_system()),
	case when pg_catalog.pg_is_in_recovery() then '0' else pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) end,
	pg_catalog.current_database(), (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::pg_catalog.int8::pg_catalog.text`

// Primary tells which server the catalogue is of.
func (c *Catalog) Primary(ctx context.Context) (event.Primary, error) {
	rows, err := c.lookups.Query(ctx, primarySQL)
	if err != nil {
		return event.Primary{}, fmt.Errorf("identify the primary: %w", err)
	}
	r := rows[0]
	p := event.Primary{Make: "postgres", Version: string(r[0].Text), SystemID: string(r[1].Text), Database: string(r[3].Text)}
	if _, err := fmt.Sscanf(string(r[2].Text), "%x", &p.Timeline); err != nil {
		return event.Primary{}, fmt.Errorf("identify the primary: timeline %q: %w", r[2].Text, err)
	}
	if _, err := fmt.Sscan(string(r[4].Text), &p.Started); err != nil {
		return event.Primary{}, fmt.Errorf("identify the primary: start time %q: %w", r[4].Text, err)
	}
	return p, nil
}
