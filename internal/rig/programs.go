package rig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/freeport"
	"github.com/opmux/opmux/internal/kafkaserver"
	"github.com/opmux/opmux/internal/pgserver"
)

// embeddedAgent stands where a program's file name would: there is none to run.
const embeddedAgent = "sqldriver"

// readyTimeout bounds how long a program may take until it is ready.
const readyTimeout = 60 * time.Second

// Program is one of opmux's programs. Its addresses and its configuration file
// last over restarts.
type Program struct {
	rig    *Rig
	Name   string // "a1", "w1", "verifier"
	binary string
	Config string // path of its file
	Listen string // agents: where applications connect
	Admin  string // address of /metrics, /healthz, /readyz
	// Bin is where the next start takes the program from, "" from the rig's; Env is
	// added to its environment.
	Bin string
	Env []string
	// Target is what a worker's file calls the backup, "" for Target; it counts from the
	// next Configure.
	Target string
	// as is the name that the file gives it; Name but for a Double.
	as string
	// Process is the running, or last, process; nil before the first Start.
	Process *child.Process
}

// Agent returns the capture-agent of that name, which may not run yet.
func (r *Rig) Agent(name string) (*Program, error) { return r.program(name, "capture-agent") }

// Worker returns the apply-worker of that name, which may not run yet.
func (r *Rig) Worker(name string) (*Program, error) { return r.program(name, "apply-worker") }

// Verifier returns the verify-worker, which may not run yet.
func (r *Rig) Verifier() (*Program, error) { return r.program("verifier", "verify-worker") }

// Double returns a second program with p's configuration, its name included, but
// addresses of its own: what an operator starts while p does not answer.
func (r *Rig) Double(p *Program) (*Program, error) {
	return r.programAs(p.Name+"-double", p.binary, p.as)
}

// AgentConfig is the path of an agent's configuration file.
func (r *Rig) AgentConfig(name string) string { return r.configFile(name, "capture-agent") }

// EmbeddedConfig is the path of the configuration file of an agent inside a test's
// own process (capture/sqldriver).
func (r *Rig) EmbeddedConfig(name string) string { return r.configFile(name, embeddedAgent) }

// WorkerConfig is the path of a worker's configuration file.
func (r *Rig) WorkerConfig(name string) string { return r.configFile(name, "apply-worker") }

// VerifierConfig is the path of the verifier's configuration file.
func (r *Rig) VerifierConfig() string { return r.configFile("verifier", "verify-worker") }

// configFile writes the file where it does not exist yet; that it could not is
// told by the program that does not find it.
func (r *Rig) configFile(name, binary string) string {
	if p, err := r.program(name, binary); err == nil {
		return p.Config
	}
	return filepath.Join(r.Dir, name+".yaml")
}

func (r *Rig) program(name, binary string) (*Program, error) { return r.programAs(name, binary, name) }

func (r *Rig) programAs(name, binary, as string) (*Program, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.programs[name]; p != nil {
		return p, nil
	}
	p := &Program{rig: r, Name: name, binary: binary, as: as, Config: filepath.Join(r.Dir, name+".yaml")}
	for _, address := range []*string{&p.Admin, &p.Listen} {
		port, err := freeport.Pick()
		if err != nil {
			return nil, err
		}
		*address = freeport.Address(port)
	}
	if err := r.writeConfig(p); err != nil {
		return nil, err
	}
	r.programs[name] = p
	return p, nil
}

// Kind is the program's file name: "capture-agent".
func (p *Program) Kind() string { return p.binary }

// Start starts the program and returns when it is ready.
func (p *Program) Start(ctx context.Context) error {
	if err := p.Launch(); err != nil {
		return err
	}
	return p.Ready(ctx)
}

// Launch starts the program and returns at once.
func (p *Program) Launch() error {
	if p.Process != nil && p.Process.Running() {
		return fmt.Errorf("%s runs already", p.Name)
	}
	process, err := child.Start(child.Config{
		Name: p.Name, Path: filepath.Join(cmp.Or(p.Bin, p.rig.Bin), p.binary), Args: []string{"--config", p.Config},
		Env: p.Env, Dir: p.rig.Dir, Log: filepath.Join(p.rig.Dir, p.Name+".log"),
	})
	p.Process = process
	return err
}

// Ready waits until the program says that it is ready.
func (p *Program) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		answer, err := p.get(ctx, "/readyz")
		if err == nil {
			return nil
		}
		select {
		case <-p.Process.Done():
			return p.Process.Ended()
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %w (%s); its log ends:\n%s", p.Name, readyTimeout, err, answer, p.Process.LogTail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Metrics returns what /metrics says.
func (p *Program) Metrics(ctx context.Context) (string, error) { return p.get(ctx, "/metrics") }

// ReadyAnswer returns what /readyz says now; an error says that it is not ready.
func (p *Program) ReadyAnswer(ctx context.Context) (string, error) { return p.get(ctx, "/readyz") }

func (p *Program) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+path, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s of %s: %s", path, p.Name, response.Status)
	}
	return strings.TrimSpace(string(body)), err
}

// DSN is the URL of the rig's database through this agent.
func (p *Program) DSN() string { return p.DSNOf(Database) }

// DSNOf is the URL of any database through this agent.
func (p *Program) DSNOf(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(pgserver.Superuser), Host: p.Listen, Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Port is the number of the port that applications connect to.
func (p *Program) Port() string {
	_, port, _ := net.SplitHostPort(p.Listen)
	return port
}

// Terminate ends the program in order.
func (p *Program) Terminate() error { return p.Process.Terminate(40 * time.Second) }

// Kill ends the program with SIGKILL; it does nothing where it does not run.
func (p *Program) Kill() error {
	if p.Process == nil {
		return nil
	}
	return p.Process.Kill()
}

func (r *Rig) startBroker(ctx context.Context) (Broker, error) {
	switch r.Kafka {
	case KafkaEmbedded:
		b, err := newEmbedded(r)
		if err != nil {
			return nil, err
		}
		if err := b.Start(ctx); err != nil {
			return nil, errors.Join(err, b.Kill())
		}
		return b, nil
	case KafkaReal:
		s, err := kafkaserver.Start(ctx, filepath.Join(r.Dir, "kafka"))
		if err != nil {
			return nil, err // not a nil server in an interface that is not nil
		}
		return s, nil
	}
	return nil, fmt.Errorf("kafka is %q, expected %q or %q", r.Kafka, KafkaEmbedded, KafkaReal)
}

func awaitPort(ctx context.Context, address string, p *child.Process) error {
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.Done():
			return p.Ended()
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s: %w", p.Name(), address, err)
		case <-time.After(30 * time.Millisecond):
		}
	}
}
