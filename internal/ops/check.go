package ops

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/opmux/opmux/capture/order"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/topics"
)

func checkCommand() command {
	return command{
		name: "check",
		args: "--config F [--json]",
		what: "find what is wrong before a program is started",
		more: "Looks at Kafka, the topics, and the databases that the configuration names: whether they\ncan be reached, what the logins may do, and settings that opmux cannot work with.\nNothing is changed. Exit code 1 when something is fatal.",
		run: func(ctx context.Context, stdio IO, c *call) error {
			path, asJSON := c.configFlag(), c.jsonFlag()
			if err := c.parse("config"); err != nil {
				return err
			}
			f, err := load(*path)
			if err != nil {
				return err
			}
			found := &findings{}
			k := checkKafka(ctx, found, f)
			switch {
			case f.Agent != nil:
				checkPrimary(ctx, found, f.Agent)
			case f.Worker != nil:
				checkTarget(ctx, found, k, f.Worker)
			case f.Verifier.Webhook != nil:
				checkWebhook(ctx, found, f.Verifier.Webhook)
			}
			return found.print(stdio.Out, *asJSON)
		},
	}
}

// checkKafka returns the way to the topics where they are fine, else nil.
func checkKafka(ctx context.Context, found *findings, f *config.File) *kafka {
	k, err := openKafka(ctx, f)
	if err != nil {
		found.fatal("kafka", "correct kafka.tls or kafka.schema_registry", "%v", err)
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, kafkaTimeout)
	defer cancel()
	problems, err := topics.Check(limited, k.Config, topics.Want{Sources: f.Sources(), Targets: f.Targets(), Config: f.Path})
	if err != nil {
		found.fatal("kafka", "start Kafka, or correct kafka.brokers, kafka.tls and kafka.sasl", "%v", k.unreachable(err))
		return nil
	}
	for _, p := range grouped(problems) {
		switch {
		case p.Setting == "exists":
			found.fatal("topics", fmt.Sprintf("opmux topics create --config %s", f.Path), "topic %s does not exist", p.Topic)
		case p.Fatal:
			found.fatal("topics", fmt.Sprintf("set %s of the topic to %s (kafka-configs), or use another kafka.prefix", p.Setting, p.Want), "%s", p)
		default:
			found.warn("topics", "more brokers and replicas, see kafka.topics", "%s", p)
		}
	}
	if found.count(fatal) > 0 {
		return nil
	}
	found.ok("kafka", "%s answers, the topics of %s are there", strings.Join(k.Brokers, ", "), strings.Join(f.Sources(), ", "))
	checkOthers(ctx, found, k, f)
	return k
}

// grouped joins warnings that several topics share.
func grouped(problems []topics.Problem) []topics.Problem {
	var list []topics.Problem
	at := map[topics.Problem]int{} // by all but the topic
	for _, p := range problems {
		key := p
		key.Topic = ""
		if i, ok := at[key]; ok && !p.Fatal {
			list[i].Topic += ", " + p.Topic
			continue
		}
		at[key] = len(list)
		list = append(list, p)
	}
	return list
}

// checkOthers looks who else is at work under the names that the configuration gives.
func checkOthers(ctx context.Context, found *findings, k *kafka, f *config.File) {
	beats, err := k.heartbeats(ctx)
	if err != nil {
		found.broken("kafka", err)
		return
	}
	a := f.Agent
	if a == nil {
		return
	}
	others, same := liveAgents(beats, a)
	switch {
	case same:
		found.ok("agents", "agent %s of source %s is running", a.Agent, a.Source)
	case len(others) == 0:
	case a.Gate.Mode == order.GateNone:
		found.fatal("agents", "stop the other agent, or give all of them gate.mode recorded", "agent %s of source %s is running, and gate none takes one agent per source", others[0].Name, a.Source)
	case others[0].Gate == order.GateNone:
		found.fatal("agents", "stop it, or give it gate.mode recorded", "agent %s of source %s runs with gate none, which takes no second agent", others[0].Name, a.Source)
	}
}

// liveAgents lists the other live agents of an agent's source, and says whether
// the agent itself is live.
func liveAgents(beats map[string]topics.Heartbeat, a *config.Agent) (others []topics.Heartbeat, self bool) {
	for _, h := range sortedBeats(beats) {
		if h.Role != topics.RoleAgent || h.Source != a.Source || !alive(h, now()) {
			continue
		}
		if h.Name == a.Agent {
			self = true
			continue
		}
		others = append(others, h)
	}
	return others, self
}

func checkWebhook(ctx context.Context, found *findings, w *config.Webhook) {
	u, err := url.Parse(w.URL)
	if err != nil {
		found.broken("webhook", err)
		return
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		found.warn("webhook", "correct webhook.url; verdicts are posted nowhere until it answers", "%s cannot be reached: %v", u.Host, err)
		return
	}
	_ = conn.Close() // nothing was written
	found.ok("webhook", "%s can be reached", u.Host)
}
