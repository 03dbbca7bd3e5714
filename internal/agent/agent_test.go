package agent

import (
	"context"
	"net"
	"strings"
	"testing"
)

func TestAnAddressInUseIsFoundWithoutAnEpoch(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a fixture
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := Address(address).Free(context.Background()); err == nil || !strings.Contains(err.Error(), "listen.address "+address) {
		t.Errorf("got %v, want an error that names %s", err, address)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Address(address).Free(context.Background()); err != nil {
		t.Errorf("a free address: %v", err)
	}
}
