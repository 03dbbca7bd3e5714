// Command capture-agent stands between an application and its PostgreSQL primary
// and records what the application commits.
package main

import (
	"context"
	"os"

	"github.com/opmux/opmux/internal/agent"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/process"
)

func main() {
	os.Exit(process.Main(process.Program[*config.Agent]{
		Name: "capture-agent",
		What: "records the operations of a primary's applications on Kafka",
		Load: config.LoadListening,
		Half: true,
		Run: func(ctx context.Context, cfg *config.Agent, rt *process.Runtime) error {
			return agent.Run(ctx, cfg, agent.Surroundings{Log: rt.Log, Metrics: rt.Metrics, Ready: rt.Ready, Door: agent.Address(cfg.Listen.Address)})
		},
	}, os.Args[1:]))
}
