package config

// process is the kind of process that an agent runs in, which decides what its
// configuration must say and what it must not.
type process int

const (
	anywhere process = iota // a command only reads it
	inItsOwn                // capture-agent
	embedded                // a Go program with the agent inside
)

// structName stands for the file in errors about a configuration that a program
// has filled itself.
const structName = "sqldriver.Config"

// CheckEmbedded checks the configuration of an agent inside another program by the
// rules of its file.
func CheckEmbedded(a *Agent) error {
	d := &document{file: a.Path, lines: map[string]int{}}
	if d.file == "" {
		d.file = structName
	}
	return d.checkAgent(a, embedded)
}

// within checks what depends on where the agent runs. What an embedded agent would
// not do is refused: a key without effect would be believed.
func (r *rules) within(a *Agent, in process) {
	switch in {
	case inItsOwn:
		r.required("listen.address", a.Listen.Address, `"127.0.0.1:6432"`)
	case embedded:
		r.absent("listen.address", a.Listen.Address != "", "an agent inside a program listens on no address: leave it out, or run capture-agent with this configuration")
		r.absent("listen.tls", a.Listen.TLS != nil, "connections to an agent inside a program do not leave it: leave it out; TLS towards the primary is upstream.tls")
		r.absent("admin.address", a.Admin.Address != "", "an agent inside a program has no server of its own: leave it out and serve the agent's Handler")
		r.absent("log", a.Log != logDefaults(), "an agent inside a program logs where that does: leave it out and give sqldriver.Start a logger")
	}
	// Without an address there is no name that lasts.
	if a.Agent == "" && (in == embedded || a.Listen.Address == "") {
		r.fail("agent", "is required, for example orders-api-1: the name of this process among the agents of the source, unique and lasting, by which it takes care of what it left unfinished")
		return
	}
	r.lasting("agent", a.Agent)
}

func (r *rules) absent(path string, given bool, why string) {
	if given {
		r.fail(path, "%s", why)
	}
}
