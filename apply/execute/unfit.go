package execute

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/opmux/opmux/apply/position"
	"github.com/opmux/opmux/apply/schedule"
)

// unfit says whether a refusal is to be expected, since what the operation builds upon has
// diverged: then the operation is skipped, and its tables from here on. Whatever is not
// explained by that stops the worker.
func (l *Lane) unfit(ctx context.Context, job *Job, err error) bool {
	var op *OperationError
	if !errors.As(err, &op) || len(job.Transactions) > 1 || len(l.last.allDiverged()) == 0 {
		return false
	}
	at := spot{op.Offset, op.Index}
	if job.unfit[at] != "" {
		return false
	}
	why, tables := l.explain(ctx, job.Transactions[0], op)
	if why == "" {
		return false
	}
	why += ": " + serverError(op.Err)
	if len(tables) == 0 {
		l.cfg.Log.Warn("a definition is left out, since unknown tables diverged: what it defines is missing or other on the target",
			zap.Int64("offset", op.Offset), zap.Int("operation", op.Index), zap.String("statement", op.Statement), zap.Error(op.Err))
	}
	if op.Index >= 0 {
		if job.unfit == nil {
			job.unfit = map[spot]string{}
		}
		job.unfit[at] = why
	}
	for _, table := range tables {
		job.diverge = append(job.diverge, position.Diverged{Source: l.cfg.Source, Table: table, Offset: op.Offset, Statement: op.Statement, Reason: why})
	}
	return true
}

// explain says by which divergence an operation was refused, and which tables diverge with
// it; nothing where it is not one's doing.
func (l *Lane) explain(ctx context.Context, tx *schedule.Tx, op *OperationError) (why string, tables []string) {
	var pg *pgconn.PgError
	server := errors.As(op.Err, &pg) && !isContext(op)
	if l.last.diverged(anyTable) && (len(op.Tables) > 0 || op.defines && server && ofObjects(pg.Code)) {
		return "does not fit since unknown tables diverged", op.Tables
	}
	if !server {
		return "", nil
	}
	table, tables := "", op.Tables
	switch {
	case op.defines && len(tables) == 0: // what would be missing from here on has no name
	case op.defines && pg.Code == dependentObjects:
		table = l.dependent(ctx, op)
	case op.defines && slices.Contains(ofOthers, pg.Code):
		table = l.named(op)
	case pg.Code == foreignKeyViolation && (op.Index < 0 || len(tables) > 0):
		table, tables = l.otherSide(ctx, op, pg)
	}
	if table == "" && op.defines {
		table = l.beside(ctx, tx, op)
	}
	if table == "" {
		return "", nil
	}
	return "builds upon " + table + ", which has diverged", tables
}

func isContext(op *OperationError) bool {
	var context *contextError
	return errors.As(op.Err, &context)
}

const (
	dependentObjects    = "2BP01"
	foreignKeyViolation = "23503"
)

// ofObjects tells errors of a definition that objects are the reason of which are there, or
// are not, or are others.
func ofObjects(code string) bool {
	return strings.HasPrefix(code, "42") && code != "42501" /* insufficient_privilege */ || code == dependentObjects || code == "3F000" /* invalid_schema_name */
}

// ofOthers are the errors of a definition that what it names may be the reason of.
var ofOthers = []string{
	"42P01", // undefined_table
	"42703", // undefined_column
	"42704", // undefined_object
	"42883", // undefined_function
	"42804", // datatype_mismatch
	"42809", // wrong_object_type
	"42830", // invalid_foreign_key
	"42P16", // invalid_table_definition
	foreignKeyViolation,
}

// named is a relation that has diverged and that a definition names.
func (l *Lane) named(op *OperationError) string {
	d, err := l.cfg.Definition(op.text)
	if err != nil {
		return "" // the statement was not understood, which is no explanation
	}
	for _, table := range l.last.allDiverged() {
		if slices.ContainsFunc(d.Names, mayBe(table)) {
			return table
		}
	}
	return ""
}

// wholesSQL lists what a table is a partition of.
const wholesSQL = `SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace,
LATERAL (SELECT t.oid UNION SELECT a.relid FROM pg_catalog.pg_partition_ancestors(t.oid) a) f(oid)
JOIN pg_catalog.pg_class c ON c.oid = f.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE s.nspname || '.' || t.relname = $1`

// beside is an index that the definition's own transaction gives up, of a table that the
// definition is about: on the primary it took the index for its own, which the target lacks.
func (l *Lane) beside(ctx context.Context, tx *schedule.Tx, op *OperationError) string {
	for _, flagged := range tx.Transaction.Operations {
		for _, table := range flagged.Tables {
			if len(flagged.Diverged) == 0 || slices.Contains(flagged.Diverged, table) {
				continue
			}
			rows, err := l.rows(ctx, wholesSQL, table)
			if err == nil && slices.ContainsFunc(rows, func(row [][]byte) bool { return slices.Contains(op.Tables, string(row[0])) }) {
				return flagged.Diverged[0]
			}
		}
	}
	return ""
}

// dependentSQL lists the relations that depend on others, by a column, a rule, a
// constraint, or as a view of them.
const dependentSQL = `SELECT DISTINCT a.object_names[1] || '.' || a.object_names[2]
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
LATERAL pg_catalog.pg_identify_object_as_address(d.classid, d.objid, d.objsubid) a
WHERE n.nspname || '.' || c.relname IN (SELECT pg_catalog.json_array_elements_text($1::pg_catalog.text::pg_catalog.json))`

// dependent is a table that has diverged and depends here on what is dropped.
func (l *Lane) dependent(ctx context.Context, op *OperationError) string {
	tables, err := json.Marshal(op.Tables)
	if err != nil {
		return ""
	}
	return l.firstDiverged(ctx, dependentSQL, string(tables))
}

// firstDiverged is the first table of a query's answer that has diverged.
func (l *Lane) firstDiverged(ctx context.Context, sql string, args ...string) string {
	rows, err := l.rows(ctx, sql, args...)
	if err != nil {
		return "" // the refusal stays unexplained
	}
	for _, row := range rows {
		if table := string(row[0]); l.last.diverged(table) {
			return table
		}
	}
	return ""
}

// sidesSQL lists the tables of one side of a foreign key, with what they are partitions of.
const sidesSQL = `SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace s ON s.oid = t.relnamespace,
LATERAL (SELECT CASE $4 WHEN 'from' THEN k.conrelid ELSE k.confrelid END) side(oid),
LATERAL (SELECT side.oid UNION SELECT a.relid FROM pg_catalog.pg_partition_ancestors(side.oid) a) f(oid)
JOIN pg_catalog.pg_class c ON c.oid = f.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND s.nspname = $1 AND t.relname = $2 AND k.conname = $3`

// otherSide is the table that has diverged of a foreign key that does not hold, and the
// tables that diverge by it: the operation's, or behind a deferred key the other side.
func (l *Lane) otherSide(ctx context.Context, op *OperationError, pg *pgconn.PgError) (table string, tables []string) {
	from := l.firstDiverged(ctx, sidesSQL, pg.SchemaName, pg.TableName, pg.ConstraintName, "from")
	to := l.firstDiverged(ctx, sidesSQL, pg.SchemaName, pg.TableName, pg.ConstraintName, "to")
	switch {
	case op.Index >= 0:
		if from == "" {
			from = to
		}
		return from, op.Tables
	case to != "" && from == "":
		return to, []string{pg.SchemaName + "." + pg.TableName}
	case from != "" && to == "":
		rows, err := l.rows(ctx, sidesSQL, pg.SchemaName, pg.TableName, pg.ConstraintName, "to")
		if err != nil || len(rows) == 0 {
			return "", nil
		}
		for _, row := range rows {
			tables = append(tables, string(row[0]))
		}
		return from, tables
	}
	return "", nil
}
