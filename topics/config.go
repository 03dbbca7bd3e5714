// Package topics is opmux's only door to Kafka: names and settings of the
// topics, an ordered producer, readers of one topic, a consumer group that runs
// one function per partition, and the heartbeats on the status topic.
//
// kgo's defaults are made for throughput with records that may be given up.
// Here a record is never given up, never overtakes another, and waits for
// nothing: producer.go says which option does what.
package topics

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/opmux/opmux/internal/socket"
	"github.com/opmux/opmux/schema/avro"
)

// Config says how to reach Kafka and what the topics are like.
type Config struct {
	Brokers  []string // host:port
	Prefix   string   // of every topic and group; "opmux" where empty
	ClientID string
	TLS      *tls.Config // nil: plain
	SASL     *SASL       // nil: none
	Settings TopicSettings
	// FetchBytes bounds what one reader fetches at once, compressed; 0: 256 KiB. A
	// single larger batch is still read.
	FetchBytes int32
	// FetchPause is how long a reader lets records gather after it has read some;
	// 0: it is told of each at once. At rest it never waits. Every fetch costs
	// broker and reader more than the records of a moment in it.
	FetchPause time.Duration
	// Registry is where schemas are registered; nil: single-object encoding.
	Registry *avro.RegistryConfig
}

// SASL is a login. Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
type SASL struct{ Mechanism, User, Password string }

// TopicSettings are the settings that Create gives and Check expects. The zero
// value is the default.
type TopicSettings struct {
	Replication int           // 0: min(3, brokers)
	MinInSync   int           // 0: min(2, replication)
	Partitions  int           // of digests and verdicts; 0: 8
	Retention   time.Duration // 0: unlimited
}

// MaxRecordBytes bounds key and value of one record together. Topics are made
// with a max.message.bytes that lets it through (maxBatchBytes).
const MaxRecordBytes = 15 << 20

const (
	defaultPrefix     = "opmux"
	defaultPartitions = 8
	// A batch is read whole, and what is read may be twenty times what was fetched:
	// both are what a reader holds several of (I7).
	defaultFetchBytes = 256 << 10
	lotBytes          = 1 << 20
	maxBatchBytes     = 16 << 20
)

// Names returns the names of the topics and groups under the prefix.
func (c Config) Names() Names {
	if c.Prefix == "" {
		return Names{Prefix: defaultPrefix}
	}
	return Names{Prefix: c.Prefix}
}

// Kafka is tried again soon: gates and take-overs wait for it. The connection
// timeouts are below kgo's so that a frozen broker does not hold a client.
const (
	maxBackoff      = 500 * time.Millisecond
	dialTimeout     = 3 * time.Second
	requestOverhead = 5 * time.Second
	metadataMinAge  = 250 * time.Millisecond
	connectionIdle  = 5 * time.Minute // the first commit after a pause should not wait for a connection
	missingAfter    = 5 * time.Second // a topic that is gone this long is deleted
)

func backoff(fails int) time.Duration {
	return min(maxBackoff, 20*time.Millisecond<<min(max(fails-1, 0), 10))
}

// options are those of every client.
func (c Config) options() ([]kgo.Opt, error) {
	if len(c.Brokers) == 0 {
		return nil, fmt.Errorf("kafka.brokers: expected at least one host:port, got none")
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.RequestTimeoutOverhead(requestOverhead),
		kgo.ConnIdleTimeout(connectionIdle),
		kgo.RetryBackoffFn(backoff),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.ConsiderMissingTopicDeletedAfter(missingAfter),
		kgo.DisableClientMetrics(),
	}
	if c.ClientID != "" {
		opts = append(opts, kgo.ClientID(c.ClientID))
	}
	if c.TLS != nil {
		opts = append(opts, kgo.DialTimeout(dialTimeout), kgo.DialTLSConfig(c.TLS.Clone()))
	} else {
		opts = append(opts, kgo.Dialer(dial))
	}
	if c.SASL != nil {
		m, err := c.SASL.mechanism()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	return opts, nil
}

// dial connects without TLS. Requests are small and many under gate recorded.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return socket.Direct(conn), nil
}

func (s *SASL) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "PLAIN":
		return plain.Auth{User: s.User, Pass: s.Password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("kafka.sasl.mechanism: expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, got %q", s.Mechanism)
}

func (c Config) client(more ...kgo.Opt) (*kgo.Client, error) {
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka client for %v: %w", c.Brokers, err)
	}
	return cl, nil
}

// lastingClient is a client that lives as long as its program. A broker that is
// killed closes connections that have not been answered yet, which kgo would take
// for a refusal; one that does refuse was noticed when the topics were looked at.
func (c Config) lastingClient(more ...kgo.Opt) (*kgo.Client, error) {
	return c.client(append(more, kgo.AlwaysRetryEOF())...)
}

func (c Config) fetchBytes() int32 {
	if c.FetchBytes <= 0 {
		return defaultFetchBytes
	}
	return c.FetchBytes
}
