package sqldriver

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDoorIsThisUsersAlone(t *testing.T) {
	d, err := newDoor("5433")
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.socket()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(d.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	client, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	came, err := d.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if s.accepted.Load() != 1 || !strings.HasPrefix(came.RemoteAddr().String(), "in process ") {
		t.Errorf("%d accepted, from %s", s.accepted.Load(), came.RemoteAddr())
	}
	if err := d.closeSocket(s); err != nil {
		t.Error(err)
	}
	if err := d.closeSocket(s); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	d.hangUp()
	if _, err := client.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // Read returns it as it is
		t.Errorf("a connection that was cut: %v", err)
	}
	if err := d.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.dir); !os.IsNotExist(err) {
		t.Errorf("%s is there still", d.dir)
	}
	if _, err := d.socket(); err == nil {
		t.Error("a door that was removed has another socket")
	}
}

func TestALongTemporaryDirectoryIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	d, err := newDoor("5433")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.socket(); err == nil || !strings.Contains(err.Error(), "set TMPDIR to a shorter directory") {
		t.Errorf("got %v", err)
	}
	if err := d.remove(); err != nil {
		t.Error(err)
	}
}
