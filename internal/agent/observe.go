package agent

import (
	"context"
	"fmt"
	"net"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/config"
)

// Observe stands where an agent of that configuration would stand, relays what
// passes as it is and tells obs of it, until ctx ends. It needs no Kafka and leaves
// the primary's catalogue as it is. Obs is made once the primary is known by its
// system identifier; ready is called with the address once clients can connect.
func Observe(ctx context.Context, cfg *config.Agent, log *zap.Logger, obs func(systemID string) session.Observer, ready func(address string)) error {
	cat, err := catalog.Open(ctx, catalog.Config{DSN: cfg.Catalog.DSN, Log: log, ReadOnly: true, Triggers: cfg.Capture.Triggers})
	if err != nil {
		return err
	}
	defer func() { _ = cat.Close() }() // it was only read from
	primary, err := cat.Primary(ctx)
	if err != nil {
		return err
	}
	sessions, deps, err := sessionParts(cfg)
	if err != nil {
		return err
	}
	deps.Classifier, deps.Catalog = Classifier(cfg, cat), cat
	deps.Log, deps.Metrics, deps.Observer = log, session.NewMetrics(nil), obs(primary.SystemID)
	listener := session.NewListener(sessions, deps, sessionLimits(cfg))
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen.Address)
	if err != nil {
		return fmt.Errorf("listen.address %s: %w; is an agent using it?", cfg.Listen.Address, err)
	}
	ready(ln.Addr().String())
	g, gctx := errgroup.WithContext(ctx)
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return cat.Run(watching) }) // sessions that drain are looked at still
	g.Go(func() error {
		defer stop()
		return listener.Run(gctx, ln)
	})
	return g.Wait()
}
