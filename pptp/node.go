package pptp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/spool"
	"postern/pptp/captive"
	"postern/pptp/control"
	"postern/pptp/gre"
	"postern/pptp/ppp"
	"postern/pptp/tun"
)

// Deps is what a node is built on; tests put simulated networks here.
type Deps struct {
	// Listen opens the TCP listeners, of PPTP and, with a Filter, of the captive server,
	// ListenGRE the GRE socket of one of the former's addresses. Nil: the real ones.
	Listen    func(ctx context.Context, addr netip.AddrPort) (net.Listener, error)
	ListenGRE func(local netip.Addr) (gre.Conn, error)

	TUN tun.Device // the node closes it
	// Locals are the networks that this host is in, which none of a client's may overlap.
	// Nil: none are known.
	Locals  func() []netip.Prefix
	Filter  Filter           // nil: no packets are filtered, and who needs a filter is refused
	RADIUS  radius.Exchanger // the services
	Log     *slog.Logger
	Metrics prometheus.Registerer // nil: none

	// Interim is how often sessions that shall report do, for tests, whose time is short.
	// Zero: as services say, and once a minute at most (RFC 2869 §5.16).
	Interim time.Duration
}

// settings is what Reload may change; sessions take what they need when they begin.
type settings struct {
	config.PPTP
	filter    config.Filter
	demand    []ppp.Auth
	strengths ppp.MPPEBits
	interim   time.Duration // Deps'
}

// Node is a PPTP access concentrator. Start, Stop and Wait work once; a stopped node
// stays stopped. All methods may be called from any goroutine.
type Node struct {
	name    string
	boot    string // Acct-Session-Id prefix, new for each process
	cfg     *config.Gateway
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	dynamic *radius.Dynamic
	tun     tun.Device
	spool   *spool.Spool
	fence   *fence
	captive *captive.Server // serves where there is a Filter
	epoch   time.Time       // since counts from here

	settings  atomic.Pointer[settings]
	radius    atomic.Pointer[radius.Exchanger]
	drain     *drain
	admission *control.Admission
	ctlConfig atomic.Pointer[control.Config]
	shards    []*shard
	calls     *callTable
	callers   *callers
	addrs     *addrTable
	routed    routedTable
	serial    atomic.Uint32 // of sessions
	coarse    atomic.Int64  // Unix seconds, good enough for idle times

	ctx      context.Context // ends with Stop
	cancel   context.CancelFunc
	acctCtx  context.Context // ends when accounting had its time
	acctStop context.CancelFunc
	listener net.Listener

	mu       sync.Mutex
	stopping bool
	stopped  chan struct{}
	err      error
	conns    map[*controlConn]struct{}
	socks    map[netip.Addr]gre.Conn

	work sync.WaitGroup // connections, logins, farewells
	loop sync.WaitGroup // shards, receivers, transmitter
	acct sync.WaitGroup // the spool
}

// New builds a node; nothing runs and nothing is open but the accounting spool.
func New(cfg *config.Gateway, deps Deps) (*Node, error) {
	if deps.TUN == nil || deps.RADIUS == nil {
		return nil, errors.New("pptp: a node needs a TUN device and a RADIUS client")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Listen == nil {
		deps.Listen = func(ctx context.Context, a netip.AddrPort) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, "tcp4", a.String())
		}
	}
	if deps.ListenGRE == nil {
		deps.ListenGRE = gre.Listen
	}
	now := time.Now()
	n := &Node{
		name: string(cfg.Node), cfg: cfg, deps: deps, log: deps.Log, metrics: newMetrics(deps.Metrics), tun: deps.TUN,
		epoch: now,
		fence: &fence{filter: deps.Filter, posts: make(map[netip.Addr]*post)},
		drain: newDrain(), callers: newCallers(),
		calls: new(callTable), addrs: new(addrTable), stopped: make(chan struct{}),
		conns: make(map[*controlConn]struct{}), socks: make(map[netip.Addr]gre.Conn),
	}
	var boot [4]byte
	_, _ = rand.Read(boot[:]) // ends the process rather than fail
	n.boot = hex.EncodeToString(boot[:])
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.acctCtx, n.acctStop = context.WithCancel(context.Background())
	n.coarse.Store(now.Unix())
	n.SetRADIUS(deps.RADIUS)
	n.admission = control.NewAdmission(admissionConfig(&cfg.PPTP), now)
	n.apply(&cfg.PPTP, &cfg.Filter)
	n.captive = captive.New(captive.Config{Lookup: n.standing, Log: n.log.With("layer", "captive"), Metrics: deps.Metrics})
	shards := cfg.PPTP.Shards
	if shards == 0 {
		shards = runtime.GOMAXPROCS(0)
	}
	for range shards {
		n.shards = append(n.shards, newShard(n, now))
	}
	var err error
	n.dynamic, err = radius.NewDynamic(radius.DynamicConfig{CarryOut: n.carryOut, Log: n.log, Metrics: deps.Metrics})
	if err != nil {
		return nil, fmt.Errorf("build node: %w", err)
	}
	n.spool, err = spool.Open(spool.Config{
		Dir: string(cfg.Spool.Dir), Max: cfg.Spool.MaxRecords, Log: n.log, Length: &n.metrics.spooled,
	})
	return n, err
}

// nobody is a network without a host that could call.
var nobody = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 32)}

func admissionConfig(p *config.PPTP) control.AdmissionConfig {
	allow := p.AllowedSources
	if p.Draining {
		allow = nobody
	}
	return control.AdmissionConfig{
		Allow: allow, Rate: float64(p.Limits.PerSourceRate) / 60, Burst: p.Limits.PerSource,
		MaxHalfOpen: p.Limits.HalfOpen, MaxHalfOpenPerSource: p.Limits.PerSource,
	}
}

// since is now for the packet loops: monotonic nanoseconds.
func (n *Node) since(now time.Time) int64 { return int64(now.Sub(n.epoch)) }

// apply makes p and f count for what begins from now on.
func (n *Node) apply(p *config.PPTP, f *config.Filter) {
	set := &settings{PPTP: *p, filter: *f, interim: n.deps.Interim}
	for _, a := range p.Auth {
		if a == config.AuthMSCHAPv2 {
			set.demand = append(set.demand, ppp.AuthMSCHAPv2)
		}
	}
	for _, bits := range p.MPPE.Strengths {
		set.strengths |= map[int]ppp.MPPEBits{128: ppp.MPPE128, 56: ppp.MPPE56, 40: ppp.MPPE40}[bits]
	}
	n.settings.Store(set)
	n.calls.setLimit(p.Limits.MaxCalls)
	n.ctlConfig.Store(&control.Config{
		HostName: n.name, Vendor: "postern", MaxChannels: uint16(p.Limits.MaxCalls), MaxCalls: p.Limits.CallsPerConnection,
		StartTimeout: p.Timers.Start, IdleTimeout: p.Timers.Idle, EchoInterval: p.Timers.Echo, EchoTimeout: p.Timers.EchoTimeout,
	})
	n.admission.Configure(admissionConfig(p))
}

// Reload makes a new configuration count for connections and calls that begin from
// now on. What belongs to sockets and devices (listen, inside, tun, mtu, routes,
// shards, spool) stays until a restart; the names of such keys that differ are returned.
// The packet filter is its owner's to reload, before this.
func (n *Node) Reload(cfg *config.Gateway) (restart []string) {
	old := n.settings.Load()
	p, f := cfg.PPTP, cfg.Filter
	for _, k := range []struct {
		name string
		same bool
	}{
		{"node", string(cfg.Node) == n.name},
		{"pptp.listen", p.Listen == old.Listen},
		{"pptp.inside", p.Inside == old.Inside},
		{"pptp.tun", p.Tun == old.Tun},
		{"pptp.mtu", p.MTU == old.MTU},
		{"pptp.shards", p.Shards == old.Shards},
		{"pptp.routes", slices.Equal(p.Routes, old.Routes)},
		{"spool", cfg.Spool == n.cfg.Spool},
		{"filter.enabled", f.Enabled == old.filter.Enabled},
		{"filter.table", f.Table == old.filter.Table},
		{"filter.captive_port", f.CaptivePort == old.filter.CaptivePort},
	} {
		if !k.same {
			restart = append(restart, k.name)
		}
	}
	p.Listen, p.Inside, p.Tun, p.MTU, p.Shards, p.Routes = old.Listen, old.Inside, old.Tun, old.MTU, old.Shards, old.Routes
	f.Enabled, f.Table, f.CaptivePort = old.filter.Enabled, old.filter.Table, old.filter.CaptivePort
	n.apply(&p, &f)
	return restart
}

// SetRADIUS makes x the services to ask from now on.
func (n *Node) SetRADIUS(x radius.Exchanger) { n.radius.Store(&x) }

func (n *Node) exchanger() radius.Exchanger { return *n.radius.Load() }

// Start opens the listener and runs the node until Stop.
func (n *Node) Start() error {
	l, err := n.deps.Listen(n.ctx, n.settings.Load().Listen)
	if err != nil {
		return fmt.Errorf("listen for PPTP: %w", err)
	}
	n.listener = l
	if local := n.settings.Load().Listen.Addr(); local.Is4() && !local.IsUnspecified() {
		// Open it now, so that a missing privilege is told at start.
		if _, err := n.greFor(local); err != nil {
			_ = l.Close()
			return err
		}
	}
	if err := n.serveCaptive(); err != nil {
		_ = l.Close()
		return err
	}
	n.acct.Go(func() { n.spool.Run(n.acctCtx, n.exchanger) }) // Wait waits
	if p, err := n.nodeRecord(time.Now(), acctOn); err == nil {
		n.spool.Add(n.boot, acctOn, p, time.Now())
	}
	for _, sh := range n.shards {
		n.loop.Go(func() { sh.run(n.acctCtx) }) // Wait waits
	}
	n.loop.Go(func() { n.fatal("tun", n.transmit()) }) // Wait waits
	n.work.Go(n.accept)                                // Wait waits
	n.work.Go(n.drainAway)                             // Wait waits
	n.work.Go(n.report)                                // Wait waits
	return nil
}

// serveCaptive answers the HTTP of clients in quarantine, where there can be any.
func (n *Node) serveCaptive() error {
	if n.deps.Filter == nil {
		return nil
	}
	set := n.settings.Load()
	l, err := n.deps.Listen(n.ctx, netip.AddrPortFrom(set.Inside, uint16(set.filter.CaptivePort)))
	if err != nil {
		return fmt.Errorf("listen for the HTTP of clients in quarantine: %w", err)
	}
	n.loop.Go(func() { n.fatal("captive", n.captive.Serve(l)) }) // Wait waits
	return nil
}

// accept hands TCP connections out until the listener closes.
func (n *Node) accept() {
	for {
		tcp, err := n.listener.Accept()
		if err != nil {
			if n.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			n.log.Error("accept", "error", err) // out of descriptors: wait for some
			select {
			case <-time.After(100 * time.Millisecond):
			case <-n.ctx.Done():
				return
			}
			continue
		}
		n.admit(tcp)
	}
}

// admit begins a control connection, if its source may have one.
func (n *Node) admit(tcp net.Conn) {
	peer, local := addrOf(tcp.RemoteAddr()), addrOf(tcp.LocalAddr())
	now := time.Now()
	v := n.admission.Admit(now, peer)
	n.metrics.connections.WithLabelValues(v.String()).Inc()
	if v != control.Admitted {
		n.log.Debug("connection refused", "peer", peer, "why", v.String())
		_ = tcp.Close()
		return
	}
	c := &controlConn{
		node: n, tcp: tcp, peer: peer, local: local, log: n.log.With("peer", peer),
		m: control.NewServer(n.ctlConfig.Load(), now), calls: make(map[uint16]*session),
	}
	n.mu.Lock()
	if n.stopping {
		n.mu.Unlock()
		n.admission.Done(peer)
		_ = tcp.Close()
		return
	}
	n.conns[c] = struct{}{}
	n.mu.Unlock()
	if !n.spawn(func() { // counted in Node.spawn, waited for in Node.Wait
		c.serve()
		n.mu.Lock()
		delete(n.conns, c)
		n.mu.Unlock()
	}) {
		n.admission.Done(peer)
		_ = tcp.Close()
	}
}

func addrOf(a net.Addr) netip.Addr {
	if ap, err := netip.ParseAddrPort(a.String()); err == nil {
		return ap.Addr().Unmap()
	}
	return netip.Addr{}
}

// spawn runs f in a goroutine that Wait waits for; false once the node is down.
func (n *Node) spawn(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.acctCtx.Done():
		return false
	default:
	}
	n.work.Go(f)
	return true
}

// call answers an Outgoing-Call-Request.
func (n *Node) call(c *controlConn, now time.Time, e control.CallRequest) {
	if why := n.busy(); why != BusyUnknown {
		n.turnAway(c, now, e.PeerCallID, why)
		return
	}
	sock, err := n.greFor(c.local)
	if err != nil {
		n.log.Error("GRE socket", "local", c.local, "error", err)
		n.metrics.starting.Add(-1)
		c.refuse(now, e.PeerCallID, control.CallGeneralError, control.ErrorNoResource)
		return
	}
	id, ok := n.calls.take(now)
	if !ok {
		n.metrics.starting.Add(-1)
		n.turnAway(c, now, e.PeerCallID, BusyFull)
		return
	}
	s := newSession(c, sock, e.PeerCallID, now)
	s.callID, s.shard = id, n.shards[int(id)%len(n.shards)]
	s.id = fmt.Sprintf("%s-%08x", n.boot, n.serial.Add(1))
	s.log = c.log.With("session", s.id)
	n.metrics.calls.Add(1)
	s.shard.enter()
	defer s.shard.leave()
	n.callers.enter(s.peer)
	n.calls.put(id, s) // before the answer: the client may send at once
	if err := c.accept(now, s); err != nil {
		s.close(now, LostControl)
		return
	}
	s.start(now)
}

// forget takes an ended session out of the tables and tells its peer.
func (n *Node) forget(s *session, now time.Time) {
	n.calls.free(s.callID, now)
	n.callers.leave(s.peer, now)
	nets := s.grant.routes
	n.spawn(func() { // counted in spawn, waited for in Wait
		s.lower(s.post)
		s.disclaim(nets)
		s.conn.farewell(now, s.callID, s.cause)
	})
}

// greFor returns the GRE socket of one of our addresses, opening it and its receiver
// when it is first needed: replies must leave from the address that was called.
func (n *Node) greFor(local netip.Addr) (gre.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.socks[local]; c != nil {
		return c, nil
	}
	if n.stopping {
		return nil, net.ErrClosed
	}
	c, err := n.deps.ListenGRE(local)
	if err != nil {
		return nil, fmt.Errorf("listen for GRE on %v: %w", local, err)
	}
	n.socks[local] = c
	n.loop.Go(func() { n.fatal("gre", n.receive(c)) }) // Wait waits
	return c, nil
}

// fatal keeps the first error that a loop cannot go on after and stops the node.
func (n *Node) fatal(what string, err error) {
	if err == nil || n.ctx.Err() != nil {
		return
	}
	n.mu.Lock()
	if n.err == nil {
		n.err = fmt.Errorf("%s: %w", what, err)
	}
	n.mu.Unlock()
	n.log.Error("packet loop ended", "loop", what, "error", err)
	go n.Stop() // waited for in Wait, by n.stopped
}

// Stop ends the node in order: no new calls, every session closed by LCP and
// Call-Disconnect-Notify, control connections stopped, accounting sent, for at most
// the configured time; what accounting is left stays in the spool. It returns when
// all of it is done, and may be called again.
func (n *Node) Stop() {
	n.mu.Lock()
	first := !n.stopping
	n.stopping = true
	n.mu.Unlock()
	if !first {
		<-n.stopped
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.settings.Load().Timers.Drain)
	defer cancel()
	if n.listener != nil {
		_ = n.listener.Close()
	}
	for i := range n.calls.at {
		if s := n.calls.at[i].Load(); s != nil {
			now := s.shard.enter()
			s.end(now, NodeShutdown)
			s.shard.leave()
		}
	}
	n.until(ctx, func() bool { return n.metrics.calls.Load() == 0 })
	n.mu.Lock()
	conns := make([]*controlConn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	for _, c := range conns {
		c.stop(time.Now())
	}
	n.until(ctx, func() bool { n.mu.Lock(); defer n.mu.Unlock(); return len(n.conns) == 0 })
	n.cancel() // logins end
	n.captive.Close()
	for _, c := range conns {
		_ = c.tcp.Close()
	}
	if p, err := n.nodeRecord(time.Now(), acctOff); err == nil && n.listener != nil {
		n.spool.Add(n.boot, acctOff, p, time.Now())
	}
	n.spool.Drain(ctx)
	n.acctStop()
	n.mu.Lock()
	for _, c := range n.socks {
		_ = c.Close()
	}
	n.mu.Unlock()
	_ = n.tun.Close()
	n.work.Wait()
	n.loop.Wait()
	n.acct.Wait()
	if err := n.fence.lowerAll(); err != nil {
		n.log.Error("left behind in the packet filter", "error", err)
	}
	close(n.stopped)
}

// until polls for what has no channel of its own, at the node's end only.
func (n *Node) until(ctx context.Context, done func() bool) {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for !done() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// Wait returns when the node has stopped, with the first fatal error.
func (n *Node) Wait() error {
	<-n.stopped
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Sessions is the number of sessions that have an address.
func (n *Node) Sessions() int { return int(n.metrics.sessions.Load()) }
