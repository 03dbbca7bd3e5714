package process

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/exit"
)

type fake struct{ admin string }

func (f fake) AdminAddress() string    { return f.admin }
func (f fake) Holds() int64            { return 64 << 20 }
func (f fake) LogSettings() config.Log { return config.Log{Level: "info", Format: "console"} }

func program(run func(ctx context.Context, rt *Runtime) error) Program[fake] {
	return Program[fake]{
		Name: "thing",
		What: "does things",
		Load: func(path string) (fake, error) {
			if path != "good.yaml" {
				return fake{}, fmt.Errorf("%s: no such file", path)
			}
			return fake{admin: "127.0.0.1:0"}, nil
		},
		Run: func(ctx context.Context, _ fake, rt *Runtime) error { return run(ctx, rt) },
	}
}

func TestMainExitCodes(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		args []string
		run  error
		want int
		say  string
	}{
		{"fine", []string{"--config", "good.yaml"}, nil, exit.OK, ""},
		{"help", []string{"--help"}, nil, exit.OK, "usage: thing --config FILE"},
		{"no config", nil, nil, exit.Usage, "--config is required"},
		{"unknown flag", []string{"--nope"}, nil, exit.Usage, "-nope"},
		{"argument", []string{"--config", "good.yaml", "more"}, nil, exit.Usage, `"more"`},
		{"bad config", []string{"--config", "bad.yaml"}, nil, exit.Usage, "bad.yaml: no such file"},
		{"runtime error", []string{"--config", "good.yaml"}, broken, exit.Runtime, "thing: broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stderr bytes.Buffer
			p := program(func(context.Context, *Runtime) error { return c.run })
			if got := Report(&stderr, p.Name, p.main(context.Background(), c.args, &stderr)); got != c.want {
				t.Errorf("exit code %d, want %d", got, c.want)
			}
			if !strings.Contains(stderr.String(), c.say) {
				t.Errorf("said %q, want %q in it", stderr.String(), c.say)
			}
		})
	}
}

func TestStopBySignalIsFine(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	p := program(func(ctx context.Context, rt *Runtime) error {
		rt.Ready(func() error { return nil })
		if err := rt.admin.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		cancel() // as Signals does
		<-ctx.Done()
		return fmt.Errorf("stopped: %w", ctx.Err())
	})
	if err := p.main(ctx, []string{"--config", "good.yaml"}, &bytes.Buffer{}); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestHelpIsNoMistake(t *testing.T) {
	p := program(nil)
	if err := p.main(context.Background(), []string{"-h"}, &bytes.Buffer{}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
}
