package freeport

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
)

func TestPickGivesAPortThatCanBeListenedOn(t *testing.T) {
	for range 2 * mostHeld {
		port, err := Pick()
		if err != nil {
			t.Fatal(err)
		}
		if port < lowest || port >= highest {
			t.Errorf("port %d is outside %d to %d", port, lowest, highest)
		}
		for range 2 {
			l, err := net.Listen("tcp", Address(port))
			if err != nil {
				t.Fatal(err)
			}
			l.Close()
		}
	}
}

// claimEnv makes this test program claim the port that it names, and end.
const claimEnv = "OPMUX_FREEPORT_CLAIM"

func TestMain(m *testing.M) {
	if port, err := strconv.Atoi(os.Getenv(claimEnv)); err == nil {
		if _, err := claim(port); err != nil {
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A port that was given is not given again, to this process or to another, before and
// while its server listens.
func TestPickedPortsAreNotGivenTwice(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ports are reserved on Linux alone")
	}
	first, err := PickRun(2)
	if err != nil {
		t.Fatal(err)
	}
	for _, listening := range []bool{false, true} {
		for port := first; port < first+2; port++ {
			if listening {
				l, err := net.Listen("tcp", Address(port))
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
			}
			if _, err := claim(port); err == nil {
				t.Errorf("port %d was claimed twice, listening: %v", port, listening)
			}
			other := exec.CommandContext(t.Context(), os.Args[0])
			other.Env = append(os.Environ(), claimEnv+"="+strconv.Itoa(port))
			if err := other.Run(); other.ProcessState == nil || other.ProcessState.ExitCode() != 3 {
				t.Errorf("another process claimed port %d, listening: %v (%v)", port, listening, err)
			}
		}
	}
}
