// Package rig puts a whole opmux up on one machine, each part a process of its
// own: a Kafka-protocol broker, a primary and a backup PostgreSQL, agents,
// workers and a verifier with their configuration files. The demo shows one off;
// the end-to-end tests break them.
package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/freeport"
	"github.com/opmux/opmux/internal/pgserver"
)

// The names that a rig's parts go by.
const (
	Database = "app"
	Source   = "orders"
	Target   = "standby"
	Prefix   = "opmux"
)

// The brokers that a rig can have.
const (
	KafkaEmbedded = "embedded" // opmux broker
	KafkaReal     = "real"     // Apache Kafka
)

// Config says what a rig is like; Bin and Dir are required.
type Config struct {
	Bin string // directory of the built programs
	Dir string // gets configuration files, logs and the broker's data

	// Use are parts that run already, which several rigs share; they are not
	// closed with this one. Each of such rigs needs a Source of its own.
	Use    Parts
	Source string // default "orders"

	Kafka string // KafkaEmbedded (default) or KafkaReal
	// Gate ("recorded"), GateTimeout (5s), OnUnsafe ("reject"), Digest and Verify
	// ("count"), VerifyTimeout (30s) and Parallelism (4) are the programs' own keys.
	Gate          string
	GateTimeout   time.Duration
	OnUnsafe      string
	Digest        string
	Verify        string
	VerifyTimeout time.Duration
	Parallelism   int
	// PrimarySettings and BackupSettings are lines of postgresql.conf.
	PrimarySettings, BackupSettings []string
	// PrimaryTLS makes the primary offer TLS, PrimaryHBA replaces its rules for TCP.
	PrimaryTLS bool
	PrimaryHBA []string
	// Upstream is the agents' way to the primary; default: its TCP address.
	Upstream string
	// ListenKeys and UpstreamKeys are further keys (", tls: {…}") of the agents'
	// listen and upstream; AgentYAML is added to their files, WorkerYAML to the
	// workers'.
	ListenKeys, UpstreamKeys, AgentYAML, WorkerYAML string
	// Webhook is where the verifier posts; empty: nowhere.
	Webhook string
}

// Parts are what the programs stand between.
type Parts struct {
	Primary, Backup *pgserver.Server
	Broker          Broker
}

// Rig is what Config describes, running.
type Rig struct {
	Config
	Parts

	mu       sync.Mutex
	programs map[string]*Program
}

// Broker is a Kafka broker that can be hurt.
type Broker interface {
	Address() string
	Start(context.Context) error
	Kill() error
	Freeze() error
	Thaw() error
	Pid() int
}

// New starts the servers and the broker, creates the (empty) databases and the
// topics, and starts no program yet. Close ends everything.
func New(ctx context.Context, cfg Config) (*Rig, error) {
	cfg.defaults()
	r := &Rig{Config: cfg, programs: map[string]*Program{}}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (c *Config) defaults() {
	set := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	set(&c.Source, Source)
	set(&c.Kafka, KafkaEmbedded)
	set(&c.Gate, "recorded")
	set(&c.OnUnsafe, "reject")
	set(&c.Digest, "count")
	set(&c.Verify, "count")
	if c.GateTimeout == 0 {
		c.GateTimeout = 5 * time.Second
	}
	if c.VerifyTimeout == 0 {
		c.VerifyTimeout = 30 * time.Second
	}
	if c.Parallelism == 0 {
		c.Parallelism = 4
	}
}

func (r *Rig) start(ctx context.Context) error {
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return fmt.Errorf("directory of the rig: %w", err)
	}
	r.Parts = r.Use
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if r.Primary != nil {
			return nil
		}
		r.Primary, err = startServer(ctx, pgserver.Config{Name: "primary", Settings: r.PrimarySettings, TLS: r.PrimaryTLS, HBA: r.PrimaryHBA})
		return err
	})
	group.Go(func() (err error) {
		if r.Backup != nil {
			return nil
		}
		r.Backup, err = startServer(ctx, pgserver.Config{Name: "backup", Settings: r.BackupSettings})
		return err
	})
	group.Go(func() (err error) {
		if r.Broker != nil {
			return nil
		}
		r.Broker, err = r.startBroker(ctx)
		return err
	})
	return group.Wait()
}

func startServer(ctx context.Context, cfg pgserver.Config) (*pgserver.Server, error) {
	s, err := pgserver.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if _, err := Query(ctx, s.DSN("postgres"), "CREATE DATABASE "+Database); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// CreateTopics creates all topics of the rig's configuration files.
func (r *Rig) CreateTopics(ctx context.Context) error {
	for _, config := range []string{r.AgentConfig("a1"), r.WorkerConfig("w1"), r.VerifierConfig()} {
		if _, err := r.Must(ctx, "topics", "create", "--config", config); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all programs and servers. The directory stays, for its logs.
func (r *Rig) Close() error {
	r.mu.Lock()
	programs := r.programs
	r.programs = map[string]*Program{}
	r.mu.Unlock()
	var errs []error
	for _, p := range programs {
		errs = append(errs, p.Kill())
	}
	if r.Broker != nil && r.Use.Broker == nil {
		errs = append(errs, r.Broker.Kill())
	}
	if r.Primary != nil && r.Use.Primary == nil {
		errs = append(errs, r.Primary.Close())
	}
	if r.Backup != nil && r.Use.Backup == nil {
		errs = append(errs, r.Backup.Close())
	}
	return errors.Join(errs...)
}

// embedded is `opmux broker` as a process.
type embedded struct {
	rig     *Rig
	address string
	process *child.Process
}

// Address is where the broker listens.
func (b *embedded) Address() string { return b.address }

// Start starts the broker with the data that it had, and returns when it listens.
func (b *embedded) Start(ctx context.Context) error {
	p, err := child.Start(child.Config{
		Name: "broker", Path: filepath.Join(b.rig.Bin, "opmux"),
		Args: []string{"broker", "--listen", b.address, "--data", filepath.Join(b.rig.Dir, "broker")},
		Log:  filepath.Join(b.rig.Dir, "broker.log"),
	})
	if err != nil {
		return err
	}
	b.process = p
	return awaitPort(ctx, b.address, p)
}

// Kill ends the broker with SIGKILL.
func (b *embedded) Kill() error {
	if b.process == nil {
		return nil
	}
	return b.process.Kill()
}

// Freeze stops the broker with SIGSTOP.
func (b *embedded) Freeze() error { return b.process.Freeze() }

// Thaw lets a frozen broker go on.
func (b *embedded) Thaw() error { return b.process.Thaw() }

// Pid is the broker's process id.
func (b *embedded) Pid() int { return b.process.Pid() }

func newEmbedded(r *Rig) (*embedded, error) {
	port, err := freeport.Pick()
	if err != nil {
		return nil, err
	}
	return &embedded{rig: r, address: freeport.Address(port)}, nil
}
