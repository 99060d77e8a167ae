package radius

import (
	"fmt"
	"net/netip"
	"testing"

	"layeh.com/radius/rfc2865"
)

func TestGetRoutes(t *testing.T) {
	p := NewRequest(CodeAccessRequest, NewSecret("secret"))
	for _, text := range []string{"10.50.7.9/24 0.0.0.0 1", "10.50.8.0/24 10.0.0.7 1 2", "10.50.7.0/24", "10.50.9.0/24 10.0.0.8", "10.1.2.3", "0.0.0.0/0 0.0.0.0 1",
		"250.0.0.0/3", "100.0.0.0/1", "239.1.0.0/16", "255.255.255.255/32"} {
		if err := rfc2865.FramedRoute_AddString(p, text); err != nil {
			t.Fatal(err)
		}
	}
	got, errs := GetRoutes(p, netip.MustParseAddr("10.0.0.7"))
	if fmt.Sprint(got) != "[10.50.7.0/24 10.50.8.0/24]" || len(errs) != 7 {
		t.Errorf("%v, %v", got, errs)
	}
	if got, errs := GetRoutes(NewRequest(CodeAccessRequest, NewSecret("secret")), netip.Addr{}); got != nil || errs != nil {
		t.Error(got, errs)
	}
}

func FuzzParseRoute(f *testing.F) {
	for _, s := range []string{"10.1.0.0/16 0.0.0.0 1", "10.1.0.0/16", "", " ", "0.0.0.0/0", "::/0", "10.1.2.3/8 0.0.0.0 -5", "10.1.0.0/16 10.0.0.7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		client := netip.MustParseAddr("10.0.0.7")
		p, err := ParseRoute(s, client)
		if err != nil {
			return
		}
		again, err := ParseRoute(p.String()+" 10.0.0.7 1", client)
		if err != nil || again != p || !p.Addr().Is4() {
			t.Fatalf("%q: %v, again %v, %v", s, p, again, err)
		}
	})
}
