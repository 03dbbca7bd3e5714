// Package ops is the operator's command, opmux: one file for each command, and
// in this one how a command line finds it. Commands read the configuration of
// the program that they look at, talk to Kafka and the databases, print to Out
// and report progress to Err; errors carry exit codes (package exit).
package ops

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/internal/process"
)

// IO is where a command writes: results to Out, progress and logs to Err.
type IO struct{ Out, Err io.Writer }

// command is one command of opmux.
type command struct {
	name string // one or two words
	args string // what follows the name
	what string // one line
	more string // behind the flags in --help; may be empty
	run  func(ctx context.Context, stdio IO, c *call) error
}

// call is one call of a command: its flags, which the command declares and then
// parses.
type call struct {
	*flag.FlagSet
	command command
	args    []string
	usage   io.Writer
}

func commands() []command {
	return []command{
		brokerCommand(), topicsCreateCommand(), checkCommand(), explainCommand(), readinessCommand(), waitCommand(), statusCommand(), tailCommand(),
		indoubtListCommand(), indoubtSettleCommand(), failoverShowCommand(), failoverAcceptCommand(), snapshotCommand(), replayCommand(), verdictsCommand(), demoCommand(),
	}
}

// Run runs the command that args (less the program's name) name.
func Run(ctx context.Context, stdio IO, args []string) error {
	all := commands()
	if len(args) == 0 {
		return exit.Usagef("a command is required\n\n%s", overview(all))
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) && len(args) == 1 {
		_, err := io.WriteString(stdio.Out, overview(all))
		return err
	}
	if args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	c, rest, err := find(all, args)
	if err != nil {
		return err
	}
	set := flag.NewFlagSet("opmux "+c.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	return c.run(ctx, stdio, &call{FlagSet: set, command: c, args: rest, usage: stdio.Out})
}

func find(all []command, args []string) (command, []string, error) {
	for _, c := range all {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && slices.Equal(args[:len(words)], words) {
			return c, args[len(words):], nil
		}
	}
	var second []string
	for _, c := range all {
		if words := strings.Fields(c.name); len(words) == 2 && words[0] == args[0] {
			second = append(second, words[1])
		}
	}
	if len(second) > 0 {
		return command{}, nil, exit.Usagef("%s: expected %s behind it; see opmux help", args[0], strings.Join(second, " or "))
	}
	return command{}, nil, exit.Usagef("unknown command %q\n\n%s", args[0], overview(all))
}

func overview(all []command) string {
	var b strings.Builder
	b.WriteString("usage: opmux <command> [flags]\n\ncommands:\n")
	for _, c := range all {
		fmt.Fprintf(&b, "  %-15s %s\n", c.name, c.what)
	}
	b.WriteString("\nopmux help <command> tells more. F is the configuration file of any program unless said otherwise.\n" +
		"Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration, 3 out of time.\n")
	return b.String()
}

// parse reads the flags; required names those that must be given.
func (c *call) parse(required ...string) error {
	if err := c.parseWithArgs(required...); err != nil {
		return err
	}
	if c.NArg() > 0 {
		return c.wrong("unexpected argument %q", c.Arg(0))
	}
	return nil
}

// parseWithArgs is parse for a command that takes more than flags.
func (c *call) parseWithArgs(required ...string) error {
	switch err := c.Parse(c.args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(c.usage, "opmux %s: %s\n\nusage: opmux %s %s\n\n", c.command.name, c.command.what, c.command.name, c.command.args)
		c.SetOutput(c.usage)
		c.PrintDefaults()
		if c.command.more != "" {
			fmt.Fprintf(c.usage, "\n%s\n", c.command.more)
		}
		return err
	case err != nil:
		return c.wrong("%s", strings.Replace(err.Error(), "flag provided but not defined: -", "unknown flag --", 1))
	}
	for _, name := range required {
		if c.Lookup(name).Value.String() == "" {
			return c.wrong("--%s is required", name)
		}
	}
	return nil
}

// wrong is an error of usage.
func (c *call) wrong(format string, args ...any) error {
	return exit.Usagef("%s: %s; usage: opmux %s %s", c.command.name, fmt.Sprintf(format, args...), c.command.name, c.command.args)
}

func (c *call) configFlag() *string {
	return c.String("config", "", "the configuration `file` of any program")
}

func (c *call) jsonFlag() *bool {
	return c.Bool("json", false, "print JSON for programs")
}

// load reads any program's configuration.
func load(path string) (*config.File, error) {
	f, err := config.Load(path)
	return f, exit.AsUsage(err)
}

func loadWorker(path string) (*config.Worker, error) {
	w, err := config.LoadWorker(path)
	return w, exit.AsUsage(err)
}

// logger is the one of commands that run parts of the daemons.
func logger(settings config.Log, stdio IO) (*zap.Logger, error) {
	log, err := process.Logger(settings, stdio.Err)
	return log, exit.AsUsage(err)
}
