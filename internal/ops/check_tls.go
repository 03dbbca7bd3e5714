package ops

import (
	"context"

	"github.com/opmux/opmux/capture/session"
	"github.com/opmux/opmux/internal/config"
)

// checkCertificates connects as sessions will, whose way to the primary is encrypted,
// and compares what applications will see with what the primary has: SCRAM with
// channel binding, the default of PostgreSQL's clients, passes where both are the same.
func checkCertificates(ctx context.Context, f *findings, cfg *config.Agent) {
	client, err := cfg.Listen.TLS.Config()
	if err != nil {
		f.fatal("listen", "correct listen.tls", "%v", err)
		return
	}
	upstream, err := cfg.Upstream.Config()
	if err != nil {
		f.fatal("upstream", "correct upstream.tls", "%v", err)
		return
	}
	if upstream == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	_, address := cfg.Upstream.Endpoint()
	primary := &session.Primary{Address: address, Config: upstream, Optional: cfg.Upstream.TLS.Mode == "prefer"}
	conn, err := primary.Dial(ctx)
	if err != nil {
		f.fatal("upstream", "see the error", "%v", err)
		return
	}
	defer func() { _ = conn.Close() }()
	switch {
	case client == nil || !session.Encrypted(conn):
	case session.Binds(conn, client):
		f.ok("listen", "listen.tls shows the primary's own certificate: SCRAM with channel binding passes")
	default:
		f.warn("listen", "put the primary's own certificate and key into listen.tls, or have clients say channel_binding=disable",
			"listen.tls shows another certificate than the primary's: SCRAM logins over TLS are refused where clients bind them to it, which is their default")
	}
}
