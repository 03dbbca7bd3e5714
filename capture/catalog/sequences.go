package catalog

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/event"
)

// sequenceSQL reads how far a sequence has come: its last value, or where none
// was drawn yet, the value before its first.
const sequenceSQL = `select case when s.is_called then s.last_value::pg_catalog.numeric else s.last_value::pg_catalog.numeric - q.seqincrement end::pg_catalog.text,
	(q.seqincrement > 0)::pg_catalog.text
	from %s s, pg_catalog.pg_sequence q where q.seqrelid = $1::pg_catalog.regclass`

// SequenceValue reads how far a sequence has come, draws of transactions that
// are still open included. An error matching ErrNotFound: there is none (any
// more) that others than its maker see.
func (c *Catalog) SequenceValue(ctx context.Context, schema, name string) (event.SequenceMark, error) {
	return c.SequenceValueOn(ctx, nil, schema, name)
}

// SequenceValueOn is SequenceValue by way of a session, which sees the sequences
// that its open transaction made; nil: the catalogue's own connection.
func (c *Catalog) SequenceValueOn(ctx context.Context, q Querier, schema, name string) (event.SequenceMark, error) {
	if q == nil {
		q = c.lookups
	}
	qualified := QuoteIdent(schema) + "." + QuoteIdent(name)
	rows, err := q.Query(ctx, fmt.Sprintf(sequenceSQL, qualified), qualified)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42P01" || err == nil && len(rows) != 1 {
		return event.SequenceMark{}, fmt.Errorf("sequence %s.%s: %w", schema, name, ErrNotFound)
	}
	if err != nil {
		return event.SequenceMark{}, fmt.Errorf("read sequence %s.%s: %w", schema, name, err)
	}
	v, err := strconv.ParseInt(string(rows[0][0].Text), 10, 64)
	if err != nil {
		return event.SequenceMark{}, fmt.Errorf("read sequence %s.%s: %w", schema, name, err)
	}
	return event.SequenceMark{Schema: schema, Name: name, Value: v, Ascending: string(rows[0][1].Text) == "true"}, nil
}

// Sequences lists the sequences of the database as schema and name: what a statement
// that failed has drawn from, nobody can tell.
func (c *Catalog) Sequences(ctx context.Context) ([]SequenceName, error) {
	rows, err := c.lookups.Query(ctx, `select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
		where c.relkind = 'S' and c.relpersistence <> 't' and n.nspname <> 'opmux'`)
	if err != nil {
		return nil, fmt.Errorf("list the sequences: %w", err)
	}
	list := make([]SequenceName, len(rows))
	for i, r := range rows {
		list[i] = SequenceName{Schema: string(r[0].Text), Name: string(r[1].Text)}
	}
	return list, nil
}

// sequencesHereSQL lists the sequences that a session sees, and whether they may have
// their names from its open transaction: their row in the catalogue, or their schema's,
// is of its time, or of a transaction's that began later.
const sequencesHereSQL = `select n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
	(least(pg_catalog.age(c.xmin), pg_catalog.age(n.xmin)) <= pg_catalog.age(pg_catalog.pg_current_xact_id()::pg_catalog.xid))::pg_catalog.text
	from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
	where c.relkind = 'S' and c.relpersistence <> 't' and n.nspname <> 'opmux'`

// SequencesHere lists the sequences that a session sees whose open transaction has DDL.
// True: one may have been made, renamed or moved in it.
func (c *Catalog) SequencesHere(ctx context.Context, q Querier) (map[SequenceName]bool, error) {
	rows, err := q.Query(ctx, sequencesHereSQL)
	if err != nil {
		return nil, fmt.Errorf("list the sequences: %w", err)
	}
	here := make(map[SequenceName]bool, len(rows))
	for _, r := range rows {
		here[SequenceName{Schema: string(r[0].Text), Name: string(r[1].Text)}] = string(r[2].Text) == "true"
	}
	return here, nil
}
