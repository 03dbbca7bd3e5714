// Package classify decides how each statement of an application may travel:
// as text, with pinned values, as row images, or not at all. It reads the parse
// tree and the catalogue, and what it does not know is not text (fail closed).
package classify

import (
	"context"

	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/event"
)

// Config configures a Classifier.
type Config struct {
	Catalog *catalog.Catalog
	// CacheEntries and CacheBytes bound the plans that are kept (0: 4096 and 16 MiB).
	CacheEntries int
	CacheBytes   int
}

// Input is one statement with what its meaning depends on.
type Input struct {
	SQL       string
	ParamOIDs []uint32
	// Schemas is current_schemas(true) of the session.
	Schemas  []string
	Settings event.Context
	Level    event.Level
	// Querier looks up on the session itself (its open transaction has changed the
	// catalogue); nil: the shared, cached look-ups.
	Querier catalog.Querier
	InBlock bool
}

// Statement is one statement of a text, without its semicolon.
type Statement struct {
	Text string
	// Offset is where Text begins, in bytes.
	Offset int
}

// SyntaxError says that a text could not be parsed.
type SyntaxError struct {
	Message string
	// Position is the 1-based byte position, 0 if unknown.
	Position int
}

// Error implements error.
func (e *SyntaxError) Error() string { return e.Message }

// Classifier classifies statements. It is safe for concurrent use.
type Classifier struct{ cfg Config }

// New returns a Classifier on a catalogue.
func New(cfg Config) *Classifier { return &Classifier{cfg: cfg} }

// Split parses a text and cuts it into statements; *SyntaxError where it cannot
// be parsed.
func (c *Classifier) Split(sql string) ([]Statement, error) { return nil, nil }

// Classify says how one statement may travel. An error is about the catalogue
// look-up or the text's syntax (*SyntaxError), never a refusal.
func (c *Classifier) Classify(ctx context.Context, in Input) (*Plan, error) { return nil, nil }

// Normalise replaces constants by $n for people and metrics; text that cannot be
// parsed becomes "".
func Normalise(sql string) string { return sql }
