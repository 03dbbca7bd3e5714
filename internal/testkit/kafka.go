package testkit

import (
	"context"
	"testing"

	"github.com/opmux/opmux/internal/kafkaserver"
)

// KafkaServer is a real Apache Kafka broker of a test.
type KafkaServer struct{ *kafkaserver.Server }

// Kafka starts Apache Kafka, which ends with the test.
func Kafka(t testing.TB) *KafkaServer {
	t.Helper()
	s, err := kafkaserver.Start(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, s.Close()) })
	return &KafkaServer{Server: s}
}

// Brokers lists the broker's address, as clients want it.
func (k *KafkaServer) Brokers() []string { return []string{k.Address()} }

// Start starts the broker again after Kill or Stop.
func (k *KafkaServer) Start(t testing.TB) { t.Helper(); must(t, k.Server.Start(context.Background())) }

// Stop ends the broker in order.
func (k *KafkaServer) Stop(t testing.TB) { t.Helper(); must(t, k.Server.Stop()) }

// Kill ends the broker with SIGKILL.
func (k *KafkaServer) Kill(t testing.TB) { t.Helper(); must(t, k.Server.Kill()) }

// Freeze stops the broker with SIGSTOP.
func (k *KafkaServer) Freeze(t testing.TB) { t.Helper(); must(t, k.Server.Freeze()) }

// Thaw ends a Freeze.
func (k *KafkaServer) Thaw(t testing.TB) { t.Helper(); must(t, k.Server.Thaw()) }
