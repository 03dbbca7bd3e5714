// Command apply-worker makes a backup follow its sources: it consumes their
// transactions from Kafka and executes each one on the target exactly once.
package main

import (
	"context"
	"os"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/process"
)

func main() {
	os.Exit(process.Main(process.Program[*config.Worker]{
		Name: "apply-worker",
		What: "apply the transactions of sources to a target",
		Load: config.LoadWorker,
		Run:  run,
		// A backlog passes through: what is held is little beside what has passed.
		Garbage: 300,
	}, os.Args[1:]))
}

func run(ctx context.Context, cfg *config.Worker, rt *process.Runtime) error {
	kafka, err := cfg.Topics()
	if err != nil {
		return err
	}
	codec, err := cfg.Kafka.Codec(ctx)
	if err != nil {
		return err
	}
	w, err := apply.New(apply.Config{
		Target: cfg.Target, Name: cfg.Name, DSN: cfg.DSN, Sources: cfg.SourceNames(),
		Parallelism: cfg.Parallelism, OnError: cfg.OnError, Memory: int64(cfg.Memory) / int64(len(cfg.Sources)), NoSets: !cfg.Sets,
	}, apply.Deps{
		Topics: kafka, Codec: codec, Log: rt.Log, Metrics: rt.Metrics, Normalise: classify.Normalise, Shape: classify.Shape, Definition: classify.Definition,
	})
	if err != nil {
		return err
	}
	rt.Ready(w.Ready)
	return w.Run(ctx)
}
