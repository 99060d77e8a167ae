//go:build integration

package integration

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/integration/netlab"
	rad "postern/internal/radius"
)

// site is a network behind a client, with a host in it.
const (
	siteNet  = "10.50.7.0/24"
	siteHost = "10.50.7.20"
	siteRule = "permit out tcp from 10.81.0.2 to assigned 5900"
)

func withRoutes(routes ...string) func(*rad.Packet) error {
	return func(p *rad.Packet) error {
		var err error
		for _, r := range routes {
			err = errors.Join(err, rfc2865.FramedRoute_AddString(p, r))
		}
		return err
	}
}

func together(all ...func(*rad.Packet) error) func(*rad.Packet) error {
	return func(p *rad.Packet) error {
		var err error
		for _, f := range all {
			err = errors.Join(err, f(p))
		}
		return err
	}
}

// A host in a network behind a client, with the gateway and the kernel between it and the
// rest of the world, may do what the client may, and nothing of it is left when the
// session is gone.
func TestNetworkBehindClient(t *testing.T) {
	f := newFenced(t)
	site := netlab.New(t)
	f.clients.Bridge(t, "site", "10.50.7.1/24")
	f.clients.Join(t, "site", site, "site0", siteHost+"/24")
	f.clients.Run(t, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	site.Run(t, "ip", "route", "add", "default", "via", "10.50.7.1")
	site.Run(t, "ip", "addr", "add", "10.50.8.20/32", "dev", "site0") // nobody's
	f.behind.Run(t, "ip", "route", "add", "10.50.0.0/16", "via", "10.81.0.1")
	for _, port := range []string{":5900", ":5901"} {
		var l net.Listener
		var err error
		site.Do(func() { l, err = net.Listen("tcp4", siteHost+port) })
		greet(t, siteHost+port, l, err)
	}
	nothing := func(t *testing.T) {
		t.Helper()
		left := func() string { return f.net.Run(t, "ip", "route") + f.net.Run(t, "nft", "list", "ruleset") }
		for end := time.Now().Add(20 * time.Second); strings.Contains(left(), "10.50."); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("left:\n%s", left())
			}
		}
	}
	f.configure(t)
	f.start(t)

	f.service.grants(together(withFilter("staff", webRule, siteRule),
		withRoutes(siteNet+" 0.0.0.0 1", "10.81.0.128/25 0.0.0.0 1", "10.78.0.0/16", "nonsense")))
	s, err := f.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	f.attach(t, s, "cl0", "10.81.0.0/24", "203.0.113.0/24", "10.99.0.0/24")
	for reason, want := range map[string]float64{"unreadable": 1, "local network": 1, "own address": 1, "host route": 0} {
		if got := f.metric(t, "postern_routes_left_out_total", `"`+reason+`"`); got != want {
			t.Errorf("%v left out as %s, want %v", got, reason, want)
		}
	}
	may := func(t *testing.T) {
		t.Helper()
		reach(t, site, through, "10.81.0.2:80")
		reach(t, site, unanswered, "10.81.0.2:443")
		reach(t, f.clients, through, "10.81.0.2:80")
		reach(t, f.behind, through, siteHost+":5900")
		reach(t, f.behind, unanswered, siteHost+":5901")
	}
	t.Run("its filter", may)
	t.Run("a source of nobody", func(t *testing.T) {
		was := f.metric(t, "postern_packets_dropped_total", `"spoofed source"`)
		site.Do(func() {
			d := net.Dialer{Timeout: time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(10, 50, 8, 20)}}
			if c, err := d.DialContext(t.Context(), "tcp4", "10.81.0.2:80"); err == nil {
				t.Error("it went through")
				_ = c.Close()
			}
		})
		if got := f.metric(t, "postern_packets_dropped_total", `"spoofed source"`); got == was {
			t.Error("nothing was counted")
		}
	})
	t.Run("quarantine", func(t *testing.T) {
		f.changed(t, withQuarantine)
		reach(t, site, through, "10.81.0.20:443")
		reach(t, site, refusedBy, "10.81.0.2:443", "10.81.0.20:22")
		reach(t, f.behind, unanswered, siteHost+":5900")
		if got := redirectedFrom(t, site); got != "302 "+fencedURL {
			t.Errorf("HTTP: %s", got)
		}
		f.changed(t, withFilter("staff", webRule, siteRule))
	})
	t.Run("after a reload", func(t *testing.T) {
		f.reload(t, "NAT", "masquerade")
		f.reload(t)
		may(t)
	})
	t.Run("after somebody's flush", func(t *testing.T) {
		f.net.Run(t, "nft", "flush", "ruleset")
		for end := time.Now().Add(20 * time.Second); f.metric(t, "postern_filter_repairs_total") == 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("no repair")
			}
		}
		may(t)
	})
	t.Run("it dials again", func(t *testing.T) {
		f.service.grants(together(withFilter("printers"), withRoutes(siteNet)))
		again, err := f.dial(t)
		if err != nil {
			t.Fatal(err)
		}
		// What comes from the network by the old session is the new one's now.
		reach(t, site, unanswered, "10.81.0.2:80")
		_ = s.Close()
		f.clients.Do(func() {
			for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				if _, err := net.InterfaceByName("cl0"); err != nil {
					return
				}
				if time.Now().After(end) {
					t.Fatal("the old interface is there")
				}
			}
		})
		f.attach(t, again, "cl1", "10.81.0.0/24")
		reach(t, site, through, "10.81.0.2:9100")
		reach(t, site, unanswered, "10.81.0.2:80")
		_ = again.Close()
		nothing(t)
	})
	t.Run("after a crash", func(t *testing.T) {
		s, err := f.dial(t)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if list := f.net.Run(t, "nft", "list", "ruleset"); !strings.Contains(list, "10.50.7.0 : goto in.printers") {
			t.Errorf("not there:\n%s", list)
		}
		if b, err := os.ReadFile(f.said); err != nil || !strings.Contains(string(b), `"reason":"local network"`) {
			t.Errorf("%v, and no line about what was left out", err)
		}
		if err := f.gateway.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = f.gateway.Wait()
		f.start(t)
		nothing(t)
	})
}
