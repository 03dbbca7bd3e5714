package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// The advisory locks (two-key form) of opmux on the primary: DDL holds ddlLock
// shared from before it counts until its transaction ends; install serialises
// agents that make the schema at the same time.
const (
	lockClass   = 1869638005 // "opmu"
	ddlLock     = 1
	installLock = 2
	countLock   = 3 // held for the moment of counting
	placeLock   = 4 // see LockPlace
	namesLock   = 5 // see LockNames
)

// counterSQL installs the DDL counter. It counts at the end of every DDL command,
// and at the start of those that commit in between, so that a look-up after the
// counter was read either sees the change or finds the lock held. SECURITY DEFINER
// because the role that runs DDL has no rights on schema opmux; ALWAYS so that
// session_replication_role cannot silence it.
//
// It counts by setval, one at a time: nextval would make the counter what the
// client's lastval() tells of.
//
// DROP INDEX CONCURRENTLY is counted at its end alone: it must find its transaction
// without an id, and every so often nextval draws one. Until then its index may have
// stopped refusing rows; what two rows then have of one key is an error here and on
// targets.
var counterSQL = fmt.Sprintf(`
create schema if not exists opmux;
create sequence if not exists opmux.ddl_counter;
create or replace function opmux.count_ddl() returns event_trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $opmux$
begin
  perform pg_catalog.pg_advisory_xact_lock_shared(%[1]d, %[2]d);
  begin
    perform pg_catalog.pg_advisory_lock(%[1]d, %[3]d);
    perform pg_catalog.setval('opmux.ddl_counter', case when is_called then last_value + 1 else 1 end) from opmux.ddl_counter;
    perform pg_catalog.pg_advisory_unlock(%[1]d, %[3]d);
  exception when query_canceled or others then
    perform pg_catalog.pg_advisory_unlock(%[1]d, %[3]d);
    raise;
  end;
end $opmux$;
drop event trigger if exists opmux_ddl;
drop event trigger if exists opmux_ddl_start;
create event trigger opmux_ddl on ddl_command_end execute function opmux.count_ddl();
create event trigger opmux_ddl_start on ddl_command_start
  when tag in ('CREATE INDEX', 'ALTER TABLE') execute function opmux.count_ddl();
alter event trigger opmux_ddl enable always;
alter event trigger opmux_ddl_start enable always;
`, lockClass, ddlLock, countLock) + namesSQL

const (
	installedSQL = `select pg_catalog.count(*) = 3 and
		coalesce(pg_catalog.has_sequence_privilege(pg_catalog.to_regclass('opmux.ddl_counter')::pg_catalog.oid, 'SELECT'), false)
		from pg_catalog.pg_event_trigger where evtname in ('opmux_ddl', 'opmux_ddl_start', 'opmux_names') and evtenabled = 'A'
			and not coalesce('DROP INDEX' = any (evttags), false)
			and exists (select from pg_catalog.pg_proc p where p.oid = evtfoid and (p.prosrc like '%setval%' or evtname = 'opmux_names'))` // older ones of opmux are replaced
	counterValueSQL = `select case when is_called then last_value + 1 else 1 end from opmux.ddl_counter`
	// hashSQL stands in for the counter where the agent may not make an event
	// trigger: it changes with every committed change of the catalogue.
	hashSQL = `select pg_catalog.sum(pg_catalog.hashtextextended(k || o::pg_catalog.text || ':' || x::pg_catalog.text, 0))::pg_catalog.numeric % 4611686018427387904 + 1 from (
  select 'c' k, oid o, xmin x from pg_catalog.pg_class where oid >= 16384
  union all select 'a', attrelid, xmin from pg_catalog.pg_attribute where attrelid >= 16384
  union all select 'i', indexrelid, xmin from pg_catalog.pg_index where indexrelid >= 16384
  union all select 'k', oid, xmin from pg_catalog.pg_constraint
  union all select 't', oid, xmin from pg_catalog.pg_trigger
  union all select 'd', oid, xmin from pg_catalog.pg_attrdef
  union all select 'p', oid, xmin from pg_catalog.pg_proc where oid >= 16384
  union all select 'r', oid, xmin from pg_catalog.pg_rewrite where oid >= 16384
  union all select 'y', oid, xmin from pg_catalog.pg_type where oid >= 16384
  union all select 'n', oid, xmin from pg_catalog.pg_namespace where oid >= 16384
  union all select 'l', oid, xmin from pg_catalog.pg_policy
  union all select 'h', inhrelid, xmin from pg_catalog.pg_inherits
  union all select 'o', oid, xmin from pg_catalog.pg_operator where oid >= 16384
  union all select 's', oid, xmin from pg_catalog.pg_cast where oid >= 16384
  union all select 'e', oid, xmin from pg_catalog.pg_event_trigger) z`
)

var ddlOpenSQL = fmt.Sprintf(`select exists (select from pg_catalog.pg_locks l join pg_catalog.pg_database d on d.oid = l.database
	where l.locktype = 'advisory' and l.classid = %d and l.objid = %d and l.objsubid = 2 and l.granted
	and d.datname = pg_catalog.current_database() and l.pid is distinct from $1::pg_catalog.int4)`, lockClass, ddlLock)

// install makes schema opmux and the counter where they are not there yet.
// counted is false where the server does not let the agent's role make them, or
// they are only looked for.
func install(ctx context.Context, l *link, look bool) (counted bool, err error) {
	ok, err := one(ctx, l, installedSQL)
	if notAllowed(err) {
		return false, nil // it is there, and this login may not read it
	}
	if err != nil {
		return false, err
	}
	if ok == "t" || look {
		return ok == "t", nil
	}
	err = l.Install(ctx, counterSQL)
	if err == nil {
		return true, nil
	}
	if notAllowed(err) {
		return false, nil
	}
	return false, fmt.Errorf("catalogue: install the DDL counter in schema opmux: %w", err)
}

// Install runs commands in one transaction that no other agent's overlaps.
func (l *link) Install(ctx context.Context, sql string) error {
	err := l.Exec(ctx, fmt.Sprintf("begin; select pg_catalog.pg_advisory_xact_lock(%d, %d); %s; commit", lockClass, installLock, sql))
	if err == nil {
		return nil
	}
	return errors.Join(err, l.Exec(ctx, "rollback"))
}

// notAllowed tells insufficient_privilege and read-only servers.
func notAllowed(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "42501" || pg.Code == "25006")
}

// readCounter reads the counter, or the hash in its stead: never 0, which is what
// a version is before anything was read.
func readCounter(ctx context.Context, q Querier, counted bool) (int64, error) {
	sql := counterValueSQL
	if !counted {
		sql = hashSQL
	}
	s, err := one(ctx, q, sql)
	if err != nil {
		return 0, fmt.Errorf("read the DDL counter: %w", err)
	}
	if s == "" { // a database without a single object of its own
		return 1, nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the DDL counter: %w", err)
	}
	return v, nil
}

// one runs a query for a single value; NULL is "".
func one(ctx context.Context, q Querier, sql string, args ...string) (string, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return "", fmt.Errorf("catalogue: one value expected, got %d rows", len(rows))
	}
	return string(rows[0][0].Text), nil
}

var _ Querier = (*link)(nil)

// batch is one read of the counter that several callers wait for.
type batch struct {
	done  chan struct{}
	value int64
	err   error
}

func (b *batch) wait(ctx context.Context) (int64, error) {
	select {
	case <-b.done:
		return b.value, b.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Version reads the DDL counter now. One read serves every caller that was
// waiting when it began, so each gets the result of a read that began after its
// call.
func (c *Catalog) Version(ctx context.Context) (int64, error) {
	c.reads.mu.Lock()
	b := c.reads.next
	leader := b == nil
	if leader {
		b = &batch{done: make(chan struct{})}
		c.reads.next = b
	}
	c.reads.mu.Unlock()
	if !leader {
		return b.wait(ctx)
	}
	c.reads.running.Lock() // the read before
	c.reads.mu.Lock()
	c.reads.next = nil // who comes now waits for another read
	c.reads.mu.Unlock()
	// The read serves others too, so the leader's own cancellation must not end it.
	read, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	b.value, b.err = readCounter(read, c.versions, c.counted)
	cancel()
	if b.err == nil {
		c.saw(b.value) // in the order of the reads
	}
	c.reads.running.Unlock()
	close(b.done)
	return b.value, b.err
}

// ddlOpen says that a transaction with DDL is under way, whose changes nobody
// sees yet although it has been counted. but is a process whose own do not count, 0 for none.
func ddlOpen(ctx context.Context, q Querier, but int32) (bool, error) {
	s, err := one(ctx, q, ddlOpenSQL, strconv.Itoa(int(but)))
	return s == "t", err
}
