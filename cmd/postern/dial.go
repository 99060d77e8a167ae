package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/spf13/cobra"

	"postern/pptp/client"
	"postern/pptp/tun"
)

// dialer is what `postern dial` was told.
type dialer struct {
	cli      *cli
	password passwordFlag

	user, totp  string
	source      string
	ping        string
	every, stay time.Duration
	redial      bool
	tun         string
	routes      []string
}

func dialCommand(c *cli) *cobra.Command {
	d := dialer{cli: c}
	cmd := &cobra.Command{
		Use:   "dial SERVER...",
		Short: "Dial in as a client does, to see whether a node lets one in",
		Long: `dial logs in at a PPTP server, tells the session's address and encryption, and hangs up; with --ping, --for
or --tun it stays. Several servers are tried in turn until one answers. With --redial it goes on to the next when
a session ends, without a code: as a client does whose node was stopped, and whom the service remembers. It needs
no configuration, and root for the GRE socket.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return d.run(ctx, args)
		},
	}
	d.password.add(cmd)
	f := cmd.Flags()
	f.StringVar(&d.user, "user", "", "`NAME` to log in with, as a user would type it")
	f.StringVar(&d.totp, "totp-file", "", "put a code behind the name, from the token whose otpauth URL is in `FILE`")
	f.StringVar(&d.source, "source", "", "`ADDR` of this host to dial from")
	f.StringVar(&d.ping, "ping", "", "ping `ADDR` through the tunnel")
	f.DurationVar(&d.every, "every", time.Second, "how often to ping")
	f.DurationVar(&d.stay, "for", 0, "stay connected for so long")
	f.BoolVar(&d.redial, "redial", false, "dial the next server when a session ends")
	f.StringVar(&d.tun, "tun", "", "join the session with a new TUN device `NAME`, and stay")
	f.StringSliceVar(&d.routes, "route", nil, "with --tun: `NETWORK` to send there")
	_ = cmd.MarkFlagRequired("user")
	_ = cmd.MarkFlagFilename("totp-file")
	return cmd
}

// dialTime is how long one server may take.
const dialTime = 20 * time.Second

// redialPause spares a server that refuses.
const redialPause = time.Second

func (d *dialer) run(ctx context.Context, servers []string) error {
	if len(d.routes) > 0 && d.tun == "" {
		return errors.New("--route is for --tun")
	}
	if d.every <= 0 {
		return errors.New("--every: more than 0 wanted")
	}
	var target, source netip.Addr
	for _, a := range []struct {
		flag, text string
		to         *netip.Addr
	}{{"--ping", d.ping, &target}, {"--source", d.source, &source}} {
		if a.text == "" {
			continue
		}
		var err error
		if *a.to, err = netip.ParseAddr(a.text); err != nil || !a.to.Is4() {
			return fmt.Errorf("%s %q: an IPv4 address wanted", a.flag, a.text)
		}
	}
	routes := make([]netip.Prefix, len(d.routes))
	for i, r := range d.routes {
		var err error
		if routes[i], err = netip.ParsePrefix(r); err != nil {
			return fmt.Errorf("--route: %w", err)
		}
	}
	cfg := client.Config{Local: source, User: d.user, Timeout: dialTime}
	secret, err := d.password.readOnce(d.cli, "Password of "+d.user+": ")
	if err != nil {
		return err
	}
	cfg.Password = string(secret)
	clear(secret)
	var until <-chan time.Time
	if d.stay > 0 {
		t := time.NewTimer(d.stay)
		defer t.Stop()
		until = t.C
	}
	for turn := 0; ; turn++ {
		over, err := d.session(ctx, servers, cfg, turn, target, routes, until)
		switch {
		case over || !d.redial:
			return err
		case err != nil:
			d.cli.hint("%v", err)
			select {
			case <-ctx.Done():
				return err
			case <-until:
				return err
			case <-time.After(redialPause):
			}
		}
		d.totp = "" // a code opens one login; from now on the service must remember
	}
}

// session is one login and what comes of it; over says that nothing is left to do.
func (d *dialer) session(ctx context.Context, servers []string, cfg client.Config, turn int, target netip.Addr, routes []netip.Prefix, until <-chan time.Time) (over bool, err error) {
	if d.totp != "" {
		code, err := codeNow(d.totp, time.Now())
		if err != nil {
			return true, err
		}
		cfg.User = d.user + "+" + code
	}
	began := time.Now()
	s, server, err := dialAny(ctx, servers, turn, cfg)
	if err != nil {
		return false, err
	}
	defer s.Close()
	send, receive := s.MPPE()
	up := map[string]any{
		"event": "up", "server": server, "address": s.Local().String(), "node": s.Peer().String(),
		"mppe_send": send, "mppe_receive": receive, "dns": texts(s.DNS()), "took_ms": time.Since(began).Milliseconds(),
	}
	if err := d.cli.say(up, "session up at %s in %v: address %v, MPPE %s out and %s in",
		server, time.Since(began).Round(time.Millisecond), s.Local(), send, receive); err != nil {
		return true, err
	}
	if d.tun != "" {
		dev, err := tun.Open(d.tun, s.MTU(), s.Local(), routes)
		if err != nil {
			return true, err
		}
		if err := s.Attach(dev); err != nil {
			return true, err
		}
	}
	stays := d.stay > 0 || d.tun != "" || d.redial
	var sent, answered int
	tick := time.NewTicker(d.every)
	defer tick.Stop()
	for target.IsValid() || stays {
		if target.IsValid() {
			sent++
			pctx, cancel := context.WithTimeout(ctx, d.every)
			rtt, err := s.Ping(pctx, target, 56)
			cancel()
			if err == nil {
				answered++
			}
			if err == nil && d.cli.output != "json" && !stays {
				fmt.Fprintf(d.cli.out, "%v answers in %v\n", target, rtt.Round(10*time.Microsecond))
			}
			if !stays && sent == pings {
				break
			}
		}
		select {
		case <-tick.C:
			continue
		case <-s.Done():
			err = s.Err()
		case <-until:
			over = true
		case <-ctx.Done():
			over = true
		}
		break
	}
	ended := map[string]any{"event": "ended", "server": server, "pings": sent, "answered": answered}
	text := "hung up"
	if err != nil {
		ended["error"] = err.Error()
		text = err.Error()
	}
	if target.IsValid() {
		text += fmt.Sprintf("; %d of %d pings were answered", answered, sent)
	}
	if e := d.cli.say(ended, "%s", text); e != nil {
		return true, e
	}
	if err == nil && target.IsValid() && answered == 0 {
		err = fmt.Errorf("%v does not answer", target)
	}
	return over, err
}

// pings is how many there are where nothing says how long to stay.
const pings = 3

// dialAny dials the servers in turn until one lets us in. A refusal is every server's:
// they all ask the same services.
func dialAny(ctx context.Context, servers []string, turn int, cfg client.Config) (*client.Session, string, error) {
	var errs []error
	for i := range servers {
		name := servers[(turn+i)%len(servers)]
		addr, err := resolve(ctx, name)
		if err == nil {
			cfg.Server = addr
			var s *client.Session
			if s, err = client.Dial(ctx, cfg); err == nil {
				return s, name, nil
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", name, err))
		var refused *client.RefusedError
		if errors.As(err, &refused) || ctx.Err() != nil {
			break
		}
	}
	return nil, "", errors.Join(errs...)
}

// resolve finds a server by name or address, with a port or without.
func resolve(ctx context.Context, server string) (netip.AddrPort, error) {
	host, port := server, client.Port
	if h, p, err := net.SplitHostPort(server); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return netip.AddrPort{}, fmt.Errorf("port %q: a number wanted", p)
		}
		host, port = h, int(n)
	}
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(all[0].Unmap(), uint16(port)), nil //nolint:gosec // bounded above
}

// codeNow is what an authenticator app shows that has the token in a file.
func codeNow(file string, now time.Time) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxPasswordFile))
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	key, err := otp.NewKeyFromURL(strings.TrimSpace(string(text)))
	if err != nil || key.Secret() == "" {
		return "", fmt.Errorf("read token: %s holds no otpauth URL", file) // nor what it holds: a secret
	}
	step := uint64(now.Unix()) / key.Period() //nolint:gosec // after 1970
	return hotp.GenerateCodeCustom(key.Secret(), step, hotp.ValidateOpts{Digits: key.Digits(), Algorithm: key.Algorithm()})
}

func texts(addrs []netip.Addr) []string {
	all := make([]string, len(addrs))
	for i, a := range addrs {
		all[i] = a.String()
	}
	return all
}
