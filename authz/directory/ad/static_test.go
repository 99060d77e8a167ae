package ad

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/integration/samba"
)

var dialin = directory.Static{Address: "msRADIUSFramedIPAddress", Route: "msRADIUSFramedRoute", Within: []netip.Prefix{netip.MustParsePrefix("10.50.0.0/16")}}

// An account's own address and routes come with a login, where attributes are named; what
// cannot be used is told, and keeps nobody out.
func TestStaticOfAccounts(t *testing.T) {
	f := newFake(t, time.Now)
	f.add(t, "plc7", "1150", map[string][]string{
		"msRADIUSFramedIPAddress": {"-1062731420"}, "msRADIUSFramedRoute": {"10.50.7.0/24 0.0.0.0 1", "10.51.0.0/24 0.0.0.0 1"},
	})
	for _, named := range []bool{false, true} {
		var log bytes.Buffer
		d := newFakes(t, func(c *Config) {
			c.Log = slog.New(slog.NewTextHandler(&log, nil))
			if named {
				c.Static = dialin
			}
		}, time.Now, f)
		a, err := d.Find(t.Context(), user("plc7"))
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(a.Addr, a.Routes)
		if named != (got == "192.168.1.100 [10.50.7.0/24]") || named != strings.Contains(log.String(), "10.51.0.0/24 is not within") {
			t.Errorf("%v: %s\n%s", named, got, log.String())
		}
	}
}

func TestSambaStatic(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	l := dc.LDAP(t)
	m := ldap.NewModifyRequest(dc.DN(t, l, "alice"), nil)
	m.Replace("msRADIUSFramedIPAddress", []string{"-1062731420"}) // as the console writes 192.168.1.100
	m.Replace("msRADIUSFramedRoute", []string{"10.50.7.0/24 0.0.0.0 1", "10.50.8.0/24 0.0.0.0 1"})
	if err := l.Modify(m); err != nil {
		t.Fatal(err)
	}
	cfg := sambaConfig(t, dc)
	cfg.Static = dialin
	a, err := sambaDirectory(t, cfg).Find(t.Context(), user("alice"))
	if got := fmt.Sprint(a.Addr, a.Routes); err != nil || got != "192.168.1.100 [10.50.7.0/24 10.50.8.0/24]" {
		t.Errorf("%s, %v", got, err)
	}
}
