package integration

import (
	"strings"
	"testing"

	"github.com/opmux/opmux/internal/pgserver"
	"github.com/opmux/opmux/internal/rig"
)

// TLS on both sides and a SCRAM login with libpq's defaults, channel binding
// included: the agent relays what it does not know.
func TestTLSAndSCRAM(t *testing.T) {
	b := setUp(t, rig.Config{
		PrimaryTLS:      true,
		PrimarySettings: []string{"password_encryption = 'scram-sha-256'"},
		PrimaryHBA:      []string{"host all " + pgserver.Superuser + " 127.0.0.1/32 trust", "hostssl all all 127.0.0.1/32 scram-sha-256"},
	}, classesSchema...)
	b.onPrimary("CREATE ROLE alice LOGIN PASSWORD 'secret'")
	b.onPrimary("GRANT ALL ON ALL TABLES IN SCHEMA public TO alice")
	b.must(b.agent("a1").Start(b.ctx))
	b.must(b.worker("w1").Start(b.ctx))
	login := func(password, options string) rig.Result {
		dsn := strings.Replace(b.agent("a1").DSN(), pgserver.Superuser+"@", "alice:"+password+"@", 1)
		dsn = strings.Replace(dsn, "sslmode=disable", options+"&sslrootcert="+b.Primary.CAFile(), 1)
		return b.tool("psql", dsn, "-X", "-c", "UPDATE t SET v = current_user WHERE id = 1", "-c", `\conninfo`)
	}
	if r := login("secret", "sslmode=verify-full"); r.Code != 0 || !strings.Contains(r.Stdout, "SSL connection") {
		t.Errorf("a login over TLS: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	if r := login("wrong", "sslmode=verify-full"); r.Code == 0 || !strings.Contains(r.Stderr, "password authentication failed") {
		t.Errorf("a wrong password: exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	b.identical()
	if got := b.onBackup("SELECT v FROM t WHERE id = 1")[0][0]; got != "alice" {
		t.Errorf("the backup has %q, want the user that wrote on the primary", got)
	}
}

// What a source is not made of: replication connections, and other databases of
// the server unless they are let pass.
func TestWhatASourceIsNotMadeOf(t *testing.T) {
	for policy, wantRefusal := range map[string]bool{"refuse": true, "pass": false} {
		t.Run(policy, func(t *testing.T) {
			b := setUp(t, rig.Config{AgentYAML: "capture: {other_databases: " + policy + "}\n"})
			b.must(b.agent("a1").Start(b.ctx))
			result := b.tool("psql", b.agent("a1").DSNOf("postgres"), "-X", "-c", "CREATE TABLE elsewhere (id int)")
			if refused := result.Code != 0; refused != wantRefusal {
				t.Errorf("another database: exit code %d\n%s", result.Code, result.Stderr)
			}
			if events := b.published(-1); len(events) > 0 {
				t.Errorf("published of another database: %+v", events)
			}
			result = b.tool("psql", b.agent("a1").DSN()+"&replication=database", "-X", "-c", "IDENTIFY_SYSTEM")
			if result.Code == 0 || !strings.Contains(result.Stderr, "opmux: ") {
				t.Errorf("a replication connection: exit code %d\n%s%s", result.Code, result.Stdout, result.Stderr)
			}
		})
	}
}

// Roles and privileges, by the policies that run them.
func TestRolesByPolicy(t *testing.T) {
	for policy, want := range map[string][2]string{"pass": {"f", "reader"}, "publish": {"t", "postgres"}} {
		t.Run(policy, func(t *testing.T) {
			b := up(t, rig.Config{AgentYAML: "capture: {roles: " + policy + "}\n"}, classesSchema...)
			b.onBackup("CREATE ROLE reader")
			result := b.tool("psql", b.agent("a1").DSN(), "-X", "-v", "ON_ERROR_STOP=1",
				"-c", "CREATE ROLE reader PASSWORD 'not for the topic'", "-c", "BEGIN; CREATE TABLE later (id int); GRANT INSERT ON later TO reader; COMMIT",
				"-c", "GRANT SELECT ON t TO reader; REVOKE INSERT ON later FROM reader; GRANT INSERT ON later TO reader",
				"-c", "CREATE TABLE theirs (id int); ALTER TABLE theirs OWNER TO reader", "-c", "REASSIGN OWNED BY reader TO postgres", "-c", "UPDATE t SET v = 'granted' WHERE id = 1")
			if result.Code != 0 {
				t.Fatalf("exit code %d\n%s%s", result.Code, result.Stdout, result.Stderr)
			}
			b.identical()
			if got := b.onBackup("SELECT has_table_privilege('reader', 't', 'SELECT') AND has_table_privilege('reader', 'later', 'INSERT')")[0][0]; got != want[0] {
				t.Errorf("on the backup the role may: %s, want %s", got, want[0])
			}
			if got := b.onBackup("SELECT tableowner FROM pg_tables WHERE tablename = 'theirs'")[0][0]; got != want[1] {
				t.Errorf("on the backup the owner is %s, want %s", got, want[1])
			}
			tail, err := b.Must(b.ctx, "tail", "--config", b.AgentConfig("a1"), "--from", "beginning", "--json")
			if err != nil || strings.Contains(tail, "not for the topic") {
				t.Errorf("a password is in the topic, or %v", err)
			}
		})
	}
}
