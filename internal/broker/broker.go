// Package broker is the embedded Kafka-protocol broker behind `opmux broker`,
// for demonstrations and tests: one node that keeps what it acknowledged in a
// directory, also through SIGKILL. It is no substitute for Apache Kafka: there
// is one node and one copy.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
)

// Config says where a broker listens and keeps its data.
type Config struct {
	Listen  string      // host:port; port 0 is a free one
	DataDir string      // made where missing; empty: nothing is kept
	Log     *zap.Logger // nil: silent
}

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	lock    *os.File
	once    sync.Once
}

// Run starts a broker and blocks until ctx ends.
func Run(ctx context.Context, cfg Config) error {
	b, err := Start(cfg)
	if err != nil {
		return err
	}
	<-ctx.Done()
	return b.Close()
}

// Start starts a broker and returns once it listens.
func Start(cfg Config) (*Broker, error) {
	log := cfg.Log
	if log == nil {
		log = zap.NewNop()
	}
	address, err := net.ResolveTCPAddr("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("broker: listen address %q: expected host:port: %w", cfg.Listen, err)
	}
	b := &Broker{}
	opts := []kfake.Opt{
		kfake.Ports(address.Port),
		kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, address.String()) }),
		kfake.WithLogger(logger{log.Sugar()}),
	}
	if cfg.DataDir != "" {
		if b.lock, err = lockDir(cfg.DataDir); err != nil {
			return nil, err
		}
		data := filepath.Join(cfg.DataDir, "kafka")
		if err := restoreSequences(data); err != nil {
			b.unlock()
			return nil, err
		}
		opts = append(opts, kfake.DataDir(data), kfake.SyncWrites())
	}
	if b.cluster, err = kfake.NewCluster(opts...); err != nil {
		b.unlock()
		return nil, fmt.Errorf("broker: starting on %s with data in %q: %w", cfg.Listen, cfg.DataDir, err)
	}
	log.Info("broker listens", zap.Strings("addresses", b.cluster.ListenAddrs()), zap.String("data", cfg.DataDir))
	return b, nil
}

// Addrs returns the addresses to connect to.
func (b *Broker) Addrs() []string { return b.cluster.ListenAddrs() }

// Close stops the broker. It may be called twice.
func (b *Broker) Close() error {
	b.once.Do(func() {
		b.cluster.Close()
		b.unlock()
	})
	return nil
}

// lockDir keeps a second broker off the directory; the kernel drops the lock
// with the process, whatever its end.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("broker: data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("broker: data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("broker: data directory %s is in use by another broker: stop it or choose another directory", dir)
		}
		return nil, fmt.Errorf("broker: locking data directory %s: %w", dir, err)
	}
	return f, nil
}

func (b *Broker) unlock() {
	if b.lock != nil {
		b.lock.Close()
	}
}

// logger hands kfake's messages on.
type logger struct{ log *zap.SugaredLogger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Errorf(format, args...)
	case kfake.LogLevelWarn:
		l.log.Warnf(format, args...)
	default:
		l.log.Debugf(format, args...)
	}
}
