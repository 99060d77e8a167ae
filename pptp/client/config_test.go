package client

import (
	"net/netip"
	"strings"
	"testing"

	"postern/pptp/ppp"
)

func TestConfig(t *testing.T) {
	good := func() Config { return Config{Server: netip.AddrPortFrom(serverAddr, 0), User: "alice"} }
	c, err := good().normal()
	if err != nil {
		t.Fatal(err)
	}
	if c.Server.Port() != Port || c.MTU != DefaultMTU || c.Timeout != DefaultTimeout || c.EchoInterval != DefaultEchoInterval ||
		c.MPPE.Use != Required || c.MPPE.Strengths != ppp.MPPE128 || c.DialTCP == nil || c.Log == nil {
		t.Errorf("defaults: %+v", c)
	}
	for _, tt := range []struct {
		change func(*Config)
		want   string // part of the error; empty: none
	}{
		{func(c *Config) { c.Server = netip.MustParseAddrPort("[::ffff:192.0.2.1]:4000") }, ""},
		{func(c *Config) { c.MTU = 1500 }, ""},
		{func(c *Config) { c.Quirk, c.MPPE.Use = QuirkRouter, Optional }, ""},
		{func(c *Config) { c.Server = netip.AddrPort{} }, "server"},
		{func(c *Config) { c.Server = netip.MustParseAddrPort("[::1]:1723") }, "IPv4 address of a host wanted"},
		{func(c *Config) { c.Server = netip.MustParseAddrPort("0.0.0.0:1723") }, "IPv4 address of a host wanted"},
		{func(c *Config) { c.User = "" }, "no user name"},
		{func(c *Config) { c.MTU = 127 }, "MTU 127"},
		{func(c *Config) { c.MTU = 1501 }, "MTU 1501"},
		{func(c *Config) { c.Quirk = 99 }, "not defined"},
		{func(c *Config) { c.MPPE.Use = 3 }, "not defined"},
		{func(c *Config) { c.MPPE.Stateful = 3 }, "not defined"},
		{func(c *Config) { c.Quirk = QuirkRouter }, "never encrypts"},
		{func(c *Config) { c.User, c.MTU = "", 1 }, "no user name\nMTU 1:"},
	} {
		c := good()
		tt.change(&c)
		_, err := c.normal()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{"unknown": true}
	for _, s := range []string{
		Required.String(), Optional.String(), Off.String(), StatefulNo.String(), StatefulAccept.String(), StatefulAsk.String(),
		EndTerminated.String(), EndDisconnected.String(), EndStopped.String(), EndRenegotiated.String(),
	} {
		if seen[s] || s == "" {
			t.Errorf("name %q twice", s)
		}
		seen[s] = true
	}
	for _, q := range Quirks() {
		if seen[q.String()] || q.String() == "" {
			t.Errorf("name %q twice", q)
		}
		seen[q.String()] = true
	}
	if len(Quirks()) != len(quirks) {
		t.Error("a quirk is not listed")
	}
	for _, s := range []string{Encryption(99).String(), Stateful(99).String(), End(99).String(), Quirk(99).String(), EndUnknown.String()} {
		if s != "unknown" {
			t.Errorf("an undefined value is %q", s)
		}
	}
}
