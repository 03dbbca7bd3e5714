package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/internal/testkit"
)

// Programs whose topics are missing exit 1 and name the command that makes them.
func TestMissingTopicsAreNamed(t *testing.T) {
	cfg := rig.Config{Bin: testkit.Build(t), Dir: t.TempDir()}
	r, err := rig.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Rig: r, t: t, ctx: t.Context()}
	t.Cleanup(b.tearDown)
	for _, p := range []*rig.Program{b.agent("a1"), b.worker("w1"), b.verifier()} {
		b.must(p.Launch())
		if code := p.Process.ExitCode(); code != 1 {
			t.Errorf("%s without topics ended with code %d, want 1", p.Name, code)
		}
		if log := p.Process.Log(); !strings.Contains(log, "opmux topics create --config") {
			t.Errorf("%s does not name the command:\n%s", p.Name, log)
		}
	}
}

// Exit codes: 2 for usage and configuration, with the key's path.
func TestConfigurationErrorsExitTwo(t *testing.T) {
	bin := testkit.Build(t)
	r := &rig.Rig{Config: rig.Config{Bin: bin, Dir: t.TempDir()}}
	file := filepath.Join(r.Dir, "bad.yaml")
	if err := os.WriteFile(file, []byte("source: orders\ngate: {mode: recorded, timout: 5s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		program string
		args    []string
		want    string
	}{
		{"capture-agent", []string{"--config", file}, "gate.timout"},
		{"capture-agent", nil, "--config"},
		{"apply-worker", []string{"--config", filepath.Join(r.Dir, "absent.yaml")}, "absent.yaml"},
		{"opmux", []string{"no-such-command"}, "no-such-command"},
		{"opmux", []string{"status", "--config", file}, "gate.timout"},
	} {
		result, err := r.Run(t.Context(), filepath.Join(bin, c.program), c.args...)
		if err != nil {
			t.Fatal(err)
		}
		if result.Code != 2 || !strings.Contains(result.Stderr, c.want) {
			t.Errorf("%s %v: exit code %d, want 2; it says %q, want %q in it", c.program, c.args, result.Code, result.Stderr, c.want)
		}
	}
}

// opmux check finds nothing wrong with a good installation.
func TestCheckOfAGoodInstallation(t *testing.T) {
	b := up(t, rig.Config{}, classesSchema...)
	for _, config := range []string{b.AgentConfig("a1"), b.WorkerConfig("w1"), b.VerifierConfig()} {
		if result, err := b.Opmux(b.ctx, "check", "--config", config); err != nil || result.Code != 0 {
			t.Errorf("opmux check --config %s: exit code %d, %v\n%s%s", config, result.Code, err, result.Stdout, result.Stderr)
		}
	}
}

// opmux wait: 3 while nobody applies, 0 afterwards.
func TestWaitTimesOut(t *testing.T) {
	b := setUp(t, rig.Config{}, classesSchema...)
	b.must(b.agent("a1").Start(b.ctx))
	b.throughAgent("UPDATE t SET n = 3 WHERE id = 1")
	result, err := b.Opmux(b.ctx, "wait", "--config", b.WorkerConfig("w1"), "--timeout", "2s")
	b.must(err)
	if result.Code != 3 {
		t.Errorf("opmux wait without a worker: exit code %d, want 3\n%s", result.Code, result.Stderr)
	}
	b.must(b.worker("w1").Start(b.ctx))
	b.identical()
}

// I6: a worker that cannot apply stops, stays up unready, and says what and why.
func TestWorkerStopsOnAnError(t *testing.T) {
	b := up(t, rig.Config{}, classesSchema...)
	b.onBackup("INSERT INTO t VALUES (500, 0, 'in the way')")
	b.throughAgent("INSERT INTO t VALUES (500, 1, 'from the primary')")
	testkit.Eventually(t, catchUpTimeout, func() error {
		result, err := b.Opmux(b.ctx, "wait", "--config", b.WorkerConfig("w1"), "--timeout", "5s")
		if err == nil && (result.Code != 1 || !strings.Contains(result.Stdout+result.Stderr, "duplicate key")) {
			err = fmt.Errorf("opmux wait: exit code %d, want 1 and the server's error\n%s%s", result.Code, result.Stdout, result.Stderr)
		}
		return err
	})
	if _, err := b.worker("w1").ReadyAnswer(b.ctx); err == nil {
		t.Error("the worker says that it is ready")
	}
	b.must(b.worker("w1").Process.Ended())
	status, err := b.Status(b.ctx)
	b.must(err)
	if !strings.Contains(status.LastError, "duplicate key") {
		t.Errorf("last_error is %q, want the server's error", status.LastError)
	}
	b.onBackup("DELETE FROM t WHERE id = 500")
	b.must(b.worker("w1").Terminate())
	b.must(b.worker("w1").Start(b.ctx))
	b.identical()
}

// While Kafka is down, recorded refuses the first write of a transaction with
// 40001, reads go on, and it recovers by itself.
func TestKafkaDownRefusesFirstWrites(t *testing.T) {
	b := up(t, rig.Config{GateTimeout: 2 * time.Second}, classesSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN()).PgConn()
	b.must(b.Broker.Kill())
	testkit.Eventually(t, catchUpTimeout, func() error {
		began := time.Now()
		_, err := conn.Exec(b.ctx, "UPDATE t SET n = n + 1 WHERE id = 1").ReadAll()
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "40001" || !strings.HasPrefix(pgErr.Message, "opmux: ") {
			t.Fatalf("a write without Kafka: %v, want 40001 from opmux", err)
		}
		if took := time.Since(began); took > time.Second {
			return fmt.Errorf("the refusal took %v, want it at the first write, at once", took)
		}
		return nil
	})
	if _, err := conn.Exec(b.ctx, "SELECT count(*) FROM t").ReadAll(); err != nil {
		t.Errorf("a read without Kafka: %v", err)
	}
	if n := b.onPrimary("SELECT n FROM t WHERE id = 1")[0][0]; n != "1" {
		t.Errorf("n is %s on the primary, want 1: a refused write had an effect", n)
	}
	b.must(b.Broker.Start(b.ctx))
	testkit.Eventually(t, catchUpTimeout, func() error {
		_, err := conn.Exec(b.ctx, "UPDATE t SET n = n + 1 WHERE id = 2").ReadAll()
		return err
	})
	b.identical()
}

// DDL by plain psql, behind the agent's back, is noticed before it does harm.
func TestDDLBehindTheAgentsBackIsNoticed(t *testing.T) {
	b := up(t, rig.Config{}, classesSchema...)
	conn := testkit.Connect(t, b.agent("a1").DSN())
	update := func() error {
		_, err := conn.Exec(b.ctx, "UPDATE t SET n = n + 1 WHERE id = $1", 3)
		return err
	}
	b.must(update())
	for _, dsn := range []string{b.Primary.DSN(rig.Database), b.Backup.DSN(rig.Database)} {
		b.query(dsn, "ALTER TABLE t DROP CONSTRAINT t_pkey")
	}
	// Without its key the statement may hit any number of rows: text no longer.
	testkit.Eventually(t, catchUpTimeout, func() error {
		err := update()
		var pgErr *pgconn.PgError
		if errors.As(err, &pgErr) && pgErr.Code == "0A000" {
			return nil
		}
		if pgErr != nil && pgErr.Code == "40001" {
			return err // rolled back because the catalogue moved: the application retries
		}
		t.Fatalf("an UPDATE after its table lost its key: %v, want 0A000 (or 40001 once)", err)
		return nil
	})
	b.identical()
}

// opmux replay rebuilds an emptied target from the topic's beginning.
func TestReplayRebuildsATarget(t *testing.T) {
	b := setUp(t, rig.Config{})
	b.must(b.agent("a1").Start(b.ctx))
	for _, sql := range append(classesSchema, "UPDATE t SET n = 7 WHERE id = 7", "DELETE FROM t WHERE id = 8") {
		b.throughAgent(sql)
	}
	b.must(b.worker("w1").Start(b.ctx))
	b.identical()
	b.must(b.worker("w1").Terminate())
	admin := b.Backup.DSN("postgres")
	b.query(admin, "DROP DATABASE "+rig.Database)
	b.query(admin, "CREATE DATABASE "+rig.Database)
	_, err := b.Must(b.ctx, "replay", "--config", b.WorkerConfig("w1"), "--from", "beginning")
	b.must(err)
	diffs, err := b.Compare(b.ctx)
	b.must(err)
	if text := rig.Explain(diffs); text != "" || len(diffs) != 3 {
		t.Fatalf("after the replay %d tables, want 3; differences:\n%s", len(diffs), text)
	}
}
