package faults

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/opmux/opmux/internal/kafkaserver"
	"github.com/opmux/opmux/internal/rig"
)

// disk is a small file system that can be filled. Where mounting is not permitted
// the same errors come from a limit on the size of the files that one process
// writes.
type disk struct {
	t       *testing.T
	dir     string
	mounted bool
}

func newDisk(t *testing.T, dir string, megabytes int) *disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	d := &disk{t: t, dir: dir}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=777", megabytes))
	switch {
	case err == nil:
		d.mounted = true
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	case errors.Is(err, syscall.EPERM):
		t.Log("a file system cannot be mounted here: the size of files is limited instead")
	default:
		t.Fatal(err)
	}
	return d
}

func (d *disk) filler() string { return filepath.Join(d.dir, "filler") }

// fill leaves nothing on the disk for the process and those that it starts.
func (d *disk) fill(pid int) {
	d.t.Helper()
	if !d.mounted {
		d.limit(pid, "0")
		return
	}
	f, err := os.Create(d.filler())
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<16)
	for size := len(block); size > 0; {
		if _, err := f.Write(block[:size]); err != nil {
			size /= 2 // to the last byte
		}
	}
}

// free ends what fill began.
func (d *disk) free(pid int) {
	d.t.Helper()
	if !d.mounted {
		d.limit(pid, "unlimited")
		return
	}
	if err := os.Remove(d.filler()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) limit(pid int, bytes string) {
	d.t.Helper()
	out, err := exec.CommandContext(d.t.Context(), "prlimit", "--pid", fmt.Sprint(pid), "--fsize="+bytes).CombinedOutput()
	if err != nil {
		d.t.Fatalf("prlimit: %v\n%s", err, out)
	}
}

// The target's disk is full: the worker tries again until there is room.
func TestTargetDiskFull(t *testing.T) {
	s := up(t, rig.Config{Gate: "recorded"})
	d := newDisk(t, filepath.Join(s.Backup.Dir, "small"), 8)
	s.must(os.Chmod(d.dir, 0o777))
	space := filepath.Join(d.dir, "space")
	s.must(os.Mkdir(space, 0o700))
	s.must(s.Backup.Own(space))
	s.query(s.backup(), fmt.Sprintf("CREATE TABLESPACE small LOCATION '%s'", space))
	s.query(s.backup(), "ALTER TABLE token SET TABLESPACE small")
	d.fill(s.Backup.Pid())
	if !d.mounted { // sessions that are there have no limit
		s.query(s.Backup.DSN("postgres"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'")
	}
	for i := range 5 {
		s.throughAgent(fmt.Sprintf("INSERT INTO token (id) SELECT 'row %d ' || i || repeat('x', 200) FROM generate_series(1, 500) i", i))
	}
	s.metric(s.worker("w1"), `opmux_apply_retries_total{reason="resources",source="orders"}`)
	s.says(s.worker("w1"), "53100")
	d.free(s.Backup.Pid())
	s.identical()
}

// Apache Kafka's disk is full, and then a byte of what it holds is another one.
func TestBrokerDisk(t *testing.T) {
	dir := t.TempDir()
	d := newDisk(t, filepath.Join(dir, "kafka", "data"), 64)
	s := up(t, rig.Config{Kafka: rig.KafkaReal, GateTimeout: 2 * time.Second, Dir: dir})
	broker, ok := s.Broker.(*kafkaserver.Server)
	if !ok {
		t.Fatalf("the broker is a %T", s.Broker)
	}
	l := s.load(2, s.agent("a1").DSN())
	l.more(50)
	brokerFull(s, broker, d, l)
	l.more(50)
	l.check()
	flippedByte(s, broker)
}

// brokerFull: Kafka gives its log directory up and ends; writes are refused until it
// is started again with room.
func brokerFull(s *stage, broker *kafkaserver.Server, d *disk, l *load) {
	s.t.Helper()
	d.fill(broker.Pid())
	l.fails()
	s.eventually(func() error {
		if state := s.tryThroughAgent("INSERT INTO token (id) VALUES ('disk full')"); state != "40001" {
			return fmt.Errorf("a write while Kafka's disk is full ended with %s, want 40001", state)
		}
		return nil
	})
	d.free(broker.Pid())
	s.must(broker.Kill())
	s.must(broker.Start(s.ctx))
}

// flippedByte: Kafka holds a record whose checksum is wrong. The worker says so and
// goes no further.
func flippedByte(s *stage, broker *kafkaserver.Server) {
	s.t.Helper()
	s.must(s.worker("w1").Kill())
	path, size := opsLog(s, broker)
	s.throughAgent("INSERT INTO token (id) VALUES ('flipped')")
	s.throughAgent("INSERT INTO token (id) VALUES ('behind it')")
	s.must(s.agent("a1").Terminate())
	s.must(broker.Stop())
	content, err := os.ReadFile(path)
	s.must(err)
	const header = 61 // of a batch, before its records
	content[size+header+8] ^= 1
	s.must(os.WriteFile(path, content, 0o644))
	s.must(broker.Start(s.ctx))
	s.must(s.worker("w1").Launch())
	s.says(s.worker("w1"), opsTopic, "crc")
	if found := s.tokens(s.backup(), "flipped") + s.tokens(s.backup(), "behind"); found != "" {
		s.t.Errorf("the worker went on behind a broken record: %s", found)
	}
}

// opsLog is the file that the ops topic's next records are written to, and its size.
func opsLog(s *stage, broker *kafkaserver.Server) (string, int64) {
	s.t.Helper()
	logs, err := filepath.Glob(filepath.Join(broker.DataDir(), opsTopic+"-0", "*.log"))
	s.must(err)
	if len(logs) == 0 {
		s.t.Fatalf("Kafka has no log of %s in %s", opsTopic, broker.DataDir())
	}
	last := logs[len(logs)-1]
	info, err := os.Stat(last)
	s.must(err)
	return last, info.Size()
}
