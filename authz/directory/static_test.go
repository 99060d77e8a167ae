package directory

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestStatic(t *testing.T) {
	s := Static{Address: "address", Route: "route", Within: []netip.Prefix{netip.MustParsePrefix("10.50.0.0/16"), netip.MustParsePrefix("172.16.0.0/12")}}
	if got := fmt.Sprint(s.Attributes(), Static{}.Attributes(), Static{Route: "r"}.Attributes()); got != "[address route] [] [r]" {
		t.Error(got)
	}
	many := make([]string, maxRoutes+1)
	for i := range many {
		many[i] = fmt.Sprintf("10.50.%d.0/24", i)
	}
	for _, row := range []struct {
		address, routes []string
		addr            string
		want            string // routes
		err             string
	}{
		{nil, nil, "invalid IP", "[]", ""},
		{[]string{"10.9.0.7"}, nil, "10.9.0.7", "[]", ""},
		{[]string{"168296455"}, nil, "10.8.0.7", "[]", ""},
		{[]string{"-1062731420"}, nil, "192.168.1.100", "[]", ""}, // as AD keeps the upper half
		{[]string{"3232235876"}, nil, "192.168.1.100", "[]", ""},
		{[]string{"255.255.255.254"}, nil, "invalid IP", "[]", ""},
		{[]string{"-1"}, nil, "invalid IP", "[]", ""},
		{[]string{"0"}, nil, "invalid IP", "[]", "nobody's"},
		{[]string{"4294967296"}, nil, "invalid IP", "[]", "no IPv4"},
		{[]string{"2001:db8::1"}, nil, "invalid IP", "[]", "no IPv4"},
		{[]string{"10.9.0.7", "10.9.0.8"}, nil, "invalid IP", "[]", "2 addresses"},
		{nil, []string{"172.16.5.0/24 0.0.0.0 1", "10.50.1.3/24", "10.50.1.0/24 0.0.0.0"}, "invalid IP", "[10.50.1.0/24 172.16.5.0/24]", ""},
		{nil, []string{"10.50.0.0/15"}, "invalid IP", "[]", "not within"},
		{nil, []string{"10.51.0.0/24", "10.50.7.7/32"}, "invalid IP", "[10.50.7.7/32]", "not within"},
		{nil, []string{"10.50.1.0/24 10.50.0.1 1"}, "invalid IP", "[]", "0.0.0.0"},
		{nil, []string{"10.50.0.0"}, "invalid IP", "[]", "no IPv4 network"},
		{nil, []string{"0.0.0.0/0", "", " "}, "invalid IP", "[]", "cannot be behind"},
		{nil, many, "invalid IP", fmt.Sprint(many[:maxRoutes]), "one too many"},
	} {
		var a Account
		err := s.Read(func(attribute string) []string {
			return map[string][]string{"address": row.address, "route": row.routes}[attribute]
		}, &a)
		got := fmt.Sprint(a.Routes)
		if a.Addr.String() != row.addr || len(strings.Fields(got)) != len(strings.Fields(row.want)) || len(a.Routes) < maxRoutes && got != row.want {
			t.Errorf("%v %v: %v %s", row.address, row.routes, a.Addr, got)
		}
		if (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
			t.Errorf("%v %v: %v", row.address, row.routes, err)
		}
	}
}
