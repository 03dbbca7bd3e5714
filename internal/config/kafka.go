package config

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/opmux/opmux/schema/avro"
	"github.com/opmux/opmux/topics"
)

// Topics is what package topics needs to know, with certificates read.
func (a *Agent) Topics() (topics.Config, error) { return a.Kafka.config("capture-agent " + a.Agent) }

// Topics is what package topics needs to know, with certificates read.
func (w *Worker) Topics() (topics.Config, error) { return w.Kafka.config("apply-worker " + w.Name) }

// Topics is what package topics needs to know, with certificates read.
func (v *Verifier) Topics() (topics.Config, error) { return v.Kafka.config("verify-worker " + v.Name) }

// config gives topics its configuration; clientID names the program to Kafka.
func (k Kafka) config(clientID string) (topics.Config, error) {
	c := topics.Config{
		Brokers:  k.Brokers,
		Prefix:   k.Prefix,
		ClientID: clientID,
		Settings: topics.TopicSettings{
			Replication: k.Topics.Replication,
			MinInSync:   k.Topics.MinInsync,
			Retention:   time.Duration(k.Topics.Retention),
		},
	}
	if s := k.SASL; s != nil {
		c.SASL = &topics.SASL{Mechanism: s.Mechanism, User: s.User, Password: s.Password}
	}
	if r := k.SchemaRegistry; r != nil {
		c.Registry = &avro.RegistryConfig{URL: r.URL, User: r.User, Password: r.Password}
	}
	if k.TLS != nil {
		var err error
		if c.TLS, err = k.TLS.config(); err != nil {
			return topics.Config{}, err
		}
	}
	return c, nil
}

// Codec makes the codec of values: with the registry's schemas where one is
// configured, which registers them.
func (k Kafka) Codec(ctx context.Context) (*avro.Codec, error) {
	if k.SchemaRegistry == nil {
		return avro.New(), nil
	}
	r := k.SchemaRegistry
	codec, err := avro.NewWithRegistry(ctx, avro.RegistryConfig{URL: r.URL, User: r.User, Password: r.Password})
	if err != nil {
		return nil, fmt.Errorf("kafka.schema_registry: %w", err)
	}
	return codec, nil
}

func (t *KafkaTLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pool, err := readPool("kafka.tls.ca", t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.cert %s with key %s: %w", t.Cert, t.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// readPool reads a file of PEM certificates of authorities.
func readPool(path, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s %s: %w", path, file, errNoCertificates)
	}
	return pool, nil
}

var errNoCertificates = errors.New("expected PEM certificates, found none")
