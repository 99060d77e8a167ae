package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"postern/cmd/internal/cmdtest"
	"postern/internal/config"
	"postern/pptp/client"
)

// The whole of it as systemd runs it: both binaries, RadSec between them, a TUN
// device, raw sockets on two addresses of loopback, signals.
func TestGatewayAndService(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a TUN device and raw sockets need root; cmd/internal/node has the same without")
	}
	s := cmdtest.NewSite(t)
	cfg, err := config.LoadGateway(s.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	service := cmdtest.Start(t, "postern-radiusd", "-config", s.Radiusd)
	service.Await(t, `"msg":"running"`, 1)
	gateway := cmdtest.Start(t, program, "-config", s.Gateway)
	gateway.Await(t, `"msg":"running"`, 1)
	service.Await(t, `"msg":"nas restarted"`, 1) // Accounting-On
	if _, err := net.InterfaceByName(cfg.PPTP.Tun); err != nil {
		t.Error(err)
	}

	dial := func(password string) (*client.Session, error) {
		return client.Dial(t.Context(), client.Config{
			Server: netip.MustParseAddrPort(s.PPTP), Local: netip.MustParseAddr("127.0.0.2"), User: "plant", Password: password,
			Timeout: 20 * time.Second,
		})
	}
	up, err := dial(cmdtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	// The node's own address is behind the tunnel: its host answers.
	if _, err := up.Ping(t.Context(), netip.MustParseAddr("203.0.113.1"), 1000); err != nil {
		t.Error(err)
	}
	var refused *client.RefusedError
	if _, err := dial("wrong"); !errors.As(err, &refused) || refused.Verdict.Code != 691 {
		t.Errorf("with a wrong password: %v", err)
	}

	s.Edit(t, "gateway.yaml", "timers: {drain: 2s}", "timers: {drain: 3s}, mtu: 1300, allowed_sources: [192.0.2.0/24]")
	gateway.Signal(t, syscall.SIGHUP)
	gateway.Await(t, `"msg":"reloaded"`, 1)
	gateway.Await(t, `"keys":"pptp.mtu"`, 1) // the device has its MTU
	if _, err := dial(cmdtest.Password); err == nil {
		t.Error("a source that is not allowed any more got in")
	}
	s.Edit(t, "gateway.yaml", "[192.0.2.0/24]", "[everywhere]")
	gateway.Signal(t, syscall.SIGHUP)
	gateway.Await(t, `"msg":"not all was reloaded`, 1)
	gateway.Await(t, `gateway.yaml:2:`, 1)
	select {
	case <-up.Done():
		t.Errorf("the session did not live through the reloads: %v", up.Err())
	default:
	}

	gateway.Signal(t, syscall.SIGTERM)
	if status := gateway.End(t); status != 0 {
		t.Errorf("SIGTERM ended the gateway with status %d", status)
	}
	select {
	case <-up.Done():
		var ended *client.EndedError
		if !errors.As(up.Err(), &ended) {
			t.Errorf("the client was not told: %v", up.Err())
		}
	case <-time.After(10 * time.Second):
		t.Error("the session outlives its node")
	}
	if _, err := net.InterfaceByName(cfg.PPTP.Tun); err == nil {
		t.Errorf("%s is left behind", cfg.PPTP.Tun)
	}
	service.Await(t, `"msg":"nas restarted"`, 2) // Accounting-Off
	service.Signal(t, syscall.SIGTERM)
	if status := service.End(t); status != 0 {
		t.Errorf("SIGTERM ended the service with status %d", status)
	}
}

// What cannot start says why and ends with 1.
func TestGatewayDoesNotStart(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("without root it ends earlier, at the TUN device")
	}
	s := cmdtest.NewSite(t)
	l, err := net.Listen("tcp", s.PPTP)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := cmdtest.Run(t, "", program, "-config", s.Gateway)
	if r.Status != 1 || !contains(r.Errs, "listen for PPTP", "address already in use") {
		t.Errorf("status %d: %s", r.Status, r.Errs)
	}
}
