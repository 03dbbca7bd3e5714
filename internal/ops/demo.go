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
		args: "[--kafka embedded|real] [--keep] [--scale N] [--clients N] [--duration D]",
		what: "show the whole way on this machine, from pgbench to a verified backup",
		more: "Starts two private PostgreSQL servers, a broker and opmux's programs on free ports, and\nremoves everything at the end. The programs are taken from the directory of this one.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			broker := c.String("kafka", rig.KafkaEmbedded, "the `broker`: embedded, or real (Apache Kafka)")
			keep := c.Bool("keep", false, "stay up after the verdict and say what to try")
			scale := c.Int("scale", 0, "pgbench's scale factor (default 5)")
			clients := c.Int("clients", 0, "pgbench's clients (default 8)")
			duration := c.Duration("duration", 0, "how long pgbench runs (default 20s)")
			if err := c.parse(); err != nil {
				return err
			}
			switch {
			case *broker != rig.KafkaEmbedded && *broker != rig.KafkaReal:
				return c.wrong("--kafka: expected %s or %s, got %q", rig.KafkaEmbedded, rig.KafkaReal, *broker)
			case *scale < 0 || *clients < 0 || *duration < 0 || (*duration > 0 && *duration < time.Second):
				return c.wrong("--scale and --clients must be above 0, --duration at least 1s")
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding the other programs: %w", err)
			}
			return demo.Run(ctx, demo.Config{
				Bin: filepath.Dir(self), Kafka: *broker, Keep: *keep, Out: stdio.Out, Live: isTerminal(stdio.Out),
				Scale: *scale, Clients: *clients, Duration: *duration,
			})
		},
	}
}

// isTerminal says whether lines can be redrawn.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
