package rig

import (
	"cmp"
	"fmt"
	"os"
)

const kafkaYAML = `kafka: {brokers: ["%s"], prefix: %s}
`

const adminYAML = `admin: {address: "%s"}
`

const listenYAML = `listen: {protocol: postgres, address: "%s"%s}
`

const agentYAML = `source: %s
agent: %s
upstream: {address: "%s", database: %s%s}
catalog: {dsn: "%s"}
gate: {mode: %s, timeout: %s, on_timeout: fail}
digest: {level: %s}
on_unsafe: %s
`

const workerYAML = `target: %s
name: %s
sources: [{name: %s}]
dsn: "%s"
parallelism: %d
on_error: stop
`

const verifierYAML = `sources: [{name: %s, targets: [%s]}]
level: %s
timeout: %s
`

func (r *Rig) writeConfig(p *Program) error {
	text := fmt.Sprintf(kafkaYAML, r.Broker.Address(), Prefix)
	if p.binary != embeddedAgent {
		text += fmt.Sprintf(adminYAML, p.Admin)
	}
	switch p.binary {
	case "capture-agent":
		text += fmt.Sprintf(listenYAML, p.Listen, r.ListenKeys) + r.agentText(p.as)
	case embeddedAgent:
		text += r.agentText(p.as)
	case "apply-worker":
		text += fmt.Sprintf(workerYAML, cmp.Or(p.Target, Target), p.as, r.Source, r.Backup.DSN(Database), r.Parallelism) + r.WorkerYAML
	case "verify-worker":
		text += fmt.Sprintf(verifierYAML, r.Source, Target, r.Verify, r.VerifyTimeout)
		if r.Webhook != "" {
			text += fmt.Sprintf("webhook: {url: %q, on: failure}\n", r.Webhook)
		}
	}
	if err := os.WriteFile(p.Config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("configuration of %s: %w", p.Name, err)
	}
	return nil
}

// agentText is what the file of every agent says.
func (r *Rig) agentText(name string) string {
	return fmt.Sprintf(agentYAML, r.Source, name, cmp.Or(r.Upstream, r.Primary.Address()), Database, r.UpstreamKeys,
		r.Primary.DSN(Database), r.Gate, r.GateTimeout, r.Digest, r.OnUnsafe) + r.AgentYAML
}

// Configure writes a program's file anew, for a rig whose servers have changed.
func (p *Program) Configure() error { return p.rig.writeConfig(p) }
