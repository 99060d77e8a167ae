package pptp

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3162"

	"postern/internal/radius"
	"postern/pptp/filter"
)

const testSession = "0badcafe-00000001"

// dynamicRig is a session that is up and that a service may name.
func dynamicRig(t testing.TB) *rig {
	t.Helper()
	r := newRig(t, true)
	s := r.s
	s.id, s.user, s.accepted, s.started = testSession, `CORP\Alice`, true, true
	s.grant.user, s.grant.class = "alice@corp.example", [][]byte{[]byte("decision-1")}
	r.node.calls.put(s.callID, s)
	return r
}

// ask has the node carry out a request that was believed.
func (r *rig) ask(t testing.TB, code radius.Code, fill ...func(*radius.Packet)) error {
	t.Helper()
	p := &radius.Packet{Code: code}
	for _, f := range fill {
		f(p)
	}
	return r.node.carryOut(t.Context(), p)
}

func add(typ radius.Type, value string) func(*radius.Packet) {
	return func(p *radius.Packet) { p.Add(typ, radius.Attribute(value)) }
}

func addNumber(typ radius.Type, n byte) func(*radius.Packet) {
	return func(p *radius.Packet) { p.Add(typ, radius.Attribute{0, 0, 0, n}) }
}

func named(p *radius.Packet) { p.Add(rfc2866.AcctSessionID_Type, radius.Attribute(testSession)) }

// Everything that a request says of the session must be so, and everything that it
// wants must be possible; else nothing happens.
func TestDynamicIdentification(t *testing.T) {
	r := dynamicRig(t)
	bytesOf := func(typ radius.Type, b []byte) func(*radius.Packet) { return add(typ, string(b)) }
	peer, local, inner := testPeer.AsSlice(), testLocal.AsSlice(), testInner.AsSlice()
	call := func(p *radius.Packet) { _ = rfc2865.NASPort_Set(p, rfc2865.NASPort(r.s.callID)) }
	timeout := addNumber(rfc2865.SessionTimeout_Type, 60)
	type fills []func(*radius.Packet)
	for _, tc := range []struct {
		about string
		fill  fills
		want  error
	}{
		{"the session's ID", fills{named}, nil},
		{"all there is", fills{
			named, add(rfc2865.NASIdentifier_Type, r.node.name), bytesOf(rfc2865.NASIPAddress_Type, local), call,
			bytesOf(rfc2865.FramedIPAddress_Type, inner), add(rfc2865.UserName_Type, "alice@corp.example"),
			add(rfc2865.CallingStationID_Type, testPeer.String()), add(rfc2865.CalledStationID_Type, testLocal.String()),
			add(rfc2865.ProxyState_Type, "x"), addNumber(rfc2869.EventTimestamp_Type, 1), add(rfc2865.ReplyMessage_Type, "bye"),
		}, nil},
		{"the name as typed", fills{named, add(rfc2865.UserName_Type, `corp\alice`)}, nil},
		{"no session", fills{add(rfc2865.UserName_Type, "alice@corp.example")}, radius.CauseMissingAttribute},
		{"two sessions", fills{named, named}, radius.CauseSelectionNotSupported},
		{"another session", fills{add(rfc2866.AcctSessionID_Type, "0badcafe-00000002")}, radius.CauseSessionNotFound},
		{"another user", fills{named, add(rfc2865.UserName_Type, "bob")}, radius.CauseSessionNotFound},
		{"another address", fills{named, bytesOf(rfc2865.FramedIPAddress_Type, peer)}, radius.CauseSessionNotFound},
		{"another port", fills{named, addNumber(rfc2865.NASPort_Type, byte(r.s.callID+1))}, radius.CauseSessionNotFound},
		{"another source", fills{named, add(rfc2865.CallingStationID_Type, testLocal.String())}, radius.CauseSessionNotFound},
		{"another destination", fills{named, add(rfc2865.CalledStationID_Type, testPeer.String())}, radius.CauseSessionNotFound},
		{"another node", fills{named, add(rfc2865.NASIdentifier_Type, "gw2")}, radius.CauseNASMismatch},
		{"another node's address", fills{named, bytesOf(rfc2865.NASIPAddress_Type, peer)}, radius.CauseNASMismatch},
		{"a node's IPv6 address", fills{named, add(rfc3162.NASIPv6Address_Type, "0123456789abcdef")}, radius.CauseNASMismatch},
		{"half an address", fills{named, add(rfc2865.FramedIPAddress_Type, "12")}, radius.CauseInvalidValue},
		{"half a port", fills{named, add(rfc2865.NASPort_Type, "12")}, radius.CauseInvalidValue},
		{"what we do not know", fills{named, add(rfc2865.State_Type, "x")}, radius.CauseUnsupportedAttribute},
		{"a filter", fills{named, add(rfc2865.FilterID_Type, "staff")}, radius.CauseUnsupportedAttribute},
		{"a vendor's", fills{named, add(rfc2865.VendorSpecific_Type, "\x00\x00\x01\x37\x01\x03x")}, radius.CauseUnsupportedAttribute},
		{"a login anew", fills{named, addNumber(rfc2865.ServiceType_Type, 17)}, radius.CauseUnsupportedService},
	} {
		// A change that changes nothing, to look only.
		before, end := r.s.grant, r.s.endAt
		if err := r.ask(t, radius.CodeCoARequest, append(tc.fill, timeout)...); !errors.Is(err, tc.want) {
			t.Errorf("change, %s: %v, want %v", tc.about, err, tc.want)
		}
		if done := r.s.grant.session != before.session || r.s.endAt != end; done != (tc.want == nil) {
			t.Errorf("change, %s: changed %v", tc.about, done)
		}
		r.s.grant.session, r.s.endAt = 0, time.Time{}
		if tc.want == nil {
			continue
		}
		if err := r.ask(t, radius.CodeDisconnectRequest, tc.fill...); !errors.Is(err, tc.want) {
			t.Errorf("end, %s: %v, want %v", tc.about, err, tc.want)
		}
		if r.s.phase != phaseUp {
			t.Fatalf("end, %s: it did", tc.about)
		}
	}
	for about, fill := range map[string]fills{
		"a session time-out":       {named, timeout},
		"another Class":            {named, add(rfc2865.Class_Type, "decision-2")},
		"ended by the user":        {named, addNumber(rfc2866.AcctTerminateCause_Type, 1)},
		"half of why it ends":      {named, add(rfc2866.AcctTerminateCause_Type, "x")},
		"an interim interval, too": {named, addNumber(rfc2869.AcctInterimInterval_Type, 60)},
	} {
		if err := r.ask(t, radius.CodeDisconnectRequest, fill...); err == nil || r.s.phase != phaseUp {
			t.Errorf("end, %s: %v", about, err)
		}
	}
	for about, fill := range map[string]fills{
		"nothing":                        {named},
		"no limit":                       {named, addNumber(rfc2865.SessionTimeout_Type, 0)},
		"half a limit":                   {named, add(rfc2865.IdleTimeout_Type, "12")},
		"a limit, and what we cannot do": {named, timeout, add(rfc2865.FilterID_Type, "staff")},
		"Class":                          {named, timeout, add(rfc2865.Class_Type, "decision-1")},
	} {
		if err := r.ask(t, radius.CodeCoARequest, fill...); err == nil || r.s.grant.session != 0 || r.s.grant.idle != 0 {
			t.Errorf("change, %s: %v", about, err)
		}
	}
	err := r.ask(t, radius.CodeDisconnectRequest, named, add(rfc2865.Class_Type, "decision-1"), addNumber(rfc2866.AcctTerminateCause_Type, 6))
	if err != nil || r.s.phase != phaseClosing || r.s.cause != AdminReset {
		t.Errorf("%v, %v, %v", err, r.s.phase, r.s.cause)
	}
	// While it ends it may be told again, but not changed.
	if err := r.ask(t, radius.CodeDisconnectRequest, named); err != nil {
		t.Error(err)
	}
	if err := r.ask(t, radius.CodeCoARequest, named, timeout); !errors.Is(err, radius.CauseSessionNotFound) {
		t.Error(err)
	}
	r.node.calls.free(r.s.callID, time.Now())
	if err := r.ask(t, radius.CodeDisconnectRequest, named); !errors.Is(err, radius.CauseSessionNotFound) {
		t.Error(err)
	}
}

// Limits that a CoA-Request moves, of a session that is up and of one that soon is.
func TestDynamicLimits(t *testing.T) {
	r := dynamicRig(t)
	s := r.s
	before := time.Now()
	s.lastActive.Store(before.Unix() - 20)
	if err := r.ask(t, radius.CodeCoARequest, named, addNumber(rfc2865.SessionTimeout_Type, 100), addNumber(rfc2865.IdleTimeout_Type, 30)); err != nil {
		t.Fatal(err)
	}
	if d := s.endAt.Sub(before); s.grant.session != 100*time.Second || d < 100*time.Second || d > 110*time.Second {
		t.Errorf("ends in %v", d)
	}
	if d := s.idleAt.Sub(time.Unix(before.Unix(), 0)); s.grant.idle != 30*time.Second || d != 10*time.Second {
		t.Errorf("idle in %v", d)
	}
	s.started, s.phase, s.endAt, s.idleAt = false, phaseNetwork, time.Time{}, time.Time{}
	if err := r.ask(t, radius.CodeCoARequest, named, addNumber(rfc2865.SessionTimeout_Type, 50)); err != nil {
		t.Fatal(err)
	}
	if s.grant.session != 50*time.Second || !s.endAt.IsZero() {
		t.Errorf("%v, %v", s.grant.session, s.endAt)
	}
	s.accepted = false
	if err := r.ask(t, radius.CodeCoARequest, named, addNumber(rfc2865.SessionTimeout_Type, 50)); !errors.Is(err, radius.CauseSessionNotFound) {
		t.Error(err)
	}
}

// A session may be ended before the service's answer to its login has come: else it
// would come up after all, and nobody would end it.
func TestDynamicBeforeTheAnswer(t *testing.T) {
	r := dynamicRig(t)
	r.s.phase, r.s.accepted, r.s.started, r.s.asking = phaseAuth, false, false, true
	if err := r.ask(t, radius.CodeDisconnectRequest, named, add(rfc2865.UserName_Type, "alice@corp.example")); err != nil {
		t.Fatal(err)
	}
	if r.s.phase != phaseClosing || r.s.cause != AdminReset {
		t.Errorf("%v, %v", r.s.phase, r.s.cause)
	}
}

// What the peer is told is what the service says, if it can be shown.
func TestDynamicText(t *testing.T) {
	long := string(make([]byte, 254))
	for text, want := range map[string]string{
		"":                       AdminReset.info().text,
		"Account disabled":       "Account disabled",
		"Zugriff gesperrt: Müll": "Zugriff gesperrt: Müll",
		"line\nbreak":            AdminReset.info().text,
		"\xff":                   AdminReset.info().text,
		long:                     AdminReset.info().text,
	} {
		r := dynamicRig(t)
		if err := r.ask(t, radius.CodeDisconnectRequest, named, add(rfc2865.ReplyMessage_Type, text)); err != nil {
			t.Fatal(err)
		}
		if got := r.s.parting(); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// fencedRig is a dynamicRig whose session has a place in a packet filter.
func fencedRig(t testing.TB) (*rig, *FakeFilter) {
	t.Helper()
	r := dynamicRig(t)
	f := &FakeFilter{Known: []string{"own"}}
	r.node.fence.filter = f
	set := *r.node.settings.Load()
	set.filter.Portal = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.20:443")}
	r.node.settings.Store(&set)
	var err error
	if r.s.post, err = r.node.fence.post(filter.Client{Addr: testInner}); err != nil {
		t.Fatal(err)
	}
	return r, f
}

// Changes that come at once are made one after another: what the packet filter holds in
// the end is what the session believes.
func TestDynamicChangesAtOnce(t *testing.T) {
	r, f := fencedRig(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 100 {
				fill := []func(*radius.Packet){named, heldBack(byte(1+i), testURL)}
				if k%2 == 0 {
					fill = []func(*radius.Packet){named, filterID(fmt.Sprintf("f%d-%d", i, k)), rules(testRule)}
				}
				if err := r.ask(t, radius.CodeCoARequest, fill...); err != nil {
					t.Error(err)
				}
				if k%10 == 0 { // the filter is looked at between two changes
					r.s.changing.Lock()
					c, _ := f.At(testInner)
					if held := r.s.portal.Load() != nil; held != c.Quarantine || r.s.grant.enforce.filter != c.Filter {
						t.Errorf("the session believes %q, the filter has %+v", r.s.grant.enforce.name(), c)
					}
					r.s.changing.Unlock()
				}
			}
		})
	}
	wg.Wait()
}

// The two bandwidths go together, and are numbers.
func TestDynamicBandwidth(t *testing.T) {
	r := dynamicRig(t)
	const some, more = "\x00\x01\x00\x00", "\x00\x02\x00\x00"
	for _, tc := range []struct {
		about    string
		fill     []func(*radius.Packet)
		up, down int64
		want     error
	}{
		{"both", []func(*radius.Packet){vendorValue(bandwidthUp, some), vendorValue(bandwidthDown, more)}, 1 << 16, 1 << 17, nil},
		{"one", []func(*radius.Packet){vendorValue(bandwidthUp, more)}, 1 << 17, 0, nil},
		{"half a number", []func(*radius.Packet){vendorValue(bandwidthUp, "ab")}, 1 << 17, 0, radius.CauseInvalidValue},
		{"with what is none of it", []func(*radius.Packet){vendorValue(bandwidthUp, some), vendorValue(vendorAttribute{14122, 1}, "x")}, 1 << 17, 0, radius.CauseUnsupportedAttribute},
		{"cut off", []func(*radius.Packet){vendorValue(bandwidthUp, some), add(rfc2865.VendorSpecific_Type, "\x00\x00\x37\x2a\x08\x09\x00")}, 1 << 17, 0, radius.CauseInvalidValue},
		{"too short for a vendor", []func(*radius.Packet){add(rfc2865.VendorSpecific_Type, "\x00\x00")}, 1 << 17, 0, radius.CauseInvalidValue},
		{"none", []func(*radius.Packet){vendorValue(bandwidthUp, "\x00\x00\x00\x00")}, 0, 0, nil},
	} {
		err := r.ask(t, radius.CodeCoARequest, append(tc.fill, named)...)
		if !errors.Is(err, tc.want) || r.s.inLimit.rate != tc.up || r.s.out.limit.rate != tc.down {
			t.Errorf("%s: %v, %d up, %d down", tc.about, err, r.s.inLimit.rate, r.s.out.limit.rate)
		}
	}
	if err := r.ask(t, radius.CodeDisconnectRequest, named, vendorValue(bandwidthUp, some)); !errors.Is(err, radius.CauseUnsupportedAttribute) {
		t.Errorf("an end with a bandwidth: %v", err)
	}
	if err := r.ask(t, radius.CodeDisconnectRequest, named, filterID("none")); !errors.Is(err, radius.CauseUnsupportedAttribute) {
		t.Errorf("an end with a filter: %v", err)
	}
}

// Whatever is asked, it is refused with a cause, or done.
func FuzzOrder(f *testing.F) {
	for _, fill := range [][]func(*radius.Packet){
		{named}, {named, addNumber(rfc2865.SessionTimeout_Type, 60)}, {add(rfc2865.UserName_Type, "alice"), named},
		{named, add(rfc2865.FramedIPAddress_Type, "\x0a\x50\x00\x0a"), add(rfc2865.ReplyMessage_Type, "bye")},
		{named, heldBack(60, testURL)}, {named, filterID("staff"), rules(testRule)}, {named, filterID("none"), vendorValue(bandwidthDown, "\x00\x01\x00\x00")},
	} {
		p := &radius.Packet{Code: radius.CodeCoARequest, Secret: []byte("x")}
		for _, a := range fill {
			a(p)
		}
		b, err := radius.EncodeRequest(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	r, filter := fencedRig(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := radius.Parse(b, radius.Secret{})
		if err != nil {
			return
		}
		r.s.grant.session, r.s.grant.idle, r.s.grant.up, r.s.grant.down = 0, 0, 1<<40, 1<<40 // no packet says that
		r.s.setLimits(time.Now())
		_ = filter.Said()
		p.Code = radius.CodeCoARequest
		err = r.node.carryOut(t.Context(), p)
		var cause radius.ErrorCause
		if c, _ := filter.At(testInner); c.Quarantine != (r.s.grant.enforce.held > 0) || c.Filter != r.s.grant.enforce.filter {
			t.Fatalf("the session believes %+v, the filter %+v", r.s.grant.enforce, c)
		}
		switch changed := r.s.grant.session > 0 || r.s.grant.idle > 0 || r.s.grant.up != 1<<40 || len(filter.Said()) > 0; {
		case err != nil && (!errors.As(err, &cause) || cause == radius.CauseUnknown):
			t.Fatal(err)
		case changed != (err == nil):
			t.Fatalf("changed %v, and %v", changed, err)
		}
		p.Code = radius.CodeDisconnectRequest
		if _, err := readOrder(p, r.node.name); err != nil && (!errors.As(err, &cause) || cause == radius.CauseUnknown) {
			t.Fatal(err)
		}
	})
}
