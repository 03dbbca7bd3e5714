package classify_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
)

// replica runs statements on a primary as a session does, and what Operations
// makes of them on a second database, as a worker does.
type replica struct {
	*rig
	primary, backup *pgconn.PgConn
	settings        []event.Setting
	prepared        map[string]*classify.Plan
}

func newReplica(t *testing.T, level event.Level, schema ...string) *replica {
	t.Helper()
	r := &replica{rig: newRig(t, schema...), prepared: map[string]*classify.Plan{}}
	r.in.Level = level
	other := r.pg.CreateDB(t)
	r.pg.Exec(t, other, schema...)
	r.primary, r.backup = r.connect(r.db), r.connect(other)
	return r
}

func (r *replica) connect(db string) *pgconn.PgConn {
	conn, err := pgconn.Connect(context.Background(), r.pg.DSN(db))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (r *replica) exec(c *pgconn.PgConn, sql string) {
	r.t.Helper()
	if _, err := c.Exec(context.Background(), sql).ReadAll(); err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
}

// set changes a setting of the primary's session, which travels with what follows.
func (r *replica) set(name, value string) {
	r.exec(r.primary, fmt.Sprintf("SET %s = '%s'", name, value))
	r.settings = append(r.settings, event.Setting{Name: name, Value: value})
	r.in.Settings.Settings = r.settings
}

// run runs one statement, with parameters in text form, and returns what was
// published.
func (r *replica) run(sql string, args ...any) []event.Operation {
	r.t.Helper()
	r.exec(r.primary, "BEGIN")
	plan := r.plan(sql)
	params := make([]event.Param, len(args))
	for i, a := range args {
		params[i] = event.Param{Null: a == nil, Value: fmt.Append(nil, a)}
	}
	text := plan.SQL
	switch plan.Kind {
	case classify.Refused, classify.MustFail:
		r.t.Fatalf("%s: %v %v", sql, plan.Kind, plan.Refusal)
	case classify.Prepare:
		r.prepared[plan.Name] = plan.Inner
	case classify.Execute:
		exec := plan
		plan, params = r.prepared[exec.Name].BindArgs(exec), exec.Args
		if plan.Kind == classify.Refused {
			r.t.Fatalf("%s: %v", sql, plan.Refusal)
		}
	}
	e, all := r.onPrimary(plan, text, params)
	if all.Err != nil { // what it drew stays drawn: a session publishes the marks alone
		r.exec(r.primary, "ROLLBACK")
		op := event.Operation{Kind: event.OpSequence, Sequences: r.marks(plan)}
		r.onBackup([]event.Operation{op}, e)
		return []event.Operation{op}
	}
	ops, err := plan.Operations(e)
	if err != nil {
		r.t.Fatalf("%s: %v", sql, err)
	}
	r.exec(r.primary, "COMMIT")
	if plan.CatalogChanges { // as a session does before it classifies again
		if _, err := r.cat.Version(context.Background()); err != nil {
			r.t.Fatal(err)
		}
	}
	if plan.Kind == classify.Write || plan.Kind == classify.DDL || plan.Kind == classify.Draw {
		r.onBackup(ops, e)
	}
	return ops
}

func (r *replica) onPrimary(plan *classify.Plan, text string, params []event.Param) (classify.Execution, *pgconn.Result) {
	ctx := context.Background()
	e := classify.Execution{Params: params, First: true}
	values := make([][]byte, len(params))
	for i, p := range params {
		if !p.Null {
			values[i] = p.Value
		}
	}
	if plan != nil && strings.HasPrefix(strings.ToUpper(text), "EXECUTE") {
		values = nil
	}
	res := r.primary.ExecParams(ctx, text, values, nil, nil, nil).Read()
	if res.Err != nil {
		return e, res
	}
	for _, row := range res.Rows {
		if plan.Hidden == 0 {
			break
		}
		var hidden []event.Value
		for _, v := range row[len(row)-plan.Hidden:] {
			hidden = append(hidden, event.Value{Null: v == nil, Text: v})
		}
		if at, own, _ := plan.PartOf(hidden); len(plan.Parts) > 0 {
			if e.Parts == nil {
				e.Parts = make([]classify.PartRows, len(plan.Parts))
			}
			if at >= 0 {
				e.Parts[at].Rows = append(e.Parts[at].Rows, own)
			}
			continue
		}
		e.Rows = append(e.Rows, hidden)
	}
	e.Affected, e.Tag = res.CommandTag.RowsAffected(), res.CommandTag.String()
	now := r.primary.ExecParams(ctx, "select (extract(epoch from now()) * 1000000)::int8", nil, nil, nil, nil).Read()
	if now.Err != nil {
		r.t.Fatal(now.Err)
	}
	if _, err := fmt.Sscan(string(now.Rows[0][0]), &e.TxTime); err != nil {
		r.t.Fatal(err)
	}
	e.Sequences = r.marks(plan)
	return e, res
}

func (r *replica) marks(plan *classify.Plan) []event.SequenceMark {
	var list []event.SequenceMark
	for _, s := range plan.Sequences {
		mark, err := r.cat.SequenceValue(context.Background(), s.Schema, s.Name)
		if errors.Is(err, catalog.ErrNotFound) {
			continue // its table is of the open transaction
		}
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, mark)
	}
	return list
}

func (r *replica) onBackup(ops []event.Operation, e classify.Execution) {
	r.t.Helper()
	ctx := context.Background()
	r.exec(r.backup, "BEGIN")
	for _, s := range r.settings {
		r.exec(r.backup, fmt.Sprintf("SET LOCAL %s = '%s'", s.Name, s.Value))
	}
	for _, op := range ops {
		switch op.Kind {
		case event.OpStatement:
			values, oids := make([][]byte, len(op.Params)), make([]uint32, len(op.Params))
			for i, p := range op.Params {
				if !p.Null {
					values[i] = p.Value
				}
				oids[i] = p.OID
			}
			res := r.backup.ExecParams(ctx, op.Text, values, oids, nil, nil).Read()
			if res.Err != nil {
				r.t.Fatalf("backup: %s: %v", op.Text, res.Err)
			}
			if op.Digest.Affected >= 0 && res.CommandTag.RowsAffected() != op.Digest.Affected {
				r.t.Errorf("backup: %s: %d rows, %d on the primary", op.Text, res.CommandTag.RowsAffected(), op.Digest.Affected)
			}
			if r.in.Level == event.LevelFull && op.Digest.Affected >= 0 && op.Class != event.ClassRows { // rows that no key names are not hashed
				r.sameRows(op, res.Rows, e.Rows)
			}
		case event.OpSet:
			for _, s := range op.Settings {
				r.exec(r.backup, fmt.Sprintf("SET LOCAL %s = '%s'", s.Name, s.Value))
			}
		case event.OpRows:
			for _, row := range op.Rows.Rows {
				r.applyRow(op.Rows, row)
			}
		}
		for _, s := range op.Sequences {
			r.exec(r.backup, fmt.Sprintf("SELECT setval('%[1]s.%[2]s', %[3]d) FROM %[1]s.%[2]s WHERE %[3]d > last_value OR NOT is_called AND %[3]d >= last_value", s.Schema, s.Name, s.Value))
		}
	}
	r.exec(r.backup, "COMMIT")
}

// sameRows checks that the backup returns the primary's hidden columns (I6: that
// is what digests of level full compare).
func (r *replica) sameRows(op event.Operation, got [][][]byte, want [][]event.Value) {
	r.t.Helper()
	var rows [][]event.Value
	for _, g := range got {
		var row []event.Value
		for _, v := range g {
			row = append(row, event.Value{Null: v == nil, Text: v})
		}
		rows = append(rows, row)
	}
	if !reflect.DeepEqual(rows, want) {
		r.t.Errorf("%s returned\n%v, on the primary\n%v", op.Text, rows, want)
	}
}

func (r *replica) applyRow(im *event.RowImages, row event.RowImage) {
	r.t.Helper()
	var args [][]byte
	bind := func(list []event.Value, types []string) (out []string) {
		for i, v := range list {
			if v.Null {
				args = append(args, nil)
			} else {
				args = append(args, v.Text)
			}
			out = append(out, fmt.Sprintf("$%d::%s", len(args), types[i]))
		}
		return out
	}
	quote := func(list []string) (out []string) {
		for _, c := range list {
			out = append(out, catalog.QuoteIdent(c))
		}
		return out
	}
	table := catalog.QuoteIdent(im.Schema) + "." + catalog.QuoteIdent(im.Table)
	pairs := func(columns, values []string, sep string) string {
		var out []string
		for i, c := range quote(columns) {
			out = append(out, c+" = "+values[i])
		}
		return strings.Join(out, sep)
	}
	var sql string
	switch im.Action {
	case event.ActionInsert, event.ActionUpsert:
		sql = fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s)", table, strings.Join(quote(im.Columns), ", "), strings.Join(bind(row.Values, im.ColumnTypes), ", "))
		if im.Action == event.ActionUpsert {
			var set []string
			for _, c := range quote(im.Columns) {
				if !strings.Contains(strings.Join(quote(im.Key), ","), c) {
					set = append(set, c+" = excluded."+c)
				}
			}
			sql += fmt.Sprintf(" ON CONFLICT (%s) DO UPDATE SET %s", strings.Join(quote(im.Key), ", "), strings.Join(set, ", "))
		}
	case event.ActionUpdate:
		sql = fmt.Sprintf("UPDATE %s SET %s WHERE %s", table, pairs(im.Columns, bind(row.Values, im.ColumnTypes), ", "), pairs(im.Key, bind(row.Key, im.KeyTypes), " AND "))
	case event.ActionDelete:
		sql = fmt.Sprintf("DELETE FROM %s WHERE %s", table, pairs(im.Key, bind(row.Key, im.KeyTypes), " AND "))
	}
	if im.Returning != nil && len(im.Returning) == 0 {
		r.t.Errorf("%s: level full without Returning", sql)
	}
	res := r.backup.ExecParams(context.Background(), sql, args, nil, nil, nil).Read()
	if res.Err != nil {
		r.t.Fatalf("backup: %s: %v", sql, res.Err)
	}
	if res.CommandTag.RowsAffected() != 1 {
		r.t.Errorf("backup: %s hit %d rows", sql, res.CommandTag.RowsAffected())
	}
}

// same compares tables and sequences of both databases.
func (r *replica) same(tables ...string) {
	r.t.Helper()
	for _, table := range tables {
		sql := fmt.Sprintf("select x::text from (table %s) x order by 1", table)
		if table == "sequences" {
			sql = "select schemaname || '.' || sequencename || ' ' || coalesce(last_value, 0) from pg_sequences where schemaname = 'public' order by 1"
		}
		a, b := r.rows(r.primary, sql), r.rows(r.backup, sql)
		if !reflect.DeepEqual(a, b) {
			r.t.Errorf("%s differs:\nprimary %q\nbackup  %q", table, a, b)
		}
	}
}

func (r *replica) rows(c *pgconn.PgConn, sql string) []string {
	r.t.Helper()
	r.exec(c, "BEGIN; SET LOCAL TimeZone = 'UTC'")
	res := c.ExecParams(context.Background(), sql, nil, nil, nil, nil).Read()
	if res.Err != nil {
		r.t.Fatal(errors.Join(errors.New(sql), res.Err))
	}
	r.exec(c, "COMMIT")
	var out []string
	for _, row := range res.Rows {
		out = append(out, string(row[0]))
	}
	return out
}
