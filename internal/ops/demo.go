package ops

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/opmux/opmux/internal/demo"
	"github.com/opmux/opmux/internal/rig"
)

func demoCommand() command {
	return command{
		name: "demo",
		args: "[--keep] [--kafka embedded|real] [--duration 20s]",
		what: "show the whole way on this machine: pgbench through opmux, and what arrived",
		more: "Starts private servers on free ports and removes them at the end. Needs PostgreSQL's\nserver programs; --kafka real also Java, Maven and a clone of opmux's repository.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			cfg := demo.Config{Out: stdio.Out, Live: terminal(stdio)}
			c.BoolVar(&cfg.Keep, "keep", false, "stay up after the verdict, until ctrl-C")
			c.StringVar(&cfg.Kafka, "kafka", rig.KafkaEmbedded, "`broker`: embedded, or real for Apache Kafka")
			c.IntVar(&cfg.Scale, "scale", 5, "pgbench's scale: 100,000 accounts each")
			c.IntVar(&cfg.Clients, "clients", 8, "pgbench's clients")
			c.DurationVar(&cfg.Duration, "duration", 20*time.Second, "how long pgbench runs")
			if err := c.parse(); err != nil {
				return err
			}
			if cfg.Kafka != rig.KafkaEmbedded && cfg.Kafka != rig.KafkaReal {
				return c.wrong("--kafka is %q, expected embedded or real", cfg.Kafka)
			}
			if cfg.Duration < time.Second || cfg.Clients < 1 || cfg.Scale < 1 {
				return c.wrong("--duration of at least 1s, --clients and --scale of at least 1 are expected")
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding the other programs beside opmux: %w", err)
			}
			cfg.Bin = filepath.Dir(self)
			return demo.Run(ctx, cfg)
		},
	}
}

// terminal tells whether people watch the output line by line.
func terminal(stdio IO) bool {
	f, ok := stdio.Out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
