package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/opmux/opmux/internal/rig"
)

// bench is one run.
type bench struct {
	plan
	dir    string // for logs and configuration
	bin    string // of the built programs
	self   string // this program, which is the bare splice as well
	report report
	log    io.Writer
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == spliceCommand {
		fmt.Fprintln(os.Stderr, serveSplice(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	out := flags.String("out", "", "file that gets the report; what people wrote into it between its markers is kept")
	short := flags.Bool("short", false, "about four minutes instead of twenty")
	only := flags.String("only", "", "sections to run, by comma: "+strings.Join(sectionNames(), ","))
	bin := flags.String("bin", "bin", "directory of the built programs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	b, err := newBench(*bin, *short)
	if err != nil {
		return err
	}
	command := strings.TrimSpace("go run ./integration/bench " + strings.Join(args, " "))
	if err := b.measure(ctx, chosen); err != nil {
		return fmt.Errorf("%w\nlogs are kept in %s", err, b.dir)
	}
	return errors.Join(b.report.write(*out, command), os.RemoveAll(b.dir))
}

func newBench(bin string, short bool) (*bench, error) {
	b := &bench{plan: full, log: os.Stderr}
	if short {
		b.plan = brief
	}
	var err error
	if b.bin, err = filepath.Abs(bin); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(filepath.Join(b.bin, "capture-agent")); err != nil {
		return nil, fmt.Errorf("no built programs in %s: run `make build`: %w", b.bin, err)
	}
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	b.dir, err = os.MkdirTemp("", "opmux-bench-")
	return b, err
}

// part is a section of the report that can be asked for by name. Parts of one
// world are measured on the same servers.
type part struct {
	name  string
	world bool
	run   func(*bench, context.Context, *world) error
}

var parts = []part{
	{"tpcb", true, (*bench).tpcb},
	{"latency", true, (*bench).latency},
	{"topic", true, (*bench).topic},
	{"apply", false, func(b *bench, ctx context.Context, _ *world) error { return b.apply(ctx) }},
	{"triggers", false, func(b *bench, ctx context.Context, _ *world) error { return b.triggers(ctx) }},
	{"lag", false, func(b *bench, ctx context.Context, _ *world) error { return b.lag(ctx) }},
}

func sectionNames() []string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.name
	}
	return names
}

func choose(only string) ([]part, error) {
	if only == "" {
		return parts, nil
	}
	var chosen []part
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("--only names %q, expected some of %s", name, strings.Join(sectionNames(), ", "))
		}
		chosen = append(chosen, parts[i])
	}
	return chosen, nil
}

func (b *bench) measure(ctx context.Context, chosen []part) (err error) {
	began := time.Now()
	b.report.machine = describeMachine(ctx)
	var w *world
	closeWorld := func() {
		if w != nil {
			err = errors.Join(err, w.close())
		}
		w = nil
	}
	defer func() { closeWorld() }()
	for _, p := range chosen {
		if !p.world {
			closeWorld()
		} else if w == nil {
			if w, err = b.newWorld(ctx); err != nil {
				return err
			}
		}
		if err := p.run(b, ctx, w); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.report.took = time.Since(began)
	return nil
}

// say tells who waits what is being measured.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, format+"\n", args...) }

// rigConfig is what every rig of a run has in common.
func (b *bench) rigConfig(name, kafka, gate string) rig.Config {
	return rig.Config{Bin: b.bin, Dir: filepath.Join(b.dir, name), Kafka: kafka, Gate: gate, GateTimeout: 20 * time.Second}
}
