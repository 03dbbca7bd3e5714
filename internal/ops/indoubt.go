package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/topics"
)

// doubtful is a transaction of which no live session will say how it ended.
type doubtful struct {
	Source     string    `json:"source"`
	Offset     int64     `json:"offset"`
	Agent      string    `json:"agent"`
	Epoch      int64     `json:"epoch"`
	N          int64     `json:"n"`
	ID         string    `json:"id"`
	XID        uint64    `json:"xid"`
	Since      time.Time `json:"since"`
	Reason     string    `json:"reason"`
	Statements []string  `json:"statements"`
}

// inDoubt lists the open intents that no live session will end: those of ended
// epochs and of silent agents, and those that live agents say are in doubt.
func (k *kafka) inDoubt(ctx context.Context, source string, beats map[string]topics.Heartbeat) ([]doubtful, error) {
	scan, err := order.OpenIntents(ctx, k.Config, k.codec, source)
	if err != nil {
		return nil, err
	}
	live := map[event.EpochRef]bool{}
	for _, h := range beats {
		if h.Role == topics.RoleAgent && h.Source == source && alive(h, now()) {
			live[event.EpochRef{Agent: h.Name, Epoch: h.Epoch}] = true
		}
	}
	var list []doubtful
	for _, o := range scan.Open {
		d := doubtful{
			Source: source, Offset: o.Offset, Agent: o.Agent, Epoch: o.Epoch, N: o.N, ID: uuid.UUID(o.Tx).String(), XID: o.XID,
			Since: o.Time, Statements: []string{},
		}
		switch {
		case o.InDoubt != "":
			d.Reason = o.InDoubt
		case o.Ended:
			d.Reason = "its epoch has ended; a running agent settles it"
		case live[event.EpochRef{Agent: o.Agent, Epoch: o.Epoch}]:
			continue // its session will say
		default:
			d.Reason = fmt.Sprintf("agent %s is silent; it settles it when it starts again, or another running agent does", o.Agent)
		}
		list = append(list, d)
	}
	return list, nil
}

// maxStatements bounds the statements that are shown of one transaction.
const maxStatements = 5

// statements reads what a transaction in doubt would do.
func (k *kafka) statements(ctx context.Context, d *doubtful) error {
	ctx, cancel := context.WithTimeout(ctx, kafkaTimeout)
	defer cancel()
	return k.each(ctx, d.Source, d.Offset, d.Offset+1, func(_ topics.Message, rec *event.Record) error {
		tx, ok := rec.Body.(*event.Transaction)
		if !ok {
			return nil
		}
		for i := range tx.Operations {
			if text := tx.Operations[i].Text; text != "" && len(d.Statements) < maxStatements {
				d.Statements = append(d.Statements, shortened(text))
			}
		}
		return nil
	})
}

func indoubtListCommand() command {
	return command{
		name: "indoubt list",
		args: "--config F [--json]",
		what: "list transactions whose agent is gone and whose end is not known",
		more: "Running agents settle them by asking the primary. What stays for longer than some seconds\nis for a person to decide: look on the primary whether the transaction's changes are there,\nthen use opmux indoubt settle.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			path, asJSON := c.configFlag(), c.jsonFlag()
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
			beats, err := k.heartbeats(ctx)
			if err != nil {
				return err
			}
			all := []doubtful{}
			for _, source := range f.Sources() {
				list, err := k.inDoubt(ctx, source, beats)
				if err != nil {
					return err
				}
				all = append(all, list...)
			}
			for i := range all {
				if err := k.statements(ctx, &all[i]); err != nil {
					return err
				}
			}
			return printInDoubt(stdio, *path, all, *asJSON)
		},
	}
}

func printInDoubt(stdio IO, path string, all []doubtful, asJSON bool) error {
	if asJSON {
		if err := json.NewEncoder(stdio.Out).Encode(all); err != nil {
			return fmt.Errorf("writing the list: %w", err)
		}
		return nil
	}
	if len(all) == 0 {
		fmt.Fprintln(stdio.Out, "nothing is in doubt")
		return nil
	}
	for _, d := range all {
		fmt.Fprintf(stdio.Out, "%s offset %d  %s/%d/%d  xid %d  since %s\n    %s\n", d.Source, d.Offset, d.Agent, d.Epoch, d.N, d.XID, d.Since.Format(time.RFC3339), d.Reason)
		for _, s := range d.Statements {
			fmt.Fprintf(stdio.Out, "    %s\n", s)
		}
		fmt.Fprintf(stdio.Out, "    → opmux indoubt settle --config %s --source %s --offset %d --as committed|aborted\n", path, d.Source, d.Offset)
	}
	return nil
}
