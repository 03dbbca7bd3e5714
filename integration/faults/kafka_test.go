package faults

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/opmux/opmux/internal/rig"
	"github.com/opmux/opmux/topics"
)

// brokerPause is how long the broker is frozen for: longer than the gate's timeout,
// and than the clients' own.
const brokerPause = 30 * time.Second

// settledEnd waits until the agent has read the ops topic to its end and says so in a
// heartbeat, and returns the end: retention that is shorter than a heartbeat's
// interval is no retention.
func (s *stage) settledEnd(admin *kadm.Client) kadm.ListedOffsets {
	s.t.Helper()
	cfg := topics.Config{Brokers: []string{s.Broker.Address()}, Prefix: rig.Prefix}
	var ends kadm.ListedOffsets
	s.eventually(func() (err error) {
		if ends, err = admin.ListEndOffsets(s.ctx, opsTopic); err != nil {
			return err
		}
		end, _ := ends.Lookup(opsTopic, 0)
		beats, err := topics.ReadHeartbeats(s.ctx, cfg)
		if err != nil {
			return err
		}
		for _, h := range beats {
			if h.Role == topics.RoleAgent && h.ScanFrom == end.Offset {
				return nil
			}
		}
		return fmt.Errorf("no agent says that it has read to %d", end.Offset)
	})
	return ends
}

// Broker killed and frozen under load, an agent that thaws in an old epoch, and at
// last a record that nobody can read.
func TestKafkaAway(t *testing.T) {
	t.Parallel()
	s := up(t, rig.Config{GateTimeout: 2 * time.Second})
	l := s.load(3, s.agent("a1").DSN())
	l.more(50)

	for range 2 {
		s.must(s.Broker.Kill())
		l.fails()
		s.must(s.Broker.Start(s.ctx))
		l.more(50)
	}

	pause, cancel := context.WithTimeout(s.ctx, brokerPause)
	defer cancel()
	s.must(s.Broker.Freeze())
	l.fails()
	if state := s.tryThroughAgent("INSERT INTO token (id) VALUES ('frozen')"); state != "40001" {
		t.Errorf("a write while the broker is frozen ended with %s, want 40001", state)
	}
	<-pause.Done()
	s.must(s.Broker.Thaw())
	l.more(50)
	l.check()
	if found := s.tokens(s.backup(), "frozen"); found != "" {
		t.Error("a transaction that was refused is on the backup")
	}

	secondAgent(s)
	corruptedValue(s)
}

// secondAgent: an agent is frozen, another process of its name takes over, and the
// first, thawed in its old epoch, finds that out and stops (I1, I2).
func secondAgent(s *stage) {
	s.t.Helper()
	first := s.agent("a1")
	l := s.load(2, first.DSN())
	l.more(20)
	s.must(first.Process.Freeze())
	second := s.agent("a2")
	text, err := os.ReadFile(second.Config)
	s.must(err)
	s.must(os.WriteFile(second.Config, []byte(strings.Replace(string(text), "agent: a2", "agent: a1", 1)), 0o600))
	s.must(second.Start(s.ctx))
	s.query(second.DSN(), "INSERT INTO token (id) VALUES ('second')")
	s.must(first.Process.Thaw())
	s.exits(first, `another process runs as agent "a1"`)
	l.stop()
	s.query(second.DSN(), "INSERT INTO token (id) VALUES ('second again')")
	l.check()
	s.must(second.Terminate())
	s.must(first.Start(s.ctx))
}

// corruptedValue: a record that is none stops worker and agent, which name its
// offset, and nothing more is promised to applications.
func corruptedValue(s *stage) {
	s.t.Helper()
	s.throughAgent("INSERT INTO token (id) VALUES ('before the garbage')")
	s.identical()
	client, _ := s.kafka()
	s.must(client.ProduceSync(s.ctx, &kgo.Record{Topic: opsTopic, Partition: 0, Key: []byte(rig.Source), Value: []byte("garbage")}).FirstErr())
	s.says(s.worker("w1"), "source orders, record at offset", "something else writes to this topic")
	s.says(s.agent("a1"), "opmux.orders.ops, offset")
	s.eventually(func() error {
		_, err := rig.Query(s.ctx, s.agent("a1").DSN(), "INSERT INTO token (id) VALUES ('behind the garbage')")
		if err == nil {
			s.query(s.agent("a1").DSN(), "DELETE FROM token WHERE id = 'behind the garbage'")
			return context.DeadlineExceeded
		}
		return nil
	})
	if found := s.tokens(s.backup(), "behind"); found != "" {
		s.t.Error("the worker went on behind a record that it could not read")
	}
}

// What retention cut off, and a topic that was deleted and made again: stop and say
// so. A snapshot is the way out of the first.
func TestTopicCutAndDeleted(t *testing.T) {
	t.Parallel()
	s := up(t, rig.Config{GateTimeout: 2 * time.Second})
	s.throughAgent("INSERT INTO token (id) VALUES ('applied')")
	s.identical()
	s.must(s.worker("w1").Kill())
	for _, id := range []string{"cut 1", "cut 2", "cut 3"} {
		s.throughAgent("INSERT INTO token (id) VALUES ('" + id + "')")
	}
	_, admin := s.kafka()
	cut := s.settledEnd(admin).Offsets()
	cut.Each(func(o kadm.Offset) { cut.AddOffset(o.Topic, o.Partition, o.At-1, -1) })
	deleted, err := admin.DeleteRecords(s.ctx, cut)
	s.must(err)
	s.must(deleted.Error())
	s.must(s.worker("w1").Launch())
	s.says(s.worker("w1"), "was expected, and the topic has", "take a new snapshot of the target")
	if found := s.tokens(s.backup(), "cut"); found != "" {
		t.Errorf("the worker went on behind the gap: %s", found)
	}
	s.must(s.worker("w1").Kill())
	s.query(s.backup(), "DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA opmux CASCADE")
	s.eventually(func() error { // what was cut is behind the agent's next heartbeat
		_, err := s.Must(s.ctx, "snapshot", "--config", s.AgentConfig("a1"), "--to", s.WorkerConfig("w1"))
		return err
	})
	s.must(s.worker("w1").Start(s.ctx))
	s.throughAgent("INSERT INTO token (id) VALUES ('after the snapshot')")
	s.identical()

	_, err = admin.DeleteTopic(s.ctx, opsTopic)
	s.must(err)
	s.says(s.worker("w1"), opsTopic)
	s.eventually(func() error {
		if s.tryThroughAgent("INSERT INTO token (id) VALUES ('without a topic')") == "00000" {
			return context.DeadlineExceeded
		}
		return nil
	})
	s.must(s.CreateTopics(s.ctx))
	s.restart(s.worker("w1"))
	s.says(s.worker("w1"), "topic id")
	s.restart(s.agent("a1"))
	s.says(s.agent("a1"), "made anew", "kafka.prefix")
}
