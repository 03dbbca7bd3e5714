package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func start(t *testing.T) *Server {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "opmux_test_things"}))
	s, err := New("127.0.0.1:0", registry)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	res, err := http.Get("http://" + s.Address() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestReadiness(t *testing.T) {
	s := start(t)
	if code, body := get(t, s, "/readyz"); code != 503 || body != "starting\n" {
		t.Errorf("before SetReady: %d %q", code, body)
	}
	s.SetReady(func() error { return errors.New("Kafka is away") })
	if code, body := get(t, s, "/readyz"); code != 503 || body != "Kafka is away\n" {
		t.Errorf("with a problem: %d %q", code, body)
	}
	s.SetReady(func() error { return nil })
	if code, body := get(t, s, "/readyz"); code != 200 || body != "ok\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	if code, body := get(t, s, "/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("health: %d %q", code, body)
	}
}

func TestMetrics(t *testing.T) {
	if code, body := get(t, start(t), "/metrics"); code != 200 || !strings.Contains(body, "opmux_test_things 0") {
		t.Errorf("%d %q", code, body)
	}
}

func TestAddressTaken(t *testing.T) {
	s := start(t)
	_, err := New(s.Address(), prometheus.NewRegistry())
	if err == nil || !strings.Contains(err.Error(), "admin.address "+s.Address()) {
		t.Errorf("got %v", err)
	}
}

func TestCloseTwice(t *testing.T) {
	s, err := New("127.0.0.1:0", prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
