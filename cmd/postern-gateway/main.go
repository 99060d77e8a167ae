// Command postern-gateway is a node: it terminates PPTP tunnels (RFC 2637) and asks
// RADIUS services about every login. It keeps no state that outlives it, but for
// accounting that no service has answered yet, and knows no password.
package main

import (
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/internal/daemon"
	"postern/cmd/internal/node"
	"postern/internal/config"
)

const program = "postern-gateway"

func main() {
	p := daemon.Program[*config.Gateway]{
		Name: program, Does: "terminates PPTP tunnels and asks RADIUS services about logins", Role: "node",
		Load: config.LoadGateway, Check: node.Check,
		Parts: func(c *config.Gateway) daemon.Parts {
			return daemon.Parts{Name: c.Node, Log: c.Log, Metrics: c.Metrics}
		},
		New: func(c *config.Gateway, log *slog.Logger, r prometheus.Registerer) (daemon.Server[*config.Gateway], error) {
			return node.New(c, node.Options{Log: log, Registerer: r})
		},
	}
	os.Exit(p.Main(os.Args[1:]))
}
