package ops

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opmux/opmux/apply"
	"github.com/opmux/opmux/internal/exit"
	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// found runs check and returns its findings.
func (b *bench) found(path string) ([]finding, int) {
	b.t.Helper()
	out, _, err := b.run("check", "--config", path, "--json")
	var answer struct{ Findings []finding }
	if e := json.Unmarshal([]byte(out), &answer); e != nil {
		b.t.Fatalf("%v: %v: %s", err, e, out)
	}
	return answer.Findings, exit.Code(err)
}

// expect fails unless there is such a finding, with a remedy.
func (b *bench) expect(path string, s severity, say string) {
	b.t.Helper()
	list, code := b.found(path)
	if !slices.ContainsFunc(list, func(f finding) bool {
		return f.Severity == s && strings.Contains(f.What, say) && (s == fine || f.Remedy != "")
	}) {
		b.t.Errorf("no finding %s %q among\n%v", s, say, list)
	}
	if s == fatal && code != exit.Runtime {
		b.t.Errorf("%q: exit code %d", say, code)
	}
}

func TestCheckOfWhatIsFine(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "CREATE TABLE good (id int PRIMARY KEY)")
	for _, path := range []string{b.agent, b.worker, b.verifier} {
		list, code := b.found(path)
		if code != exit.OK {
			t.Errorf("exit code %d: %v", code, list)
		}
	}
	if out := b.must("check", "--config", b.agent); !strings.Contains(out, "ready to start") {
		t.Error(out)
	}
}

func TestCheckFindsMissingTopics(t *testing.T) {
	b := newBench(t)
	b.expect(b.agent, fatal, "topic opmux.orders.ops does not exist")
	b.fails(exit.Runtime, "fatal", "check", "--config", b.agent)
}

func TestCheckFindsTables(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "CREATE TABLE keyless (a int)", "CREATE UNLOGGED TABLE fast (a int PRIMARY KEY)",
		"CREATE TABLE watched (a int PRIMARY KEY)", "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
		"CREATE TRIGGER w BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION f()")
	for _, say := range []string{"public.keyless", "public.fast", "public.watched"} {
		b.expect(b.agent, warning, say)
	}
}

// A backup checks a row when it gets it, by its own clock.
func TestCheckFindsChecksByTheClock(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "CREATE TABLE booked (a date PRIMARY KEY CHECK (a >= CURRENT_DATE))", "CREATE TABLE offered (a int PRIMARY KEY, at timestamptz, CONSTRAINT later CHECK (at > now()))",
		"CREATE DOMAIN later AS timestamptz CHECK (VALUE > clock_timestamp())", "CREATE TABLE promised (a later PRIMARY KEY)",
		"CREATE TABLE fixed (a date PRIMARY KEY CHECK (a > '2000-01-01'), r name CHECK (r = CURRENT_USER), at timestamptz DEFAULT now())")
	b.expect(b.agent, warning, "3 tables with a CHECK that reads the clock: a worker stops at a row for which it holds no more when it is applied: public.booked, public.offered, public.promised")
}

// Tables whose writes are carried otherwise are no finding.
func TestCheckLooksAtHowWritesAreCarried(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "CREATE TABLE keyless (a int)", "CREATE TABLE other (a int)")
	text := read(t, b.agent)
	locked := b.write(t.TempDir(), "locked.yaml", text+"capture: {predicates: [{tables: public.key*, carry: lock}]}\n")
	b.expect(locked, warning, "1 table without a usable unique key: UPDATE cannot be carried yet: public.other")
	triggers := b.write(t.TempDir(), "triggers.yaml", text+"capture: {triggers: on}\n")
	list, _ := b.found(triggers)
	if slices.ContainsFunc(list, func(f finding) bool { return strings.Contains(f.What, "usable unique key") }) {
		t.Errorf("the capture triggers carry tables without a key: %v", list)
	}
}

func TestCheckAndStatusKnowPreparedTransactions(t *testing.T) {
	b := newBench(t).withTopics()
	b.expect(b.agent, fine, "transactions can be prepared; 0 prepared transactions now")
	b.pg.Exec(t, b.primary, "CREATE TABLE t (id int PRIMARY KEY)", "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'past me'")
	t.Cleanup(func() { b.pg.Exec(t, b.primary, "ROLLBACK PREPARED 'past me'") })
	b.expect(b.agent, warning, "1 transaction prepared past opmux: past me")
	var s report
	if err := json.Unmarshal([]byte(b.must("status", "--config", b.agent, "--json")), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Prepared) != 1 || s.Prepared[0].GID != "past me" || s.Prepared[0].State != preparedPast {
		t.Errorf("status tells of %v", s.Prepared)
	}
	if out := b.must("status", "--config", b.agent); !strings.Contains(out, `prepared  "past me" of postgres`) || !strings.Contains(out, "past opmux: ROLLBACK PREPARED it") {
		t.Error(out)
	}
	b.pg.Exec(t, b.primary, "CREATE ROLE check_two LOGIN")
	t.Cleanup(func() { b.pg.Exec(t, b.primary, "DROP ROLE check_two") })
	dsn := b.pg.DSN(b.primary)
	low := b.write(t.TempDir(), "low.yaml", strings.Replace(read(t, b.agent), dsn, strings.Replace(dsn, "postgres@", "check_two@", 1), 1))
	b.expect(low, warning, "opmux.prepared is not there and check_two may not create it")
}

func TestCheckFindsSettingsOfServerAndRoles(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "ALTER DATABASE "+b.primary+" SET idle_in_transaction_session_timeout = '3s'")
	b.expect(b.agent, fatal, "idle_in_transaction_session_timeout = 3s for database "+b.primary)
	b.pg.Exec(t, b.primary, "ALTER DATABASE "+b.primary+" RESET idle_in_transaction_session_timeout",
		"CREATE ROLE check_app LOGIN", "ALTER ROLE check_app SET idle_in_transaction_session_timeout = '1min'", "ALTER ROLE check_app SET standard_conforming_strings = off")
	t.Cleanup(func() { b.pg.Exec(t, b.primary, "DROP ROLE check_app") })
	b.expect(b.agent, warning, "standard_conforming_strings = off for role check_app")
	list, code := b.found(b.agent)
	if code != exit.OK || slices.ContainsFunc(list, func(f finding) bool { return strings.Contains(f.What, "idle_in_transaction") }) {
		t.Errorf("a minute is longer than the gate's timeout: %d, %v", code, list)
	}
}

func TestCheckFindsWhatALoginMayNot(t *testing.T) {
	b := newBench(t).withTopics()
	b.pg.Exec(t, b.primary, "CREATE ROLE check_low LOGIN")
	t.Cleanup(func() { b.pg.Exec(t, b.primary, "DROP OWNED BY check_low", "DROP ROLE check_low") })
	low := func(path, dsn string) string {
		return b.write(t.TempDir(), "low.yaml", strings.Replace(read(t, path), dsn, strings.Replace(dsn, "postgres@", "check_low@", 1), 1))
	}
	agent := low(b.agent, b.pg.DSN(b.primary))
	b.expect(agent, warning, "not a member of pg_signal_backend")
	b.expect(agent, warning, "event trigger is not there and check_low may not create it")
	b.expect(low(b.worker, b.pg.DSN(b.target)), fatal, "check_low may not create schema opmux")
}

func TestCheckFindsServersThatAreAway(t *testing.T) {
	b := newBench(t).withTopics()
	text := read(t, b.agent)
	away := b.write(t.TempDir(), "away.yaml", strings.ReplaceAll(text, "127.0.0.1:"+portOf(b.pg), "127.0.0.1:1"))
	b.expect(away, fatal, "cannot connect to 127.0.0.1:1")
	b.expect(away, fatal, "127.0.0.1:1: cannot connect")
	wrong := b.write(t.TempDir(), "wrong.yaml", strings.Replace(text, `upstream: {address: "127.0.0.1:`+portOf(b.pg), `upstream: {address: "`+b.kafka.Brokers[0]+`", tls: {mode: disable}, database: `+b.primary+`} #`, 1))
	b.expect(wrong, fatal, b.kafka.Brokers[0])
}

// What applications will see of TLS, and what will be seen of the primary's.
func TestCheckComparesCertificates(t *testing.T) {
	b := newBench(t).withTopics()
	pg := testkit.Postgres(t, testkit.WithTLS())
	key := filepath.Join(filepath.Dir(pg.CAFile()), "server.key")
	at := func(listen, upstream string) string {
		text := strings.Replace(read(t, b.agent), "listen: {", "listen: {"+listen, 1)
		text = strings.Replace(text, `upstream: {address: "127.0.0.1:`+portOf(b.pg)+`"`, `upstream: {address: "localhost:`+portOf(pg)+`", tls: {`+upstream+`}`, 1)
		return b.write(t.TempDir(), "tls.yaml", text)
	}
	other := testkit.Postgres(t, testkit.WithTLS())
	shows := func(pg *testkit.PG, key string) string {
		return fmt.Sprintf("tls: {cert: %q, key: %q}, ", pg.CAFile(), key)
	}
	verified := fmt.Sprintf("mode: verify-full, ca: %q", pg.CAFile())
	b.expect(at(shows(pg, key), verified), fine, "SCRAM with channel binding passes")
	b.expect(at(shows(other, filepath.Join(filepath.Dir(other.CAFile()), "server.key")), verified), warning, "another certificate than the primary's")
	b.expect(at("", fmt.Sprintf("mode: verify-full, ca: %q", other.CAFile())), fatal, "which is none of upstream.tls.ca")
	b.expect(at(shows(pg, other.CAFile()), verified), fatal, "listen.tls.cert")
}

func portOf(pg *testkit.PG) string { return strings.Split(strings.Split(pg.DSN("x"), ":")[2], "/")[0] }

func TestCheckFindsASecondAgentOfGateNone(t *testing.T) {
	b := newBench(t).withTopics()
	none := b.write(t.TempDir(), "none.yaml", read(t, b.agent)+"gate: {mode: none}\n")
	b.beat(topics.Heartbeat{Role: topics.RoleAgent, Source: "orders", Name: "a2", Gate: "recorded", Time: time.Now(), Ready: true})
	b.expect(none, fatal, "agent a2 of source orders is running")
}

func TestCheckFindsAPositionOfAnotherTopic(t *testing.T) {
	b := newBench(t).withTopics()
	b.expect(b.worker, fine, "no position in source orders yet")
	if err := apply.Reset(t.Context(), b.pg.DSN(b.target), "orders", "another", 0); err != nil {
		t.Fatal(err)
	}
	b.expect(b.worker, fatal, "belongs to topic id another")
}
