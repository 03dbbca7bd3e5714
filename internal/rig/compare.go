package rig

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// maxExamples bounds how many differing rows a comparison names per table.
const maxExamples = 5

// TableDiff is the comparison of one table on primary and backup.
type TableDiff struct {
	Table             string // schema.table
	Primary, Backup   int64  // rows
	OnlyPrimary, Only []string
	Problem           string // where it is not there on one side
}

// Identical tells whether both sides have the same rows.
func (d TableDiff) Identical() bool {
	return d.Problem == "" && len(d.OnlyPrimary) == 0 && len(d.Only) == 0 && d.Primary == d.Backup
}

// String tells it to people.
func (d TableDiff) String() string {
	switch {
	case d.Problem != "":
		return d.Table + ": " + d.Problem
	case d.Identical():
		return fmt.Sprintf("%s: %d rows, identical", d.Table, d.Primary)
	}
	text := fmt.Sprintf("%s: differs (%d rows on the primary, %d on the backup)", d.Table, d.Primary, d.Backup)
	for _, row := range d.OnlyPrimary {
		text += "\n  only on the primary: " + row
	}
	for _, row := range d.Only {
		text += "\n  only on the backup:  " + row
	}
	return text
}

// tablesSQL lists the application's tables, quoted for use in SQL.
const tablesSQL = `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'opmux')
AND n.nspname NOT LIKE 'pg\_temp%' AND n.nspname NOT LIKE 'pg\_toast%' ORDER BY 1`

// Compare compares every table of the application on primary and backup.
func (r *Rig) Compare(ctx context.Context) ([]TableDiff, error) {
	return Compare(ctx, r.Primary.DSN(Database), r.Backup.DSN(Database))
}

// Compare compares every table of two databases, the opmux schema left out.
func Compare(ctx context.Context, primary, backup string) ([]TableDiff, error) {
	on := map[string][2]bool{}
	for side, dsn := range []string{primary, backup} {
		rows, err := Query(ctx, dsn, tablesSQL)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			found := on[row[0]]
			found[side] = true
			on[row[0]] = found
		}
	}
	tables := make([]string, 0, len(on))
	for table := range on {
		tables = append(tables, table)
	}
	sort.Strings(tables)
	diffs := make([]TableDiff, 0, len(tables))
	for _, table := range tables {
		d, err := compareTable(ctx, table, on[table], primary, backup)
		if err != nil {
			return nil, err
		}
		diffs = append(diffs, d)
	}
	return diffs, nil
}

func compareTable(ctx context.Context, table string, on [2]bool, primary, backup string) (TableDiff, error) {
	d := TableDiff{Table: table}
	switch {
	case !on[1]:
		d.Problem = "is not on the backup"
		return d, nil
	case !on[0]:
		d.Problem = "is only on the backup"
		return d, nil
	}
	// Order-independent, and equal for equal multisets of rows.
	sum := fmt.Sprintf("SELECT count(*), coalesce(sum(hashtextextended(t::text, 42)::numeric), 0) FROM %s t", table)
	left, err := Query(ctx, primary, sum)
	if err != nil {
		return d, err
	}
	right, err := Query(ctx, backup, sum)
	if err != nil {
		return d, err
	}
	if _, err := fmt.Sscan(left[0][0]+" "+right[0][0], &d.Primary, &d.Backup); err != nil {
		return d, fmt.Errorf("counting %s: %w", table, err)
	}
	if left[0][1] == right[0][1] && d.Primary == d.Backup {
		return d, nil
	}
	return d, d.examples(ctx, primary, backup)
}

// examples finds rows that only one side has, by a merge of both in order.
func (d *TableDiff) examples(ctx context.Context, primary, backup string) error {
	sql := fmt.Sprintf(`SELECT t::text COLLATE "C" FROM %s t ORDER BY 1`, d.Table)
	left, err := open(ctx, primary, sql)
	if err != nil {
		return err
	}
	defer left.close()
	right, err := open(ctx, backup, sql)
	if err != nil {
		return err
	}
	defer right.close()
	for (left.more || right.more) && len(d.OnlyPrimary) < maxExamples && len(d.Only) < maxExamples {
		order := strings.Compare(left.row, right.row)
		switch {
		case !right.more || left.more && order < 0:
			d.OnlyPrimary = append(d.OnlyPrimary, left.row)
			left.next()
		case !left.more || order > 0:
			d.Only = append(d.Only, right.row)
			right.next()
		default:
			left.next()
			right.next()
		}
	}
	return nil
}

// cursor reads one column of text, row by row.
type cursor struct {
	conn *pgx.Conn
	rows *pgconn.ResultReader
	row  string
	more bool
}

func open(ctx context.Context, dsn, sql string) (*cursor, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	c := &cursor{conn: conn, rows: conn.PgConn().ExecParams(ctx, sql, nil, nil, nil, nil)}
	c.next()
	return c, nil
}

func (c *cursor) next() {
	c.more = c.rows.NextRow()
	c.row = ""
	if c.more {
		c.row = string(c.rows.Values()[0])
	}
}

func (c *cursor) close() { _ = c.conn.Close(context.Background()) } // it was only read

// Explain tells of the tables that differ; it is "" where none does.
func Explain(diffs []TableDiff) string {
	var out []string
	for _, d := range diffs {
		if !d.Identical() {
			out = append(out, d.String())
		}
	}
	return strings.Join(out, "\n")
}
