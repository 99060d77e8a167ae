package pptp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/internal/radius"
	"postern/pptp/captive"
	"postern/pptp/filter"
)

const (
	testURL  = "https://portal.example.org/s/token"
	testRule = "permit in tcp from assigned to 10.20.0.0/16 443"
)

func filterID(name string) func(*radius.Packet) { return add(rfc2865.FilterID_Type, name) }

func rules(texts ...string) func(*radius.Packet) {
	return func(p *radius.Packet) {
		for _, a := range []byte(strings.Join(texts, "\x00")) { // in the smallest pieces there can be
			p.Add(typeFilterRule, radius.Attribute{a})
		}
	}
}

// vendorValue adds an attribute of a vendor's.
func vendorValue(a vendorAttribute, value string) func(*radius.Packet) {
	v := []byte{byte(a.vendor >> 24), byte(a.vendor >> 16), byte(a.vendor >> 8), byte(a.vendor), a.typ, byte(2 + len(value))}
	return add(rfc2865.VendorSpecific_Type, string(v)+value)
}

func seconds4(n byte) string { return string([]byte{0, 0, 0, n}) }

// heldBack is a quarantine as a service orders it.
func heldBack(n byte, url string) func(*radius.Packet) {
	return func(p *radius.Packet) {
		filterID("quarantine")(p)
		vendorValue(quarantineTimeout, seconds4(n))(p)
		vendorValue(quarantineURL, url)(p)
	}
}

func TestReadEnforcement(t *testing.T) {
	type fills []func(*radius.Packet)
	for _, tc := range []struct {
		about string
		fill  fills
		name  string
		given bool
		err   error
	}{
		{"nothing", nil, "", false, nil},
		{"a vendor's, of another kind", fills{vendorValue(bandwidthUp, seconds4(9))}, "", false, nil},
		{"the node's own", fills{filterID("staff")}, "staff", true, nil},
		{"with rules", fills{filterID("staff"), rules(testRule, "deny in ip from assigned to any")}, "staff", true, nil},
		{"none", fills{filterID("none")}, "", true, nil},
		{"quarantine", fills{heldBack(60, testURL)}, "quarantine", true, nil},
		{"no name", fills{filterID("")}, "", true, errFilterValue},
		{"two names", fills{filterID("a"), filterID("b")}, "", true, errFilterValue},
		{"rules without a name", fills{rules(testRule)}, "", true, errFilterParts},
		{"rules for none", fills{filterID("none"), rules(testRule)}, "", true, errFilterValue},
		{"a rule that is none", fills{filterID("a"), rules(testRule, "allow everything")}, "", true, errFilterValue},
		{"an empty rule", fills{filterID("a"), rules(testRule, "")}, "", true, errFilterValue},
		{"quarantine for how long", fills{filterID("quarantine")}, "", true, errFilterParts},
		{"quarantine for no time", fills{heldBack(0, testURL)}, "", true, errFilterParts},
		{"half a time", fills{filterID("quarantine"), vendorValue(quarantineTimeout, "ab"), vendorValue(quarantineURL, testURL)}, "", true, errFilterParts},
		{"quarantine without a way out", fills{filterID("quarantine"), vendorValue(quarantineTimeout, seconds4(9))}, "", true, errFilterValue},
		{"a script", fills{heldBack(60, "javascript:alert(1)")}, "", true, errFilterValue},
		{"a split header", fills{heldBack(60, "https://p/\r\nSet-Cookie:x")}, "", true, errFilterValue},
		{"quarantine with rules", fills{heldBack(60, testURL), rules(testRule)}, "", true, errFilterValue},
		{"a time without quarantine", fills{vendorValue(quarantineTimeout, seconds4(9))}, "", true, errFilterParts},
		{"a URL beside a filter", fills{filterID("staff"), vendorValue(quarantineURL, testURL)}, "", true, errFilterParts},
		{"a filter and quarantine", fills{heldBack(60, testURL), filterID("staff")}, "", true, errFilterValue},
	} {
		p := &radius.Packet{Code: radius.CodeAccessAccept}
		for _, f := range tc.fill {
			f(p)
		}
		e, given, err := readEnforcement(p)
		if e.name() != tc.name || given != tc.given || !errors.Is(err, tc.err) {
			t.Errorf("%s: %q, given %v, %v", tc.about, e.name(), given, err)
		}
		if err != nil && (e.filter != "" || e.held != 0 || e.rules != nil || causeOf(err) != FilterFailed) {
			t.Errorf("%s: %+v left of it, and the session ends as %v", tc.about, e, causeOf(err))
		}
	}
	p := &radius.Packet{}
	filterID("staff")(p)
	rules(testRule, "permit out icmp from any to assigned")(p)
	e, _, err := readEnforcement(p)
	if err != nil || len(e.rules) != 2 || e.rules[1].Protocol != filter.ICMP {
		t.Errorf("%+v, %v", e, err)
	}
	dns := []netip.Addr{netip.MustParseAddr("10.0.0.53"), netip.IPv4Unspecified(), netip.MustParseAddr("::1")}
	if c := e.client(testInner, dns); c.Addr != testInner || c.Filter != "staff" || len(c.Rules) != 2 || c.Quarantine || !slices.Equal(c.DNS, dns[:1]) {
		t.Errorf("%+v", c)
	}
}

// Whatever a service sends, it is one filter, quarantine, none, or refused.
func FuzzEnforcement(f *testing.F) {
	for _, fill := range []func(*radius.Packet){heldBack(60, testURL), filterID("staff"), rules(testRule), vendorValue(quarantineURL, "x")} {
		p := &radius.Packet{Code: radius.CodeCoARequest, Secret: []byte("x")}
		filterID("staff")(p)
		fill(p)
		b, err := radius.EncodeRequest(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := radius.Parse(b, radius.Secret{})
		if err != nil {
			return
		}
		e, given, err := readEnforcement(p)
		c := e.client(testInner, nil)
		switch {
		case err != nil && (causeOf(err) != FilterFailed || filterCause(err) == radius.CauseUnknown || e.name() != ""):
			t.Fatalf("%+v, %v", e, err)
		case e.held > 0 && (captive.CheckURL(e.url) != nil || e.filter != "" || !c.Quarantine):
			t.Fatalf("%+v", e)
		case !given && (e.name() != "" || err != nil), len(e.rules) > 0 && e.filter == "":
			t.Fatalf("%+v, given %v", e, given)
		}
	})
}

// What a node cannot enforce it refuses, and nothing else.
func TestEnforceable(t *testing.T) {
	with := &fence{filter: new(FakeFilter)}
	portal := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.20:443")}
	none, staff, held := &enforcement{}, &enforcement{filter: "staff"}, &enforcement{held: time.Minute, url: testURL}
	for _, tc := range []struct {
		about  string
		fence  *fence
		portal []netip.AddrPort
		e      *enforcement
		want   error
	}{
		{"nothing, by a node without", new(fence), nil, none, nil},
		{"a filter, by a node without", new(fence), portal, staff, errNoFilter},
		{"quarantine, by a node without", new(fence), portal, held, errNoFilter},
		{"quarantine with a portal", with, portal, held, nil},
		{"quarantine without a portal", with, nil, held, errNoPortal},
		{"a filter without a portal", with, nil, staff, nil},
	} {
		n := newRig(t, true).node
		n.fence = tc.fence
		set := *n.settings.Load()
		set.filter.Portal = tc.portal
		n.settings.Store(&set)
		if err := n.enforceable(tc.e); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", tc.about, err)
		}
	}
}

// post is a login's way into the packet filter.
func (f *fence) post(c filter.Client) (*post, error) {
	p, err := f.reserve(c.Addr)
	if err == nil {
		err = f.raise(p, c)
	}
	return p, err
}

// An address goes from one session to the next, and never to two.
func TestFence(t *testing.T) {
	f := new(FakeFilter)
	fence := &fence{filter: f, posts: make(map[netip.Addr]*post)}
	c := filter.Client{Addr: testInner}
	first, err := fence.post(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fence.post(filter.Client{Addr: testInner, Filter: "other"}); !errors.Is(err, errLeasedTwice) || causeOf(err) != ServiceFault {
		t.Errorf("the address of a session that is there: %v", err)
	}
	fence.release(first)
	second, err := fence.post(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := fence.lower(first); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.At(testInner); !ok {
		t.Error("the old session took the new one's place with it")
	}
	if err := fence.change(first, c); !errors.Is(err, errFilterSet) || !errors.Is(err, errStale) {
		t.Errorf("the old session changes the new one's filter: %v", err)
	}
	if err := fence.change(second, filter.Client{Addr: testInner, Quarantine: true}); err != nil {
		t.Error(err)
	}
	f.Fail("set", errors.New("netlink"))
	fence.release(second)
	if _, err := fence.post(c); !errors.Is(err, errFilterSet) || causeOf(err) != FilterFailed {
		t.Errorf("%v", err)
	}
	if len(fence.posts) != 0 {
		t.Error("what was not put in force is remembered")
	}
	f.Fail("set", nil)
	if _, err := fence.post(filter.Client{Addr: testPeer}); err != nil {
		t.Error(err)
	}
	f.Fail("remove", errors.New("netlink"))
	if err := fence.lowerAll(); err == nil {
		t.Error("a failure was kept quiet")
	}

	without := newRig(t, true).node.fence
	p, err := without.post(c)
	if p != nil || err != nil || without.change(p, c) != nil || without.lower(p) != nil || without.lowerAll() != nil {
		t.Error("a node without a filter cannot do without")
	}
	without.release(p)
}

// Many sessions come and go on a few addresses; when all are gone nothing is left.
func TestFenceRaces(t *testing.T) {
	f := new(FakeFilter)
	fence := &fence{filter: f, posts: make(map[netip.Addr]*post)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			addr := netip.AddrFrom4([4]byte{10, 80, 0, byte(i % 3)})
			for range 300 {
				p, err := fence.post(filter.Client{Addr: addr})
				if err != nil {
					continue
				}
				if err := fence.change(p, filter.Client{Addr: addr, Filter: fmt.Sprint(i), Rules: make([]filter.Rule, 1)}); err != nil {
					t.Error(err)
				}
				if c, ok := f.At(addr); !ok || c.Filter != fmt.Sprint(i) {
					t.Errorf("session %d finds %+v in its place", i, c)
				}
				fence.release(p)
				if err := fence.lower(p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if f.Places() != 0 || len(fence.posts) != 0 {
		t.Errorf("%d places, %d posts", f.Places(), len(fence.posts))
	}
}

// What the captive server is told follows the session.
func TestStanding(t *testing.T) {
	r := dynamicRig(t)
	n, s := r.node, r.s
	s.loginBy = time.Time{}
	check := func(about string, a netip.Addr, want captive.Standing, url string, gauge int64) {
		t.Helper()
		if got, to := n.standing(a); got != want || to != url || n.metrics.quarantined.Load() != gauge {
			t.Errorf("%s: %v, %q, %d in quarantine", about, got, to, n.metrics.quarantined.Load())
		}
	}
	now := time.Now()
	behind := netip.MustParseAddr("10.50.7.20")
	check("nobody's network", behind, captive.Stranger, "", 0)
	s.grant.routes = []netip.Prefix{netip.MustParsePrefix("10.50.7.0/24")}
	s.claim(&s.grant)
	check("free", testInner, captive.Free, "", 0)
	check("behind it", behind, captive.Free, "", 0)
	s.enforced(now, &enforcement{held: time.Minute, url: testURL})
	check("held", testInner, captive.Held, testURL, 1)
	check("behind it", behind, captive.Held, testURL, 1)
	check("another", testPeer, captive.Stranger, "", 1)
	check("IPv6", netip.MustParseAddr("2001:db8::1"), captive.Stranger, "", 1)
	s.enforced(now, &enforcement{held: time.Minute, url: testURL + "2"})
	check("held again", testInner, captive.Held, testURL+"2", 1)
	if !s.heldUntil.Equal(now.Add(time.Minute)) || !s.deadline().Equal(s.heldUntil) {
		t.Errorf("until %v", s.heldUntil)
	}
	s.enforced(now, &enforcement{filter: "staff"})
	check("lifted", testInner, captive.Free, "", 0)
	if !s.heldUntil.IsZero() || s.grant.enforce.name() != "staff" {
		t.Errorf("until %v, %q", s.heldUntil, s.grant.enforce.name())
	}
	s.enforced(now, &enforcement{held: time.Minute, url: testURL})
	s.end(now, AdminReset)
	check("ended", testInner, captive.Stranger, "", 0)
	if !s.heldUntil.IsZero() {
		t.Error("it ends once more")
	}
}

// Nobody gives the second factor: the session ends by itself, and not before.
func TestQuarantineTimeout(t *testing.T) {
	r := dynamicRig(t)
	now := time.Now()
	r.s.loginBy = time.Time{}
	r.s.enforced(now, &enforcement{held: time.Minute, url: testURL})
	r.s.timeout(now.Add(time.Minute - 1))
	if r.s.phase != phaseUp {
		t.Fatalf("%v before its time", r.s.phase)
	}
	r.s.timeout(now.Add(time.Minute))
	if r.s.phase != phaseClosing || r.s.cause != QuarantineTimeout || r.s.parting() != QuarantineTimeout.info().text {
		t.Errorf("%v, %v, %q", r.s.phase, r.s.cause, r.s.parting())
	}
}
