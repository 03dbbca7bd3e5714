package ops

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/verify"
)

func verdictsCommand() command {
	return command{
		name: "verdicts",
		args: "--config <verify-worker.yaml> [--json]",
		what: "sum up the verify-worker's verdicts, in operations",
		more: "match: primary and backup answered the same. mismatch: they did not. missing: the backup's\nanswer did not come in time. skipped: nothing to compare, for a reason that the verdict names.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			path, asJSON := c.String("config", "", "the verify-worker's configuration `file`"), c.jsonFlag()
			if err := c.parse("config"); err != nil {
				return err
			}
			v, err := config.LoadVerifier(*path)
			if err != nil {
				return exit.AsUsage(err)
			}
			k, err := openKafka(ctx, &config.File{Path: *path, Verifier: v})
			if err != nil {
				return err
			}
			totals, err := verify.Sum(ctx, k.Config)
			if err != nil {
				return k.unreachable(err)
			}
			if *asJSON {
				if err := json.NewEncoder(stdio.Out).Encode(totals); err != nil {
					return fmt.Errorf("writing the totals: %w", err)
				}
				return nil
			}
			fmt.Fprintf(stdio.Out, "match    %10d\nmismatch %10d\nmissing  %10d\nskipped  %10d\n", totals.Match, totals.Mismatch, totals.Missing, totals.Skipped)
			if totals.Mismatch+totals.Missing > 0 {
				fmt.Fprintln(stdio.Out, "the verify-worker's log names each statement that differs")
			}
			return nil
		},
	}
}
