package client

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"postern/pptp/control"
	"postern/pptp/gre"
)

// The same over the kernel's TCP and GRE, between two loopback addresses.
func TestRealSockets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: a raw socket needs root")
	}
	here, there := netip.MustParseAddr("127.94.12.1"), netip.MustParseAddr("127.94.12.7")
	conn, err := gre.Listen(here)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", netip.AddrPortFrom(here, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	srv := serve(t, tcp, conn, rules{})
	defer srv.close()
	cfg := Config{
		Server: tcp.Addr().(*net.TCPAddr).AddrPort(), Local: there, User: "alice", Password: users["alice"], Timeout: 20 * time.Second,
	}
	s, err := Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := s.Ping(t.Context(), serverInner, 1372); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	srv.empty()

	h, err := NewHost(there, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = h.Dial(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	srv.do(func(_ time.Time, k *serverCall) { k.disconnect(control.DisconnectAdminShutdown) })
	<-s.Done()
	var ended *EndedError
	if !errors.As(s.Err(), &ended) || ended.How != EndDisconnected {
		t.Errorf("Err %v", s.Err())
	}
	cfg.Server = netip.AddrPortFrom(here, 1)
	if _, err := h.Dial(t.Context(), cfg); !errors.Is(err, ErrServerGone) {
		t.Errorf("dialled a closed port: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
