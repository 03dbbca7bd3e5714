package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// transcript collects what a client saw.
type transcript struct{ strings.Builder }

func (s *transcript) say(values ...any) { fmt.Fprintln(s, values...) }

func (s *transcript) err(err error) {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		s.say(pgErr.Severity, pgErr.Code, pgErr.Message, pgErr.Detail, pgErr.Position, pgErr.ConstraintName, pgErr.Where)
		return
	}
	s.say(err)
}

// pgxFeatures is what programs do with pgx.
func pgxFeatures(b *bench, dsn string) string {
	b.t.Helper()
	var s transcript
	conn, err := pgx.ConnectConfig(b.ctx, b.pgxConfig(dsn))
	b.must(err)
	defer conn.Close(context.WithoutCancel(b.ctx))
	for _, part := range []func(context.Context, *pgx.Conn, *transcript){
		pgxWrites, pgxBatches, pgxTransactions, pgxCopy, pgxPipeline, pgxModes, pgxNotify, pgxCancel, pgxWire,
	} {
		part(b.ctx, conn, &s)
	}
	return s.String()
}

func pgxWrites(ctx context.Context, conn *pgx.Conn, s *transcript) {
	exec := func(sql string, args ...any) {
		tag, err := conn.Exec(ctx, sql, args...)
		s.say(tag)
		if err != nil {
			s.err(err)
		}
	}
	exec("CREATE TABLE gx (id bigserial PRIMARY KEY, name text UNIQUE, n numeric, at timestamptz, b bytea, a int[], u uuid)")
	exec("INSERT INTO gx (name, n, at, b, a, u) VALUES ($1, $2, $3, $4, $5, $6)", "ett", "1.50",
		time.Date(2024, 2, 29, 1, 2, 3, 4000, time.UTC), []byte{0, 255}, []int32{1, 2}, "00000000-0000-0000-0000-000000000001")
	exec("INSERT INTO gx (name) VALUES ($1), ($2)", "two", "three")
	exec("UPDATE gx SET n = coalesce(n, 0) + $2 WHERE id = $1", 2, 5)
	exec("UPDATE gx SET n = $1 WHERE name LIKE $2", 3, "t%")
	exec("UPDATE gx SET n = $1 WHERE id = $2", 3, 999)
	exec("DELETE FROM gx WHERE id = $1", 3)
	exec("INSERT INTO gx (name) VALUES ($1)", "ett")
	exec("INSERT INTO gx (name, n) VALUES ($1, 1/$2::int)", "x", 0)
	exec("INSERT INTO gx (nothere) VALUES ($1)", "x")
	exec("")
	rows, err := conn.Query(ctx, "INSERT INTO gx (name, n) SELECT 'q' || i, i FROM generate_series(1, $1) i RETURNING id, name, n", 3)
	if err != nil {
		s.err(err)
	}
	for _, f := range rows.FieldDescriptions() {
		s.say(f.Name, f.DataTypeOID, f.Format)
	}
	for rows.Next() {
		values, err := rows.Values()
		s.say(values, err)
	}
	s.say(rows.CommandTag(), rows.Err())
	description, err := conn.Prepare(ctx, "described", "UPDATE gx SET n = $1 WHERE id = $2")
	if err != nil {
		s.err(err)
		return
	}
	s.say(description.ParamOIDs, len(description.Fields))
	description, err = conn.Prepare(ctx, "returning", "DELETE FROM gx WHERE id = $1 RETURNING name")
	if err != nil {
		s.err(err)
		return
	}
	s.say(description.ParamOIDs, description.Fields[0].Name, len(description.Fields))
	exec("described", 8, 1)
	exec("returning", 4)
}

func pgxBatches(ctx context.Context, conn *pgx.Conn, s *transcript) {
	run := func(queries ...string) {
		batch := &pgx.Batch{}
		for _, q := range queries {
			batch.Queue(q)
		}
		results := conn.SendBatch(ctx, batch)
		for range queries {
			tag, err := results.Exec()
			s.say(tag)
			if err != nil {
				s.err(err)
			}
		}
		if err := results.Close(); err != nil {
			s.err(err)
		}
	}
	run("INSERT INTO gx (name) VALUES ('b1')", "UPDATE gx SET n = 9 WHERE name = 'b1'", "SELECT name FROM gx WHERE n = 9")
	run("INSERT INTO gx (name) VALUES ('b2')", "SELECT 1/0", "INSERT INTO gx (name) VALUES ('b3')")
	run("BEGIN", "INSERT INTO gx (name) VALUES ('b4')", "COMMIT", "INSERT INTO gx (name) VALUES ('b5')")
	run("BEGIN", "INSERT INTO gx (name) VALUES ('b6')", "ROLLBACK")
	pgxNames(ctx, conn, s)
}

func pgxNames(ctx context.Context, conn *pgx.Conn, s *transcript) {
	rows, err := conn.Query(ctx, "SELECT name FROM gx ORDER BY name")
	if err != nil {
		s.err(err)
		return
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	s.say(names, err)
}

func pgxTransactions(ctx context.Context, conn *pgx.Conn, s *transcript) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		s.err(err)
		return
	}
	_, err = tx.Exec(ctx, "UPDATE gx SET n = 100 WHERE id = 1")
	s.say(err)
	nested, err := tx.Begin(ctx)
	if err != nil {
		s.err(err)
		return
	}
	if _, err := nested.Exec(ctx, "INSERT INTO gx (name) VALUES ('ett')"); err != nil {
		s.err(err)
	}
	s.say(nested.Rollback(ctx), string(conn.PgConn().TxStatus()))
	_, err = tx.Exec(ctx, "INSERT INTO gx (name) VALUES ('nested')")
	s.say(err, tx.Commit(ctx), string(conn.PgConn().TxStatus()))
	tx, err = conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		s.err(err)
		return
	}
	if _, err := tx.Exec(ctx, "DELETE FROM gx"); err != nil {
		s.err(err)
	}
	s.err(tx.Commit(ctx))
	pgxNames(ctx, conn, s)
}

func pgxCopy(ctx context.Context, conn *pgx.Conn, s *transcript) {
	tag, err := conn.Exec(ctx, "CREATE TABLE gx_copy (id bigserial, name text PRIMARY KEY, n numeric, u uuid DEFAULT gen_random_uuid(), at timestamptz DEFAULT now())")
	s.say(tag, err)
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"gx_copy"}, []string{"name", "n"}, pgx.CopyFromSlice(500, func(i int) ([]any, error) {
		return []any{fmt.Sprintf("copied %03d", i), i}, nil
	}))
	s.say(n, err)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"gx_copy"}, []string{"name"}, pgx.CopyFromRows([][]any{{"copied 007"}}))
	s.err(err)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"gx_copy"}, []string{"name"}, pgx.CopyFromFunc(func() ([]any, error) {
		return nil, errors.New("the client gives up")
	}))
	s.err(err)
	var out strings.Builder
	tag, err = conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT id, name, n FROM gx_copy WHERE name LIKE 'copied 49%' ORDER BY 1) TO STDOUT")
	s.say(tag, err, out.String())
}

func pgxPipeline(ctx context.Context, conn *pgx.Conn, s *transcript) {
	pipe := conn.PgConn().StartPipeline(ctx)
	pipe.SendQueryParams("UPDATE gx SET n = 1 WHERE id = 1", nil, nil, nil, nil)
	pipe.SendFlushRequest()
	if err := pipe.Flush(); err != nil {
		s.err(err)
	}
	results, err := pipe.GetResults()
	s.say(fmt.Sprintf("%T", results), err)
	if reader, ok := results.(*pgconn.ResultReader); ok {
		tag, err := reader.Close()
		s.say(tag, err)
	}
	pipe.SendQueryParams("INSERT INTO gx (name) VALUES ('piped')", nil, nil, nil, nil)
	pipe.SendQueryParams("SELECT nothere", nil, nil, nil, nil)
	pipe.SendQueryParams("INSERT INTO gx (name) VALUES ('after an error')", nil, nil, nil, nil)
	if err := pipe.Sync(); err != nil {
		s.err(err)
	}
	pipe.SendQueryParams("UPDATE gx SET n = 2 WHERE id = 1", nil, nil, nil, nil)
	if err := pipe.Sync(); err != nil {
		s.err(err)
	}
	for range 12 {
		results, err := pipe.GetResults()
		if err != nil {
			s.err(err)
			continue
		}
		if results == nil {
			break
		}
		s.say(fmt.Sprintf("%T", results))
		if reader, ok := results.(*pgconn.ResultReader); ok {
			tag, err := reader.Close()
			s.say(tag)
			if err != nil {
				s.err(err)
			}
		}
	}
	if err := pipe.Close(); err != nil {
		s.err(err)
	}
	s.say(string(conn.PgConn().TxStatus()))
}

func pgxModes(ctx context.Context, conn *pgx.Conn, s *transcript) {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		for range 2 {
			var name string
			var n float64
			err := conn.QueryRow(ctx, "UPDATE gx SET n = n + 1 WHERE id = $1 RETURNING name, n", mode, int64(1)).Scan(&name, &n)
			s.say(mode, name, n, err)
		}
		tag, err := conn.Exec(ctx, "INSERT INTO gx (name) VALUES ($1)", mode, "mode "+mode.String())
		s.say(tag, err)
	}
	results, err := conn.PgConn().Exec(ctx, "UPDATE gx SET n = 5 WHERE id = 1; SELECT n FROM gx WHERE id = 1; SET DateStyle = 'SQL, DMY'; RESET DateStyle").ReadAll()
	for _, r := range results {
		s.say(r.CommandTag, len(r.Rows))
	}
	s.say(err, conn.PgConn().ParameterStatus("DateStyle"), conn.PgConn().ParameterStatus("TimeZone"), conn.PgConn().ParameterStatus("server_version"))
}

func pgxNotify(ctx context.Context, conn *pgx.Conn, s *transcript) {
	for _, sql := range []string{"LISTEN gx", "NOTIFY gx, 'hello'"} {
		_, err := conn.Exec(ctx, sql)
		s.say(err)
	}
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	n, err := conn.WaitForNotification(waiting)
	if err != nil {
		s.err(err)
		return
	}
	s.say(n.Channel, n.Payload, n.PID == conn.PgConn().PID())
}

// pgxCancel cancels by the protocol's CancelRequest.
func pgxCancel(ctx context.Context, conn *pgx.Conn, s *transcript) {
	done := make(chan error, 1)
	go func() {
		timer := time.NewTimer(300 * time.Millisecond)
		defer timer.Stop()
		<-timer.C
		done <- conn.PgConn().CancelRequest(ctx)
	}()
	_, err := conn.PgConn().Exec(ctx, "SELECT pg_sleep(20)").ReadAll()
	s.err(err)
	s.say(<-done)
	_, err = conn.Exec(ctx, "SELECT 1")
	s.say(err)
}
