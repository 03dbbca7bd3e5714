package agent

import (
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/event"
	"github.com/opmux/opmux/internal/config"
)

// sessionParts is what a configuration says of sessions, and the primary that they
// dial.
func sessionParts(cfg *config.Agent) (session.Config, session.Deps, error) {
	clientTLS, err := cfg.Listen.TLS.Config()
	if err != nil {
		return session.Config{}, session.Deps{}, err
	}
	upstreamTLS, err := cfg.Upstream.Config()
	if err != nil {
		return session.Config{}, session.Deps{}, err
	}
	_, address := cfg.Upstream.Endpoint()
	return session.Config{
		Database: cfg.Upstream.Database, PassOthers: cfg.Capture.OtherDatabases == "pass",
		Flag: cfg.OnUnsafe == "flag", Level: event.Level(cfg.Digest.Level), None: cfg.Gate.Mode == order.GateNone,
		MaxMessage: int(cfg.Capture.MaxMessage), ChunkBytes: int(cfg.Capture.Chunk), OpenBytes: int(cfg.Capture.Open),
		ClientTLS: clientTLS, RequireTLS: cfg.Listen.TLS != nil && cfg.Listen.TLS.Require,
		AuthTimeout: cfg.Listen.HandshakeTimeout,
	}, session.Deps{Upstream: &session.Primary{Address: address, Config: upstreamTLS, Optional: cfg.Upstream.TLS.Mode == "prefer"}}, nil
}

func sessionLimits(cfg *config.Agent) session.Limits {
	return session.Limits{Sessions: cfg.Listen.MaxSessions, Handshakes: cfg.Listen.MaxHandshakes, Drain: cfg.Listen.DrainTimeout}
}
