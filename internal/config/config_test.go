package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const agentYAML = `
source: orders
agent: a1
kafka: {brokers: ["127.0.0.1:9092"], prefix: opmux}
listen: {protocol: postgres, address: "127.0.0.1:6432"}
upstream: {address: "127.0.0.1:5432", database: app}
catalog: {dsn: "postgres://u@127.0.0.1:5432/app"}
capture: {other_databases: refuse}
gate: {mode: recorded, timeout: 5s, on_timeout: fail}
digest: {level: count}
on_unsafe: reject
admin: {address: "127.0.0.1:9464"}
`

const workerYAML = `
target: standby
kafka: {brokers: ["127.0.0.1:9092"]}
sources: [{name: orders}]
dsn: "postgres://u@127.0.0.1:5433/app"
`

const verifierYAML = `
kafka: {brokers: ["127.0.0.1:9092"]}
sources: [{name: orders, targets: [standby]}]
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "opmux.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestIssueExamples(t *testing.T) {
	a, err := LoadAgent(write(t, agentYAML))
	if err != nil {
		t.Fatal(err)
	}
	if a.Agent != "a1" || a.Gate.Timeout != 5*time.Second || a.Capture.Buffer != 64<<20 || a.Kafka.Topics.Retention != Unlimited {
		t.Errorf("agent: %+v", a)
	}
	w, err := LoadWorker(write(t, workerYAML))
	if err != nil {
		t.Fatal(err)
	}
	if w.Parallelism != 4 || w.OnError != "stop" || !w.Sets || w.Kafka.Prefix != "opmux" || w.SourceNames()[0] != "orders" {
		t.Errorf("worker: %+v", w)
	}
	v, err := LoadVerifier(write(t, verifierYAML))
	if err != nil {
		t.Fatal(err)
	}
	if v.Level != "count" || v.Timeout != 30*time.Second || v.Sources[0].Targets[0] != "standby" {
		t.Errorf("verifier: %+v", v)
	}
}

func TestLoadDetectsTheProgram(t *testing.T) {
	for name, text := range map[string]string{"agent": agentYAML, "worker": workerYAML, "verifier": verifierYAML} {
		f, err := Load(write(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if (f.Agent != nil) != (name == "agent") || (f.Worker != nil) != (name == "worker") || (f.Verifier != nil) != (name == "verifier") {
			t.Errorf("%s taken for %+v", name, f)
		}
	}
	if _, err := Load(write(t, "kafka: {}\n")); err == nil || !strings.Contains(err.Error(), "whose configuration is it?") {
		t.Errorf("got %v", err)
	}
}

func TestMistakesNamePlaceValueAndRule(t *testing.T) {
	for _, c := range []struct{ name, from, to, want string }{
		{"unknown key", "on_unsafe: reject", "on_unsave: reject", `:11: on_unsave: unknown key; did you mean "on_unsafe"?`},
		{"unknown nested key", "timeout: 5s", "timout: 5s", `:9: gate.timout: unknown key; did you mean "timeout"? the keys here are gather, mode, on_timeout, timeout`},
		{"bad duration", "timeout: 5s", "timeout: five", `:9: gate.timeout: expected a duration such as 500ms, 5s or 2m, got "five"`},
		{"longer gather", "timeout: 5s", "timeout: 20ms, gather: 30ms", `:9: gate.gather: must be below gate.timeout (20ms), got 30ms`},
		{"bad choice", "mode: recorded", "mode: sometimes", `:9: gate.mode: expected none or recorded, got "sometimes"`},
		{"gate to come", "mode: recorded", "mode: applied", `gate.mode: "applied" is not built yet; use none or recorded`},
		{"degrade to come", "on_timeout: fail", "on_timeout: degrade", `gate.on_timeout: "degrade" is not built yet; use fail`},
		{"TLS passed through", "protocol: postgres", "tls: {mode: passthrough}, protocol: postgres", `:5: listen.tls.mode: "passthrough" is not possible: what passes encrypted cannot be read`},
		{"another mode", "protocol: postgres", "tls: {mode: mirror}, protocol: postgres", `:5: listen.tls.mode: expected terminate, got "mirror"`},
		{"mysql to come", "protocol: postgres", "protocol: mysql", `:5: listen.protocol: "mysql" is not built yet; use postgres`},
		{"missing", "source: orders", "source:", `:2: source: is required, for example orders`},
		{"bad name", "source: orders", "source: or.ders", `:2: source: expected letters, digits, _ and -`},
		{"twice", "source: orders", "source: orders\nsource: orders", `:3: source: the key is given twice; keep one`},
		{"list expected", `brokers: ["127.0.0.1:9092"]`, `brokers: 127.0.0.1`, `:4: kafka.brokers: expected a list`},
		{"address", `["127.0.0.1:9092"]`, `["127.0.0.1"]`, `:4: kafka.brokers[0]: expected host:port, got "127.0.0.1"`},
		{"keys expected", "gate: {mode: recorded, timeout: 5s, on_timeout: fail}", "gate: none", `:9: gate: expected keys (mode, timeout, gather, on_timeout), got a single value`},
		{"environment", "source: orders", "source: ${OPMUX_TEST_UNSET}", `:2: source: the environment variable OPMUX_TEST_UNSET is not set`},
		{"environment syntax", "source: orders", "source: ${a-b}", `:2: source: expected ${NAME}`},
		{"other database", "5432/app", "5432/other", `:7: catalog.dsn: names the database "other"; expected "app" as in upstream.database`},
		{"in-sync above replication", "prefix: opmux", "topics: {replication: 1, min_insync: 2}", `kafka.topics.min_insync: is 2, above kafka.topics.replication of 1`},
		{"retention", "prefix: opmux", "topics: {retention: long}", `kafka.topics.retention: expected unlimited, or a duration`},
		{"not YAML", "source: orders", "source: [", "not valid YAML"},
		{"predicates without a schema", "other_databases: refuse", "predicates: [{tables: log, carry: lock}]", `:8: capture.predicates[0].tables: expected schema.table, where * stands for any characters, got "log"; for a table of any schema write "*.log"`},
		{"another carry", "other_databases: refuse", "predicates: [{tables: public.log, carry: locks}]", `:8: capture.predicates[0].carry: expected rows or lock or text, got "locks"`},
		{"predicates twice", "other_databases: refuse", "predicates: [{tables: public.log, carry: lock}, {tables: public.log, carry: text}]", `:8: capture.predicates[1].tables: "public.log" is listed twice; keep one`},
		{"no carry", "other_databases: refuse", "predicates: [{tables: public.log}]", `capture.predicates[0].carry: expected rows or lock or text, got ""`},
		{"unknown key of predicates", "other_databases: refuse", "predicates: [{table: public.log, carry: lock}]", `capture.predicates[0].table: unknown key; did you mean "tables"?`},
		{"missing file", "on_unsafe: reject", "listen_x: 1\non_unsafe: reject", "listen_x: unknown key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := LoadAgent(write(t, strings.Replace(agentYAML, c.from, c.to, 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	text := strings.Replace(agentYAML, "on_unsafe: reject", "on_unsafe: maybe", 1)
	text = strings.Replace(text, "level: count", "level: some", 1)
	_, err := LoadAgent(write(t, text))
	if err == nil || !strings.Contains(err.Error(), "on_unsafe:") || !strings.Contains(err.Error(), "digest.level:") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:s3cret@127.0.0.1:bad/app",
		"u:s3cret@tcp(127.0.0.1:3306)/app",
		"host=x password=s3cret port=bad",
		"postgres://u:s3cret@[::1/app",
		"postgres://u:s3cret@127.0.0.1:5432/other?sslmode=nope",
		"postgres://u:p@s3cret@127.0.0.1:5432/app", // a user's part ends at the first @
		"postgres://u:p@s3cret%zz@127.0.0.1:5432/app",
	} {
		text := strings.Replace(agentYAML, "postgres://u@127.0.0.1:5432/app", dsn, 1)
		_, err := LoadAgent(write(t, text))
		if err == nil || !strings.Contains(err.Error(), "catalog.dsn") {
			t.Errorf("%s: got %v", dsn, err)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the password is in %v", err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("OPMUX_TEST_DSN", "postgres://u:p%23x%3A%20@127.0.0.1:5432/app")
	t.Setenv("OPMUX_TEST_LEVEL", "full")
	text := strings.Replace(agentYAML, "level: count", "level: ${OPMUX_TEST_LEVEL}", 1)
	text = strings.Replace(text, "agent: a1", "agent: a_${OPMUX_TEST_LEVEL}", 1)
	text = strings.Replace(text, `"postgres://u@127.0.0.1:5432/app"`, "${OPMUX_TEST_DSN}", 1)
	a, err := LoadAgent(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest.Level != "full" || a.Agent != "a_full" || a.Catalog.DSN != os.Getenv("OPMUX_TEST_DSN") {
		t.Errorf("got %q, %q", a.Digest.Level, a.Agent)
	}
	if got, err := expand(string(mark([]byte("a$b $${c} $$")))); err != nil || got != "a$b ${c} $$" {
		t.Errorf("expand: %q, %v", got, err)
	}
}

func TestWrongProgram(t *testing.T) {
	_, err := LoadWorker(write(t, agentYAML))
	if err == nil || !strings.Contains(err.Error(), "this looks like the configuration of a capture-agent") {
		t.Errorf("got %v", err)
	}
}

func TestDefaultAgentName(t *testing.T) {
	a, err := LoadAgent(write(t, strings.Replace(agentYAML, "agent: a1\n", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(a.Agent, "-127.0.0.1:6432") {
		t.Errorf("got %q", a.Agent)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"64MiB": 64 << 20, "1 GiB": 1 << 30, "512": 512, "2kB": 2000, "0": 0} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "9999999999TiB", "x"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%s: %d", text, got)
		}
	}
	if s := Size(64 << 20).String(); s != "64MiB" {
		t.Error(s)
	}
}

func TestUpstreamEndpoint(t *testing.T) {
	for address, want := range map[string]string{
		"db:5433":                       "tcp db:5433",
		"/run/postgresql":               "unix /run/postgresql/.s.PGSQL.5432",
		"/run/postgresql/":              "unix /run/postgresql/.s.PGSQL.5432",
		"/run/postgresql/.s.PGSQL.5433": "unix /run/postgresql/.s.PGSQL.5433",
	} {
		network, got := Upstream{Address: address}.Endpoint()
		if network+" "+got != want {
			t.Errorf("%s: %s %s, want %s", address, network, got, want)
		}
	}
}
