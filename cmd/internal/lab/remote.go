package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netns"

	"postern/pptp/client"
	"postern/pptp/tun"
)

// remote is a client's own computer: a network namespace whose only way out is a
// tunnel, so that what goes through the tunnel is what any program would send.
type remote struct {
	name string
	ns   netns.NsHandle
}

// newRemote makes it. The name begins as the other namespace's does, so that what a
// killed lab leaves is found by the next one.
func newRemote(pid int) (*remote, error) {
	r := &remote{name: fmt.Sprintf("%s%d-client", netnsPrefix, pid)}
	var err error
	if r.ns, err = newNamed(r.name); err != nil {
		return nil, fmt.Errorf("the client's network: %w", err)
	}
	return r, nil
}

func (r *remote) close() {
	_ = r.ns.Close()
	_ = netns.DeleteNamed(r.name)
}

// in runs f in the namespace.
func (r *remote) in(f func() error) error { return within(r.ns, f) }

// attach makes a session the namespace's way out. It ends with the session.
func (r *remote) attach(s *client.Session) error {
	const mtu = 1396
	var dev tun.Device
	err := r.in(func() (err error) {
		dev, err = tun.Open("ppp0", mtu, s.Local(), []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")})
		return err
	})
	if err != nil {
		return err
	}
	return s.Attach(dev)
}

// browser is a browser there that trusts a certification authority, keeps cookies,
// and shows redirections instead of following them.
// Names it asks the DNS server behind the node for.
func (r *remote) browser(caFile string, p plan) (*http.Client, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = r.in(func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}
	names := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dial(ctx, "udp4", netip.AddrPortFrom(p.host, 53).String())
	}}
	return &http.Client{
		Timeout: 10 * time.Second, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				host, port, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				all, err := names.LookupNetIP(ctx, "ip4", host)
				if err != nil {
					return nil, err
				}
				return dial(ctx, "tcp4", net.JoinHostPort(all[0].String(), port))
			},
		},
	}, nil
}
