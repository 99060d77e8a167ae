package netlogon

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	good := Config{Server: "dc1", Domain: "LAB", Machine: "RGW$", Password: func() ([]byte, error) { return []byte("x"), nil }}
	p, err := New(good)
	if err != nil {
		t.Fatal(err)
	}
	if p.cfg.Channels != DefaultChannels || p.cfg.Timeout != DefaultTimeout || p.cfg.Log == nil || p.cfg.Dial == nil ||
		p.cfg.computer() != "RGW" || p.Server() != "dc1" {
		t.Errorf("%+v", p.cfg)
	}
	for _, c := range []struct {
		name string
		edit func(*Config)
		want error
	}{
		{"no server", func(c *Config) { c.Server = "" }, errNoServer},
		{"no machine", func(c *Config) { c.Machine = "" }, errNoMachine},
		{"a user for a machine", func(c *Config) { c.Machine = "RGW" }, errNoMachine},
		{"only the dollar", func(c *Config) { c.Machine = "$" }, errNoMachine},
		{"no password", func(c *Config) { c.Password = nil }, errNoPassword},
		{"five channels", func(c *Config) { c.Channels = 5 }, nil},
		{"minus one", func(c *Config) { c.Channels = -1 }, nil},
	} {
		bad := good
		c.edit(&bad)
		if _, err := New(bad); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What could be cracked must not get into a log by way of a careless verb.
func TestSecretsDoNotPrint(t *testing.T) {
	r := &Request{Domain: "LAB", User: "alice", ChallengeHash: [8]byte{0xde, 0xad}, Response: [24]byte{0xbe, 0xef}}
	l := &Logon{Domain: "LAB", User: "alice", SID: "S-1-5-21-1", HashHash: [16]byte{0xde, 0xad, 0xbe, 0xef}}
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.Info("x", "request", r, "logon", l, "value", *r, "other", *l)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
		fmt.Fprintf(&b, verb+verb+verb+verb, r, l, *r, *l)
	}
	for _, leak := range []string{"222", "190", "de", "dead", "0xbe", "DEAD"} {
		if strings.Contains(b.String(), leak) {
			t.Errorf("%q in %s", leak, b.String())
		}
	}
	if !strings.Contains(b.String(), "request.user=alice") || !strings.Contains(b.String(), `LAB\alice (S-1-5-21-1)`) {
		t.Error(b.String())
	}
}

func TestWipe(t *testing.T) {
	l := &Logon{HashHash: [16]byte{1}}
	if l.Wipe(); l.HashHash != [16]byte{} {
		t.Error("still there")
	}
	(*Logon)(nil).Wipe()
}
