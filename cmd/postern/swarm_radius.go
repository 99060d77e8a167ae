package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"postern/cmd/internal/swarm"
	"postern/internal/radius"
)

// RFC 2865 §3, RFC 2866 §3, RFC 6614 §2.1.
const (
	authPort   = 1812
	radsecPort = 2083
)

// radiusServers are the flags that say whom to ask, and how.
type radiusServers struct {
	servers, acct, secret string
	radsec                bool
	tls                   radius.TLSFiles
	name                  string
}

func swarmRadius(c *cli) *cobra.Command {
	var f swarmFlags
	var s radiusServers
	var o swarm.Radius
	var sources string
	cmd := &cobra.Command{
		Use:   "radius",
		Short: "Log in at services as a NAS does",
		Long: `Log in at services as a NAS does: Access-Requests with real MS-CHAPv2 responses by RADIUS/UDP or RadSec,
at a rate, for a time. With --accounting each session is reported, held for --hold, and stopped. Several
services share the logins; one that keeps silent is left for the others, as by a node.

The service must know this machine as a client. Without --accounting it holds each session, with its
address, for session.pending (a minute) until it forgets it: the pool must be large enough.
--count and --duration end what begins; sessions then have their --hold.`,
		Example: `  postern swarm radius --server 192.0.2.10,192.0.2.11 --radsec --ca ca.pem --cert load.pem --key load.key --users users.csv --rate 200 --duration 30s
  postern swarm radius --server 127.0.0.1 --secret-file secret --users users.csv --rate 0 --count 10000 --accounting`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := f.check()
			if err != nil {
				return err
			}
			if o.Users, err = swarm.ReadUsers(f.users); err != nil {
				return err
			}
			if o.Servers, err = s.parse(); err != nil {
				return err
			}
			if o.Sources, err = netip.ParsePrefix(sources); err != nil {
				return fmt.Errorf("--sources: %w", err)
			}
			if o.Count > 0 && !cmd.Flags().Changed("duration") {
				o.Duration = 0
			}
			o.Separator = f.separator
			c.codesHint(o.Users, o.Rate)
			return c.runSwarm(cmd.Context(), &f, swarm.StepAccess, func(ctx, polite context.Context, t *swarm.Tally) (*swarm.Result, error) {
				return o.Run(ctx, polite, t)
			})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&s.servers, "server", "", "services, `HOST[:PORT]`, comma-separated")
	fl.StringVar(&s.acct, "acct", "", "their accounting, `HOST[:PORT]`, as many (default: the same hosts, the next port)")
	fl.StringVar(&s.secret, "secret-file", "", "`FILE` with the shared secret, readable by its owner only")
	fl.BoolVar(&s.radsec, "radsec", false, "RADIUS over TLS")
	fl.StringVar(&s.tls.CA, "ca", "", "RadSec: `FILE` with the certification authority of both sides")
	fl.StringVar(&s.tls.Cert, "cert", "", "RadSec: `FILE` with our certificate")
	fl.StringVar(&s.tls.Key, "key", "", "RadSec: `FILE` with its key")
	fl.StringVar(&s.name, "server-name", "", "RadSec: `NAME` in the services' certificates (default: their hosts)")
	fl.BoolVar(&o.AllowMSCHAPOverUDP, "allow-mschap-over-udp", false, "send responses of test users to other hosts by UDP, where others can read and crack them")
	fl.Float64Var(&o.Rate, "rate", 100, "logins begun in a second; 0: as fast as they are answered")
	fl.DurationVar(&o.Duration, "duration", 30*time.Second, "for how long logins begin")
	fl.Uint64Var(&o.Count, "count", 0, "so many logins (default: for --duration)")
	fl.IntVar(&o.InFlight, "in-flight", swarm.DefaultInFlight, "so many at once, at most")
	fl.BoolVar(&o.Accounting, "accounting", false, "report sessions: Start, Interim, Stop")
	fl.DurationVar(&o.Hold, "hold", 0, "with --accounting: for how long sessions stay")
	fl.DurationVar(&o.Interim, "interim", 0, "with --accounting: report sessions so often (default: as the service asks)")
	fl.StringVar(&o.NAS, "nas", "swarm", "NAS-Identifier")
	fl.IntVar(&o.Nodes, "nodes", 1, "so many NAS, their names numbered")
	fl.StringVar(&sources, "sources", swarm.DefaultSources.String(), "`PREFIX` of the clients' own addresses; each user has one of it")
	fl.DurationVar(&o.Timeout, "timeout", 2*time.Second, "first wait for an answer")
	fl.IntVar(&o.Retries, "retries", 2, "times a request is repeated before the next service is asked")
	_ = cmd.MarkFlagRequired("server")
	for _, name := range []string{"secret-file", "ca", "cert", "key"} {
		_ = cmd.MarkFlagFilename(name)
	}
	cmd.MarkFlagsMutuallyExclusive("radsec", "secret-file")
	cmd.MarkFlagsMutuallyExclusive("radsec", "acct")
	return cmd
}

// parse makes servers of the flags.
func (s *radiusServers) parse() ([]radius.Server, error) {
	network, port := "udp", authPort
	var secret radius.Secret
	switch {
	case s.radsec:
		network, port = "radsec", radsecPort
		if s.tls.CA == "" || s.tls.Cert == "" || s.tls.Key == "" {
			return nil, errors.New("--radsec needs --ca, --cert and --key")
		}
	case s.tls != radius.TLSFiles{} || s.name != "":
		return nil, errors.New("--ca, --cert, --key and --server-name go with --radsec")
	case s.secret == "":
		return nil, errors.New("give --secret-file, or --radsec")
	default:
		var err error
		if secret, err = readSecret(s.secret); err != nil {
			return nil, err
		}
	}
	hosts := strings.Split(s.servers, ",")
	accts := strings.Split(s.acct, ",")
	if s.acct != "" && len(accts) != len(hosts) {
		return nil, fmt.Errorf("--acct: %d of them for %d services", len(accts), len(hosts))
	}
	all := make([]radius.Server, 0, len(hosts))
	for i, one := range hosts {
		host, number, err := hostPort(one, port)
		if err != nil {
			return nil, fmt.Errorf("--server: %w", err)
		}
		x := radius.Server{Name: net.JoinHostPort(host, strconv.Itoa(number)), Network: network, Secret: secret}
		x.Addr = x.Name
		if s.radsec {
			name := s.name
			if name == "" {
				name = host
			}
			if x.TLS, err = radius.ClientTLS(s.tls, name); err != nil {
				return nil, err
			}
		} else {
			acctHost, acctNumber := host, number+1
			if s.acct != "" {
				if acctHost, acctNumber, err = hostPort(accts[i], authPort+1); err != nil {
					return nil, fmt.Errorf("--acct: %w", err)
				}
			}
			x.AcctAddr = net.JoinHostPort(acctHost, strconv.Itoa(acctNumber))
		}
		all = append(all, x)
	}
	return all, nil
}

func hostPort(s string, port int) (string, int, error) {
	host := strings.TrimSpace(s)
	if h, p, err := net.SplitHostPort(host); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 || n == 1<<16-1 {
			return "", 0, fmt.Errorf("%q: no such port", s)
		}
		host, port = h, int(n)
	}
	if host == "" {
		return "", 0, fmt.Errorf("%q: no host", s)
	}
	return host, port, nil
}

// readSecret reads a shared secret from a file that nobody else may read.
func readSecret(path string) (radius.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return radius.Secret{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return radius.Secret{}, err
	}
	if info.Mode().IsRegular() && info.Mode()&0o077 != 0 {
		return radius.Secret{}, fmt.Errorf("%s holds a secret and has mode %#o: others may read or change it (chmod 600 %s)", path, info.Mode().Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPasswordFile))
	if err != nil {
		return radius.Secret{}, err
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return radius.Secret{}, fmt.Errorf("%s is empty", path)
	}
	return radius.NewSecret(text), nil
}
