package execute

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/event"
)

func names(list []event.Setting) string {
	var words []string
	for _, s := range list {
		words = append(words, s.Name+"="+strings.TrimPrefix(s.Value, "\x00"))
	}
	return strings.Join(words, " ")
}

func TestOnlyDifferencesOfContextAreSet(t *testing.T) {
	s := settings{seed: maphash.MakeSeed()}
	s.reset()
	of := func(pairs ...string) *event.Context {
		c := &event.Context{User: "ann"}
		for i := 0; i < len(pairs); i += 2 {
			c.Settings = append(c.Settings, event.Setting{Name: pairs[i], Value: pairs[i+1]})
		}
		return c
	}
	first := of("TimeZone", "UTC", "search_path", `"$user", public`, "statement_timeout", "5s")
	if got := names(s.changes(first)); got != `TimeZone=UTC search_path="ann", public` {
		t.Fatal(got)
	}
	id := s.id
	if got := names(s.changes(first)) + names(s.changes(of("TimeZone", "UTC", "search_path", `"ann", public`))); got != "" || s.id != id {
		t.Fatalf("set again: %s", got)
	}
	if got := names(s.changes(of("TimeZone", "CET", "search_path", `"$user", public`))); got != "TimeZone=CET" || s.id == id {
		t.Fatal(got)
	}
	if got := names(s.apply([]event.Setting{{Name: "role", Value: "bob"}}, "ann")); got != "role=bob" {
		t.Fatal(got)
	}
	if got := names(s.changes(of("TimeZone", "UTC"))); !strings.HasPrefix(got, "TimeZone=UTC") || !strings.Contains(got, "role=none") || !strings.Contains(got, "search_path=reset") {
		t.Fatal(got)
	}
	before := s.id
	s.forget()
	if s.id == before {
		t.Fatal("statements read under a forgotten context would be taken for its own")
	}
}

// Triggers sleep for what an operation says, and for nothing that a context does.
func TestTriggersSleepForAnOperationAlone(t *testing.T) {
	s := settings{seed: maphash.MakeSeed()}
	s.reset()
	role := func(value string) []event.Setting { return []event.Setting{{Name: replicationRole, Value: value}} }
	context := &event.Context{Settings: append(role("replica"), event.Setting{Name: "role", Value: "none"})}
	if got := names(s.changes(context)); got != "role=none" {
		t.Fatalf("a context sets %s", got)
	}
	id := s.id
	if got := names(s.apply(role("replica"), "")); got != "session_replication_role=replica" || s.id == id {
		t.Fatalf("put to sleep: %q", got)
	}
	if got := names(s.apply(role("replica"), "")); got != "" {
		t.Fatalf("asleep: %q", got)
	}
	if got := names(s.apply(role("origin"), "")); got != "session_replication_role=origin" || s.id != id {
		t.Fatalf("woken: %q", got)
	}
	if got := names(s.apply(role("origin"), "")); got != "" {
		t.Fatalf("awake: %q", got)
	}
}

// What the application's role may not is done by the worker's login, which need not
// know what a rolled back savepoint has left of the role.
func TestRolesLeaveWhileTriggersSleep(t *testing.T) {
	s := settings{seed: maphash.MakeSeed()}
	s.reset()
	replication := func(value string) []event.Setting { return []event.Setting{{Name: replicationRole, Value: value}} }
	s.changes(&event.Context{Settings: []event.Setting{{Name: "role", Value: "bob"}}})
	for _, known := range []string{"bob", ""} {
		if got := names(s.apply(replication("replica"), "")); got != "opmux.role=role role=none session_replication_role=replica" || s.current["role"] != noRole {
			t.Fatalf("put to sleep: %q, role %q", got, s.current["role"])
		}
		if got := names(s.apply(replication("origin"), "")); got != "session_replication_role=origin role=kept" || s.current["role"] != known {
			t.Fatalf("woken: %q, role %q", got, s.current["role"])
		}
		s.forget()
	}
}

func TestTargetsDoNotCompileLookUps(t *testing.T) {
	cfg, err := ParseDSN("postgres://opmux@127.0.0.1/app", "a")
	if err != nil || cfg.RuntimeParams["jit"] != "off" {
		t.Fatalf("jit is %q, %v", cfg.RuntimeParams["jit"], err)
	}
}

func TestStatementsArePreparedWhenTheyComeAgain(t *testing.T) {
	s := newStatements()
	if st, _ := s.get("SELECT 1", nil, "a"); st != nil {
		t.Fatal("prepared at once")
	}
	st, _ := s.get("SELECT 1", nil, "a")
	if st == nil {
		t.Fatal("not prepared when it came again")
	}
	if again, _ := s.get("SELECT 1", nil, "a"); again != st {
		t.Fatal("prepared twice")
	}
	for _, other := range []struct {
		oids    []uint32
		context string
	}{{nil, "b"}, {[]uint32{23}, "a"}} {
		if got, _ := s.get("SELECT 1", other.oids, other.context); got == st {
			t.Fatalf("%v shares a statement", other)
		}
	}
	if st, _ := s.get(strings.Repeat("x", maxKeptBytes+1), nil, ""); st != nil {
		t.Fatal("a long text is kept")
	}
	dropped := 0
	for i := range 3 * maxPrepared {
		sql := fmt.Sprint("SELECT ", i)
		s.get(sql, nil, "")
		if _, drop := s.get(sql, nil, ""); drop != nil {
			dropped++
		}
	}
	if len(s.prepared) != maxPrepared || dropped != 2*maxPrepared+1 {
		t.Fatalf("%d are prepared, %d were dropped", len(s.prepared), dropped)
	}
}

func TestWhichErrorsAreTransient(t *testing.T) {
	server := func(code string) error { return fmt.Errorf("x: %w", &pgconn.PgError{Code: code}) }
	for want, errs := range map[Reason][]error{
		ReasonConnection:    {io.ErrUnexpectedEOF, errClosed, server("57P01"), server("08006"), &pgconn.ConnectError{}},
		ReasonDeadlock:      {server("40P01")},
		ReasonSerialization: {server("40001")},
		ReasonLock:          {server("55P03")},
		ReasonResources:     {server("53100"), server("53300")},
		ReasonChunks:        {&ReadError{Err: io.EOF}},
	} {
		for _, err := range errs {
			if got, again := Transient(err); !again || got != want {
				t.Errorf("%v: %q, %v, expected %q", err, got, again, want)
			}
		}
	}
	for _, err := range []error{server("23505"), server("42P01"), server("28P01"), errors.New("x")} {
		if _, again := Transient(err); again {
			t.Errorf("%v is taken for transient", err)
		}
	}
}

func TestMarksKeepTheFurthestAndTheLast(t *testing.T) {
	var m Marks
	m.Add([]event.SequenceMark{{Name: "up", Value: 5, Ascending: true}, {Name: "down", Value: -5}})
	var other Marks
	other.Add([]event.SequenceMark{{Name: "up", Value: 3, Ascending: true}, {Name: "down", Value: -9}, {Name: "down", Value: -8}})
	m.Merge(other)
	if m[Sequence{Name: "up"}].Value != 5 || m[Sequence{Name: "down"}].Value != -9 || m[Sequence{Name: "up"}].Last != 3 || m[Sequence{Name: "down"}].Last != -8 {
		t.Fatalf("%+v", m)
	}
}
