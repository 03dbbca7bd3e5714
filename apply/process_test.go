package apply

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// child is a worker in a process of its own, to be killed or frozen.
func (r *rig) child(env ...string) *exec.Cmd {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), os.Args[0], "-test.run", "^TestChildWorker$", "-test.v")
	cmd.Env = append(os.Environ(), "OPMUX_TEST_BROKERS="+strings.Join(r.kafka.Brokers, ","), "OPMUX_TEST_DSN="+r.pg.DSN(r.db))
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// TestChildWorker is not a test but the process that child makes.
func TestChildWorker(t *testing.T) {
	brokers := os.Getenv("OPMUX_TEST_BROKERS")
	if brokers == "" {
		return
	}
	w, err := New(Config{
		Target: "standby", Name: fmt.Sprint(os.Getpid()), DSN: os.Getenv("OPMUX_TEST_DSN"), Sources: []string{"orders"}, Parallelism: 2, Group: 5,
	}, Deps{Topics: topics.Config{Brokers: strings.Split(brokers, ","), Prefix: "opmux"}, Codec: avro.New()})
	if err != nil {
		t.Fatal(err)
	}
	last := os.Getenv("OPMUX_TEST_END")
	if last == "" {
		t.Fatal(w.Run(t.Context()))
	}
	end, err := strconv.ParseInt(last, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	peak := make(chan uint64)
	go func() { peak <- peakHeap(ctx) }()
	if err := w.RunUntil(t.Context(), map[string]int64{"orders": end}); err != nil {
		t.Fatal(err)
	}
	cancel()
	fmt.Printf("peak MiB: %d\n", <-peak>>20)
}

// launch starts a child that ends with the test.
func (r *rig) launch() *exec.Cmd {
	r.t.Helper()
	cmd := r.child()
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone already
		_ = cmd.Wait()
	})
	return cmd
}

func (r *rig) signal(cmd *exec.Cmd, s syscall.Signal) {
	r.t.Helper()
	if err := cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

func TestI4WorkerProcessKilled(t *testing.T) {
	r := newRig(t)
	l := r.load(r.agent("a1"), r.agent("a2"))
	for range 2 {
		l.write(150)
		w := r.launch()
		before := r.position()
		testkit.Eventually(t, patience, func() error {
			if r.position() == before {
				return fmt.Errorf("the position stays at %d", before)
			}
			return nil
		})
		pauseUpTo(50 * time.Millisecond)
		r.signal(w, syscall.SIGKILL)
		_ = w.Wait() // killed, as it was meant to be
	}
	if err := r.replay(); err != nil {
		t.Fatal(err)
	}
	l.check()
}

func (r *rig) position() int64 {
	all, err := ReadPosition(r.t.Context(), r.pg.DSN(r.db))
	if err != nil {
		r.t.Fatal(err)
	}
	return all["orders"].Low
}

func (r *rig) fence() string { return r.query("SELECT max(fence) FROM opmux.position") }

// TestI4FrozenWorkerIsFenced freezes the worker that has the stream in mid-run;
// another one of the group takes over, and the first one wakes up.
func TestI4FrozenWorkerIsFenced(t *testing.T) {
	r := newRig(t)
	l := r.load(r.agent("a1"), r.agent("a2"))
	first := r.launch()
	l.write(50)
	r.caughtUp()
	fence := r.fence()
	for range 5 {
		l.write(20)
	}
	r.signal(first, syscall.SIGSTOP)
	l.write(50)
	r.launch()
	r.caughtUp()
	if r.fence() == fence {
		t.Fatal("nobody took over: the test tests nothing")
	}
	l.check()
	l.write(50)
	r.signal(first, syscall.SIGCONT)
	for range 5 {
		l.write(20)
	}
	r.caughtUp()
	l.check()
}
