package sqldriver

import "github.com/opmux/opmux/internal/config"

// Config is the configuration of an agent, with the keys, defaults and rules of
// the program capture-agent (docs/configuration.md): the key gate.timeout is
// Config.Gate.Timeout. Read it with LoadConfig, or fill what NewConfig returns.
//
// What an agent inside a program does not have must be left out: listen.address,
// listen.tls, admin.address and log. The key agent is required.
type Config = config.Agent

// The parts of a Config that are absent unless a program makes them.
type (
	// KafkaTLS is TLS towards Kafka.
	KafkaTLS = config.KafkaTLS
	// SASL is the login at Kafka.
	SASL = config.SASL
	// Registry is a Confluent-compatible schema registry.
	Registry = config.Registry
)

// NewConfig returns a configuration of defaults. Source, Agent, Kafka.Brokers,
// Upstream.Address, Upstream.Database and Catalog.DSN are the program's to fill.
func NewConfig() *Config { return config.AgentDefaults() }

// LoadConfig reads a configuration from a YAML file, as capture-agent does.
func LoadConfig(path string) (*Config, error) { return config.LoadEmbedded(path) }
