package topics_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/opmux/opmux/topics"
)

func TestCreateMakesWhatCheckWants(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := topics.Config{Brokers: c.Brokers(), Prefix: strings.ReplaceAll(t.Name(), "/", "-")}
		want := topics.Want{Sources: []string{"orders"}, Targets: []string{"standby"}, Config: "agent.yaml"}
		_, err := topics.Require(t.Context(), cfg, want)
		var missing *topics.MissingTopicsError
		if !errors.As(err, &missing) || len(missing.Topics) != 4 {
			t.Fatal(err)
		}
		if !strings.Contains(err.Error(), "`opmux topics create --config agent.yaml`") {
			t.Errorf("the message names no way out: %v", err)
		}
		report, err := topics.Create(t.Context(), cfg, want)
		if err != nil || len(report.Created) != 4 {
			t.Fatalf("%+v, %v", report, err)
		}
		problems, err := topics.Require(t.Context(), cfg, want)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			if p.Setting != "replication" || p.Fatal {
				t.Errorf("%v", p)
			}
		}
		if len(problems) != 4 {
			t.Errorf("a single replica is worth a warning on each topic: %v", problems)
		}
		if report, err = topics.Create(t.Context(), cfg, want); err != nil || len(report.Existing) != 4 {
			t.Errorf("again: %+v, %v", report, err)
		}
	})
}

// A topic that would lose or reorder records is refused, and each reason named.
func TestCheckRefusesWrongTopics(t *testing.T) {
	onBoth(t, func(t *testing.T, c cluster) {
		cfg := topics.Config{Brokers: c.Brokers(), Prefix: strings.ReplaceAll(t.Name(), "/", "-")}
		compact, day, small := "compact", "86400000", "1000000"
		configs := map[string]*string{"cleanup.policy": &compact, "retention.ms": &day, "max.message.bytes": &small}
		if _, err := admin(t, cfg).CreateTopic(t.Context(), 3, 1, configs, cfg.Names().Ops("orders")); err != nil {
			t.Fatal(err)
		}
		_, err := topics.Create(t.Context(), cfg, orders)
		var wrong *topics.WrongTopicsError
		if !errors.As(err, &wrong) {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, p := range wrong.Problems {
			got[p.Setting] = p.Have
		}
		for setting, have := range map[string]string{"partitions": "3", "cleanup.policy": "compact", "retention.ms": day, "max.message.bytes": small} {
			if got[setting] != have {
				t.Errorf("%s: reported %q, has %q", setting, got[setting], have)
			}
		}
	})
}

func TestDefaultsFollowTheNumberOfBrokers(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cfg := topics.Config{Brokers: cluster.ListenAddrs()}
	if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
		t.Fatal(err)
	}
	details, err := admin(t, cfg).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range details {
		if n := d.Partitions.NumReplicas(); n != 3 {
			t.Errorf("%s has %d replicas", name, n)
		}
	}
	configs, err := admin(t, cfg).DescribeTopicConfigs(t.Context(), "opmux.orders.ops")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range configs[0].Configs {
		if k.Key == "min.insync.replicas" && k.MaybeValue() != "2" {
			t.Errorf("min.insync.replicas is %s", k.MaybeValue())
		}
	}
	if problems, err := topics.Check(t.Context(), cfg, orders); len(problems) > 0 || err != nil {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestCheckEndsWhileKafkaIsAway(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := topics.Check(ctx, topics.Config{Brokers: []string{"127.0.0.1:1"}}, orders)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
}

func TestSASL(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "plain", "p"), kfake.Superuser("SCRAM-SHA-256", "s256", "p"), kfake.Superuser("SCRAM-SHA-512", "s512", "p"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cfg := topics.Config{Brokers: cluster.ListenAddrs()}
	for user, mechanism := range map[string]string{"plain": "PLAIN", "s256": "SCRAM-SHA-256", "s512": "SCRAM-SHA-512"} {
		cfg.SASL = &topics.SASL{Mechanism: mechanism, User: user, Password: "p"}
		if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		cfg.SASL.Password = "secret-and-wrong"
		if _, err := topics.Create(t.Context(), cfg, orders); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s with a wrong password: %v", mechanism, err)
		}
	}
	cfg.SASL.Mechanism = "GSSAPI"
	if _, err := topics.Check(t.Context(), cfg, orders); err == nil || !strings.Contains(err.Error(), "kafka.sasl.mechanism") {
		t.Errorf("%v", err)
	}
}

func TestTLS(t *testing.T) {
	certificate := httptest.NewTLSServer(nil) // for its certificate of 127.0.0.1
	defer certificate.Close()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(certificate.TLS.Clone()))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Certificate())
	cfg := topics.Config{Brokers: cluster.ListenAddrs(), TLS: &tls.Config{RootCAs: roots}}
	if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
		t.Error(err)
	}
	cfg.TLS = &tls.Config{}
	if _, err := topics.Check(t.Context(), cfg, orders); err == nil {
		t.Error("an unknown certificate passes")
	}
}
