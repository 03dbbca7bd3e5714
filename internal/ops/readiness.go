package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/agent"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/internal/readiness"
)

func readinessCommand() command {
	return command{
		name: "readiness",
		args: "--config <agent.yaml> [--duration 10m] [--json|--html] [--out F] [--forms N]",
		what: "watch an application's statements and report which of them opmux would carry",
		more: `It listens at listen.address, where the capture-agent of that configuration would, and relays every session to
upstream.address as it is: nothing is wrapped, refused or published, Kafka is not needed, and nothing is written
to the primary. Ctrl-C ends the watch early, with the report. The agent must not run at that address meanwhile.

Each statement is reported without its constants, with how often the client had it run (0: it was only prepared),
and with the class, the reason and the action that opmux explain tells. One more action is unknown: it could not be
told. Coverage is the share of statements, and of writes, whose action is pass or publish; what the primary rejects
(fail) counts in neither.`,
		run: runReadiness,
	}
}

// readinessFlags are the command's.
type readinessFlags struct {
	duration       time.Duration
	asJSON, asHTML bool
	out            string
	forms          int
}

func runReadiness(ctx context.Context, stdio IO, c *call) error {
	path := c.String("config", "", "the capture-agent's configuration `file`")
	var f readinessFlags
	c.DurationVar(&f.duration, "duration", 10*time.Minute, "how long to watch, as `90s` or 2h")
	c.BoolVar(&f.asJSON, "json", false, "print JSON for programs")
	c.BoolVar(&f.asHTML, "html", false, "print one page of HTML, which needs nothing else")
	c.StringVar(&f.out, "out", "", "the `file` that the report goes to, instead of standard output")
	c.IntVar(&f.forms, "forms", 5000, "keep so `many` different statements; the rest is counted together")
	if err := c.parse("config"); err != nil {
		return err
	}
	switch {
	case f.asJSON && f.asHTML:
		return c.wrong("--json and --html exclude each other")
	case f.duration <= 0:
		return c.wrong("--duration: expected more than 0, got %s", f.duration)
	case f.forms < 1:
		return c.wrong("--forms: expected at least 1, got %d", f.forms)
	}
	cfg, err := config.LoadListening(*path)
	if err != nil {
		return exit.AsUsage(err)
	}
	return watchReadiness(ctx, stdio, cfg, &f)
}

// watchReadiness watches and reports. Where the watch ends by an error, what it has
// seen by then is reported nevertheless.
func watchReadiness(ctx context.Context, stdio IO, cfg *config.Agent, f *readinessFlags) error {
	log, err := logger(cfg.Log, stdio)
	if err != nil {
		return err
	}
	out, err := openReport(f.out)
	if err != nil {
		return err
	}
	defer out.abandon()
	tally := readiness.NewTally(f.forms)
	report := &readiness.Report{Source: cfg.Source, Database: cfg.Upstream.Database, OnUnsafe: cfg.OnUnsafe}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	observer := func(systemID string) session.Observer {
		return &witness{tally: tally, systemID: systemID, flag: cfg.OnUnsafe == "flag", form: classify.Normaliser{Form: classify.Anonymise}}
	}
	err = agent.Observe(watching, cfg, log, observer, func(address string) {
		report.Began = now()
		timer := time.AfterFunc(f.duration, cancel)
		context.AfterFunc(watching, func() { timer.Stop() })
		fmt.Fprintf(stdio.Err, "watching at %s for %s; Ctrl-C ends it and reports\n", address, f.duration)
	})
	if report.Began.IsZero() {
		return err
	}
	report.Ended = now()
	tally.Fill(report)
	return errors.Join(err, out.write(stdio.Out, func(w io.Writer) error {
		switch {
		case f.asJSON:
			return report.JSON(w)
		case f.asHTML:
			return report.HTML(w)
		}
		return report.Text(w)
	}))
}

// witness turns what sessions see into what is counted.
type witness struct {
	tally    *readiness.Tally
	systemID string
	flag     bool
	form     classify.Normaliser
}

// Session implements session.Observer.
func (w *witness) Session(systemID string) {
	w.tally.Session()
	if systemID != w.systemID {
		w.tally.Warn("upstream.address and catalog.dsn lead to different servers: what is said here of tables is another server's. Correct the configuration and watch again")
	}
}

// Unobserved implements session.Observer.
func (w *witness) Unobserved(why string) { w.tally.Unobserved(why) }

// Statement implements session.Observer.
func (w *witness) Statement(o session.Observation) { w.tally.Add(w.describe(o), o.Runs) }

// describe tells of a statement without anything that its constants say.
func (w *witness) describe(o session.Observation) readiness.Form {
	f := readiness.Form{Statement: "(not kept)", Action: readiness.Unknown, Class: string(event.ClassRefused), Construct: "statement", Write: true}
	if o.SQL != "" {
		f.Statement = w.form.Normalise(o.SQL)
	}
	if o.Prepared != "" {
		f.Statement = "EXECUTE of " + w.form.Normalise(o.Prepared)
	}
	var syntax *classify.SyntaxError
	switch {
	case errors.As(o.Err, &syntax): // whose message may quote the text
		f.Statement, f.Action, f.Reason = classify.Unparsable, readiness.Refuse, "opmux cannot parse it, so it cannot tell what it would change"
		return f
	case o.Err != nil:
		f.Class, f.Reason = string(event.ClassNone), "it could not be told: "+o.Err.Error()
		return f
	}
	if o.Plan.Kind == classify.Prepare && o.Plan.Inner != nil && o.Plan.Inner.Kind != classify.Refused {
		f.Action, f.Class, f.Construct, f.Write = readiness.Pass, string(event.ClassNone), "PREPARE", false
		f.Reason = "it prepares; each EXECUTE is counted for itself"
		return f
	}
	x := explain("", o.Plan, w.flag)
	f.Action, f.Class, f.Construct, f.Reason, f.Hint = x.Action, string(x.Class), x.Construct, x.Reason, x.Hint
	f.Tables, f.Write = x.Tables, x.Action != readiness.Pass
	return f
}

// reportFile is where a report goes. A file has its name once it is whole.
type reportFile struct {
	path string
	file *os.File // nil: standard output
}

// openReport finds out whether the report can be written, before anything is watched.
func openReport(path string) (*reportFile, error) {
	if path == "" {
		return &reportFile{}, nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, exit.Usagef("--out %s: expected a file, and it is a directory", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+strings.TrimPrefix(filepath.Base(path), ".")+".*")
	if err != nil {
		return nil, exit.Usagef("--out %s: %v", path, err)
	}
	return &reportFile{path: path, file: file}, nil
}

func (r *reportFile) write(stdout io.Writer, to func(io.Writer) error) error {
	if r.file == nil {
		if err := to(stdout); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
		return nil
	}
	err := errors.Join(to(r.file), r.file.Chmod(0o644), r.file.Close())
	if err == nil {
		err = os.Rename(r.file.Name(), r.path)
	}
	if err != nil {
		return fmt.Errorf("writing the report to %s: %w", r.path, err)
	}
	r.file = nil
	return nil
}

// abandon removes a file that has not become a report.
func (r *reportFile) abandon() {
	if r.file != nil {
		_, _ = r.file.Close(), os.Remove(r.file.Name()) // nothing of it is needed
	}
}
