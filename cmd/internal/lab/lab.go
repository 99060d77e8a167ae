package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"

	"postern/cmd/internal/node"
	"postern/cmd/internal/service"
	"postern/internal/config"
)

// Options are the lab's flags.
type Options struct {
	Dir       string // state; empty: a temporary one, removed at the end
	Listen    string // ADDR or ADDR:PORT for PPTP; empty: every address, port 1723
	Radius    string // ADDR:PORT for other NAS, accounting on the next port; empty: none
	Redis     string // URL; empty: the embedded store
	NoLockout bool
	Stateful  bool // ask for MPPE's stateful mode
	NoTour    bool
	Once      bool // end after the tour

	Out     io.Writer // the narration
	Err     io.Writer // the logs
	Verbose bool      // log what happens, not only what is wrong
}

const (
	pptpPort   = 1723
	portalPort = 8443 // on the node's address in the network behind it
)

// Run runs the lab until ctx ends or, with Once, the tour does. With Once an error
// says that a step of the tour went wrong.
func Run(ctx context.Context, o Options) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("the lab opens raw sockets and a TUN device: run it as root")
	}
	f := files{Redis: o.Redis, NoLockout: o.NoLockout, Stateful: o.Stateful}
	if f.Listen, err = parseListen(o.Listen); err != nil {
		return err
	}
	if o.Radius != "" {
		if f.Radius, err = netip.ParseAddrPort(o.Radius); err != nil || f.Radius.Port() == 0 || f.Radius.Port() == 65535 {
			return fmt.Errorf("--radius %q: ADDR:PORT wanted", o.Radius)
		}
		f.RadiusAcct = netip.AddrPortFrom(f.Radius.Addr(), f.Radius.Port()+1)
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "postern-lab-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.Dir)
	}
	s, err := openState(o.Dir)
	if err != nil {
		return fmt.Errorf("lab state in %s: %w", o.Dir, err)
	}
	defer s.close()
	var network *network
	if f.Plan, network, err = claimNetwork(); err != nil {
		return err
	}
	defer network.close()
	names, err := network.serveNames(f.Plan)
	if err != nil {
		return err
	}
	defer names.close()
	if f.RadSec, err = freePort(); err != nil {
		return err
	}
	if err := s.write(&f); err != nil {
		return err
	}
	l := &lab{opts: o, state: s, files: f, network: network, say: newNarrator(o.Out)}
	if err := l.start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	if err := l.writeEnv(); err != nil {
		return err
	}
	if !o.NoTour {
		err = l.tour(ctx)
	}
	switch {
	case o.Once && ctx.Err() != nil:
		return errors.New("interrupted")
	case o.Once, err != nil && ctx.Err() == nil:
		return err
	case ctx.Err() == nil:
		l.invite()
		<-ctx.Done()
	}
	l.say.line("")
	l.say.line("Closing sessions and leaving nothing behind …")
	return nil
}

// lab is a lab that runs.
type lab struct {
	opts    Options
	state   *state
	files   files
	network *network
	say     *narrator
	service *service.Service
	node    *node.Node
}

// start builds and starts service and node from the files, as the binaries do.
func (l *lab) start(ctx context.Context) error {
	level := slog.LevelWarn
	if l.opts.Verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(l.opts.Err, &slog.HandlerOptions{Level: level}))
	svc, err := config.LoadService(l.state.path("radiusd.yaml"))
	if err != nil {
		return err
	}
	gw, err := config.LoadGateway(l.state.path("gateway.yaml"))
	if err != nil {
		return err
	}
	if l.service, err = service.New(svc, service.Options{Log: log.With("part", "service")}); err != nil {
		return err
	}
	if err := l.service.Start(); err != nil {
		l.service.Stop()
		return err
	}
	if err := l.state.enroll(ctx, l.service.MFA()); err != nil {
		l.service.Stop()
		return fmt.Errorf("one-time-code token: %w", err)
	}
	if l.node, err = node.New(gw, node.Options{Log: log.With("part", "node")}); err == nil {
		if err = errors.Join(forward(gw.PPTP.Tun), l.node.Start()); err == nil {
			return nil
		}
		l.node.Stop()
	}
	l.service.Stop()
	return err
}

func (l *lab) stop() error {
	l.node.Stop() // accounting first needs the service
	l.service.Stop()
	return errors.Join(l.node.Wait(), l.service.Wait())
}

// dialAddr is where clients on this host find the node.
func (l *lab) dialAddr() netip.AddrPort {
	a := l.files.Listen
	if a.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.Port())
	}
	return a
}

func (l *lab) writeEnv() error {
	x, listen := &l.state.secrets, l.dialAddr()
	addr := listen.Addr().String()
	if listen.Port() != pptpPort {
		addr = listen.String()
	}
	radius := ""
	if l.files.Radius.IsValid() {
		radius = l.files.Radius.String()
	}
	return l.state.writeEnv([][2]string{
		{"PPTP_ADDR", addr},
		{"USER", userName}, {"PASSWORD", x.Password}, {"TOTP_URL", x.Token.URL},
		{"USER_PORTAL", userDesk}, {"PASSWORD_PORTAL", x.DeskPassword}, {"TOTP_URL_PORTAL", x.DeskToken.URL},
		{"PORTAL_URL", l.files.PortalURL}, {"PORTAL_ADDR", l.files.Portal.String()}, {"CA_FILE", l.state.path("tls", "ca.pem")},
		{"USER_NO_MFA", userMachine}, {"PASSWORD_NO_MFA", x.MachinePassword},
		{"RADIUS_ADDR", radius}, {"RADIUS_SECRET", x.RadiusSecret},
		{"INSIDE_ADDR", l.files.Plan.host.String()}, {"INSIDE_NETNS", l.network.name},
	})
}

func parseListen(s string) (netip.AddrPort, error) {
	if s == "" {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), pptpPort), nil
	}
	host, port := s, strconv.Itoa(pptpPort)
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
	}
	a, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil || !a.Addr().Is4() {
		return netip.AddrPort{}, fmt.Errorf("--listen %q: an IPv4 address, with :PORT or without, wanted", s)
	}
	return a, nil
}

// freePort finds a port for the RadSec connection between node and service.
func freePort() (netip.AddrPort, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer l.Close()
	return netip.ParseAddrPort(l.Addr().String())
}
