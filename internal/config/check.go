package config

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// name is the rule for names of sources and targets, which become parts of
// topic names between dots and parts of keys between slashes.
var name = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$`)

// lastingName is the rule for names of agents and workers.
var lastingName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,126}$`)

var prefixName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)

func (d *document) checkAgent(a *Agent, in process) error {
	r := &rules{d: d}
	r.named("source", a.Source, "orders")
	r.within(a, in)
	r.kafka(a.Kafka)
	r.planned("listen.protocol", a.Listen.Protocol, []string{"postgres"}, "mysql")
	if a.Listen.Address != "" {
		r.address("listen.address", a.Listen.Address)
	}
	if t := a.Listen.TLS; t != nil {
		r.listenTLS(t)
	}
	r.between("listen.max_sessions", a.Listen.MaxSessions, 1, 100_000)
	r.between("listen.max_handshakes", a.Listen.MaxHandshakes, 1, 100_000)
	r.duration("listen.handshake_timeout", a.Listen.HandshakeTimeout, time.Second, 10*time.Minute)
	r.duration("listen.drain_timeout", a.Listen.DrainTimeout, 0, time.Hour)
	r.upstream(a.Upstream)
	r.catalog(a)
	r.oneOf("capture.other_databases", a.Capture.OtherDatabases, "refuse", "pass")
	r.oneOf("capture.roles", a.Capture.Roles, "refuse", "pass", "publish")
	r.oneOf("capture.unlogged", a.Capture.Unlogged, "refuse", "skip")
	r.size("capture.buffer", a.Capture.Buffer, 1<<20, 16<<30)
	r.size("capture.open", a.Capture.Open, 1<<20, 16<<30)
	r.size("capture.chunk", a.Capture.Chunk, 16<<10, 512<<20)
	r.size("capture.max_message", a.Capture.MaxMessage, 64<<10, 1<<30)
	r.predicates(a.Capture.Predicates)
	r.planned("gate.mode", a.Gate.Mode, []string{"none", "recorded"}, "applied", "verified")
	r.duration("gate.timeout", a.Gate.Timeout, 10*time.Millisecond, time.Hour)
	r.duration("gate.gather", a.Gate.Gather, 0, 100*time.Millisecond)
	if a.Gate.Gather >= a.Gate.Timeout {
		r.fail("gate.gather", "must be below gate.timeout (%v), got %v", a.Gate.Timeout, a.Gate.Gather)
	}
	r.planned("gate.on_timeout", a.Gate.OnTimeout, []string{"fail"}, "degrade")
	r.oneOf("digest.level", a.Digest.Level, "code", "count", "full")
	r.oneOf("on_unsafe", a.OnUnsafe, "reject", "flag")
	r.process(a.Admin, a.Log)
	return r.err()
}

// listenTLS refuses TLS that passes through with a word of its own: it is what
// people who know TCP proxies look for, and there is a way to what they want.
func (r *rules) predicates(list []Predicate) {
	seen := map[string]bool{}
	for i, p := range list {
		at := fmt.Sprintf("capture.predicates[%d]", i)
		if r.required(at+".tables", p.Tables, `"public.log_*"`) {
			if !strings.Contains(p.Tables, ".") {
				r.fail(at+".tables", "expected schema.table, where * stands for any characters, got %q; for a table of any schema write %q", p.Tables, "*."+p.Tables)
			}
			r.twice(at+".tables", p.Tables, seen)
		}
		r.oneOf(at+".carry", p.Carry, "rows", "lock", "text")
	}
}

func (r *rules) listenTLS(t *ListenTLS) {
	switch t.Mode {
	case "", "terminate":
	case "passthrough", "pass-through", "pass_through":
		r.fail("listen.tls.mode", "%q is not possible: what passes encrypted cannot be read, and so not captured; "+
			"use terminate with the primary's own certificate and key in listen.tls, and upstream.tls: clients then verify the primary's name and SCRAM binds to its certificate as if they were connected to it", t.Mode)
		return // it has no certificate
	default:
		r.oneOf("listen.tls.mode", t.Mode, "terminate")
	}
	if t.Cert == "" {
		r.fail("listen.tls.cert", "is required beside listen.tls: the certificate shown to applications")
	}
	r.pair("listen.tls", t.Cert, t.Key)
	r.file("listen.tls.client_ca", t.ClientCA)
}

func (r *rules) upstream(u Upstream) {
	if r.required("upstream.address", u.Address, `"127.0.0.1:5432", or the path of a unix socket`) && !strings.HasPrefix(u.Address, "/") {
		r.address("upstream.address", u.Address)
	}
	r.required("upstream.database", u.Database, "app: a PostgreSQL source is one database")
	r.oneOf("upstream.tls.mode", u.TLS.Mode, "disable", "prefer", "require", "verify-ca", "verify-full")
	r.pair("upstream.tls", u.TLS.Cert, u.TLS.Key)
	r.file("upstream.tls.ca", u.TLS.CA)
	if strings.HasPrefix(u.TLS.Mode, "verify-") && u.TLS.CA == "" {
		r.fail("upstream.tls.ca", "is required with mode %s: the authority that signed the primary's certificate", u.TLS.Mode)
	}
	if strings.HasPrefix(u.Address, "/") && u.TLS.Mode != "disable" && u.TLS.Mode != "prefer" {
		r.fail("upstream.tls.mode", "PostgreSQL has no TLS on unix sockets; use disable, or host:port as upstream.address")
	}
}

// catalog also refuses a login to another database than the captured one:
// look-ups would answer for tables of the same name elsewhere.
func (r *rules) catalog(a *Agent) {
	before := len(r.errs)
	r.postgresDSN("catalog.dsn", a.Catalog.DSN)
	if len(r.errs) > before || a.Upstream.Database == "" {
		return
	}
	cfg, err := pgconn.ParseConfig(a.Catalog.DSN)
	if err != nil {
		return
	}
	database := cfg.Database
	if database == "" {
		database = cfg.User
	}
	if database != a.Upstream.Database {
		r.fail("catalog.dsn", "names the database %q; expected %q as in upstream.database", database, a.Upstream.Database)
	}
}

func (d *document) checkWorker(w *Worker) error {
	r := &rules{d: d}
	r.named("target", w.Target, "standby")
	r.lasting("name", w.Name)
	r.kafka(w.Kafka)
	if len(w.Sources) == 0 {
		r.fail("sources", "is required, for example [{name: orders}]")
	}
	seen := map[string]bool{}
	for i, s := range w.Sources {
		path := fmt.Sprintf("sources[%d].name", i)
		r.named(path, s.Name, "orders")
		r.twice(path, s.Name, seen)
	}
	r.postgresDSN("dsn", w.DSN)
	r.between("parallelism", w.Parallelism, 1, 256)
	r.planned("on_error", w.OnError, []string{"stop"}, "dead-letter", "quarantine")
	r.size("memory", w.Memory, 16<<20, 1<<40)
	r.process(w.Admin, w.Log)
	return r.err()
}

func (d *document) checkVerifier(v *Verifier) error {
	r := &rules{d: d}
	r.lasting("name", v.Name)
	r.kafka(v.Kafka)
	if len(v.Sources) == 0 {
		r.fail("sources", "is required, for example [{name: orders, targets: [standby]}]")
	}
	seen := map[string]bool{}
	for i, s := range v.Sources {
		path := fmt.Sprintf("sources[%d]", i)
		r.named(path+".name", s.Name, "orders")
		r.twice(path+".name", s.Name, seen)
		if len(s.Targets) == 0 {
			r.fail(path+".targets", "is required, for example [standby]: the targets whose digests are compared")
		}
		targets := map[string]bool{}
		for j, t := range s.Targets {
			at := fmt.Sprintf("%s.targets[%d]", path, j)
			r.named(at, t, "standby")
			r.twice(at, t, targets)
		}
	}
	r.oneOf("level", v.Level, "code", "count", "full")
	r.duration("timeout", v.Timeout, time.Second, 24*time.Hour)
	r.size("memory", v.Memory, 16<<20, 1<<40)
	if w := v.Webhook; w != nil {
		if r.required("webhook.url", w.URL, `"https://alerts.example.com/opmux"`) {
			r.httpURL("webhook.url", w.URL)
		}
		r.oneOf("webhook.on", w.On, "failure", "always")
		r.duration("webhook.timeout", w.Timeout, 100*time.Millisecond, time.Minute)
	}
	r.process(v.Admin, v.Log)
	return r.err()
}

func (r *rules) twice(path, value string, seen map[string]bool) {
	if seen[value] {
		r.fail(path, "%q is listed twice; keep one", value)
	}
	seen[value] = true
}

func (r *rules) kafka(k Kafka) {
	if len(k.Brokers) == 0 {
		r.fail("kafka.brokers", "is required, for example [\"127.0.0.1:9092\"]")
	}
	for i, b := range k.Brokers {
		r.address(fmt.Sprintf("kafka.brokers[%d]", i), b)
	}
	if !prefixName.MatchString(k.Prefix) {
		r.fail("kafka.prefix", "expected letters, digits and _.-, at most 63 of them, since topics are named after it; got %q", k.Prefix)
	}
	if t := k.TLS; t != nil {
		r.pair("kafka.tls", t.Cert, t.Key)
		r.file("kafka.tls.ca", t.CA)
	}
	if s := k.SASL; s != nil {
		r.oneOf("kafka.sasl.mechanism", s.Mechanism, "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
		r.required("kafka.sasl.user", s.User, "opmux")
		r.required("kafka.sasl.password", s.Password, `"${KAFKA_PASSWORD}"`)
	}
	if s := k.SchemaRegistry; s != nil && r.required("kafka.schema_registry.url", s.URL, `"http://registry.example.com:8081"`) {
		r.httpURL("kafka.schema_registry.url", s.URL)
	}
	r.between("kafka.topics.replication", k.Topics.Replication, 0, 100)
	r.between("kafka.topics.min_insync", k.Topics.MinInsync, 0, 100)
	if k.Topics.Replication > 0 && k.Topics.MinInsync > k.Topics.Replication {
		r.fail("kafka.topics.min_insync", "is %d, above kafka.topics.replication of %d: nothing could ever be written", k.Topics.MinInsync, k.Topics.Replication)
	}
}

func (r *rules) process(a Admin, l Log) {
	if a.Address != "" {
		r.address("admin.address", a.Address)
	}
	r.oneOf("log.level", l.Level, "debug", "info", "warn", "error")
	r.oneOf("log.format", l.Format, "console", "json")
}

// defaultName is host name and address, with what a name may not hold replaced.
func defaultName(address string) string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	full := host
	if address != "" {
		full += "-" + address
	} else {
		full += fmt.Sprintf("-%d", os.Getpid())
	}
	clean := []byte(full)
	for i, c := range clean {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:@-", rune(c)) || (i == 0 && strings.ContainsRune(".:@-", rune(c))) {
			clean[i] = '_'
		}
	}
	return string(clean[:min(len(clean), 127)])
}
