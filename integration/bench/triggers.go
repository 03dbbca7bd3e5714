package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/internal/pgserver"
)

const triggersIntro = "What the capture triggers (`capture.triggers`) cost the server for each row that a statement writes, on a table " +
	"of three columns and a primary key: without them; asleep, as they are for every statement that travels otherwise; awake, with what they kept " +
	"taken away again. Each statement writes all rows in a transaction of its own."

// triggerKind is one table of the measurement.
type triggerKind struct{ name, lead, trail string }

var triggerKinds = []triggerKind{
	{"no triggers", "", ""},
	{"asleep", "", ""},
	{"awake", catalog.SwitchOn, "DELETE FROM opmux.captured"},
}

// triggers measures capture triggers on a server of their own.
func (b *bench) triggers(ctx context.Context) (err error) {
	b.say("putting up a server for the capture triggers")
	s, err := pgserver.Start(ctx, pgserver.Config{Name: "triggers", Settings: serverSettings})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	c, err := catalog.Open(ctx, catalog.Config{DSN: s.DSN("postgres"), Triggers: true})
	if err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	times, err := b.timeTriggers(ctx, conn)
	if err != nil {
		return err
	}
	t := table{head: []string{"triggers", "INSERT, µs/row", "UPDATE, µs/row", "DELETE, µs/row"}}
	for i, kind := range triggerKinds {
		row := []string{kind.name}
		for _, list := range times[i] {
			row = append(row, fmt.Sprintf("%.2f", median(list)))
		}
		b.say("capture triggers, %s: INSERT %s, UPDATE %s, DELETE %s µs a row", row[0], row[1], row[2], row[3])
		t.rows = append(t.rows, row)
	}
	b.report.add("Capture triggers", triggersIntro, t)
	return nil
}

// timeTriggers returns microseconds a row by kind and statement, of each round.
func (b *bench) timeTriggers(ctx context.Context, conn *pgx.Conn) ([3][3][]float64, error) {
	var times [3][3][]float64
	for i := range triggerKinds {
		if _, err := conn.Exec(ctx, fmt.Sprintf("CREATE TABLE traced%d (id int PRIMARY KEY, n int, v text)", i)); err != nil {
			return times, err
		}
	}
	if _, err := conn.Exec(ctx, fmt.Sprintf(`DROP TRIGGER %q ON traced0; DROP TRIGGER %q ON traced0`, catalog.TriggerName, catalog.TruncateTriggerName)); err != nil {
		return times, err
	}
	for round := range b.rounds + 1 {
		for i, kind := range triggerKinds {
			for j, sql := range []string{"INSERT INTO traced%d SELECT g, -g, 'row ' || g FROM generate_series(1, %d) g", "UPDATE traced%d SET n = n + 1 WHERE id <= %d", "DELETE FROM traced%d WHERE id <= %d"} {
				began := time.Now()
				if _, err := conn.Exec(ctx, "BEGIN; "+kind.lead+"; "+fmt.Sprintf(sql, i, b.triggerRows)+"; "+kind.trail+"; COMMIT"); err != nil {
					return times, err
				}
				if round > 0 { // the first warms up
					times[i][j] = append(times[i][j], float64(time.Since(began).Microseconds())/float64(b.triggerRows))
				}
			}
		}
	}
	return times, nil
}
