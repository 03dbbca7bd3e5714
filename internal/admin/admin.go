// Package admin is the HTTP server that each program of opmux shows to its
// operator: /metrics for Prometheus, /healthz (the process works) and /readyz
// (it does its job; if not, why).
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ErrStarting is the answer of /readyz until SetReady was called.
var ErrStarting = errors.New("starting")

// Server is an admin server. It listens from New on, so that a port that is
// taken stops a program before it has done anything.
type Server struct {
	listener net.Listener
	http     *http.Server
	ready    atomic.Pointer[func() error]
}

// New listens on address (host:port; port 0 takes a free one).
func New(address string, registry *prometheus.Registry) (*Server, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("admin.address %s: cannot listen: %w; is another opmux program using it?", address, err)
	}
	s := &Server{listener: listener}
	s.http = &http.Server{Handler: Handler(registry, s.Ready), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	return s, nil
}

// Handler serves /metrics, /healthz and /readyz.
func Handler(metrics prometheus.Gatherer, ready func() error) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, ready()) })
	return mux
}

// Address is where the server listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// SetReady sets what decides about readiness: nil is ready, an error says why
// not. It may be called at any time and must answer at once.
func (s *Server) SetReady(ready func() error) { s.ready.Store(&ready) }

// Ready asks what SetReady set.
func (s *Server) Ready() error {
	if f := s.ready.Load(); f != nil {
		return (*f)()
	}
	return ErrStarting
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	stopped := make(chan struct{})
	defer close(stopped)
	go func() { // ends with Run
		select {
		case <-ctx.Done():
		case <-stopped:
		}
		_ = s.http.Close() // its error is that of Serve
	}()
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin server on %s: %w", s.Address(), err)
	}
	return nil
}

// Close ends a server that does not run; it may be called twice.
func (s *Server) Close() error {
	err := s.http.Close()
	if e := s.listener.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
		err = errors.Join(err, e)
	}
	return err
}

func answer(w http.ResponseWriter, problem error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if problem != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, problem.Error()) // a client that left is no error
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}
