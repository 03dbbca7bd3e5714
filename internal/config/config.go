// Package config reads the configuration files of opmux's programs: YAML with
// unknown keys refused, ${ENV} expanded, defaults filled in and every rule
// checked before anything starts. An error names the file, the line, the key's
// path, the value, the rule and the way out; docs/configuration.md lists the keys.
package config

import (
	"errors"
	"time"
)

// LoadAgent reads the configuration of an agent, for a command that looks at what
// its file says, whatever it runs in.
func LoadAgent(path string) (*Agent, error) { return loadAgent(path, anywhere) }

// LoadListening reads the configuration of the program capture-agent.
func LoadListening(path string) (*Agent, error) { return loadAgent(path, inItsOwn) }

// LoadEmbedded reads the configuration of an agent inside another program.
func LoadEmbedded(path string) (*Agent, error) { return loadAgent(path, embedded) }

func loadAgent(path string, in process) (*Agent, error) {
	d, err := parse(path)
	if err != nil {
		return nil, err
	}
	return d.agent(in)
}

// LoadWorker reads the configuration of an apply-worker.
func LoadWorker(path string) (*Worker, error) {
	d, err := parse(path)
	if err != nil {
		return nil, err
	}
	return d.worker()
}

// LoadVerifier reads the configuration of a verify-worker.
func LoadVerifier(path string) (*Verifier, error) {
	d, err := parse(path)
	if err != nil {
		return nil, err
	}
	return d.verifier()
}

// Load reads any program's configuration and tells by its keys whose it is.
func Load(path string) (*File, error) {
	d, err := parse(path)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path}
	switch {
	case d.has("source") || d.has("upstream") || d.has("listen"):
		f.Agent, err = d.agent(anywhere)
	case d.has("target") || d.has("dsn"):
		f.Worker, err = d.worker()
	case d.has("sources"):
		f.Verifier, err = d.verifier()
	default:
		err = d.errorf("", "whose configuration is it? expected the key source (capture-agent), target (apply-worker) or sources (verify-worker)")
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// AgentDefaults is a configuration of an agent with every default and nothing else.
func AgentDefaults() *Agent {
	return &Agent{
		Kafka:    kafkaDefaults(),
		Listen:   Listen{Protocol: "postgres", MaxSessions: 1000, MaxHandshakes: 100, HandshakeTimeout: 30 * time.Second, DrainTimeout: 30 * time.Second},
		Upstream: Upstream{TLS: UpstreamTLS{Mode: "disable"}},
		Capture:  Capture{OtherDatabases: "refuse", Roles: "refuse", Unlogged: "refuse", Buffer: 64 << 20, Chunk: 512 << 10, Open: 32 << 20, MaxMessage: 16 << 20},
		Gate:     Gate{Mode: "recorded", Timeout: 5 * time.Second, Gather: time.Millisecond, OnTimeout: "fail"},
		Digest:   Digest{Level: "count"},
		OnUnsafe: "reject",
		Log:      logDefaults(),
	}
}

func (d *document) agent(in process) (*Agent, error) {
	a := AgentDefaults()
	a.Path = d.file
	if err := d.decode(a); err != nil {
		return nil, d.wrongProgram(err, "a capture-agent")
	}
	if a.Agent == "" && a.Listen.Address != "" {
		a.Agent = defaultName(a.Listen.Address)
	}
	return a, d.checkAgent(a, in)
}

func (d *document) worker() (*Worker, error) {
	w := &Worker{
		Path:        d.file,
		Kafka:       kafkaDefaults(),
		Parallelism: 4,
		OnError:     "stop",
		Memory:      64 << 20,
		Sets:        true,
		Log:         logDefaults(),
	}
	if err := d.decode(w); err != nil {
		return nil, d.wrongProgram(err, "an apply-worker")
	}
	if w.Name == "" {
		w.Name = defaultName(w.Admin.Address)
	}
	return w, d.checkWorker(w)
}

func (d *document) verifier() (*Verifier, error) {
	v := &Verifier{
		Path:    d.file,
		Kafka:   kafkaDefaults(),
		Level:   "count",
		Timeout: 30 * time.Second,
		Memory:  64 << 20,
		Log:     logDefaults(),
	}
	if err := d.decode(v); err != nil {
		return nil, d.wrongProgram(err, "a verify-worker")
	}
	if v.Name == "" {
		v.Name = defaultName(v.Admin.Address)
	}
	if v.Webhook != nil {
		v.Webhook.defaults()
	}
	return v, d.checkVerifier(v)
}

// wrongProgram adds, to errors about unknown keys, whose file it looks like.
func (d *document) wrongProgram(err error, want string) error {
	is := ""
	switch {
	case d.has("source") && (d.has("upstream") || d.has("listen")):
		is = "a capture-agent"
	case d.has("target") && d.has("dsn"):
		is = "an apply-worker"
	case d.has("sources") && !d.has("dsn") && !d.has("source"):
		is = "a verify-worker"
	}
	if is == "" || is == want {
		return err
	}
	return errors.Join(d.errorf("", "this looks like the configuration of %s, where that of %s was expected", is, want), err)
}

func kafkaDefaults() Kafka { return Kafka{Prefix: "opmux"} }

func logDefaults() Log { return Log{Level: "info", Format: "console"} }

func (w *Webhook) defaults() {
	if w.On == "" {
		w.On = "failure"
	}
	if w.Timeout == 0 {
		w.Timeout = 5 * time.Second
	}
}
