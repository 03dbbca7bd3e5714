package sqldriver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"

	"github.com/opmux/opmux/capture/sqldriver"
)

// A program captures what it writes: it starts an agent and wraps its driver.
// This one has the agent's file still to write, and is told so.
func Example() {
	run := func(ctx context.Context) (err error) {
		cfg, err := sqldriver.LoadConfig("agent.yaml")
		if err != nil {
			return err
		}
		agent, err := sqldriver.Start(ctx, cfg)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, agent.Close(ctx)) }()
		sql.Register("opmux", agent.Wrap(stdlib.GetDefaultDriver()))
		db, err := sql.Open("opmux", "postgres://app:secret@db.example.com/orders")
		if err != nil {
			return err
		}
		defer db.Close()
		_, err = db.ExecContext(ctx, "INSERT INTO orders (item) VALUES ($1)", "tea")
		return err
	}
	fmt.Println(run(context.Background()))
	// Output: agent.yaml: cannot read the configuration: no such file or directory
}

// A pool of pgx's own connections goes through the agent by its DialFunc.
func ExampleAgent_DialContext() {
	_ = func(ctx context.Context, agent *sqldriver.Agent) (*pgxpool.Pool, error) {
		cfg, err := pgxpool.ParseConfig("postgres://app:secret@db.example.com/orders?sslmode=disable")
		if err != nil {
			return nil, err
		}
		cfg.ConnConfig.DialFunc = agent.DialContext
		return pgxpool.NewWithConfig(ctx, cfg)
	}
}

// A connector of lib/pq's, and its listener, go through the agent by its Dialer.
func ExampleAgent_Dialer() {
	_ = func(agent *sqldriver.Agent) (*sql.DB, error) {
		connector, err := pq.NewConnector("postgres://app:secret@db.example.com/orders?sslmode=disable")
		if err != nil {
			return nil, err
		}
		connector.Dialer(agent.Dialer())
		return sql.OpenDB(connector), nil
	}
}

// A configuration that the program fills itself has the defaults and the rules of
// the file.
func ExampleNewConfig() {
	cfg := sqldriver.NewConfig()
	cfg.Source, cfg.Agent = "orders", "orders-api-1"
	cfg.Kafka.Brokers = []string{"127.0.0.1:9092"}
	cfg.Kafka.SASL = &sqldriver.SASL{Mechanism: "SCRAM-SHA-512", User: "opmux", Password: "secret"}
	cfg.Upstream.Address, cfg.Upstream.Database = "db.example.com:5432", "orders"
	cfg.Catalog.DSN = "postgres://opmux@db.example.com/orders"
	cfg.Gate.Mode = "sometimes"
	_, err := sqldriver.Start(context.Background(), cfg)
	fmt.Println(err)
	// Output: sqldriver.Config: gate.mode: expected none or recorded, got "sometimes"
}
