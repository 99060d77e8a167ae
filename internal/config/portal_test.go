package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestPortal(t *testing.T) {
	s, err := ParseService("/etc/postern/radiusd.yaml", []byte(goodService+`
portal:
  listen: :8443
  url: https://portal.example.org/
  cert_file: tls/portal.pem
  key_file: tls/portal.key
  enrol_from: [192.0.2.0/24]
  languages: [de, en]
  default_language: de
  name: Muster VPN
  mark: M
`))
	if err != nil {
		t.Fatal(err)
	}
	p := s.Portal
	switch {
	case p.Listen != ":8443", p.URL != "https://portal.example.org", p.Cert != "/etc/postern/tls/portal.pem",
		p.EnrolFrom[0] != netip.MustParsePrefix("192.0.2.0/24"), p.Default != "de", p.Name != "Muster VPN", p.Mark != "M",
		p.Idle != 10*time.Minute, p.Lifetime != 2*time.Hour, p.Limits != PortalLimits{60, 20, 1024, 256}:
		t.Errorf("%+v", p)
	}
	if s, err = ParseService("f", []byte(goodService+"portal: {url: 'https://[2001:db8::1]:8443'}\n")); err != nil || s.Portal.Listen != "" {
		t.Errorf("a URL alone: %v", err)
	}
}

func TestBrokenPortal(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"{listen: :443}", `missing key "portal.url"; missing key "portal.cert_file"; missing key "portal.key_file"`},
		{"{cert_file: c, url: 'https://x'}", "there is no listener"},
		{"{url: 'http://x'}", `"http://x": not the portal's URL`},
		{"{url: 'https://x/y'}", "not the portal's URL"},
		{"{url: 'https://u@x'}", "not the portal's URL"},
		{"{url: 'https://x?a'}", "not the portal's URL"},
		{"{url: 'https://x:443'}", "not as browsers spell it"},
		{"{url: 'https://X'}", "not as browsers spell it"},
		{"{url: 'https://x:'}", "not as browsers spell it"},
		{"{enrol_from: [0.0.0.0/0]}", "element 1 is the whole Internet"},
		{"{languages: [de]}", `"en" is not among languages`},
		{"{languages: [german]}", "not a language"},
		{"{default_language: EN}", "not a language"},
		{"{default_language: pt-br}", "not a language"},
		{"{mark: ABCD}", "not a mark"},
		{"{name: \"a\\nb\"}", "not one line"},
		{"{idle: 1h, lifetime: 30m}", "30m0s is shorter than idle, 1h0m0s"},
		{"{idle: 1s}", "out of range"},
		{"{limits: {per_source: 201}}", "out of range"},
	} {
		_, err := ParseService("f", []byte(goodService+"portal: "+c.src+"\n"))
		if err == nil {
			t.Errorf("%s: accepted", c.src)
			continue
		}
		for want := range strings.SplitSeq(c.want, "; ") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", c.src, err, want)
			}
		}
	}
}
