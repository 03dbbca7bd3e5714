package testkit

import "testing"

func TestKafkaIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	k := Kafka(t)
	k.Freeze(t)
	k.Thaw(t)
	k.Kill(t)
	k.Start(t)
	if len(k.Brokers()) != 1 {
		t.Fatalf("brokers %v", k.Brokers())
	}
}
