package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/agent"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/internal/readiness"
)

func explainCommand() command {
	return command{
		name: "explain",
		args: "--config F [--search-path S] [--json] -- 'SQL…' …",
		what: "say how statements would travel to the backups, and why; none is run",
		more: `F is an agent's configuration. Names resolve as for a session of catalog.dsn's login, parameters ($1) have no
declared types, and each statement is looked at as if those before it had not run. The actions:

  pass     it runs, and publishes nothing
  publish  it runs, and its effect is published in its class
  flag     it runs, and its tables count as diverged from then on (on_unsafe: flag)
  refuse   it does not run; the client gets the reason as an error
  fail     it goes to the primary, which is expected to reject it

With --json each statement is one line with the keys statement, construct, class, reason, action, tables, runs_as
(where that is not the statement itself), hint and position.`,
		run: runExplain,
	}
}

// explained is what is said of one statement.
type explained struct {
	Statement string      `json:"statement"`
	Construct string      `json:"construct"`
	Class     event.Class `json:"class"`
	Reason    string      `json:"reason"`
	Action    string      `json:"action"`
	Tables    []string    `json:"tables"`
	RunsAs    string      `json:"runs_as,omitempty"`
	Hint      string      `json:"hint,omitempty"`
	Position  int         `json:"position,omitempty"` // 1-based characters of the statement
}

func runExplain(ctx context.Context, stdio IO, c *call) error {
	path, asJSON := c.configFlag(), c.jsonFlag()
	searchPath := c.String("search-path", "", "the session's search_path, as `names` by comma (default: that of catalog.dsn's login)")
	if err := c.parseWithArgs("config"); err != nil {
		return err
	}
	if c.NArg() == 0 {
		return c.wrong("a statement is required behind the flags")
	}
	cfg, err := config.LoadAgent(*path)
	if err != nil {
		return exit.AsUsage(err)
	}
	e := &explainer{cfg: cfg, print: printExplained(stdio.Out)}
	if *asJSON {
		e.print = json.NewEncoder(stdio.Out).Encode
	}
	if err := e.open(ctx, *searchPath); err != nil {
		return err
	}
	defer func() { _ = e.catalog.Close() }() // it was only read from
	for _, sql := range c.Args() {
		if err := e.text(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// explainer classifies as the sessions of an agent do.
type explainer struct {
	cfg        *config.Agent
	catalog    *catalog.Catalog
	classifier *classify.Classifier
	session    classify.Input // without a statement
	print      func(any) error
}

// sessionSQL asks for the settings that decide how a statement is classified.
const sessionSQL = `SELECT current_user::text, pg_catalog.current_schemas(true)::text[], ARRAY['DateStyle', pg_catalog.current_setting('DateStyle'),
	'extra_float_digits', pg_catalog.current_setting('extra_float_digits'), 'role', pg_catalog.current_setting('role'),
	'session_replication_role', pg_catalog.current_setting('session_replication_role'),
	'search_path', coalesce((pg_catalog.current_schemas(false))[1]::text, '')]`

// open learns what a session would be like, and opens the catalogue.
func (e *explainer) open(ctx context.Context, searchPath string) error {
	conn, err := connect(ctx, e.cfg.Catalog.DSN, "primary (catalog.dsn)")
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
	if searchPath != "" {
		if _, err := conn.Exec(ctx, "SELECT pg_catalog.set_config('search_path', $1, false)", searchPath); err != nil {
			return exit.Usagef("--search-path %q: %v", searchPath, err)
		}
	}
	var settings []string
	e.session.Level = event.Level(e.cfg.Digest.Level)
	if err := conn.QueryRow(ctx, sessionSQL).Scan(&e.session.Settings.User, &e.session.Schemas, &settings); err != nil {
		return fmt.Errorf("primary (catalog.dsn): reading the session's settings: %w", err)
	}
	for i := 0; i+1 < len(settings); i += 2 {
		e.session.Settings.Settings = append(e.session.Settings.Settings, event.Setting{Name: settings[i], Value: settings[i+1]})
	}
	if e.catalog, err = catalog.Open(ctx, catalog.Config{DSN: e.cfg.Catalog.DSN, ReadOnly: true, Triggers: e.cfg.Capture.Triggers}); err != nil {
		return err
	}
	e.classifier = agent.Classifier(e.cfg, e.catalog)
	return nil
}

// text explains every statement of a text.
func (e *explainer) text(ctx context.Context, sql string) error {
	statements, err := e.classifier.Split(sql)
	var syntax *classify.SyntaxError
	if errors.As(err, &syntax) {
		return e.print(unparsable(sql, syntax))
	}
	if err != nil {
		return err
	}
	if len(statements) == 0 {
		return exit.Usagef("explain: %q holds no statement", sql)
	}
	for _, s := range statements {
		in := e.session
		in.SQL = s.Text
		plan, err := e.classifier.Classify(ctx, in)
		if err != nil {
			return err
		}
		if err := e.print(explain(strings.TrimSpace(s.Text), plan, e.cfg.OnUnsafe == "flag")); err != nil {
			return err
		}
	}
	return nil
}

// unparsable is what the agent does with a text that its parser does not know: the
// server tells an error of syntax from a statement of another version.
func unparsable(sql string, err *classify.SyntaxError) explained {
	return explained{Statement: sql, Construct: "statement", Class: event.ClassRefused, Action: readiness.Refuse, Tables: []string{},
		Reason: err.Message + "; what opmux cannot parse does not run", Position: err.Position}
}

// explain says what a plan means for a statement, under policy flag or reject.
func explain(statement string, p *classify.Plan, flag bool) explained {
	x := explained{Statement: statement, Construct: p.Construct, Class: p.Class, Reason: p.Reason, Tables: append([]string{}, p.Tables...)}
	if p.Kind == classify.Prepare && p.Inner != nil {
		x = explain(statement, p.Inner, flag)
		if x.Construct = "PREPARE of " + x.Construct; x.Action == readiness.Publish {
			x.Reason = "each EXECUTE of it: " + x.Reason
		}
		x.RunsAs = ""
		return x
	}
	switch p.Kind {
	case classify.Refused:
		x.Construct, x.Hint, x.Position = p.Refusal.Construct, p.Refusal.Hint, p.Refusal.Position
		if x.Action = readiness.Refuse; flag && !p.Refusal.Always {
			x.Action, x.Tables = readiness.Flag, append([]string{}, p.Diverged...)
		}
	case classify.MustFail:
		x.Action = readiness.Fail
	case classify.Write, classify.Copy, classify.DDL, classify.Standalone, classify.Draw:
		x.Action = readiness.Publish
	default:
		x.Action = readiness.Pass
	}
	if x.Reason == "" {
		x.Reason = "it changes nothing that the backups hold"
	}
	if sent := strings.TrimSpace(p.SQL); p.Kind != classify.Refused && sent != "" && sent != statement {
		x.RunsAs = sent
	}
	return x
}

// printExplained prints for people.
func printExplained(w io.Writer) func(any) error {
	return func(v any) error {
		x := v.(explained)
		var b strings.Builder
		fmt.Fprintf(&b, "%s\n  action    %s\n  class     %s\n  construct %s\n  reason    %s\n", x.Statement, x.Action, x.Class, x.Construct, x.Reason)
		if len(x.Tables) > 0 {
			fmt.Fprintf(&b, "  tables    %s\n", strings.Join(x.Tables, ", "))
		}
		if x.RunsAs != "" {
			fmt.Fprintf(&b, "  runs as   %s\n", strings.ReplaceAll(x.RunsAs, "\n", "\n            "))
		}
		if x.Hint != "" {
			fmt.Fprintf(&b, "  way out   %s\n", x.Hint)
		}
		if x.Position > 0 && x.Position <= utf8.RuneCountInString(x.Statement)+1 {
			fmt.Fprintf(&b, "  position  character %d\n", x.Position)
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
}
