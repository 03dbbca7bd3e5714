package freeport

import (
	"net"
	"testing"
)

func TestPickGivesAPortThatCanBeListenedOn(t *testing.T) {
	t.Parallel()
	port, err := Pick()
	if err != nil {
		t.Fatal(err)
	}
	if port < lowest || port >= highest {
		t.Errorf("port %d is outside %d to %d", port, lowest, highest)
	}
	l, err := net.Listen("tcp", Address(port))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
