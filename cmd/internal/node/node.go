// Package node builds a whole node from its configuration: the RADIUS client over
// the configured services, the TUN device, the packet filter and the PPTP access
// concentrator. It is
// what postern-gateway runs, and what the lab runs beside a service in one process.
//
// It links no store, no directory and no policy: a captured node has nothing to
// give away.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/cmd/internal/peers"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/pptp"
	"postern/pptp/filter"
	"postern/pptp/tun"
)

// Options is what a configuration file does not say.
type Options struct {
	Log        *slog.Logger          // nil: none
	Registerer prometheus.Registerer // nil: no metrics

	// Local is a service in this process; it is asked instead of the configured ones.
	Local radius.Handler

	// Deps replaces parts of the network: Listen, ListenGRE, TUN and Filter, where they
	// are set. The rest of it is ours. With a TUN device that is not the kernel's the
	// kernel filters nothing.
	Deps pptp.Deps
}

// Node is a node with all it is made of. Start, Stop and Wait work once.
type Node struct {
	*pptp.Node
	opts    Options
	log     *slog.Logger
	dynamic atomic.Pointer[radius.Dynamic] // nil until there is a node
	coa     config.CoA                     // of the start
	tun     config.PPTP                    // of the start
	fence   config.Filter                  // of the start
	filter  *filter.Table                  // nil: none, or not ours
	asked   []radius.DynamicClient         // of the start

	mu      sync.Mutex
	client  *radius.Client
	udp     *radius.DynamicListener // nil: none configured, or not started
	started bool
	ended   bool
	stop    chan struct{}  // closed by Stop
	retired sync.WaitGroup // clients of former configurations; Stop waits
	bare    sync.Once      // the packet filter is gone
}

// New builds a node. The TUN device is opened, no port is.
func New(cfg *config.Gateway, opts Options) (*Node, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{opts: opts, log: opts.Log, coa: cfg.CoA, tun: cfg.PPTP, fence: cfg.Filter, stop: make(chan struct{})}
	fence, err := filterConfig(cfg, cfg.PPTP.Tun)
	if err != nil {
		return nil, err
	}
	if n.asked, err = askers(cfg); err != nil {
		return nil, err
	}
	if n.client, err = n.connect(cfg); err != nil {
		return nil, err
	}
	deps := opts.Deps
	deps.RADIUS, deps.Log, deps.Metrics = n.client, opts.Log, opts.Registerer
	if deps.TUN == nil {
		if deps.TUN, err = tun.Open(cfg.PPTP.Tun, cfg.PPTP.MTU, cfg.PPTP.Inside, cfg.PPTP.Routes); err != nil {
			n.client.Close()
			return nil, fmt.Errorf("open TUN device: %w", err)
		}
		if cfg.Filter.Enabled && deps.Filter == nil {
			if n.filter, err = filter.Open(fence, opts.Log, opts.Registerer); err != nil {
				n.client.Close()
				_ = deps.TUN.Close()
				return nil, fmt.Errorf("packet filter: %w", err)
			}
			deps.Filter = tableFilter{n.filter}
		}
		if deps.Locals == nil {
			deps.Locals = localNetworks(cfg.PPTP.Tun)
		}
		if deps.Filter == nil {
			n.log.Info("no packet filter: logins that need one are refused")
		}
	}
	if n.Node, err = pptp.New(cfg, deps); err != nil {
		n.client.Close()
		_ = deps.TUN.Close()
		n.unfilter()
		return nil, fmt.Errorf("build node: %w", err)
	}
	n.dynamic.Store(n.Node.Dynamic())
	return n, nil
}

// localNetworks are those that the host is in by another interface than the tunnels'.
func localNetworks(tun string) func() []netip.Prefix {
	return func() (all []netip.Prefix) {
		interfaces, err := net.Interfaces()
		if err != nil {
			return nil // then the host's routes are all there is to say no
		}
		for _, i := range interfaces {
			addrs, err := i.Addrs()
			if err != nil || i.Name == tun {
				continue
			}
			for _, a := range addrs {
				if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
					all = append(all, p.Masked())
				}
			}
		}
		return all
	}
}

// unfilter takes the packet filter out of the kernel.
func (n *Node) unfilter() {
	if n.filter == nil {
		return
	}
	if err := n.filter.Close(); err != nil {
		n.log.Error("the packet filter is left behind", "error", err)
	}
}

// reverse is what services ask on our connections to them, which are there before the
// node is.
func (n *Node) reverse(ctx context.Context, req []byte, from radius.Peer) []byte {
	if d := n.dynamic.Load(); d != nil {
		return d.ServeRADIUS(ctx, req, from)
	}
	return nil
}

func (n *Node) connect(cfg *config.Gateway) (*radius.Client, error) {
	c := radius.ClientConfig{
		Name: string(cfg.Node), Timeout: cfg.Radius.Timeout, Retries: cfg.Radius.Retries, DeadTime: cfg.Radius.DeadTime,
		Reverse: radius.HandlerFunc(n.reverse), Log: n.log, Metrics: n.opts.Registerer,
	}
	if n.opts.Local != nil {
		c.Servers = []radius.Server{{Name: "local", Network: radius.InProcess.String(), Local: n.opts.Local}}
	} else {
		var err error
		if c.Servers, c.AllowMSCHAPOverUDP, err = peers.Servers(cfg.Radius.Servers, cfg.TLS); err != nil {
			return nil, err
		}
	}
	client, err := radius.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("build RADIUS client: %w", err)
	}
	return client, nil
}

// Start opens the listener and runs the node until Stop. A node that did not start
// is to be stopped, too.
func (n *Node) Start() error {
	if err := n.Node.Start(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.started = true
	if n.ended || !n.coa.Listen.IsValid() {
		return nil
	}
	var err error
	n.udp, err = radius.ListenDynamic(n.coa.Listen, n.Dynamic(), n.asked)
	return err
}

// Healthy is nil while the node takes calls.
func (n *Node) Healthy(context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended || !n.started {
		return errors.New("not serving")
	}
	return nil
}

// Stop ends the node: sessions are closed, accounting is sent, then nothing of it is
// left.
func (n *Node) Stop() {
	n.mu.Lock()
	first := !n.ended
	n.ended = true // from here on nobody changes n.client and n.udp
	n.mu.Unlock()
	n.Node.Stop()
	if first {
		close(n.stop)
		if n.udp != nil {
			n.udp.Close()
		}
	}
	n.client.Close()
	n.retired.Wait()
	n.bare.Do(n.unfilter)
}

// Wait returns when the node has stopped, by itself or by Stop, with the first fatal
// error. Nothing of it is left then.
func (n *Node) Wait() error {
	err := n.Node.Wait()
	n.Stop()
	return err
}

// Reload makes a new configuration count for calls that begin from now on, and reads
// secrets and certificates again. After an error all is as before.
func (n *Node) Reload(cfg *config.Gateway) error {
	asked, err := askers(cfg)
	if err != nil {
		return err
	}
	fence, err := n.refenced(cfg)
	if err != nil {
		return err
	}
	client, err := n.connect(cfg)
	if err != nil {
		return err
	}
	n.mu.Lock()
	if n.ended {
		n.mu.Unlock()
		client.Close()
		return errors.New("the node has ended")
	}
	if n.filter != nil {
		if err := n.filter.Apply(fence); err != nil {
			n.mu.Unlock()
			client.Close()
			return fmt.Errorf("packet filter: %w", err)
		}
	}
	if n.udp != nil {
		n.udp.SetClients(asked)
	}
	old := n.client
	n.client = client
	// Logins under way have the old client in hand.
	n.retired.Go(func() { // Stop waits
		select {
		case <-time.After(cfg.PPTP.Timers.Login):
		case <-n.stop:
		}
		old.Close()
	})
	n.mu.Unlock()
	n.SetRADIUS(client)
	restart := n.Node.Reload(cfg)
	if cfg.CoA.Listen != n.coa.Listen {
		restart = append(restart, "coa.listen")
	}
	if len(restart) > 0 {
		n.log.Warn("these keys count after a restart only", "keys", strings.Join(restart, ", "))
	}
	return nil
}

// refenced is what the packet filter is to do from now on: what needs a restart stays
// as it was at the start.
func (n *Node) refenced(cfg *config.Gateway) (filter.Config, error) {
	c := *cfg
	c.PPTP.Tun, c.PPTP.Inside, c.PPTP.Listen, c.PPTP.MTU = n.tun.Tun, n.tun.Inside, n.tun.Listen, n.tun.MTU
	c.Filter.Table, c.Filter.CaptivePort = n.fence.Table, n.fence.CaptivePort
	return filterConfig(&c, n.tun.Tun)
}
