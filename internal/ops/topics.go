package ops

import (
	"context"
	"fmt"

	"github.com/opmux/opmux/topics"
)

func topicsCreateCommand() command {
	return command{
		name: "topics create",
		args: "--config F",
		what: "make the topics of the sources and the target that a configuration names",
		more: "Topics that exist are left as they are and checked. kafka.topics of the configuration\nsays with how many replicas, and for how long records are kept.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			path := c.configFlag()
			if err := c.parse("config"); err != nil {
				return err
			}
			f, err := load(*path)
			if err != nil {
				return err
			}
			k, err := openKafka(ctx, f)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, 4*kafkaTimeout)
			defer cancel()
			report, err := topics.Create(ctx, k.Config, topics.Want{Sources: f.Sources(), Targets: f.Targets(), Config: *path})
			for _, name := range report.Created {
				fmt.Fprintf(stdio.Out, "created  %s\n", name)
			}
			for _, name := range report.Existing {
				fmt.Fprintf(stdio.Out, "exists   %s\n", name)
			}
			for _, p := range report.Problems {
				if !p.Fatal {
					fmt.Fprintf(stdio.Err, "warning  %s\n", p)
				}
			}
			return k.unreachable(err)
		},
	}
}
