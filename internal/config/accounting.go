package config

import (
	"fmt"
	"time"
)

// Accounting is what becomes of what NAS report.
type Accounting struct {
	// History is how many starts and stops of sessions the store keeps, about; what is
	// older is in the audit log. Keep is how long they and users' totals stay when nothing
	// is added to them.
	History int           `yaml:"history" default:"100000" min:"1000" max:"10000000"`
	Keep    time.Duration `yaml:"keep" default:"2160h" min:"24h" max:"87600h"`
	// Forward sends records on to other accounting servers. No NAS waits for them.
	Forward []Forward `yaml:"forward"`
}

// Forward is a destination: servers of which one gets each record.
type Forward struct {
	Name Name `yaml:"name" required:"true"`
	// Servers get nothing but accounting, at their address.
	Servers []RadiusServer `yaml:"servers" required:"true"`
	// Clients whose records it gets; absent: all.
	Clients []Name `yaml:"clients"`
	// Timeout, Retries and DeadTime are as for a node's services.
	Timeout  time.Duration `yaml:"timeout" default:"2s" min:"100ms" max:"30s"`
	Retries  int           `yaml:"retries" default:"2" min:"0" max:"10"`
	DeadTime time.Duration `yaml:"dead_time" default:"30s" min:"1s" max:"1h"`
	// Queue bounds what waits for an answer. With Dir Starts and Stops outlive a restart.
	Queue int  `yaml:"queue" default:"100000" min:"100" max:"10000000"`
	Dir   File `yaml:"dir"`
}

func (s *Service) checkForward(at place) {
	known := make(map[Name]bool)
	for _, c := range s.Clients {
		known[c.Name] = true
	}
	byName, byDir := make(map[Name]bool), make(map[File]bool)
	for i, f := range s.Accounting.Forward {
		key := fmt.Sprintf("accounting.forward[%d]", i)
		if f.Name != "" && byName[f.Name] {
			at.bad(key+".name", "a name of its own for each destination", "a second destination %q", string(f.Name))
		}
		if f.Dir != "" && byDir[f.Dir] {
			at.bad(key+".dir", "a directory of its own for each destination", "%s is another destination's", f.Dir)
		}
		byName[f.Name], byDir[f.Dir] = true, true
		for j, c := range f.Clients {
			if !known[c] && c != "" && !at.broken("clients") {
				at.bad(fmt.Sprintf("%s.clients[%d]", key, j), "the name of one of clients", "no client %q", string(c))
			}
		}
		names := make(map[Name]bool)
		for j, r := range f.Servers {
			if r.Name != "" && names[r.Name] {
				at.bad(fmt.Sprintf("%s.servers[%d].name", key, j), "a name of its own for each server", "a second server %q", string(r.Name))
			}
			names[r.Name] = true
			where := fmt.Sprintf("%s.servers[%d]", key, j)
			if r.Transport == TransportRadSec && !r.Identity.any() && !at.broken(where+".transport") {
				at.bad(where, "ca_file, cert_file and key_file", "a RadSec server needs a TLS identity")
			}
			if r.AcctAddress != "" {
				at.bad(where+".acct_address", "address, which is for accounting here", "it gets nothing but accounting")
			}
		}
	}
}
