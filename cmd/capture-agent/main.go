// Command capture-agent stands between an application and its PostgreSQL primary
// and records what the application commits.
package main

import (
	"os"

	"github.com/opmux/opmux/internal/agent"
	"github.com/opmux/opmux/internal/config"
	"github.com/opmux/opmux/internal/process"
)

func main() {
	os.Exit(process.Main(process.Program[*config.Agent]{
		Name: "capture-agent",
		What: "records the operations of a primary's applications on Kafka",
		Load: config.LoadAgent,
		Run:  agent.Run,
	}, os.Args[1:]))
}
