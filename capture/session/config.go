package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"time"

	"go.uber.org/zap"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/capture/prepared"
	"github.com/opmux/opmux/event"
)

// Config is what all sessions of an agent share.
type Config struct {
	// Database is the captured database of the primary.
	Database string
	// PassOthers relays sessions on other databases uncaptured instead of refusing them.
	PassOthers bool
	// Flag runs what cannot be carried and marks its tables diverged (policy
	// flag); otherwise it is refused (policy reject).
	Flag bool
	// Level is the digest level of captured operations.
	Level event.Level
	// None is true for gate none: nothing is recorded before a COMMIT is forwarded.
	None bool
	// MaxMessage bounds in bytes what is kept of one message.
	MaxMessage int
	// ChunkBytes is how much of a transaction is held before it is written out as a chunk.
	ChunkBytes int
	// OpenBytes is how much all open transactions together may hold before chunks
	// become small (I7); 0: 32 MiB.
	OpenBytes int
	// ClientTLS, when set, is offered to clients that ask for TLS.
	ClientTLS *tls.Config
	// RequireTLS refuses clients that don't ask for it.
	RequireTLS bool
	// AuthTimeout bounds start-up and authentication.
	AuthTimeout time.Duration
	// Patience bounds how long a session waits for the place of a command outside of
	// transactions that has ended; 0: 30 s.
	Patience time.Duration
}

func (c *Config) patience() time.Duration { return cmp.Or(c.Patience, 30*time.Second) }

// Deps are the parts that sessions work with.
type Deps struct {
	Upstream   Upstream
	Classifier *classify.Classifier
	Catalog    *catalog.Catalog
	// Prepared keeps the transactions that clients prepare.
	Prepared *prepared.Store
	// Ledger returns the ledger of the agent's current epoch, nil while there is none.
	Ledger func() *order.Ledger
	// Observer, where there is one, has sessions look on instead of capturing. There
	// is no Ledger then.
	Observer Observer
	Log      *zap.Logger
	Metrics  *Metrics
}

type ledger = *order.Ledger

// Upstream opens connections to the primary.
type Upstream interface {
	// Dial returns a connection that is ready for a start-up packet, with TLS done.
	Dial(ctx context.Context) (Conn, error)
}
