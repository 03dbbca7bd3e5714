package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opmux/opmux/internal/child"
	"github.com/opmux/opmux/internal/freeport"
	"github.com/opmux/opmux/internal/kafkaserver"
	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
)

// serverSettings are those of every server that is measured: the data of scale
// 20 fits into memory, and nothing happens that the load did not ask for.
var serverSettings = []string{
	"shared_buffers = 512MB", "max_wal_size = 8GB", "checkpoint_timeout = 1h", "autovacuum = off",
}

// way is a way from pgbench to the primary.
type way struct {
	name   string
	port   int
	pids   []int // of what stands in between
	broker int   // process id of the broker behind it; 0: none
	kafka  string
	gate   string // "" without an agent
}

// world is a primary with every way to it that is compared. Everything that
// stands in between goes on to the primary through its unix socket.
type world struct {
	primary *pgserver.Server
	pgbench pgbench
	ways    []way
	rigs    []*rig.Rig
	proxies []*child.Process
	dirs    []string // to be removed, outside of the run's own
}

// The names of the ways.
const (
	direct   = "direct"
	splice   = "bare splice"
	bouncer  = "pgbouncer"
	none     = "none"
	recorded = "recorded"
)

// wayName is the name of the way through an agent.
func wayName(gate, kafka string) string {
	if kafka == rig.KafkaReal {
		return gate + ", Kafka"
	}
	return gate + ", kfake"
}

func (b *bench) newWorld(ctx context.Context) (*world, error) {
	b.say("putting up the primary, pgbouncer, both brokers and four agents")
	w := &world{}
	if err := b.buildWorld(ctx, w); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

func (b *bench) buildWorld(ctx context.Context, w *world) error {
	var err error
	if w.primary, err = pgserver.Start(ctx, pgserver.Config{Name: "primary", Settings: serverSettings}); err != nil {
		return err
	}
	if _, err := rig.Query(ctx, w.primary.DSN("postgres"), "CREATE DATABASE "+rig.Database); err != nil {
		return err
	}
	w.pgbench = pgbench{server: w.primary, dir: b.dir}
	w.ways = []way{{name: direct, port: w.primary.Port}}
	if err := b.addProxy(ctx, w, splice, func(port int) (child.Config, error) {
		return child.Config{Path: b.self, Args: []string{spliceCommand, freeport.Address(port), w.primary.Socket()}}, nil
	}); err != nil {
		return err
	}
	if err := b.addProxy(ctx, w, bouncer, func(port int) (child.Config, error) { return w.bouncer(port) }); err != nil {
		return err
	}
	for _, kafka := range []string{rig.KafkaEmbedded, rig.KafkaReal} {
		var broker rig.Broker
		for _, gate := range []string{none, recorded} {
			if broker, err = b.addAgent(ctx, w, gate, kafka, broker); err != nil {
				return err
			}
		}
	}
	return nil
}

// addProxy starts a program that passes a port on to the primary.
func (b *bench) addProxy(ctx context.Context, w *world, name string, config func(port int) (child.Config, error)) error {
	port, err := freeport.Pick()
	if err != nil {
		return err
	}
	cfg, err := config(port)
	if err != nil {
		return err
	}
	cfg.Name, cfg.Log = name, filepath.Join(b.dir, name+".log")
	process, err := child.Start(cfg)
	if err != nil {
		return err
	}
	w.proxies = append(w.proxies, process)
	w.ways = append(w.ways, way{name: name, port: port, pids: []int{process.Pid()}})
	return answers(ctx, port, process)
}

// bouncer configures pgbouncer in session mode. It will not run as root, so root
// hands it to the primary's user.
func (w *world) bouncer(port int) (child.Config, error) {
	path, err := findBouncer()
	if err != nil {
		return child.Config{}, err
	}
	dir, err := os.MkdirTemp("", "opmux-bench-pgbouncer-")
	if err != nil {
		return child.Config{}, err
	}
	w.dirs = append(w.dirs, dir)
	ini := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
%[1]s = host=%[2]s port=%[3]d dbname=%[1]s user=%[4]s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %[5]d
unix_socket_dir =
auth_type = any
pool_mode = session
default_pool_size = 50
ignore_startup_parameters = extra_float_digits
`, rig.Database, w.primary.SocketDir, w.primary.Port, pgserver.Superuser, port)
	if err := os.WriteFile(ini, []byte(text), 0o644); err != nil {
		return child.Config{}, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return child.Config{}, err
	}
	args := []string{ini}
	if os.Geteuid() == 0 {
		args = []string{"-u", "postgres", ini}
	}
	return child.Config{Path: path, Args: args}, nil
}

// addAgent starts an agent, and its broker unless there is one already.
func (b *bench) addAgent(ctx context.Context, w *world, gate, kafka string, broker rig.Broker) (rig.Broker, error) {
	name := gate + "-" + kafka
	cfg := b.rigConfig(name, kafka, gate)
	// The agents' backup is never written: no worker runs.
	cfg.Use = rig.Parts{Primary: w.primary, Backup: w.primary, Broker: broker}
	cfg.Source, cfg.Upstream = name, w.primary.Socket()
	r, err := rig.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	w.rigs = append(w.rigs, r)
	if err := r.CreateTopics(ctx); err != nil {
		return nil, err
	}
	agent, err := r.Agent("a1")
	if err != nil {
		return nil, err
	}
	if err := agent.Start(ctx); err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(agent.Port())
	if err != nil {
		return nil, err
	}
	w.ways = append(w.ways, way{name: wayName(gate, kafka), port: port, pids: []int{agent.Process.Pid()},
		broker: r.Broker.Pid(), kafka: kafka, gate: gate})
	return r.Broker, nil
}

// opsBytes is the size of the ops topic behind a way, as Apache Kafka keeps it
// on disk: batch headers, compression and all.
func (w *world) opsBytes(gate, topic string) (int64, error) {
	for _, r := range w.rigs {
		server, ok := r.Broker.(*kafkaserver.Server)
		if !ok || r.Gate != gate {
			continue
		}
		return topicBytes(server.DataDir(), rig.Prefix+"."+r.Source+"."+topic)
	}
	return 0, fmt.Errorf("no agent with gate %s on Apache Kafka", gate)
}

// topicBytes adds up a topic's segments.
func topicBytes(dir, topic string) (int64, error) {
	files, err := filepath.Glob(filepath.Join(dir, topic+"-[0-9]*", "*.log"))
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, fmt.Errorf("topic %s has no files in Kafka's directory %s", topic, dir)
	}
	var sum int64
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return 0, err
		}
		sum += info.Size()
	}
	return sum, nil
}

// close ends everything; agents before what they are connected to.
func (w *world) close() error {
	var errs []error
	for i := len(w.rigs) - 1; i >= 0; i-- { // a broker belongs to the first rig that uses it
		errs = append(errs, w.rigs[i].Close())
	}
	for _, p := range w.proxies {
		errs = append(errs, p.Kill())
	}
	if w.primary != nil {
		errs = append(errs, w.primary.Close())
	}
	for _, dir := range w.dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}
