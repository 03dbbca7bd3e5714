// Package process is the life of a program of opmux from its flags to its exit
// code: configuration, logger, metrics, admin server and signals. A program's
// main gives it what to load and what to run.
package process

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/internal/admin"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/topics"
)

// Config is what a program's configuration has in common with the others.
type Config interface {
	AdminAddress() string
	LogSettings() config.Log
	Holds() int64
}

// Runtime is what a running program is given.
type Runtime struct {
	Log     *zap.Logger
	Metrics *prometheus.Registry
	admin   *admin.Server
}

// Ready sets what decides about readiness: nil is ready, an error says why not.
func (r *Runtime) Ready(ready func() error) {
	if r.admin != nil {
		r.admin.SetReady(ready)
	}
}

// Program is one of opmux's daemons. Run blocks until ctx ends, which is its
// way to stop cleanly, and then returns nil; an error ends the program.
type Program[C Config] struct {
	Name string // as in "apply-worker"
	What string // one line for --help
	Load func(path string) (C, error)
	Run  func(ctx context.Context, cfg C, rt *Runtime) error
	// Garbage is how much of it there may be for each 100 bytes in use; 0: as much.
	// Where little is in use, memory is cheaper than collecting it.
	Garbage int
	// Half says that the program takes half of the processors, as one does that stands
	// beside a DBMS which needs them too.
	Half bool
}

// Main runs a program with its arguments (less its name) and returns its exit code.
func Main[C Config](p Program[C], args []string) int {
	ctx, stop := Signals(context.Background())
	defer stop()
	return Report(os.Stderr, p.Name, p.main(ctx, args, os.Stderr))
}

// Report writes err, if any, as the program's last words and gives the exit code.
func Report(w io.Writer, name string, err error) int {
	if errors.Is(err, flag.ErrHelp) {
		return exit.OK
	}
	if err != nil {
		_, _ = fmt.Fprintf(w, "%s: %v\n", name, err) // standard error gone: the code still tells
	}
	return exit.Code(err)
}

// Signals gives a context that the first SIGINT or SIGTERM ends; the second one
// ends the process at once, since handling is switched off by then.
func Signals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func (p Program[C]) main(ctx context.Context, args []string, stderr io.Writer) error {
	path, err := p.flags(args, stderr)
	if err != nil {
		return err
	}
	cfg, err := p.Load(path)
	if err != nil {
		return exit.AsUsage(err)
	}
	log, err := Logger(cfg.LogSettings(), stderr)
	if err != nil {
		return exit.AsUsage(err)
	}
	defer func() { _ = log.Sync() }() // standard error cannot be synced everywhere
	limitMemory(cfg.Holds(), p.Garbage)
	if p.Half {
		limitProcessors()
	}
	rt := &Runtime{Log: log, Metrics: registry()}
	if cfg.AdminAddress() != "" {
		if rt.admin, err = admin.New(cfg.AdminAddress(), rt.Metrics); err != nil {
			return err
		}
		log.Info("admin server listens", zap.String("address", rt.admin.Address()))
	}
	err = p.serve(ctx, cfg, rt)
	var missing *topics.MissingTopicsError
	if errors.As(err, &missing) {
		missing.Config = path // the way out names this file
	}
	return err
}

func (p Program[C]) serve(ctx context.Context, cfg C, rt *Runtime) error {
	// The admin server outlives ctx: it answers while the program drains.
	adminCtx, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAdmin()
	group, runCtx := errgroup.WithContext(ctx)
	if rt.admin != nil {
		group.Go(func() error { return rt.admin.Run(adminCtx) })
	}
	group.Go(func() error {
		defer stopAdmin()
		err := p.Run(runCtx, cfg, rt)
		if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // stopped by a signal, as asked
		}
		return err
	})
	return group.Wait()
}

func (p Program[C]) flags(args []string, stderr io.Writer) (string, error) {
	set := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	path := set.String("config", "", "the configuration `file` (YAML), see docs/configuration.md")
	usage := func() {
		_, _ = fmt.Fprintf(stderr, "%s: %s\n\nusage: %s --config FILE\n\n", p.Name, p.What, p.Name)
		set.SetOutput(stderr)
		set.PrintDefaults()
	}
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		usage()
		return "", err
	case err != nil:
		return "", exit.Usagef("%w; usage: %s --config FILE", err, p.Name)
	case set.NArg() > 0:
		return "", exit.Usagef("unexpected argument %q; usage: %s --config FILE", set.Arg(0), p.Name)
	case *path == "":
		return "", exit.Usagef("--config is required; usage: %s --config FILE", p.Name)
	}
	return *path, nil
}

func registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
