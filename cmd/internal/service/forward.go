package service

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/internal/peers"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/radiusd/forward"
)

// forwarding is the destinations of accounting, with the clients that reach them.
type forwarding struct {
	*forward.Forwarder
	clients []*radius.Client
}

// forwardServers are the servers of a destination. Here their address is for accounting,
// and they are others' programs, which sign logins and not this.
func forwardServers(f *config.Forward) ([]radius.Server, error) {
	servers, _, err := peers.Servers(f.Servers, config.Identity{})
	for i := range servers {
		servers[i].UnsignedAccounting = true
		if s := &servers[i]; f.Servers[i].Transport == config.TransportUDP {
			s.Addr, s.AcctAddr = "", s.Addr
		}
	}
	return servers, err
}

// checkForward reads what the destinations point to.
func checkForward(cfg *config.Service) error {
	var errs []error
	for i := range cfg.Accounting.Forward {
		f := &cfg.Accounting.Forward[i]
		if _, err := forwardServers(f); err != nil {
			errs = append(errs, fmt.Errorf("forward accounting to %s: %w", f.Name, err))
		}
	}
	return errors.Join(errs...)
}

// openForwarding is nil where nothing is forwarded.
func openForwarding(cfg *config.Service, log *slog.Logger, reg prometheus.Registerer) (_ *forwarding, err error) {
	if len(cfg.Accounting.Forward) == 0 {
		return nil, nil //nolint:nilnil // see above
	}
	w := &forwarding{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	var to []forward.Destination
	for i := range cfg.Accounting.Forward {
		f := &cfg.Accounting.Forward[i]
		servers, err := forwardServers(f)
		if err != nil {
			return nil, fmt.Errorf("forward accounting to %s: %w", f.Name, err)
		}
		client, err := radius.NewClient(radius.ClientConfig{
			Name: string(cfg.Node), Servers: servers, Timeout: f.Timeout, Retries: f.Retries, DeadTime: f.DeadTime, Log: log.With("to", string(f.Name)),
		})
		if err != nil {
			return nil, fmt.Errorf("forward accounting to %s: %w", f.Name, err)
		}
		w.clients = append(w.clients, client)
		d := forward.Destination{Name: string(f.Name), Servers: client, Queue: f.Queue, Dir: string(f.Dir)}
		for _, c := range f.Clients {
			d.Clients = append(d.Clients, string(c))
		}
		to = append(to, d)
	}
	w.Forwarder, err = forward.New(to, log, reg)
	return w, err
}

// close ends it, and then the connections.
func (w *forwarding) close() {
	if w.Forwarder != nil {
		w.Stop()
	}
	for _, c := range w.clients {
		c.Close()
	}
}
