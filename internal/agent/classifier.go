package agent

import (
	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/internal/config"
)

// Classifier decides as an agent of that configuration does.
func Classifier(cfg *config.Agent, cat *catalog.Catalog) *classify.Classifier {
	c := classify.Config{Catalog: cat, Roles: cfg.Capture.Roles}
	for _, p := range cfg.Capture.Predicates {
		c.Predicates = append(c.Predicates, classify.Predicates(p))
	}
	return classify.New(c)
}
