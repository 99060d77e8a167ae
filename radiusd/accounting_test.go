package radiusd

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/authz"
	"postern/authz/session"
	"postern/internal/radius"
)

func TestAccounting(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	stop := func(p *radius.Packet) {
		_ = rfc2866.AcctStatusType_Set(p, rfc2866.AcctStatusType_Value_Stop)
		_ = rfc2866.AcctSessionID_SetString(p, "5f-0001")
		_ = rfc2865.UserName_SetString(p, "alice")
		_ = rfc2865.NASIdentifier_SetString(p, "gw1")
		_ = rfc2865.FramedIPAddress_Set(p, net.IPv4(10, 20, 0, 7))
		_ = rfc2865.CallingStationID_SetString(p, "198.51.100.7")
		_ = rfc2865.Class_Add(p, []byte("\x00somebody else's"))
		_ = rfc2865.Class_Add(p, []byte("01HZX-decision"))
		_ = rfc2866.AcctSessionTime_Set(p, 3600)
		_ = rfc2866.AcctInputOctets_Set(p, 5)
		_ = rfc2869.AcctInputGigawords_Set(p, 2)
		_ = rfc2866.AcctOutputOctets_Set(p, 1<<32-1)
		_ = rfc2869.AcctOutputGigawords_Set(p, 1)
		_ = rfc2866.AcctInputPackets_Set(p, 11)
		_ = rfc2866.AcctOutputPackets_Set(p, 12)
		_ = rfc2866.AcctTerminateCause_Set(p, rfc2866.AcctTerminateCause_Value_UserRequest)
		_ = rfc2869.EventTimestamp_Set(p, at)
		_ = rfc2866.AcctDelayTime_Set(p, 3)
	}
	s := newService(t, Config{})
	wantCode(t, s.ask(t, accountingRequest(t, stop), loopback), radius.CodeAccountingResponse)
	all := s.accounter.all()
	if len(all) != 1 || all[0].Received.IsZero() {
		t.Fatalf("stored %+v", all)
	}
	got := all[0]
	got.Received = time.Time{}
	if !got.Event.Equal(at) {
		t.Errorf("event at %v", got.Event)
	}
	got.Event = time.Time{}
	if want := (authz.Accounting{
		Status: authz.AcctStop, NAS: authz.NAS{ID: "gw1", Addr: netip.MustParseAddr("127.0.0.1"), Client: "loopback"}, SessionID: "5f-0001", User: "alice",
		Source: netip.MustParseAddr("198.51.100.7"), Addr: netip.MustParseAddr("10.20.0.7"), Decision: "01HZX-decision",
		Usage: session.Usage{Time: time.Hour, InOctets: 2<<32 + 5, OutOctets: 2<<32 - 1, InPackets: 11, OutPackets: 12},
		Cause: 1, Delay: 3 * time.Second,
	}); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAccountingStatus(t *testing.T) {
	for wire, want := range map[rfc2866.AcctStatusType]authz.AcctStatus{
		rfc2866.AcctStatusType_Value_Start: authz.AcctStart, rfc2866.AcctStatusType_Value_InterimUpdate: authz.AcctInterim,
		rfc2866.AcctStatusType_Value_Stop: authz.AcctStop, rfc2866.AcctStatusType_Value_AccountingOn: authz.AcctOn,
		rfc2866.AcctStatusType_Value_AccountingOff: authz.AcctOff,
	} {
		s := newService(t, Config{})
		session := func(p *radius.Packet) { _ = rfc2866.AcctSessionID_SetString(p, "1") }
		if want == authz.AcctOn || want == authz.AcctOff {
			session = func(*radius.Packet) {} // about all sessions, and some NAS name none
		}
		p := s.ask(t, accountingRequest(t, session, func(p *radius.Packet) { _ = rfc2866.AcctStatusType_Set(p, wire) }), loopback)
		wantCode(t, p, radius.CodeAccountingResponse)
		if got := s.accounter.all(); len(got) != 1 || got[0].Status != want {
			t.Errorf("%v: stored %+v", wire, got)
		}
		if s.counted(t, "accounting_total", "status="+want.String()) != 1 {
			t.Errorf("%v is not counted", want)
		}
	}
}

// RFC 2866 §4.1: what is not stored is not acknowledged, and its repetition is not
// taken for one that was.
func TestAccountingNotStored(t *testing.T) {
	s := newService(t, Config{})
	s.accounter.err = errors.New("the store is away")
	req := accountingRequest(t, start("1"))
	for range 3 {
		if s.ask(t, req, loopback) != nil {
			t.Fatal("acknowledged")
		}
	}
	s.dropped(t, "not_stored", 3)
	if n := strings.Count(s.log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want one in a while", n)
	}
	s.accounter.err = nil
	wantCode(t, s.ask(t, req, loopback), radius.CodeAccountingResponse)
}

// A NAS that signs no accounting gets none signed: it may refuse what it does not
// know (RFC 2866 §5.13).
func TestAccountingUnsigned(t *testing.T) {
	s := newService(t, Config{})
	p := &radius.Packet{Code: radius.CodeAccountingRequest, Secret: sharedSecret.Bytes()}
	start("1")(p)
	req, err := p.Encode()
	must(t, err)
	reply := s.ask(t, req, loopback)
	wantCode(t, reply, radius.CodeAccountingResponse)
	if _, ok := reply.Lookup(rfc2869.MessageAuthenticator_Type); ok {
		t.Error("signed")
	}
}

// A NAS without Gigawords has 32 bits only, and a node of ours says more of the end.
func TestAccountingWidthAndDisconnect(t *testing.T) {
	s := newService(t, Config{})
	var told []string
	s.ForwardTo(forwarderFunc(func(client string, a *authz.Accounting, p *radius.Packet) {
		told = append(told, client+" "+a.SessionID+" "+rfc2866.AcctSessionID_GetString(p))
	}))
	wide := func(p *radius.Packet) { _ = rfc2869.AcctOutputGigawords_Set(p, 0) }
	end := func(p *radius.Packet) {
		_ = rfc2866.AcctStatusType_Set(p, rfc2866.AcctStatusType_Value_Stop)
		_ = radius.AddDisconnectCode(p, 8)
	}
	for _, with := range [][]func(*radius.Packet){{start("1")}, {start("2"), wide}, {start("3"), wide, end}} {
		wantCode(t, s.ask(t, accountingRequest(t, with...), loopback), radius.CodeAccountingResponse)
	}
	all := s.accounter.all()
	if len(all) != 3 || all[0].Width != session.Narrow || all[1].Width != session.Wide || all[1].Disconnect != 0 || all[2].Disconnect.String() != "lcp-timeout" {
		t.Errorf("%+v", all)
	}
	s.accounter.err = errors.New("the store is away")
	if s.ask(t, accountingRequest(t, start("4")), loopback) != nil {
		t.Error("acknowledged")
	}
	if got := strings.Join(told, ", "); got != "loopback 1 1, loopback 2 2, loopback 3 3" {
		t.Errorf("forwarded %s", got)
	}
}

type forwarderFunc func(string, *authz.Accounting, *radius.Packet)

func (f forwarderFunc) Forward(client string, a *authz.Accounting, p *radius.Packet) { f(client, a, p) }
