// Command verify-worker compares what backups answered with what their primaries
// answered, operation by operation, and says so when they differ.
package main

import (
	"context"
	"os"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/process"
	"github.com/opmux/opmux/verify"
)

func main() {
	os.Exit(process.Main(process.Program[*config.Verifier]{
		Name: "verify-worker",
		What: "compare the digests of primaries and backups and report every difference",
		Load: config.LoadVerifier,
		Run:  run,
	}, os.Args[1:]))
}

func run(ctx context.Context, cfg *config.Verifier, rt *process.Runtime) error {
	kafka, err := cfg.Topics()
	if err != nil {
		return err
	}
	codec, err := cfg.Kafka.Codec(ctx)
	if err != nil {
		return err
	}
	v, err := verify.New(settings(cfg), verify.Deps{
		Topics: kafka, Codec: codec, Log: rt.Log, Metrics: rt.Metrics, Normalise: classify.Normalise,
	})
	if err != nil {
		return err
	}
	rt.Ready(v.Ready)
	return v.Run(ctx)
}

func settings(cfg *config.Verifier) verify.Config {
	c := verify.Config{
		Name: cfg.Name, Level: event.Level(cfg.Level), Timeout: cfg.Timeout, Memory: int64(cfg.Memory),
	}
	for _, s := range cfg.Sources {
		c.Sources = append(c.Sources, verify.Source{Name: s.Name, Targets: s.Targets})
	}
	if w := cfg.Webhook; w != nil {
		c.Webhook = verify.Webhook{URL: w.URL, Always: w.On == "always", Timeout: w.Timeout}
	}
	return c
}
