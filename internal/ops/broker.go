package ops

import (
	"context"

	"github.com/opmux/opmux/internal/broker"
	"github.com/opmux/opmux/internal/config"
)

func brokerCommand() command {
	return command{
		name: "broker",
		args: "--listen HOST:PORT --data DIR",
		what: "run an embedded broker that speaks Kafka's protocol, for trying things out",
		more: "Every acknowledged record is on disk before the answer. It is one broker without\nreplicas: for production, use Apache Kafka.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			listen := c.String("listen", "", "`address` to listen on (port 0: a free one)")
			data := c.String("data", "", "`directory` that keeps the records")
			level := c.String("log", "info", "`level` of what is logged: debug, info, warn, error")
			if err := c.parse("listen", "data"); err != nil {
				return err
			}
			log, err := logger(config.Log{Level: *level, Format: "console"}, stdio)
			if err != nil {
				return err
			}
			return broker.Run(ctx, broker.Config{Listen: *listen, DataDir: *data, Log: log})
		},
	}
}
