package kill

import (
	"fmt"
	"time"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// fault is one thing that a round does; it leaves everything started, though not
// yet at work. Of the sum of all times, a fault comes so many times.
type fault struct {
	name  string
	times int
	do    func(*world)
}

// faults are those of a whole opmux with two agents.
func faults() []fault {
	return []fault{
		{"agent killed", 14, func(w *world) { w.killProgram(w.agent()) }},
		{"agent dies at a named place", 18, func(w *world) { w.diesAtPoint(w.agent()) }},
		{"agent frozen", 5, func(w *world) { w.freezeProgram(w.agent()) }},
		{"agent frozen and replaced", 4, (*world).agentReplaced},
		{"agent gone", 2, (*world).agentGone},
		{"worker killed", 10, func(w *world) { w.killProgram(w.worker()) }},
		{"worker dies at a named place", 14, func(w *world) { w.diesAtPoint(w.worker()) }},
		{"worker frozen", 4, func(w *world) { w.freezeProgram(w.worker()) }},
		{"worker frozen and replaced", 3, (*world).workerReplaced},
		{"verifier killed", 3, func(w *world) { w.killProgram(w.verifier()) }},
		{"verifier dies at a named place", 2, func(w *world) { w.diesAtPoint(w.verifier()) }},
		{"verifier frozen", 2, func(w *world) { w.freezeProgram(w.verifier()) }},
		{"broker killed", 6, (*world).killBroker},
		{"broker frozen", 5, (*world).freezeBroker},
		{"primary killed", 6, func(w *world) { w.killServer("primary") }},
		{"primary frozen", 3, func(w *world) { w.freezeServer("primary") }},
		{"backup killed", 6, func(w *world) { w.killServer("backup") }},
		{"backup frozen", 3, func(w *world) { w.freezeServer("backup") }},
		{"several at once", 6, (*world).several},
		{"all at once", 2, (*world).powerCut},
	}
}

func (w *world) agent() *rig.Program { return w.agents[w.random.IntN(len(w.agents))] }

// within waits for some time up to most; when exactly something happens is what
// the test is to vary.
func (w *world) within(most time.Duration) {
	select {
	case <-w.ctx.Done():
	case <-time.After(time.Duration(w.random.Int64N(int64(most)))):
	}
}

func (w *world) kill(p *rig.Program) {
	w.t.Helper()
	w.must(p.Kill())
	w.diary.died(p, "SIGKILL")
}

// launch starts a program; it is not waited for.
func (w *world) launch(p *rig.Program) {
	w.t.Helper()
	w.must(p.Launch())
	w.diary.write("%s started", p.Name)
}

func (w *world) killProgram(p *rig.Program) {
	w.kill(p)
	w.within(800 * time.Millisecond)
	w.launch(p)
}

func (w *world) freezeProgram(p *rig.Program) {
	w.freeze(p)
	w.within(3 * time.Second)
	w.thaw(p)
}

func (w *world) freeze(p *rig.Program) {
	w.must(p.Process.Freeze())
	w.diary.count(p.Kind() + " SIGSTOP")
}

func (w *world) thaw(p *rig.Program) {
	w.must(p.Process.Thaw())
	w.diary.write("%s goes on", p.Name)
}

func (w *world) agentReplaced() {
	p := w.agent()
	w.replace(p, func(double *rig.Program) { w.back(double) })
}

func (w *world) workerReplaced() {
	w.replace(w.worker(), func(*rig.Program) { w.back(w.agents...) })
}

// replace starts a second process of a frozen program's name: an agent has an
// epoch of its own then, a worker a fence. The frozen one, thawed, must find that
// it is not the one any more and end itself with code 1.
func (w *world) replace(p *rig.Program, works func(double *rig.Program)) {
	w.t.Helper()
	double, err := w.Double(p)
	w.must(err)
	w.freeze(p)
	w.launch(double)
	works(double)
	w.thaw(p)
	testkit.Eventually(w.t, backTimeout, func() error {
		if p.Process.Running() {
			return fmt.Errorf("%s runs on although another process has its name", p.Name)
		}
		return nil
	})
	if code := p.Process.ExitCode(); code != 1 {
		w.t.Fatalf("%s, frozen and replaced, ended with code %d, want 1:\n%s", p.Name, code, p.Process.LogTail())
	}
	w.kill(double)
	w.launch(p)
}

// agentGone leaves an agent dead until the other one has settled what it left
// open: nothing on the backup waits for the dead one's return.
func (w *world) agentGone() {
	dead := w.random.IntN(len(w.agents))
	w.kill(w.agents[dead])
	w.diary.took("the other agent alone", w.back(w.agents[(dead+1)%len(w.agents)]))
	w.launch(w.agents[dead])
}

func (w *world) killBroker() {
	w.must(w.Broker.Kill())
	w.diary.count("broker SIGKILL")
	w.within(1500 * time.Millisecond)
	w.must(w.Broker.Start(w.ctx))
	w.diary.write("broker started")
}

func (w *world) freezeBroker() {
	w.must(w.Broker.Freeze())
	w.diary.count("broker SIGSTOP")
	w.within(3 * time.Second) // the gate waits 2
	w.must(w.Broker.Thaw())
	w.diary.write("broker goes on")
}

// killServer kills primary or backup, by SIGKILL or SIGQUIT, and starts it again.
func (w *world) killServer(name string) {
	s := w.Primary
	if name == "backup" {
		s = w.Backup
	}
	if w.random.IntN(2) == 0 {
		w.must(s.Kill())
		w.diary.count(name + " SIGKILL")
	} else {
		w.must(s.Abort())
		w.diary.count(name + " SIGQUIT")
	}
	w.within(500 * time.Millisecond)
	w.must(s.Start(w.ctx))
	w.diary.write("%s started", name)
}

func (w *world) freezeServer(name string) {
	s := w.Primary
	if name == "backup" {
		s = w.Backup
	}
	w.must(s.Freeze())
	w.diary.count(name + " SIGSTOP")
	w.within(3 * time.Second)
	w.must(s.Thaw())
	w.diary.write("%s goes on", name)
}

// several kills two parts at once, and maybe while a third one is away.
func (w *world) several() {
	broker := w.random.IntN(3) == 0
	if broker {
		w.must(w.Broker.Kill())
		w.diary.count("broker SIGKILL")
	}
	a, b := w.agent(), w.worker()
	w.kill(a)
	w.kill(b)
	server := []string{"primary", "backup"}[w.random.IntN(2)]
	w.killServer(server)
	w.launch(a)
	w.launch(b)
	w.within(time.Second)
	if broker {
		w.must(w.Broker.Start(w.ctx))
		w.diary.write("broker started")
	}
}

// powerCut kills everything and starts it again in any order.
func (w *world) powerCut() {
	all := w.programs()
	for _, p := range all {
		w.kill(p)
	}
	w.must(w.Broker.Kill())
	w.diary.count("broker SIGKILL")
	starts := []func(){
		func() { w.killServer("primary") }, func() { w.killServer("backup") },
		func() { w.must(w.Broker.Start(w.ctx)) },
	}
	for _, p := range all {
		starts = append(starts, func() { w.launch(p) })
	}
	w.random.Shuffle(len(starts), func(i, j int) { starts[i], starts[j] = starts[j], starts[i] })
	for _, start := range starts {
		start()
	}
}
