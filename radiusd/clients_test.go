package radiusd

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/netip"
	"strings"
	"testing"

	"postern/internal/radius"
)

func prefixes(list ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestLongestPrefix(t *testing.T) {
	table, err := newClients([]Client{
		{Name: "any", Networks: prefixes("0.0.0.0/0"), Secret: sharedSecret},
		{Name: "site", Networks: prefixes("10.0.0.0/8", "2001:db8::/32"), Secret: sharedSecret},
		{Name: "house", Networks: prefixes("10.1.0.0/16", "::ffff:10.2.0.0/112"), Secret: sharedSecret},
		{Name: "one", Networks: prefixes("10.1.0.7/32", "2001:db8::7/128"), Secret: sharedSecret},
	}, nil)
	must(t, err)
	for addr, want := range map[string]string{
		"10.1.0.7": "one", "10.1.0.8": "house", "10.2.200.1": "house", "10.3.0.1": "site", "192.0.2.1": "any",
		"::ffff:10.1.0.7": "one", "2001:db8::7": "one", "2001:db8::8": "site", "2001:db9::1": "", "fe80::1%eth0": "",
	} {
		got := ""
		if c := table.at(netip.MustParseAddr(addr)); c != nil {
			got = c.Name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	if table.at(netip.Addr{}) != nil {
		t.Error("no address is somebody's")
	}
}

func TestLinkLocalClient(t *testing.T) {
	table, err := newClients([]Client{{Name: "lan", Networks: prefixes("fe80::/10"), Secret: sharedSecret}}, nil)
	must(t, err)
	if c := table.at(netip.MustParseAddr("fe80::1%eth0")); c == nil || c.Name != "lan" {
		t.Errorf("%+v", c)
	}
}

// All mistakes at once, each with the client's name.
func TestClientsRefused(t *testing.T) {
	_, err := newClients([]Client{
		{Name: "a", Networks: prefixes("10.0.0.0/8"), Secret: sharedSecret},
		{Name: "a", Networks: prefixes("10.0.0.9/8"), Secret: sharedSecret},
		{Name: "b", Networks: prefixes("11.0.0.0/8")},
		{Name: "c"},
		{Networks: prefixes("12.0.0.0/8"), Secret: sharedSecret},
		{Name: "d", Networks: []netip.Prefix{{}}, Secret: sharedSecret},
		{Name: "e", Certificates: []string{"gw1"}},
		{Name: "f", Certificates: []string{"gw1", ""}},
	}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`client "a": a second one`, `client "a": 10.0.0.0/8 belongs to client "a"`, `client "b": networks without a secret`, `client "c": neither`,
		`client "": a client needs a name`, `client "d": invalid Prefix is no network`, `client "f": certificate name "gw1"`, `client "f": certificate name ""`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not reported: %s\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 8 {
		t.Errorf("%d mistakes, want 8:\n%v", n, err)
	}
	if strings.Contains(err.Error(), "xyzzy") {
		t.Error("the secret is in the error")
	}
}

func TestCertNames(t *testing.T) {
	common := pkix.Name{CommonName: "gw1"}
	if got := certNames(&x509.Certificate{Subject: common}); len(got) != 1 || got[0] != "gw1" {
		t.Errorf("%q", got)
	}
	// A common name beside DNS names is for people to read.
	if got := certNames(&x509.Certificate{Subject: common, DNSNames: []string{"a", "b"}}); len(got) != 2 || got[0] != "a" {
		t.Errorf("%q", got)
	}
	table, err := newClients([]Client{{Name: "x", Certificates: []string{"b"}}}, nil)
	must(t, err)
	if c := table.certified("a", "b"); c == nil || c.Name != "x" || c.Strengths != radius.Encryption128 {
		t.Errorf("%+v", c)
	}
	if table.certified("") != nil || table.certified() != nil {
		t.Error("no name is somebody's")
	}
}
