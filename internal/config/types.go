package config

import (
	"strings"
	"time"
)

// File is any program's configuration, as Load detects it; exactly one of the
// three is set.
type File struct {
	Path     string
	Agent    *Agent
	Worker   *Worker
	Verifier *Verifier
}

// Kafka says where the topics are and how they are made.
type Kafka struct {
	Brokers        []string  `yaml:"brokers"`
	Prefix         string    `yaml:"prefix"`
	TLS            *KafkaTLS `yaml:"tls"`
	SASL           *SASL     `yaml:"sasl"`
	SchemaRegistry *Registry `yaml:"schema_registry"`
	Topics         Topics    `yaml:"topics"`
}

// KafkaTLS is TLS towards Kafka. Present but empty: TLS with the system's roots.
type KafkaTLS struct {
	CA         string `yaml:"ca"`
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"`
}

// SASL is the login at Kafka.
type SASL struct {
	Mechanism string `yaml:"mechanism"` // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	User      string `yaml:"user"`
	Password  string `yaml:"password"`
}

// Registry is a Confluent-compatible schema registry.
type Registry struct {
	URL      string `yaml:"url"`
	User     string `yaml:"user"`
	Password string `yaml:"password"`
}

// Topics are the settings with which topics are made and checked. 0 stands for
// what fits the cluster: min(3, brokers) and min(2, replication).
type Topics struct {
	Replication int       `yaml:"replication"`
	MinInsync   int       `yaml:"min_insync"`
	Retention   Retention `yaml:"retention"`
}

// Admin is the HTTP server for /metrics, /healthz and /readyz; no address, no server.
type Admin struct {
	Address string `yaml:"address"`
}

// Log says what a program writes to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // console, json
}

// Agent is the configuration of a capture-agent.
type Agent struct {
	// Path is the file that it was read from.
	Path string `yaml:"-"`

	Source   string   `yaml:"source"`
	Agent    string   `yaml:"agent"`
	Kafka    Kafka    `yaml:"kafka"`
	Listen   Listen   `yaml:"listen"`
	Upstream Upstream `yaml:"upstream"`
	Catalog  Catalog  `yaml:"catalog"`
	Capture  Capture  `yaml:"capture"`
	Gate     Gate     `yaml:"gate"`
	Digest   Digest   `yaml:"digest"`
	OnUnsafe string   `yaml:"on_unsafe"` // reject, flag
	Admin    Admin    `yaml:"admin"`
	Log      Log      `yaml:"log"`
}

// Listen is where applications connect.
type Listen struct {
	Protocol string     `yaml:"protocol"` // postgres
	Address  string     `yaml:"address"`
	TLS      *ListenTLS `yaml:"tls"`
	// MaxSessions bounds the sessions served at once, MaxHandshakes those that
	// have not authenticated yet, each of which ends after HandshakeTimeout.
	MaxSessions      int           `yaml:"max_sessions"`
	MaxHandshakes    int           `yaml:"max_handshakes"`
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// DrainTimeout is how long a stopping agent waits for open transactions.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// ListenTLS is the certificate shown to applications. With ClientCA, a client's
// certificate is verified; with Require, sessions without TLS (and, beside
// ClientCA, clients without a certificate) are refused.
type ListenTLS struct {
	Mode     string `yaml:"mode"` // terminate
	Require  bool   `yaml:"require"`
	Cert     string `yaml:"cert"`
	Key      string `yaml:"key"`
	ClientCA string `yaml:"client_ca"`
}

// Upstream is the primary, as sessions connect to it. Address is host:port or
// the path of a unix socket's directory or file.
type Upstream struct {
	Address  string      `yaml:"address"`
	Database string      `yaml:"database"`
	TLS      UpstreamTLS `yaml:"tls"`
}

// Endpoint is Address as a dialer takes it: a socket's directory stands for the
// socket of PostgreSQL's default port in it.
func (u Upstream) Endpoint() (network, address string) {
	switch {
	case !strings.HasPrefix(u.Address, "/"):
		return "tcp", u.Address
	case !strings.Contains(u.Address, ".s.PGSQL."):
		return "unix", strings.TrimSuffix(u.Address, "/") + "/.s.PGSQL.5432"
	}
	return "unix", u.Address
}

// UpstreamTLS is TLS towards the primary, with libpq's words for Mode.
type UpstreamTLS struct {
	Mode string `yaml:"mode"` // disable, prefer, require, verify-ca, verify-full
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Catalog is the agent's own login for catalogue look-ups and settling.
type Catalog struct {
	DSN string `yaml:"dsn"`
}

// Capture says what is captured and how much memory it may take.
type Capture struct {
	OtherDatabases string `yaml:"other_databases"` // refuse, pass
	// Roles says what becomes of GRANT, CREATE ROLE and their like.
	Roles      string `yaml:"roles"`       // refuse, pass, publish
	Unlogged   string `yaml:"unlogged"`    // refuse, or skip: what is written to unlogged tables is not published
	Buffer     Size   `yaml:"buffer"`      // unacknowledged records, all sessions
	Chunk      Size   `yaml:"chunk"`       // a transaction above it is cut
	Open       Size   `yaml:"open"`        // what open transactions hold, all sessions
	MaxMessage Size   `yaml:"max_message"` // a larger message of a client's is refused
	Triggers   bool   `yaml:"triggers"`    // what no text can carry is kept by triggers on the tables
	// Predicates are rules for UPDATE and DELETE by more than a key; the first that fits counts.
	Predicates []Predicate `yaml:"predicates"`
}

// Predicate says how such statements of some tables travel.
type Predicate struct {
	Tables string `yaml:"tables"` // schema.table, where * stands for any characters
	Carry  string `yaml:"carry"`  // rows, lock, text
}

// Gate says what must have happened before the primary may commit.
type Gate struct {
	Mode      string        `yaml:"mode"` // none, recorded
	Timeout   time.Duration `yaml:"timeout"`
	Gather    time.Duration `yaml:"gather"`
	OnTimeout string        `yaml:"on_timeout"` // fail
}

// Digest says how much of each response is hashed.
type Digest struct {
	Level string `yaml:"level"` // code, count, full
}

// Worker is the configuration of an apply-worker.
type Worker struct {
	// Path is the file that it was read from.
	Path string `yaml:"-"`

	Target      string         `yaml:"target"`
	Name        string         `yaml:"name"`
	Kafka       Kafka          `yaml:"kafka"`
	Sources     []WorkerSource `yaml:"sources"`
	DSN         string         `yaml:"dsn"`
	Parallelism int            `yaml:"parallelism"`
	OnError     string         `yaml:"on_error"` // stop
	Memory      Size           `yaml:"memory"`
	Sets        bool           `yaml:"sets"`
	Admin       Admin          `yaml:"admin"`
	Log         Log            `yaml:"log"`
}

// WorkerSource is one source that a target follows.
type WorkerSource struct {
	Name string `yaml:"name"`
}

// SourceNames lists the names of Sources.
func (w *Worker) SourceNames() []string {
	names := make([]string, len(w.Sources))
	for i, s := range w.Sources {
		names[i] = s.Name
	}
	return names
}

// Verifier is the configuration of a verify-worker.
type Verifier struct {
	// Path is the file that it was read from.
	Path string `yaml:"-"`

	Name    string           `yaml:"name"`
	Kafka   Kafka            `yaml:"kafka"`
	Sources []VerifierSource `yaml:"sources"`
	Level   string           `yaml:"level"` // code, count, full
	Timeout time.Duration    `yaml:"timeout"`
	Webhook *Webhook         `yaml:"webhook"`
	Memory  Size             `yaml:"memory"`
	Admin   Admin            `yaml:"admin"`
	Log     Log              `yaml:"log"`
}

// VerifierSource is one source and the targets that it is compared on.
type VerifierSource struct {
	Name    string   `yaml:"name"`
	Targets []string `yaml:"targets"`
}

// Webhook is where verdicts are posted.
type Webhook struct {
	URL     string        `yaml:"url"`
	On      string        `yaml:"on"` // failure, always
	Timeout time.Duration `yaml:"timeout"`
}

// AdminAddress, LogSettings and KafkaSettings give internal/process what every
// program's configuration has.

// Holds is how many bytes the configuration lets the program hold.
func (a *Agent) Holds() int64 { return int64(a.Capture.Buffer + a.Capture.Open) }

// Holds is how many bytes the configuration lets the program hold.
func (w *Worker) Holds() int64 { return int64(w.Memory) }

// Holds is how many bytes the configuration lets the program hold.
func (v *Verifier) Holds() int64 { return int64(v.Memory) }

// AdminAddress is the address of the admin server, "" for none.
func (a *Agent) AdminAddress() string { return a.Admin.Address }

// LogSettings says what to log.
func (a *Agent) LogSettings() Log { return a.Log }

// AdminAddress is the address of the admin server, "" for none.
func (w *Worker) AdminAddress() string { return w.Admin.Address }

// LogSettings says what to log.
func (w *Worker) LogSettings() Log { return w.Log }

// AdminAddress is the address of the admin server, "" for none.
func (v *Verifier) AdminAddress() string { return v.Admin.Address }

// LogSettings says what to log.
func (v *Verifier) LogSettings() Log { return v.Log }
