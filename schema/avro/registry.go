package avro

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/franz-go/pkg/sr"
)

// RegistryConfig says where a schema registry is.
type RegistryConfig struct {
	URL            string // http(s)://host:port
	User, Password string // basic authentication; none where User is empty
	TLS            *tls.Config
}

// fetchTimeout bounds the look-up of an id that no value had before; only
// decoders wait for it, encoders know their ids from the start.
const fetchTimeout = 10 * time.Second

type registry struct{ client *sr.Client }

// NewWithRegistry registers the newest schemas, each under the full name of its
// record as subject, and returns a codec that writes Confluent's wire format.
// It fails when the registry cannot be reached or refuses a schema.
func NewWithRegistry(ctx context.Context, cfg RegistryConfig) (*Codec, error) {
	opts := []sr.ClientOpt{sr.URLs(cfg.URL)}
	if cfg.User != "" {
		opts = append(opts, sr.BasicAuth(cfg.User, cfg.Password))
	}
	if cfg.TLS != nil {
		opts = append(opts, sr.DialTLSConfig(cfg.TLS))
	}
	client, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("schema registry %s: %w", cfg.URL, err)
	}
	c := New()
	c.registry = &registry{client: client}
	for name, s := range c.newest {
		got, err := client.CreateSchema(ctx, name, sr.Schema{Schema: s.codec.Schema(), Type: sr.TypeAvro})
		if err != nil {
			return nil, fmt.Errorf("schema registry %s: registering version %d of %s: %w", cfg.URL, s.version, name, err)
		}
		s.header = binary.BigEndian.AppendUint32([]byte{0}, uint32(got.ID))
		c.byID[got.ID] = s
	}
	return c, nil
}

// byRegistryID returns the schema with that id, asking the registry the first time.
func (c *Codec) byRegistryID(ctx context.Context, want string, id int) (*schema, error) {
	c.mu.RLock()
	s := c.byID[id]
	c.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	if c.registry == nil {
		return nil, &UnknownSchemaError{ID: id, Want: want}
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	got, err := c.registry.client.SchemaByID(ctx, id)
	if err != nil {
		var refused *sr.ResponseError
		if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
			return nil, &UnknownSchemaError{ID: id, Want: want}
		}
		return nil, fmt.Errorf("schema registry: reading schema %d: %w", id, err)
	}
	codec, err := goavro.NewCodec(got.Schema)
	if err != nil {
		return nil, fmt.Errorf("schema registry: schema %d is not Avro: %w", id, err)
	}
	s = c.byFingerprint[codec.Rabin]
	switch name := typeName(codec); {
	case s == nil && name == recordName:
		return nil, &UnknownSchemaError{ID: id, Want: want} // by which tables its numbers are read is not known
	case s == nil:
		s = &schema{name: name, codec: codec}
	}
	c.mu.Lock()
	c.byID[id] = s
	c.mu.Unlock()
	return s, nil
}
