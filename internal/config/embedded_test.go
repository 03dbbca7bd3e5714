package config

import (
	"strings"
	"testing"
)

// embeddedYAML is agentYAML less what an agent inside a program does not have.
func embeddedYAML() string {
	text := strings.Replace(agentYAML, `listen: {protocol: postgres, address: "127.0.0.1:6432"}`, "listen: {max_sessions: 20}", 1)
	return strings.Replace(text, `admin: {address: "127.0.0.1:9464"}`, "", 1)
}

func TestEmbeddedAgents(t *testing.T) {
	path := write(t, embeddedYAML())
	a, err := LoadEmbedded(path)
	if err != nil {
		t.Fatal(err)
	}
	if a.Path != path || a.Listen.MaxSessions != 20 {
		t.Errorf("%+v", a)
	}
	if err := CheckEmbedded(a); err != nil {
		t.Error(err)
	}
	if _, err := LoadAgent(path); err != nil {
		t.Errorf("as a command reads it: %v", err)
	}
	if _, err := Load(path); err != nil {
		t.Errorf("as a command reads it: %v", err)
	}
	if _, err := LoadListening(path); err == nil || !strings.Contains(err.Error(), "listen.address: is required") {
		t.Errorf("as capture-agent reads it: %v", err)
	}
}

func TestWhatAnEmbeddedAgentDoesNotHaveIsRefused(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"listen: {max_sessions: 20}", `listen: {address: "127.0.0.1:6432"}`, ":5: listen.address: an agent inside a program listens on no address"},
		{"listen: {max_sessions: 20}", "listen: {tls: {cert: x, key: y}}", ":5: listen.tls: connections to an agent inside a program do not leave it"},
		{"on_unsafe: reject", `admin: {address: "127.0.0.1:9464"}`, "admin.address: an agent inside a program has no server of its own"},
		{"on_unsafe: reject", "log: {level: debug}", "log: an agent inside a program logs where that does"},
		{"agent: a1\n", "", "agent: is required, for example orders-api-1"},
	} {
		_, err := LoadEmbedded(write(t, strings.Replace(embeddedYAML(), c.from, c.to, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	a := AgentDefaults()
	a.Gate.Mode = "applied"
	if err := CheckEmbedded(a); err == nil || !strings.Contains(err.Error(), structName+`: gate.mode: "applied" is not built yet`) {
		t.Errorf("a structure: %v", err)
	}
}
