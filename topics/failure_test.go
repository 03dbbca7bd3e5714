package topics_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/opmux/opmux/internal/testkit"
	"github.com/opmux/opmux/topics"
)

// scripted is a broker whose answers to produce requests a test decides:
// answer returns the error to give to the nth request, or nil to let it through.
func scripted(t *testing.T, answer func(n int64) *kerr.Error) topics.Config {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cfg := topics.Config{Brokers: cluster.ListenAddrs()}
	if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		e := answer(n.Add(1))
		if e == nil {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range req.(*kmsg.ProduceRequest).Topics {
			rt := kmsg.ProduceResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, e.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	return cfg
}

// I3: a topic never has a gap: once a record is refused for good, none behind
// it lands, however many are handed over meanwhile.
func TestNothingLandsBehindARefusedRecord(t *testing.T) {
	for _, refusal := range []*kerr.Error{kerr.CorruptMessage, kerr.MessageTooLarge, kerr.OutOfOrderSequenceNumber, kerr.UnknownServerError} {
		t.Run(refusal.Message, func(t *testing.T) {
			cfg := scripted(t, func(n int64) *kerr.Error {
				if n == 5 {
					return refusal
				}
				return nil
			})
			topic := cfg.Names().Ops("orders")
			p := producer(t, cfg)
			var a acks
			sent := 0
			for len(a.errors()) < 100 {
				a.send(p, topic, sent, sent+10)
				sent += 10
				testkit.Eventually(t, testkit.Patience, func() error { // so that it takes several requests
					if n := len(a.errors()) + a.count(); n < sent-50 {
						return fmt.Errorf("%d of %d records ended", n, sent)
					}
					return nil
				})
			}
			testkit.Eventually(t, testkit.Patience, func() error {
				if n := len(a.errors()) + a.count(); n != sent {
					return fmt.Errorf("%d of %d records ended", n, sent)
				}
				return nil
			})
			if !errors.Is(a.errors()[0], refusal) {
				t.Errorf("the first error is %v", a.errors()[0])
			}
			a.mustBeOrdered(t, cfg, topic, a.count())
		})
	}
}

func (a *acks) errors() []error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.errs
}

func (a *acks) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.order)
}

// A cluster that answers and does not take records is down as well, and what
// waits is delivered when it takes them again.
func TestUpTurnsWhenRecordsAreNotTaken(t *testing.T) {
	var short atomic.Bool
	short.Store(true)
	cfg := scripted(t, func(int64) *kerr.Error {
		if short.Load() {
			return kerr.NotEnoughReplicas
		}
		return nil
	})
	topic := cfg.Names().Ops("orders")
	p := producer(t, cfg)
	var a acks
	a.send(p, topic, 0, 10)
	testkit.Eventually(t, testkit.Patience, func() error {
		if err := p.LastError(); err == nil || !strings.Contains(err.Error(), "replicas") {
			return fmt.Errorf("up: %w", err)
		}
		return nil
	})
	short.Store(false)
	testkit.Eventually(t, testkit.Patience, func() error { return a.ended(10) })
	testkit.Eventually(t, testkit.Patience, p.LastError)
	a.mustBeOrdered(t, cfg, topic, 10)
}

func TestOversizedRecordIsRefused(t *testing.T) {
	cfg := scripted(t, func(int64) *kerr.Error { return nil })
	topic := cfg.Names().Ops("orders")
	p := producer(t, cfg)
	var a acks
	a.send(p, topic, 0, 10)
	large := make(chan error, 1)
	p.Produce(topic, nil, make([]byte, p.MaxRecordBytes()+1), nil, func(_ int64, err error) { large <- err })
	if err := <-large; err == nil || !strings.Contains(err.Error(), "no larger than") {
		t.Errorf("%v", err)
	}
	a.send(p, topic, 10, 20)
	a.failed(t, 10)
	a.mustBeOrdered(t, cfg, topic, 10)
}

// Whoever waits for a record hears of the end of the producer.
func TestCloseEndsEveryRecord(t *testing.T) {
	cfg := scripted(t, func(int64) *kerr.Error { return kerr.NotEnoughReplicas })
	topic := cfg.Names().Ops("orders")
	p := producer(t, cfg)
	var a acks
	a.send(p, topic, 0, 10)
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	a.send(p, topic, 10, 20)
	if err := a.failed(t, 20); !errors.Is(err, topics.ErrProducerClosed) {
		t.Error(err)
	}
}

// A broker that ends while a producer comes to it for the first time is away, which
// passes, and has refused nothing.
func TestBrokerThatHangsUpOnANewProducerIsTriedAgain(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cfg := topics.Config{Brokers: cluster.ListenAddrs()}
	if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	cluster.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if asked.Add(1) > 3 {
			return nil, nil, false
		}
		return nil, errors.New("hangs up"), true
	})
	p, err := topics.NewProducer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	done := make(chan error, 1)
	p.Produce(cfg.Names().Ops("orders"), nil, []byte("x"), nil, func(_ int64, err error) { done <- err })
	select {
	case err := <-done:
		if err != nil || asked.Load() <= 3 {
			t.Errorf("after %d questions: %v", asked.Load(), err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the record was not acknowledged")
	}
}

// The same of a reader: its owner must not end for a broker that was killed at the
// wrong moment.
func TestBrokerThatHangsUpOnANewReaderIsTriedAgain(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cfg := topics.Config{Brokers: cluster.ListenAddrs()}
	if _, err := topics.Create(t.Context(), cfg, orders); err != nil {
		t.Fatal(err)
	}
	topic := cfg.Names().Ops("orders")
	var asked atomic.Int64
	cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if asked.Add(1) > 3 {
			return nil, nil, false
		}
		return nil, errors.New("hangs up"), true
	})
	r, err := topics.NewReader(t.Context(), cfg, topic, topics.Latest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	end := make(chan error, 1)
	go func() {
		_, err := r.Next(ctx)
		end <- err
	}()
	testkit.Eventually(t, testkit.Patience, func() error {
		if n := asked.Load(); n <= 3 {
			return fmt.Errorf("asked %d times", n)
		}
		return nil
	})
	p := producer(t, cfg)
	testkit.Eventually(t, testkit.Patience, func() error {
		p.Produce(topic, nil, []byte("x"), nil, func(int64, error) {})
		select {
		case err := <-end:
			if err != nil {
				t.Fatal(err)
			}
			return nil
		default:
			return errors.New("nothing was read")
		}
	})
}
