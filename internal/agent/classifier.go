package agent

import (
	"github.com/opmux/opmux/capture/catalog"
	"github.com/opmux/opmux/capture/classify"
	"github.com/opmux/opmux/internal/config"
)

// Classifier decides as an agent of that configuration does.
func Classifier(cfg *config.Agent, cat *catalog.Catalog) *classify.Classifier {
	return classify.New(classify.Config{Catalog: cat, Roles: cfg.Capture.Roles, Unlogged: cfg.Capture.Unlogged, Predicates: Predicates(cfg)})
}

// Predicates are the rules of a configuration.
func Predicates(cfg *config.Agent) (rules []classify.Predicates) {
	for _, p := range cfg.Capture.Predicates {
		rules = append(rules, classify.Predicates(p))
	}
	return rules
}
