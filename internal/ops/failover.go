package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/capture/order/settle"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/topics"
)

const failoverMore = "The stream is read for commits that the new primary does not have, since targets are ahead by them.\n" +
	"--from leaves out what is older; by default everything that the topic holds is looked at."

func failoverShowCommand() command {
	return command{
		name: "failover show",
		args: "--config F [--from beginning|OFFSET|RFC3339] [--json]",
		what: "say what a promoted standby has lost of the stream (F is an agent's)",
		more: "Nothing is changed.\n" + failoverMore,
		run: func(ctx context.Context, stdio IO, c *call) error {
			return runFailover(ctx, stdio, c, func(context.Context, *kafka, *order.Failover) error { return nil })
		},
	}
}

func failoverAcceptCommand() command {
	return command{
		name: "failover accept",
		args: "--config F [--from beginning|OFFSET|RFC3339] [--json]",
		what: "go on with a promoted standby as the primary (F is an agent's)",
		more: "Be sure that the former primary is down and stays down, and that catalog.dsn and upstream lead\n" +
			"to the new one. Agents of the source must not run; start them afterwards. Epochs of which the new\n" +
			"primary has lost commits are suspect from then on, for each target until it is filled again.\n" + failoverMore,
		run: func(ctx context.Context, stdio IO, c *call) error {
			return runFailover(ctx, stdio, c, acceptFailover)
		},
	}
}

// failoverReport is what the commands print.
type failoverReport struct {
	Source string `json:"source"`
	// Needed: the primary is another one than the stream was recorded on.
	Needed       bool         `json:"needed"`
	From         string       `json:"from"`
	To           string       `json:"to"`
	FromTimeline int32        `json:"from_timeline"`
	ToTimeline   int32        `json:"to_timeline"`
	End          string       `json:"end"`
	Accepted     bool         `json:"accepted"`
	LostCount    int          `json:"lost_count"`
	Lost         []lostCommit `json:"lost"`
	Open         int          `json:"open"`
}

// lostCommit is a transaction that targets have and the new primary has not.
type lostCommit struct {
	Offset int64     `json:"offset"`
	Agent  string    `json:"agent"`
	Epoch  int64     `json:"epoch"`
	N      int64     `json:"n"`
	ID     string    `json:"id"`
	XID    uint64    `json:"xid"`
	Time   time.Time `json:"time"`
}

func runFailover(ctx context.Context, stdio IO, c *call, then func(context.Context, *kafka, *order.Failover) error) error {
	path, asJSON := c.String("config", "", "the agent's configuration `file`"), c.jsonFlag()
	from := c.String("from", "", "`where` to begin looking for lost commits")
	if err := c.parse("config"); err != nil {
		return err
	}
	at, err := parsePlace(*from)
	if err != nil {
		return c.wrong("--from: %v", err)
	}
	a, err := config.LoadAgent(*path)
	if err != nil {
		return exit.AsUsage(err)
	}
	f, err := load(*path)
	if err != nil {
		return err
	}
	k, err := openKafka(ctx, f)
	if err != nil {
		return err
	}
	found, err := k.failover(ctx, a, at)
	if errors.Is(err, order.ErrNoFailover) {
		if *asJSON {
			return encodeFailover(stdio, reportFailover(a.Source, found, false, false))
		}
		fmt.Fprintf(stdio.Out, "nothing to accept: %v\n", err)
		return nil
	}
	if err != nil {
		return k.unreachable(err)
	}
	if err := then(ctx, k, found); err != nil {
		return k.unreachable(err)
	}
	report := reportFailover(a.Source, found, true, c.command.name == "failover accept")
	if *asJSON {
		return encodeFailover(stdio, report)
	}
	printFailover(stdio.Out, report, *path)
	return nil
}

func (k *kafka) failover(ctx context.Context, a *config.Agent, at place) (*order.Failover, error) {
	server, err := settle.Open(a.Catalog.DSN)
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Close() }() // it was only asked
	b, err := k.bounds(ctx, a.Source)
	if err != nil {
		return nil, err
	}
	from, err := k.resolve(ctx, a.Source, at, b)
	if err != nil {
		return nil, err
	}
	found, err := order.FindFailover(ctx, k.Config, k.codec, server, a.Source, from)
	var history *settle.HistoryError
	if errors.As(err, &history) {
		return nil, fmt.Errorf("%w: it was made from an earlier one, and all that the stream recorded since is missing there; promote a standby of the stream's primary, or begin a new stream (another kafka.prefix) with `opmux topics create` and `opmux snapshot`", err)
	}
	return found, err
}

// liveFor is how long an agent's heartbeats are listened for.
const liveFor = 3 * time.Second

// acceptFailover writes the acceptance, unless an agent is at work: on the former
// primary it would go on recording what the new one does not have.
func acceptFailover(ctx context.Context, k *kafka, f *order.Failover) error {
	name, err := k.liveAgent(ctx, f.Source())
	if err != nil {
		return err
	}
	if name != "" {
		return fmt.Errorf("agent %q of source %s is alive: stop all agents of the source (what they record on the former primary is not on the new one), accept, and start them again with catalog.dsn and upstream.address of the new primary", name, f.Source())
	}
	producer, err := topics.NewProducer(ctx, k.Config)
	if err != nil {
		return err
	}
	defer func() { _ = producer.Close() }() // what it wrote is acknowledged
	return f.Accept(ctx, producer)
}

// liveAgent names an agent of the source that beats, by the heartbeats that arrive
// from now on: clocks need not agree.
func (k *kafka) liveAgent(ctx context.Context, source string) (string, error) {
	before, err := k.heartbeats(ctx)
	if err != nil {
		return "", err
	}
	timer := time.NewTimer(liveFor)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case <-timer.C:
	}
	after, err := k.heartbeats(ctx)
	if err != nil {
		return "", err
	}
	for key, h := range after {
		if h.Role == topics.RoleAgent && h.Source == source && h.Epoch >= 0 && h.Time.After(before[key].Time) {
			return h.Name, nil
		}
	}
	return "", nil
}

func reportFailover(source string, f *order.Failover, needed, accepted bool) failoverReport {
	r := failoverReport{Source: source, Needed: needed, From: primaryText(f.From), To: primaryText(f.To.Primary),
		FromTimeline: f.From.Timeline, ToTimeline: f.To.Timeline, End: fmt.Sprintf("%X/%X", f.End>>32, f.End&0xffffffff),
		Accepted: accepted, LostCount: f.Lost.Count, Lost: []lostCommit{}, Open: len(f.Open)}
	for _, l := range f.Lost.Commits {
		r.Lost = append(r.Lost, lostCommit{Offset: l.Offset, Agent: l.Agent, Epoch: l.Epoch, N: l.N, ID: uuid.UUID(l.Tx).String(), XID: l.XID, Time: l.Time})
	}
	return r
}

func encodeFailover(stdio IO, r failoverReport) error {
	if err := json.NewEncoder(stdio.Out).Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func printFailover(w io.Writer, r failoverReport, path string) {
	fmt.Fprintf(w, "source %s: recorded on %s; the primary is %s\n", r.Source, r.From, r.To)
	fmt.Fprintf(w, "timeline %d ended at %s; what was written behind it is not on the new primary\n", r.FromTimeline, r.End)
	for _, l := range r.Lost {
		fmt.Fprintf(w, "LOST      offset %d  %s/%d/%d  xid %d  at %s\n", l.Offset, l.Agent, l.Epoch, l.N, l.XID, l.Time.Format(time.RFC3339Nano))
	}
	if more := r.LostCount - len(r.Lost); more > 0 {
		fmt.Fprintf(w, "LOST      and %d more\n", more)
	}
	switch r.LostCount {
	case 0:
		fmt.Fprintln(w, "no commit is lost")
	default:
		fmt.Fprintf(w, "%d commits that applications were told of are on the targets and not on the new primary:\n"+
			"          → run their statements on the new primary directly (opmux tail --config %s --from OFFSET shows them),\n"+
			"            or let them go and fill the targets anew with opmux snapshot\n", r.LostCount, path)
	}
	if r.Open > 0 {
		fmt.Fprintf(w, "%d transactions have no outcome yet: agents settle them by the new primary's word, opmux indoubt list shows what stays\n", r.Open)
	}
	if r.Accepted {
		fmt.Fprintf(w, "accepted: agents of source %s may start on timeline %d\n", r.Source, r.ToTimeline)
	} else {
		fmt.Fprintf(w, "not accepted yet: opmux failover accept --config %s\n", path)
	}
}
