// Package sqldriver captures what a Go program writes to PostgreSQL, inside that
// program: it is the capture agent as a library. The program starts an Agent and
// wraps the driver that it uses; its connection strings, its SQL and its errors
// stay what they were.
//
//	cfg, err := sqldriver.LoadConfig("agent.yaml")
//	agent, err := sqldriver.Start(ctx, cfg, sqldriver.WithLogger(log))
//	defer agent.Close(ctx)
//	sql.Register("opmux", agent.Wrap(stdlib.GetDefaultDriver()))
//	db, err := sql.Open("opmux", "postgres://app:secret@db.example.com/orders")
//
// The agent is the whole one: protocol, classifier, order, gate and recovery are
// those of the program capture-agent, which this package runs behind unix sockets
// of its own directory instead of a TCP port. Whatever a driver sends is captured
// or refused by name, be it a statement, COPY, a pipeline or what a program does
// with the driver's native connection. It logs nowhere unless it is given a
// logger, and installs no signal handler, no limit of memory and no metrics
// outside of its own registry.
//
// Connections end to end: authentication passes through to the primary. TLS is
// the agent's own with the primary (upstream.tls). docs/sqldriver.md tells what it
// costs and what happens when the program is killed.
package sqldriver
