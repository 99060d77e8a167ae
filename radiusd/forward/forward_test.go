package forward

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/authz"
	"postern/authz/session"
	"postern/internal/radius"
)

// server is an accounting server that can be away, or never answer.
type server struct {
	mu    sync.Mutex
	away  bool
	stuck chan struct{} // closed: answers
	got   []*radius.Packet
}

func (s *server) Exchange(ctx context.Context, p *radius.Packet) (*radius.Packet, error) {
	if s.stuck != nil {
		select {
		case <-s.stuck:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, radius.ErrNoAnswer
	}
	s.got = append(s.got, p)
	return &radius.Packet{Code: radius.CodeAccountingResponse}, nil
}

func (s *server) list() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, p := range s.got {
		all = append(all, rfc2866.AcctSessionID_GetString(p)+" "+rfc2866.AcctStatusType_Get(p).String())
	}
	return strings.Join(all, ", ")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func accounting(id string, status rfc2866.AcctStatusType) (*authz.Accounting, *radius.Packet) {
	p := &radius.Packet{Code: radius.CodeAccountingRequest}
	_ = rfc2866.AcctStatusType_Set(p, status)
	_ = rfc2866.AcctSessionID_SetString(p, id)
	_ = rfc2865.ProxyState_Add(p, []byte("before us"))
	_ = rfc2865.Class_Add(p, []byte("decision"))
	p.Add(rfc2869.MessageAuthenticator_Type, make([]byte, 16))
	return &authz.Accounting{Received: time.Now(), SessionID: id, NAS: authz.NAS{Addr: netip.MustParseAddr("192.0.2.7"), Client: "nas1"}}, p
}

const (
	start   = rfc2866.AcctStatusType_Value_Start
	interim = rfc2866.AcctStatusType_Value_InterimUpdate
	stopped = rfc2866.AcctStatusType_Value_Stop
)

// Each destination gets what it asked for, however long it was away, over a restart.
func TestForward(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	synctest.Test(t, func(t *testing.T) {
		billing, site := &server{away: true}, &server{}
		open := func() *Forwarder {
			f, err := New([]Destination{
				{Name: "billing", Servers: billing, Dir: dir}, {Name: "site", Servers: site, Clients: []string{"nas2"}},
			}, quiet(), nil)
			if err != nil {
				t.Fatal(err)
			}
			f.Start()
			return f
		}
		f := open()
		for _, status := range []rfc2866.AcctStatusType{start, interim, interim, stopped} {
			a, p := accounting("s1", status)
			f.Forward("nas1", a, p)
		}
		a, p := accounting("s2", start)
		f.Forward("nas2", a, p)
		time.Sleep(time.Minute)
		f.Stop()
		if got := site.list(); got != "s2 Start" {
			t.Errorf("the site got %q", got)
		}
		f = open()
		time.Sleep(10 * time.Second)
		billing.mu.Lock()
		billing.away = false
		billing.mu.Unlock()
		time.Sleep(time.Minute)
		f.Stop()
		got := billing.list()
		for _, want := range []string{"s1 Start, s1 Stop", "s2 Start"} {
			if !strings.Contains(got, want) || strings.Count(got, ",") != 2 {
				t.Errorf("billing got %q, want %q in it", got, want)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
		q := billing.got[0]
		if rfc2866.AcctDelayTime_Get(q) < 60 {
			t.Errorf("Acct-Delay-Time %d", rfc2866.AcctDelayTime_Get(q))
		}
		if q.Get(rfc2865.ProxyState_Type) != nil || q.Get(rfc2869.MessageAuthenticator_Type) != nil {
			t.Error("what was between NAS and service was forwarded")
		}
		if rfc2865.NASIPAddress_Get(q).String() != "192.0.2.7" || string(rfc2865.Class_Get(q)) != "decision" {
			t.Errorf("attributes %v", q.Attributes)
		}
	})
}

// A destination that does not answer, and a disk that does not write, keep nobody waiting;
// what has no room is counted.
func TestForwardNeverWaits(t *testing.T) {
	s := &server{stuck: make(chan struct{})}
	reg := prometheus.NewRegistry()
	f, err := New([]Destination{{Name: "x", Servers: s, Queue: 100}}, quiet(), reg)
	if err != nil {
		t.Fatal(err)
	}
	a, p := accounting("s", stopped)
	began := time.Now()
	const more = 50
	for range handover + more { // it was not started: nobody takes any
		f.Forward("nas1", a, p)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%d records took %v", handover+more, took)
	}
	if taken, dropped := counter(t, reg, "records_total"), counter(t, reg, "dropped_total"); taken != handover+more || dropped != more {
		t.Errorf("%v taken, %v dropped", taken, dropped)
	}
	f.Start()
	for deadline := time.Now().Add(10 * time.Second); len(f.records) > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := f.to[0].waiting.Load(); n > 100 {
		t.Errorf("%d records in a queue of 100", n)
	}
	close(s.stuck)
	f.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if dropped := counter(t, reg, "dropped_total"); int(dropped)+len(s.got) != handover+more {
		t.Errorf("%d sent and %v dropped of %d", len(s.got), dropped, handover+more)
	}
}

func counter(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.GetName() == "postern_accounting_forward_"+name {
			return m.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// What we end ourselves is told as a NAS would have.
func TestForwardOwnStop(t *testing.T) {
	s := &server{}
	f, err := New([]Destination{{Name: "x", Servers: s}}, quiet(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Start()
	at := time.Now().Add(-time.Minute)
	rec := session.Record{
		ID: "gw1/7", Node: "gw1", Acct: "7", NASID: "gw1", NASAddr: netip.MustParseAddr("192.0.2.1"), User: "alice",
		Addr: netip.MustParseAddr("10.0.0.7"), Source: netip.MustParseAddr("198.51.100.7"), Decision: "d1",
		Usage: session.Usage{Time: time.Hour, InOctets: 5<<32 + 6, OutOctets: 7, InPackets: 1<<32 + 8, OutPackets: 9},
		Cause: session.LostCarrier, Ended: at,
	}
	for _, told := range []session.Told{
		{Event: session.Event{Kind: session.EventStop, At: at, Record: rec}, Own: true},
		{Event: session.Event{Kind: session.EventStop, At: at, Record: rec}},                                // its NAS has said so
		{Event: session.Event{Kind: session.EventStop, At: at, Record: rec}, Own: true, Repeated: true},     // another service has
		{Event: session.Event{Kind: session.EventStart, At: at, Record: rec}, Own: true},                    //
		{Event: session.Event{Kind: session.EventStop, At: at, Record: session.Record{ID: "/"}}, Own: true}, // nothing is known
	} {
		f.Told(&told)
	}
	f.Stop()
	if len(s.got) != 2 {
		t.Fatalf("sent %s", s.list())
	}
	p := s.got[0]
	if rfc2866.AcctSessionID_GetString(p) == "" {
		p = s.got[1]
	}
	got := fmt.Sprintf("%v %s %s %v %v %s %v %d %d+%dG %d %d %s", rfc2866.AcctStatusType_Get(p), rfc2865.UserName_GetString(p),
		rfc2865.NASIdentifier_GetString(p), rfc2865.NASIPAddress_Get(p), rfc2865.FramedIPAddress_Get(p), rfc2865.CallingStationID_GetString(p),
		rfc2866.AcctTerminateCause_Get(p), rfc2866.AcctSessionTime_Get(p), rfc2866.AcctInputOctets_Get(p), rfc2869.AcctInputGigawords_Get(p),
		rfc2866.AcctOutputOctets_Get(p), rfc2866.AcctInputPackets_Get(p), rfc2865.Class_Get(p))
	if want := "Stop alice gw1 192.0.2.1 10.0.0.7 198.51.100.7 Lost-Carrier 3600 6+5G 7 8 d1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if d := rfc2866.AcctDelayTime_Get(p); d < 59 || d > 70 {
		t.Errorf("Acct-Delay-Time %d", d)
	}
}

func TestForwardOpensNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New([]Destination{{Name: "x", Dir: file}}, quiet(), nil); err == nil || !strings.Contains(err.Error(), "forward accounting to x") {
		t.Error(err)
	}
}
