// Command postern-radiusd is the service: it judges every login of nodes and other
// NAS by RADIUS (RFC 2865, 2866, 6614): password, one-time code, lockouts, policy.
package main

import (
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/internal/daemon"
	"postern/cmd/internal/service"
	"postern/internal/config"
)

const program = "postern-radiusd"

func main() {
	p := daemon.Program[*config.Service]{
		Name: program, Does: "judges logins by RADIUS", Role: "service",
		Load: config.LoadService, Check: service.Check,
		Parts: func(c *config.Service) daemon.Parts {
			return daemon.Parts{Name: c.Node, Log: c.Log, Metrics: c.Metrics}
		},
		New: func(c *config.Service, log *slog.Logger, r prometheus.Registerer) (daemon.Server[*config.Service], error) {
			return service.New(c, service.Options{Log: log, Registerer: r})
		},
	}
	os.Exit(p.Main(os.Args[1:]))
}
