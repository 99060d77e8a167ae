package pptp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc3576"

	"postern/internal/config"
	"postern/internal/radius"
	"postern/pptp"
	"postern/pptp/client"
	"postern/pptp/tun/tuntest"
)

// Whole logins with a packet filter that only remembers.

const (
	portalURL  = "https://portal.example.org/s/token"
	staffRule  = "permit in tcp from assigned to 10.20.0.0/16 443"
	captiveAt  = 8199
	quarantine = 5 * time.Minute
)

var (
	firstLease = netip.MustParseAddr("10.80.0.10")
	portalAt   = netip.MustParseAddrPort("10.81.0.20:443")
)

// fenced is a world whose node has a packet filter and a portal.
type fenced struct {
	*world
	filter *pptp.FakeFilter
	tun    *tuntest.Device
	reg    *prometheus.Registry
}

func newFenced(t *testing.T) *fenced {
	t.Helper()
	f := &fenced{filter: &pptp.FakeFilter{Known: []string{"own"}}, reg: prometheus.NewRegistry()}
	f.world = newWorld(t, func(cfg *config.Gateway, d *pptp.Deps) {
		cfg.Filter.Portal = []netip.AddrPort{portalAt}
		d.Filter, d.Metrics = f.filter, f.reg
		f.tun = d.TUN.(*tuntest.Device)
	})
	return f
}

// grants makes the service add to what it grants from now on.
func (w *world) grants(fill ...func(*radius.Packet) error) {
	do := func(p *radius.Packet) error {
		var err error
		for _, f := range fill {
			err = errors.Join(err, f(p))
		}
		return err
	}
	w.service.adorn.Store(&do)
}

func named(name string) func(*radius.Packet) error {
	return func(p *radius.Packet) error { return rfc2865.FilterID_AddString(p, name) }
}

func ruled(rules ...string) func(*radius.Packet) error {
	return func(p *radius.Packet) error { return radius.AddFilterRules(p, rules) }
}

func held(d time.Duration) func(*radius.Packet) error {
	return func(p *radius.Packet) error { return radius.AddQuarantine(p, d, portalURL) }
}

func (f *fenced) dial() (*client.Session, error) {
	return client.Dial(f.t.Context(), f.clientConfig(clientAddr(0)))
}

func (f *fenced) up() *client.Session {
	f.t.Helper()
	s, err := f.dial()
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// value is a metric's, summed over what has all of the labels.
func (f *fenced) value(name string, labels ...string) float64 {
	f.t.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetValue())
			}
			if family.GetName() == name && !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(have, l) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// said compares what the packet filter was told, and forgets it.
func (f *fenced) said(want ...string) {
	f.t.Helper()
	synctest.Wait()
	if got := f.filter.Said(); !slices.Equal(got, want) {
		f.t.Errorf("the filter was told %q, not %q", got, want)
	}
}

// answers compares a reply to a request of RFC 5176.
func (f *fenced) answers(p *radius.Packet, code radius.Code, cause radius.ErrorCause) {
	f.t.Helper()
	if got := radius.ErrorCause(rfc3576.ErrorCause_Get(p)); p.Code != code || got != cause {
		f.t.Errorf("%v %v, want %v %v", p.Code, got, code, cause)
	}
}

// stopped is the only Accounting-Stop there is, a moment after the session's end.
func (f *fenced) stopped() stop {
	f.t.Helper()
	time.Sleep(10 * time.Second)
	f.service.mu.Lock()
	defer f.service.mu.Unlock()
	if len(f.service.stops) != 1 {
		f.t.Fatalf("%d stops", len(f.service.stops))
	}
	for _, s := range f.service.stops {
		return s
	}
	return stop{}
}

// The filter is in force before the client gets its address, and gone when the session
// is; every session has a place, also one without a filter.
func TestFilterAroundTheSession(t *testing.T) {
	for _, tc := range []struct {
		about string
		grant []func(*radius.Packet) error
		want  string
		id    string // accounting's
	}{
		{"no filter", nil, "none", ""},
		{"none", []func(*radius.Packet) error{named("none")}, "none", ""},
		{"the node's own", []func(*radius.Packet) error{named("own")}, "own/0", "own"},
		{"with rules", []func(*radius.Packet) error{named("staff"), ruled(staffRule, staffRule)}, "staff/2", "staff"},
		{"quarantine", []func(*radius.Packet) error{held(quarantine)}, "quarantine", "quarantine"},
	} {
		t.Run(tc.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFenced(t)
				f.grants(tc.grant...)
				f.filter.Takes = 3 * time.Second
				began := time.Now()
				go func() { // ends with the dial
					time.Sleep(2900 * time.Millisecond)
					if f.node.Sessions() != 0 || f.filter.Places() != 0 {
						t.Error("up before the filter is")
					}
				}()
				s := f.up()
				if d := time.Since(began); d < 3*time.Second || d > 4*time.Second {
					t.Errorf("took %v", d)
				}
				f.said(fmt.Sprintf("set %v %s", firstLease, tc.want))
				if c, ok := f.filter.At(firstLease); !ok || !slices.Equal(c.DNS, s.DNS()) || len(c.DNS) != 1 {
					t.Errorf("in force: %+v", c)
				}
				if _, err := s.Ping(t.Context(), farHost, 56); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if got := f.stopped(); got.filter != tc.id {
					t.Errorf("accounting says filter %q", got.filter)
				}
				f.said(fmt.Sprintf("remove %v", firstLease))
				if f.filter.Places() != 0 || f.value("postern_sessions_quarantined") != 0 {
					t.Error("something is left")
				}
			})
		})
	}
}

// A session that cannot be held to what it may do is not opened.
func TestFilterRefusesTheCall(t *testing.T) {
	fail := errors.New("netlink")
	for _, tc := range []struct {
		about  string
		grant  []func(*radius.Packet) error
		change func(*config.Gateway, *pptp.Deps, *pptp.FakeFilter)
		cause  pptp.Cause
	}{
		{"unknown filter", []func(*radius.Packet) error{named("unheard-of")}, nil, pptp.FilterFailed},
		{"a rule that is none", []func(*radius.Packet) error{named("staff"), ruled("permit everything")}, nil, pptp.FilterFailed},
		{"quarantine without a deadline", []func(*radius.Packet) error{named("quarantine")}, nil, pptp.FilterFailed},
		{"the kernel will not", nil, func(_ *config.Gateway, _ *pptp.Deps, f *pptp.FakeFilter) { f.Fail("set", fail) }, pptp.FilterFailed},
		{"no portal", []func(*radius.Packet) error{held(quarantine)}, func(c *config.Gateway, _ *pptp.Deps, _ *pptp.FakeFilter) { c.Filter.Portal = nil }, pptp.FilterFailed},
		{"no filter at all", []func(*radius.Packet) error{named("own")}, func(_ *config.Gateway, d *pptp.Deps, _ *pptp.FakeFilter) { d.Filter = nil }, pptp.FilterFailed},
		{"no filter for quarantine", []func(*radius.Packet) error{held(quarantine)}, func(_ *config.Gateway, d *pptp.Deps, _ *pptp.FakeFilter) { d.Filter = nil }, pptp.FilterFailed},
	} {
		t.Run(tc.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fenced{filter: &pptp.FakeFilter{Known: []string{"own"}}, reg: prometheus.NewRegistry()}
				f.world = newWorld(t, func(cfg *config.Gateway, d *pptp.Deps) {
					cfg.Filter.Portal = []netip.AddrPort{portalAt}
					d.Filter, d.Metrics = f.filter, f.reg
					if tc.change != nil {
						tc.change(cfg, d, f.filter)
					}
				})
				f.grants(append(tc.grant, framedRoute("10.50.7.0/24"))...)
				s, err := f.dial()
				if err == nil {
					t.Fatalf("a session with %v", s.Local())
				}
				var refused *client.RefusedError
				if errors.As(err, &refused) {
					t.Errorf("called a wrong password: %v", err)
				}
				if got := f.stopped(); got.count != 1 || got.cause != rfc2866.AcctTerminateCause_Value_NASError || got.filter != "" {
					t.Errorf("stop %+v", got)
				}
				if f.node.Sessions() != 0 || f.filter.Places() != 0 || f.node.Networks() != 0 || f.value("postern_sessions_ended_total", tc.cause.String()) != 1 ||
					f.value("postern_node_logins_total", "unusable") != 1 {
					t.Error("not refused as it should be")
				}
			})
		})
	}
}

// However a session ends, at whatever moment, it leaves no place behind.
func TestFilterLeavesNothing(t *testing.T) {
	for about, tc := range map[string]struct {
		takes, delay time.Duration // of the filter, of the service
		cut          time.Duration // after the call began
		how          func(f *fenced, cancel func())
	}{
		"the client gives up while the service is asked": {0, 10 * time.Second, 5 * time.Second, func(_ *fenced, cancel func()) { cancel() }},
		"the client gives up while the filter is made":   {10 * time.Second, 0, 5 * time.Second, func(_ *fenced, cancel func()) { cancel() }},
		"the node stops while the service is asked":      {0, 10 * time.Second, 5 * time.Second, func(f *fenced, _ func()) { f.node.Stop() }},
		"the node stops while the filter is made":        {10 * time.Second, 0, 5 * time.Second, func(f *fenced, _ func()) { f.node.Stop() }},
		"the node stops": {0, 0, 5 * time.Second, func(f *fenced, _ func()) { f.node.Stop() }},
		"the network fails, and the node stops": {0, 0, 5 * time.Second, func(f *fenced, _ func()) {
			f.net.SetFaults(netip.Addr{}, netip.Addr{}, faultsDown)
			f.node.Stop()
		}},
		"the network fails": {0, 0, 5 * time.Second, func(f *fenced, _ func()) { f.net.SetFaults(netip.Addr{}, netip.Addr{}, faultsDown) }},
		"an operator":       {0, 0, 5 * time.Second, func(f *fenced, _ func()) { f.ask(radius.CodeDisconnectRequest, f.started()) }},
	} {
		t.Run(about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFenced(t)
				f.grants(held(quarantine), framedRoute("10.50.7.0/24 0.0.0.0 1"))
				f.filter.Takes = tc.takes
				f.service.delay.Store(int64(tc.delay))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				dialled := make(chan *client.Session, 1)
				go func() { // ends with the dial
					s, _ := client.Dial(ctx, f.clientConfig(clientAddr(0)))
					dialled <- s
				}()
				time.Sleep(tc.cut)
				tc.how(f, cancel)
				time.Sleep(5 * time.Minute)
				if f.filter.Places() != 0 || f.node.Sessions() != 0 || f.value("postern_sessions_quarantined") != 0 {
					t.Errorf("%d places, %d sessions, %v in quarantine", f.filter.Places(), f.node.Sessions(), f.value("postern_sessions_quarantined"))
				}
				if routes := f.tun.Routes(); len(routes) != 0 || f.node.Networks() != 0 {
					t.Errorf("routes %v, %d networks", routes, f.node.Networks())
				}
				f.net.SetFaults(netip.Addr{}, netip.Addr{}, faultsUp)
				if s := <-dialled; s != nil {
					_ = s.Close()
				}
			})
		})
	}
}

// A service lifts a quarantine: the session goes on with the filter it got, and with
// the limit that came with it.
func TestQuarantineIsLifted(t *testing.T) {
	for _, tc := range []struct {
		about string
		to    []func(*radius.Packet) error
		want  string
	}{
		{"to a filter", []func(*radius.Packet) error{named("staff"), ruled(staffRule)}, "staff/1"},
		{"to the node's own", []func(*radius.Packet) error{named("own")}, "own/0"},
		{"to none", []func(*radius.Packet) error{named("none")}, "none"},
	} {
		t.Run(tc.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFenced(t)
				f.grants(held(quarantine))
				s := f.up()
				id := f.started()
				f.said(fmt.Sprintf("set %v quarantine", firstLease))
				if got := f.value("postern_sessions_quarantined"); got != 1 {
					t.Errorf("%v in quarantine", got)
				}
				time.Sleep(time.Minute)
				f.filter.Takes = time.Second
				began := time.Now()
				p := f.ask(radius.CodeCoARequest, id, append(tc.to, func(p *radius.Packet) error { return rfc2865.SessionTimeout_Set(p, 7200) },
					func(p *radius.Packet) error { return rfc2865.IdleTimeout_Set(p, 3*3600) })...)
				f.answers(p, radius.CodeCoAACK, 0)
				if time.Since(began) < time.Second {
					t.Error("acknowledged before it is enforced")
				}
				f.said(fmt.Sprintf("change %v %s", firstLease, tc.want))
				if got := f.value("postern_sessions_quarantined"); got != 0 {
					t.Errorf("%v in quarantine", got)
				}
				began = time.Now()
				<-s.Done()
				if d := time.Since(began); d < 2*time.Hour || d > 2*time.Hour+time.Minute {
					t.Errorf("ended after %v", d)
				}
				if got := f.stopped(); got.cause != rfc2866.AcctTerminateCause_Value_SessionTimeout {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// Nobody gives the second factor: the user reads why the session ends, on time, whether
// it was held back from the start or narrowed later.
func TestQuarantineRunsOut(t *testing.T) {
	for _, narrowed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFenced(t)
			if !narrowed {
				f.grants(held(quarantine))
			}
			began := time.Now()
			s := f.up()
			if narrowed {
				f.said(fmt.Sprintf("set %v none", firstLease))
				time.Sleep(time.Minute)
				f.answers(f.ask(radius.CodeCoARequest, f.started(), held(quarantine)), radius.CodeCoAACK, 0)
				f.said(fmt.Sprintf("change %v quarantine", firstLease))
				began = time.Now()
			}
			stay := time.NewTicker(time.Minute)
			defer stay.Stop()
			for live := true; live; { // not idle
				select {
				case <-s.Done():
					live = false
				case <-stay.C:
					_, _ = s.Ping(t.Context(), farHost, 56)
				}
			}
			if d := time.Since(began); d < quarantine || d > quarantine+5*time.Second {
				t.Errorf("narrowed %v: ended after %v", narrowed, d)
			}
			var ended *client.EndedError
			if !errors.As(s.Err(), &ended) || ended.Text != "second factor not given in time" {
				t.Errorf("the client was told %v", s.Err())
			}
			if got := f.stopped(); got.cause != rfc2866.AcctTerminateCause_Value_SessionTimeout || got.filter != "quarantine" {
				t.Errorf("%+v", got)
			}
			if f.value("postern_sessions_ended_total", pptp.QuarantineTimeout.String()) != 1 || f.filter.Places() != 0 {
				t.Error("not ended as it should be")
			}
		})
	}
}

// A change is made as a whole or not at all, and the NAK says why.
func TestChangeIsWholeOrNot(t *testing.T) {
	limit := func(p *radius.Packet) error { return rfc2865.SessionTimeout_Set(p, 60) }
	for _, tc := range []struct {
		about  string
		fill   []func(*radius.Packet) error
		change func(*fenced)
		cause  radius.ErrorCause
	}{
		{"unknown filter", []func(*radius.Packet) error{limit, named("unheard-of")}, nil, radius.CauseInvalidValue},
		{"a rule that is none", []func(*radius.Packet) error{limit, named("staff"), ruled("permit everything")}, nil, radius.CauseInvalidValue},
		{"rules without a name", []func(*radius.Packet) error{limit, ruled(staffRule)}, nil, radius.CauseMissingAttribute},
		{"quarantine without a deadline", []func(*radius.Packet) error{limit, named("quarantine")}, nil, radius.CauseMissingAttribute},
		{"two filters", []func(*radius.Packet) error{limit, named("own"), named("staff")}, nil, radius.CauseInvalidValue},
		{"the kernel will not", []func(*radius.Packet) error{limit, named("own")}, func(f *fenced) { f.filter.Fail("change", errors.New("netlink")) }, radius.CauseResourcesUnavailable},
		{"what we do not know", []func(*radius.Packet) error{limit, named("own"), func(p *radius.Packet) error { return rfc2865.FramedMTU_Set(p, 1400) }}, nil, radius.CauseUnsupportedAttribute},
	} {
		t.Run(tc.about, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFenced(t)
				f.grants(held(quarantine))
				s := f.up()
				if tc.change != nil {
					tc.change(f)
				}
				f.answers(f.ask(radius.CodeCoARequest, f.started(), tc.fill...), radius.CodeCoANAK, tc.cause)
				if c, _ := f.filter.At(firstLease); !c.Quarantine || f.value("postern_sessions_quarantined") != 1 {
					t.Error("the filter was changed")
				}
				time.Sleep(2 * time.Minute)
				select {
				case <-s.Done():
					t.Error("the limit was changed")
				default:
				}
				_ = s.Close()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // a node that filters nothing
		w := newWorld(t, nil)
		f := &fenced{world: w}
		s := f.up()
		f.answers(w.ask(radius.CodeCoARequest, w.started(), named("own")), radius.CodeCoANAK, radius.CauseUnsupportedAttribute)
		f.answers(w.ask(radius.CodeCoARequest, w.started(), held(quarantine)), radius.CodeCoANAK, radius.CauseUnsupportedAttribute)
		f.answers(w.ask(radius.CodeCoARequest, w.started(), named("none")), radius.CodeCoAACK, 0)
		_ = s.Close()
	})
	synctest.Test(t, func(t *testing.T) { // one without a portal
		w := newWorld(t, func(_ *config.Gateway, d *pptp.Deps) { d.Filter = new(pptp.FakeFilter) })
		f := &fenced{world: w}
		s := f.up()
		f.answers(w.ask(radius.CodeCoARequest, w.started(), held(quarantine)), radius.CodeCoANAK, radius.CauseProhibited)
		_ = s.Close()
	})
}

// A session that ends while it is changed: the change is refused, and its place goes.
func TestChangeWhileEnding(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, 1900 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			f := newFenced(t)
			f.grants(held(quarantine))
			s := f.up()
			id := f.started()
			f.filter.Takes = 2 * time.Second
			answered := make(chan *radius.Packet)
			go func() { answered <- f.ask(radius.CodeCoARequest, id, named("own")) }() // received below
			time.Sleep(after)
			_ = s.Close()
			f.answers(<-answered, radius.CodeCoANAK, radius.CauseSessionNotFound)
			f.stopped()
			if f.filter.Places() != 0 {
				t.Errorf("closed after %v: a place is left", after)
			}
		})
	}
}

// An address is leased again at once: the new session's filter stays although the old
// one's place is taken away later.
func TestAddressIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFenced(t)
		always := func(p *radius.Packet) error { return rfc2865.FramedIPAddress_Set(p, firstLease.AsSlice()) }
		f.grants(always, held(quarantine))
		s := f.up()

		t.Log("while it is in use, nobody else gets it, and its filter stays")
		f.grants(always, named("own"))
		cfg := f.clientConfig(clientAddr(1))
		if other, err := client.Dial(t.Context(), cfg); err == nil {
			t.Fatalf("two sessions with %v", other.Local())
		}
		f.said(fmt.Sprintf("set %v quarantine", firstLease))
		if f.value("postern_sessions_ended_total", pptp.ServiceFault.String()) != 1 {
			t.Error("not called what it is")
		}

		t.Log("when it ends, the next one has it although the filter is slow")
		f.filter.Takes = 2 * time.Second
		_ = s.Close()
		next, err := client.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if c, ok := f.filter.At(firstLease); !ok || c.Filter != "own" || c.Quarantine {
			t.Errorf("in force: %+v, %v", c, ok)
		}
		if _, err := next.Ping(t.Context(), farHost, 56); err != nil {
			t.Error(err)
		}
		_ = next.Close()
		time.Sleep(10 * time.Second)
		if f.filter.Places() != 0 {
			t.Error("a place is left")
		}
	})
}

// The captive server answers on the inside address for as long as the node runs, and
// knows who is held back.
func TestCaptive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFenced(t)
		get := func(from netip.Addr) string {
			conn, err := f.net.Host(from).Dial(t.Context(), netip.AddrPortFrom(inside, captiveAt))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET http://example.org/ HTTP/1.1\r\n\r\n"); err != nil {
				t.Error(err)
			}
			b, _ := io.ReadAll(conn)
			return string(b)
		}
		f.grants(held(quarantine))
		s := f.up()
		synctest.Wait() // the client may be up a moment before the node knows it
		if got := get(firstLease); !strings.HasPrefix(got, "HTTP/1.1 302 ") || !strings.Contains(got, "\r\nLocation: "+portalURL+"\r\n") {
			t.Errorf("held back: %q", got)
		}
		if got := get(farHost); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
			t.Errorf("a stranger: %q", got)
		}
		f.answers(f.ask(radius.CodeCoARequest, f.started(), named("none")), radius.CodeCoAACK, 0)
		if got := get(firstLease); !strings.HasPrefix(got, "HTTP/1.1 503 ") || strings.Contains(got, "example.org") || strings.Contains(got, portalURL) {
			t.Errorf("let through: %q", got)
		}
		_ = s.Close()
		time.Sleep(5 * time.Second)
		if got := get(firstLease); !strings.HasPrefix(got, "HTTP/1.1 403 ") {
			t.Errorf("ended: %q", got)
		}
		f.node.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if conn, err := f.net.Host(firstLease).Dial(ctx, netip.AddrPortFrom(inside, captiveAt)); err == nil {
			t.Error("the server outlives its node")
			_ = conn.Close()
		}
		if f.value("postern_captive_answers_total", "redirect") != 1 || f.value("postern_captive_answers_total", "free") != 1 {
			t.Error("not counted")
		}
	})
}

// A node that filters nothing has no port for HTTP; one that cannot open it does not
// start, and leaves nothing behind.
func TestCaptivePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.net.Host(firstLease).Dial(ctx, netip.AddrPortFrom(inside, captiveAt)); err == nil {
			t.Error("it listens")
		}
	})
	before := runtime.NumGoroutine()
	synctest.Test(t, func(t *testing.T) {
		f := newFenced(t)
		f.stop()
		taken, err := f.net.Host(inside).Listen(captiveAt)
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		var deps pptp.Deps
		w := newWorld(t, func(_ *config.Gateway, d *pptp.Deps) { deps = *d })
		w.stop()
		cfg, err := config.ParseGateway("test.yaml", []byte("node: x\npptp: {inside: 10.80.0.1, listen: 192.0.2.1:1723}\nradius: {servers: [{name: s, transport: udp, address: 'a:1', acct_address: 'a:2', secret_env: X}]}\n"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Spool.Dir = ""
		listen := f.listen
		deps.Filter, deps.Metrics, deps.Listen = new(pptp.FakeFilter), nil, listen
		n, err := pptp.New(cfg, deps)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(); err == nil || !strings.Contains(err.Error(), "quarantine") {
			t.Errorf("started: %v", err)
		}
		n.Stop()
	})
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines before, %d after", before, runtime.NumGoroutine())
		}
	}
}

// A bandwidth comes with the login, and is moved and taken away while the session runs.
func TestBandwidthOfASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFenced(t)
		f.grants(func(p *radius.Packet) error { return radius.AddBandwidth(p, 1_000_000, 0) })
		s := f.up()
		// Through the limit of a direction only so many pings get, whatever is sent.
		answered := func() (n int) {
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				if _, err := s.Ping(ctx, farHost, 1372); err == nil {
					n++
				}
				cancel()
				time.Sleep(time.Millisecond)
			}
			return n
		}
		dropped := func(d string) float64 { return f.value("postern_packets_dropped_total", d) }
		answered()
		if dropped("bandwidth limit in") == 0 || dropped("bandwidth limit out") != 0 {
			t.Errorf("%v in, %v out", dropped("bandwidth limit in"), dropped("bandwidth limit out"))
		}
		id := f.started()
		f.answers(f.ask(radius.CodeCoARequest, id, func(p *radius.Packet) error { return radius.AddBandwidth(p, 0, 1_000_000) }), radius.CodeCoAACK, 0)
		before := dropped("bandwidth limit in")
		answered()
		if dropped("bandwidth limit in") != before || dropped("bandwidth limit out") == 0 {
			t.Errorf("moved to the other direction: %v in, %v out", dropped("bandwidth limit in")-before, dropped("bandwidth limit out"))
		}
		_ = s.Close()
	})
}
