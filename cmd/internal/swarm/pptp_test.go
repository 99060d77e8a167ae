package swarm

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/internal/mschap"
	"postern/internal/simnet"
	"postern/pptp/client"
	"postern/pptp/gre"
	"postern/pptp/gre/gretest"
)

var (
	node1 = netip.MustParseAddr("192.0.2.1")
	node2 = netip.MustParseAddr("192.0.2.2")
)

// on puts clients on a simulated network.
func (o PPTP) on(n *simnet.Network, servers ...netip.Addr) PPTP {
	o.Separator, o.Timeout = "+", 20*time.Second
	for _, s := range servers {
		o.Servers = append(o.Servers, netip.AddrPortFrom(s, client.Port))
	}
	o.Locals, _ = Locals("198.51.100.1-198.51.100.4", 4)
	o.DialTCP = func(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
		return n.Host(local).Dial(ctx, to)
	}
	o.ListenGRE = func(local netip.Addr) (gre.Conn, error) { return gretest.Listen(n.Host(local)), nil }
	return o
}

func runPPTP(t *testing.T, o PPTP) *Result {
	t.Helper()
	res, err := o.Run(t.Context(), t.Context(), NewTally())
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// Clients of two nodes log in with MPPE, some with codes, talk, and hang up.
func TestPPTPClients(t *testing.T) {
	r := newRig(t, 10, 4)
	n := simnet.New(1)
	g1, g2 := r.node(t, n, node1), r.node(t, n, node2)
	all := append(append([]User(nil), r.plain[:10]...), r.coded...)
	res := runPPTP(t, PPTP{Users: all, Clients: 14, Rate: 100, Hold: time.Second, Traffic: 20_000}.on(n, node1, node2))
	counted(t, res, Counts{Started: 14, Accepted: 14})
	s := steps(res)
	for _, step := range []string{"connect", "call", "lcp", "auth", "network", "dial"} {
		if s[step] != 14 {
			t.Errorf("%d times %s", s[step], step)
		}
	}
	x := res.Traffic
	if x == nil || x.Answered == 0 || x.Answered < x.Sent*9/10 || s["ping"] != x.Answered || x.InOctets == 0 || x.Unreadable+x.Cleartext != 0 {
		t.Errorf("traffic %+v", x)
	}
	if res.Peak < 7 || res.Verdict(0) != Right {
		t.Errorf("%d sessions at once, %v", res.Peak, res.Verdict(0))
	}
	for end := time.Now().Add(10 * time.Second); g1.Sessions()+g2.Sessions() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d and %d sessions are left on the nodes", g1.Sessions(), g2.Sessions())
		}
	}
}

// Who is refused is not asked again and again; who finds a node gone goes to the
// other one.
func TestPPTPFailures(t *testing.T) {
	r := newRig(t, 6, 0)
	n := simnet.New(1)
	r.node(t, n, node1)
	all := append([]User(nil), r.plain[:6]...)
	all[5].hash = mschap.NTHash("another")
	// Half of them begin at an address where no node is.
	res := runPPTP(t, PPTP{Users: all, Clients: 6, Hold: 100 * time.Millisecond}.on(n, node1, node2))
	if res.Accepted != 5 || res.Refused != 1 || res.Retried != 3 || res.RetriedBy["no control connection to the server"] != 3 || res.Wrong != 0 {
		t.Errorf("%+v %v %v", res.Counts, res.RetriedBy, res.RefusedBy)
	}
	for why := range res.RefusedBy {
		if !strings.HasPrefix(why, "691") {
			t.Errorf("refused: %s", why)
		}
	}
	if res.Verdict(0) != Short || res.Verdict(.2) != Right {
		t.Errorf("verdicts %v, %v", res.Verdict(0), res.Verdict(.2))
	}
	res = runPPTP(t, PPTP{Users: all, Clients: 1, Tries: 1}.on(n, node2))
	counted(t, res, Counts{Started: 1, Unanswered: 1})
}

// Clients whose node ends come back on the other one, without a second login of
// anybody else's, and stay for the rest of their time.
func TestPPTPComesBack(t *testing.T) {
	r := newRig(t, 6, 0)
	n := simnet.New(1)
	g1, g2 := r.node(t, n, node1), r.node(t, n, node2)
	time.AfterFunc(1500*time.Millisecond, g1.Stop)
	res := runPPTP(t, PPTP{Users: r.plain[:6], Clients: 6, Hold: 5 * time.Second, Redial: true}.on(n, node1, node2))
	if res.Started != 9 || res.Accepted != 9 || res.Cut != 3 || steps(res)["return"] != 3 || res.Wrong != 0 {
		t.Errorf("%+v %v %v", res.Counts, res.CutBy, res.RetriedBy)
	}
	if g2.Sessions() > 6 {
		t.Errorf("%d sessions", g2.Sessions())
	}
}

// Clients that dial again and again, and are interrupted.
func TestPPTPEndsPolitely(t *testing.T) {
	r := newRig(t, 4, 0)
	n := simnet.New(1)
	g := r.node(t, n, node1)
	polite, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	time.AfterFunc(2*time.Second, interrupt)
	tally := NewTally()
	res, err := PPTP{Users: r.plain[:4], Clients: 4, Hold: 200 * time.Millisecond, Duration: time.Hour}.on(n, node1).Run(t.Context(), polite, tally)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Interrupted || res.Accepted < 8 || res.Wrong+res.Refused+res.Broken+res.Unanswered != 0 || tally.Counts().Live != 0 {
		t.Errorf("%+v", res.Counts)
	}
	for end := time.Now().Add(10 * time.Second); g.Sessions() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d sessions are left on the node", g.Sessions())
		}
	}
}

func TestPPTPChecksItsOptions(t *testing.T) {
	good := PPTP{Users: users(t, "a"), Clients: 1, Packet: 512}.on(simnet.New(1), node1)
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for want, breakIt := range map[string]func(*PPTP){
		"no server":          func(o *PPTP) { o.Servers = nil },
		"no users":           func(o *PPTP) { o.Users = nil },
		"no clients":         func(o *PPTP) { o.Clients = 0 },
		"a user of its own":  func(o *PPTP) { o.Clients = 2 },
		"a negative number":  func(o *PPTP) { o.Hold = -1 },
		"packets of 27":      func(o *PPTP) { o.Packet = 27 },
		"packets of 1401":    func(o *PPTP) { o.Packet = 1401 },
		"to an IPv4 address": func(o *PPTP) { o.Ping = netip.IPv6LinkLocalAllNodes() },
	} {
		bad := good
		breakIt(&bad)
		if _, err := bad.Run(t.Context(), t.Context(), NewTally()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, c := range []Codes{CodesAlways, CodesFirst, CodesNever} {
		if got, err := ParseCodes(c.String()); err != nil || got != c {
			t.Errorf("%v became %v, %v", c, got, err)
		}
	}
	if _, err := ParseCodes("sometimes"); err == nil || Codes(9).String() != "unknown" {
		t.Error("sometimes?")
	}
}
