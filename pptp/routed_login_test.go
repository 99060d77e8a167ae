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

// The Framed-Routes of a login are in the host's routes for as long as the session is up,
// and those that cannot be read do not keep it from coming up.
func TestFramedRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var host *tuntest.Device
		w := newWorld(t, func(_ *config.Gateway, d *pptp.Deps) { host = d.TUN.(*tuntest.Device) })
		route := func(s string) func(*radius.Packet) error {
			return func(p *radius.Packet) error { return rfc2865.FramedRoute_AddString(p, s) }
		}
		w.grants(route("10.50.7.0/24 0.0.0.0 1"), route("10.50.9.0/24"), route("10.50.8.0/24 10.1.1.1 1"), route("nonsense"))
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
