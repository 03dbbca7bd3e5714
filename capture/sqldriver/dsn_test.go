package sqldriver

import (
	"context"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
)

const primary = "db.example.com:5433"

// inside is an agent that does not run, of a primary and with a TLS mode.
func inside(address, mode string) *Agent {
	cfg := NewConfig()
	cfg.Source, cfg.Agent, cfg.Upstream.Address, cfg.Upstream.TLS.Mode = "orders", "a1", address, mode
	return &Agent{cfg: *cfg, door: &door{port: portOf(address)}}
}

// What a driver reads of a connection string is the same as before, but for where
// it connects and how.
func TestConnectionStringsKeepAllButThePlace(t *testing.T) {
	a, s := inside(primary, "verify-full"), &socket{dir: "/tmp/a b&c+d'/1"}
	for _, text := range []string{
		"postgres://u@db.example.com:5433/app",
		"postgresql://u:p%40+%2F%C3%9F@DB.example.com:5433/app?sslmode=verify-full&application_name=a+b%20c&search_path=x%2Cy&connect_timeout=3",
		"postgres://u@/app?host=db.example.com&port=5433&sslmode=disable",
		"postgres://u@db.example.com:5433?sslrootcert=system&sslnegotiation=direct&options=-c%20geqo%3Doff",
		"postgres://u:p@db.example.com:5433/?ssl=true",
		"postgres://db.example.com:5433/app?user=u&password=p%26q",
		"host=db.example.com port=5433 user=u dbname=app",
		`  host = 'db.example.com'  port=5433 user=u password='it\'s a \\ p' dbname=app sslmode=require options='-c geqo=off' `,
		`host=db.example.com port=5433 user=a\ b password= application_name=ü`,
	} {
		got, err := a.redirect(context.Background(), text, s)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		samePgx(t, text, got, s.dir)
		samePq(t, text, got, s.dir)
	}
}

func samePgx(t *testing.T, before, after, dir string) {
	t.Helper()
	was, err := pgconn.ParseConfig(before)
	if err != nil {
		t.Fatalf("%s: %v", before, err)
	}
	is, err := pgconn.ParseConfig(after)
	if err != nil {
		t.Fatalf("%s: %v", after, err)
	}
	if is.Host != dir || is.Port != 5433 || is.TLSConfig != nil || len(is.Fallbacks) > 0 {
		t.Errorf("%s: pgx connects to %s %d %v %v", after, is.Host, is.Port, is.TLSConfig, is.Fallbacks)
	}
	if is.User != was.User || is.Password != was.Password || is.Database != was.Database || is.ConnectTimeout != was.ConnectTimeout || !maps.Equal(is.RuntimeParams, was.RuntimeParams) {
		t.Errorf("pgx reads\n%+v of %s, and\n%+v of %s", was, before, is, after)
	}
}

func samePq(t *testing.T, before, after, dir string) {
	t.Helper()
	if strings.Contains(before, "ssl=true") {
		return // of pgx only
	}
	was, err := pq.NewConfig(before)
	if err != nil {
		t.Fatalf("%s: %v", before, err)
	}
	is, err := pq.NewConfig(after)
	if err != nil {
		t.Fatalf("%s: %v", after, err)
	}
	if is.Host != dir || is.Port != 5433 || is.Hostaddr.IsValid() || is.SSLMode != pq.SSLModeDisable || len(is.Multi) > 0 {
		t.Errorf("%s: lib/pq connects to %+v", after, is)
	}
	if is.User != was.User || is.Password != was.Password || is.Database != was.Database || is.ConnectTimeout != was.ConnectTimeout ||
		is.ApplicationName != was.ApplicationName || is.Options != was.Options || !reflect.DeepEqual(is.Runtime, was.Runtime) {
		t.Errorf("lib/pq reads\n%+v of %s, and\n%+v of %s", was, before, is, after)
	}
}

func TestWrongConnectionStringsAreRefusedByName(t *testing.T) {
	const secret = "s3cret"
	for _, c := range []struct{ text, env, mode, want string }{
		{text: "postgres://u:s3cret@db.example.com:5433,other:5432/app", want: "names several servers"},
		{text: "host=db.example.com,other user=u password=s3cret", want: "names several servers"},
		{text: "host=db.example.com port=5433,5433 password=s3cret", want: "names several servers"},
		{text: "postgres://u:s3cret@db.example.com/app", want: "for the server db.example.com:5432, and agent \"a1\" of source \"orders\" captures db.example.com:5433"},
		{text: "postgres://u:s3cret@192.0.2.7:5433/app", want: "for the server 192.0.2.7:5433"},
		{text: "postgres://u:s3cret@[2001:db8::1]:5433/app", want: "for the server [2001:db8::1]:5433"},
		{text: "host=/var/run/postgresql password=s3cret", want: "for the server /var/run/postgresql/.s.PGSQL.5432"},
		{text: "postgres://u:s3cret@%2Fvar%2Frun/app", want: "for the server /var/run/.s.PGSQL.5432"},
		{text: "user=u password=s3cret dbname=app", want: "it names no host"},
		{text: "postgres://u:s3cret@/app", want: "it names no host"},
		{text: "", want: "it names no host"},
		{text: "user=u password=s3cret", env: "PGHOST=db.example.com", want: "for the server db.example.com:5432"},
		{text: "postgres://u:s3cret@db.example.com:5433/app?host=db.example.com", want: "the host is given twice"},
		{text: "host=db.example.com port=5433 host=x password=s3cret", want: "the parameter host is given twice"},
		{text: "postgres://u:s3cret@db.example.com:5433/app?hostaddr=192.0.2.7", want: "hostaddr may lead around the agent"},
		{text: "host=db.example.com port=5433 service=x password=s3cret", want: "service may lead around the agent"},
		{text: "postgres://u:s3cret@db.example.com:5433/app", env: "PGHOSTADDR=192.0.2.7", want: "the environment variable PGHOSTADDR may lead around"},
		{text: "postgres://u:s3cret@db.example.com:5433/app", env: "PGSERVICE=x", want: "the environment variable PGSERVICE may lead around"},
		{text: "postgres://u:s3cret@db.example.com:5433/app?sslmode=verify-full", want: "it asks for sslmode=verify-full, and the agent connects to the primary with upstream.tls.mode require; raise that to verify-full"},
		{text: "postgres://u:s3cret@db.example.com:5433/app", env: "PGSSLMODE=verify-ca", want: "it asks for sslmode=verify-ca"},
		{text: "postgres://u:s3cret@db.example.com:5433/app?ssl=true", mode: "prefer", want: "it asks for sslmode=require"},
		{text: "postgres://u:s3cret@db.example.com:5433/app?sslrootcert=system", want: "it asks for sslmode=verify-full"},
		{text: "postgres://u:s3cret@db.example.com:5433/app?sslmode=pqgo-mine", want: "sslmode=pqgo-mine is a word of the driver's own"},
		{text: "postgres://u:s3cret#@db.example.com:5433/app", want: "write %23 for the character"},
		{text: "registeredConnConfig0", want: "give it the agent's DialContext"},
		{text: "postgres://u:s3cret@db.example.com:5433/app?x=%zz", want: "two hexadecimal digits"},
		{text: "postgres://u:s3cret/x@db.example.com:5433/app", want: "%2F"},
		{text: "postgres://u:s3cret?x@db.example.com:5433/app", want: "%2F"},
		{text: "postgres://u:p@s3cret/x@db.example.com:5433/app", want: "%2F"},
		{text: "postgres://u:p@s3cret?x@db.example.com:5433/app", want: "%2F"},
		{text: "postgres://db.example.com:s3cret/app", want: "port is no number"},
		{text: "postgres://u:s3cret@[db]:5433/app", want: "expected an IPv6 address"},
		{text: "host=db.example.com password='s3cret", want: "a quoted value does not end"},
		{text: `host=db.example.com password=s3cret\`, want: "nothing behind its last backslash"},
		{text: "host=db.example.com password=s3cret\x00", want: "NUL"},
	} {
		t.Run(c.text, func(t *testing.T) {
			if name, value, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(name, value)
			}
			mode := c.mode
			if mode == "" {
				mode = "require"
			}
			got, err := inside(primary, mode).redirect(context.Background(), c.text, &socket{dir: "/tmp/x/1"})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %q, %v; want an error with %q", got, err, c.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the password is in %v", err)
			}
		})
	}
}

func TestThePrimaryIsKnownByItsOtherNames(t *testing.T) {
	for _, c := range []struct {
		upstream, host, port string
		want                 bool
	}{
		{"127.0.0.1:5432", "localhost", "5432", true},
		{"localhost:5432", "127.0.0.1", "5432", true},
		{"127.0.0.1:5432", "127.0.0.2", "5432", false},
		{"127.0.0.1:5432", "localhost", "5433", false},
		{"127.0.0.1:5432", "no-such-host.invalid", "5432", false},
		{"/run/pg/.s.PGSQL.5432", "/run/pg/", "5432", true},
		{"/run/pg/.s.PGSQL.5432", "/run/pg/.s.PGSQL.5432", "", true},
		{"/run/pg/.s.PGSQL.5432", "/run/pg", "5433", false},
		{"/run/pg", "/run/pg", "5432", true}, // the agent connects to the default port there
		{"/run/pg", "/run/pg/.s.PGSQL.5432", "", true},
		{"/run/pg", "/run/pg", "5433", false},
		{"/run/pg/.s.PGSQL.5432", "localhost", "5432", false},
	} {
		if err := inside(c.upstream, "disable").isPrimary(context.Background(), c.host, c.port); (err == nil) != c.want {
			t.Errorf("%s for %s %s: %v", c.upstream, c.host, c.port, err)
		}
	}
}

func FuzzConnectionString(f *testing.F) {
	for _, text := range []string{"postgres://u:p@db.example.com:5433/a?b=c", "host=db.example.com port=5433 x='y\\'z'", "postgres://[::1", "a = ", "postgres://?&=&%"} {
		f.Add(text)
	}
	a := inside(primary, "verify-full")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := a.redirect(context.Background(), text, &socket{dir: "/tmp/x/1"})
		if err != nil {
			return
		}
		// What a driver understands of it leads to the socket and nowhere else.
		if c, err := pgconn.ParseConfig(got); err == nil && (c.Host != "/tmp/x/1" || c.TLSConfig != nil || len(c.Fallbacks) > 0) {
			t.Errorf("%q becomes %q, by which pgx connects to %s, %v", text, got, c.Host, c.Fallbacks)
		}
		if c, err := pq.NewConfig(got); err == nil && (c.Host != "/tmp/x/1" || c.Hostaddr.IsValid() || len(c.Multi) > 0) {
			t.Errorf("%q becomes %q, by which lib/pq connects to %s %s", text, got, c.Host, c.Hostaddr)
		}
	})
}
