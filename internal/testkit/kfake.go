package testkit

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Kfake starts an in-memory broker that speaks Kafka's protocol and ends with the
// test; it returns its addresses. Topics are the test's to create.
func Kfake(t testing.TB) []string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()
}
