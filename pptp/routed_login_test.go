package pptp_test

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/internal/config"
	"postern/internal/radius"
	"postern/pptp"
	"postern/pptp/client"
	"postern/pptp/tun/tuntest"
)

func framedRoute(s string) func(*radius.Packet) error {
	return func(p *radius.Packet) error { return rfc2865.FramedRoute_AddString(p, s) }
}

// The Framed-Routes of a login are in the host's routes for as long as the session is up,
// and those that cannot be read do not keep it from coming up.
func TestFramedRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var host *tuntest.Device
		w := newWorld(t, func(_ *config.Gateway, d *pptp.Deps) { host = d.TUN.(*tuntest.Device) })
		w.grants(framedRoute("10.50.7.0/24 0.0.0.0 1"), framedRoute("10.50.9.0/24"), framedRoute("10.50.8.0/24 10.1.1.1 1"), framedRoute("nonsense"))
		s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(0)))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		want := []netip.Prefix{netip.MustParsePrefix("10.50.7.0/24"), netip.MustParsePrefix("10.50.9.0/24")}
		if got := host.Routes(); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if _, err := s.Ping(t.Context(), farHost, 100); err != nil {
			t.Error(err)
		}
		_ = s.Close()
		time.Sleep(time.Minute)
		if got := host.Routes(); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	})
}

// The packet filter knows a session's networks from before it is up until after it is
// gone, and through what a service changes meanwhile.
func TestFramedRouteThroughTheFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFenced(t)
		f.grants(named("own"), framedRoute("10.50.7.0/24 0.0.0.0 1"), framedRoute("10.50.9.0/24"), framedRoute("nonsense"))
		f.filter.Takes = 3 * time.Second
		dialled := make(chan *client.Session, 1)
		go func() { dialled <- f.up() }() // ends with the dial
		time.Sleep(2900 * time.Millisecond)
		if got := f.tun.Routes(); len(got) != 0 {
			t.Errorf("routed before the filter is: %v", got)
		}
		s := <-dialled
		time.Sleep(time.Second)
		want := []netip.Prefix{netip.MustParsePrefix("10.50.7.0/24"), netip.MustParsePrefix("10.50.9.0/24")}
		if c, _ := f.filter.At(firstLease); !slices.Equal(c.Routes, want) || c.Filter != "own" || c.Turn == 0 {
			t.Errorf("in force: %+v", c)
		}
		if got := f.tun.Routes(); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if got := f.value("postern_routes_left_out_total", "unreadable"); got != 1 {
			t.Errorf("%v left out", got)
		}
		id := f.started()
		f.answers(f.ask(radius.CodeCoARequest, id, held(quarantine)), radius.CodeCoAACK, 0)
		if c, _ := f.filter.At(firstLease); !slices.Equal(c.Routes, want) || !c.Quarantine {
			t.Errorf("after the change: %+v", c)
		}
		// The user dials again, by another address of his, and the old session goes on.
		f.filter.Takes = 0
		f.grants(named("own"), framedRoute("10.50.7.0/24 0.0.0.0 1"))
		again, err := client.Dial(t.Context(), f.clientConfig(clientAddr(1)))
		if err != nil {
			t.Fatal(err)
		}
		f.answers(f.ask(radius.CodeCoARequest, id, named("none")), radius.CodeCoAACK, 0)
		first, _ := f.filter.At(firstLease)
		second, ok := f.filter.At(again.Local())
		if !ok || !slices.Equal(first.Routes, want[1:]) || !slices.Equal(second.Routes, want[:1]) || second.Turn <= first.Turn {
			t.Errorf("the old session %+v, the new one %+v", first, second)
		}
		_ = s.Close()
		time.Sleep(time.Minute)
		if got := f.tun.Routes(); !slices.Equal(got, want[:1]) {
			t.Errorf("left: %v", got)
		}
		_ = again.Close()
		time.Sleep(time.Minute)
		if got := f.tun.Routes(); len(got) != 0 || f.node.Networks() != 0 || f.filter.Places() != 0 {
			t.Errorf("left: %v, %d networks", got, f.node.Networks())
		}
	})
}
