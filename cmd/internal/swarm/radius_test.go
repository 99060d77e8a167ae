package swarm

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/internal/mschap"
	"postern/internal/radius"
)

// counted fails the test where counts are not as they should be.
func counted(t *testing.T, r *Result, want Counts) {
	t.Helper()
	got := r.Counts
	got.Peak, got.Live, got.Skipped, want.Skipped = 0, 0, 0, 0
	if got != want {
		t.Errorf("counted %+v\nwant    %+v\n%v %v %v %v", got, want, r.RefusedBy, r.UnansweredBy, r.BrokenBy, r.WrongBy)
	}
}

func steps(r *Result) map[string]uint64 {
	m := map[string]uint64{}
	for _, s := range r.Steps {
		m[s.Step] = s.Count
	}
	return m
}

func runRadius(t *testing.T, o Radius) *Result {
	t.Helper()
	o.Separator = "+"
	res, err := o.Run(t.Context(), t.Context(), NewTally())
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestRadiusLogins(t *testing.T) {
	r := newRig(t, 20, 2)
	res := runRadius(t, Radius{Servers: []radius.Server{r.server}, Users: r.plain[:20], Count: 100})
	counted(t, res, Counts{Started: 100, Accepted: 100})
	if s := steps(res); s["access"] != 100 || len(s) != 1 {
		t.Errorf("steps %v", s)
	}
	if len(res.Services) != 1 || res.Services[0].Requests != 100 || res.PerSecond <= 0 || res.Verdict(0) != Right {
		t.Errorf("%+v", res)
	}

	t.Run("with codes", func(t *testing.T) {
		res := runRadius(t, Radius{Servers: []radius.Server{r.server}, Users: r.coded, Count: 2})
		counted(t, res, Counts{Started: 2, Accepted: 2})
	})
	t.Run("wrong password", func(t *testing.T) {
		bad := r.plain[0]
		bad.hash = mschap.NTHash("another")
		res := runRadius(t, Radius{Servers: []radius.Server{r.server}, Users: []User{bad}, Count: 1})
		counted(t, res, Counts{Started: 1, Refused: 1})
		for why := range res.RefusedBy {
			if !strings.HasPrefix(why, "691") {
				t.Errorf("refused: %s", why)
			}
		}
		if res.Verdict(0) != Short || res.Verdict(1) != Short { // nobody was accepted at all
			t.Error("that is as it should be?")
		}
	})
}

// Sessions are held, each with an address of its own, and end with a Stop.
func TestRadiusAccounting(t *testing.T) {
	r := newRig(t, 20, 0)
	res := runRadius(t, Radius{Servers: []radius.Server{r.server}, Users: r.plain[:20], Count: 20, Accounting: true, Hold: 500 * time.Millisecond, Interim: 200 * time.Millisecond, Nodes: 3})
	counted(t, res, Counts{Started: 20, Accepted: 20})
	if s := steps(res); s["start"] != 20 || s["stop"] != 20 || s["interim"] < 20 {
		t.Errorf("steps %v", s)
	}
	if res.Peak < 2 || res.Peak > 20 {
		t.Errorf("%d sessions at once", res.Peak)
	}

	// Had the Stops not come, the pool of four would be empty for the second four.
	res = runRadius(t, Radius{Servers: []radius.Server{r.server}, Users: r.narrow(), Count: 8, InFlight: 1, Rate: 20, Accounting: true})
	counted(t, res, Counts{Started: 8, Accepted: 8})
}

// Ctrl-C ends sessions with their Stops, and what is under way is waited for.
func TestRadiusEndsPolitely(t *testing.T) {
	r := newRig(t, 20, 0)
	polite, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	tally := NewTally()
	time.AfterFunc(700*time.Millisecond, interrupt)
	began := time.Now()
	res, err := Radius{Servers: []radius.Server{r.server}, Users: r.plain[:20], Duration: time.Hour, Rate: 20, Accounting: true, Hold: time.Hour}.Run(t.Context(), polite, tally)
	if err != nil {
		t.Fatal(err)
	}
	if s := steps(res); !res.Interrupted || s["stop"] != res.Accepted || s["start"] != res.Accepted || res.Accepted == 0 || time.Since(began) > 20*time.Second {
		t.Errorf("%+v %v", res, s)
	}
	if live := tally.Counts().Live; live != 0 {
		t.Errorf("%d sessions are left", live)
	}
}

// Nobody answers: that is no refusal, and nothing wrong.
func TestRadiusNoAnswer(t *testing.T) {
	u := users(t, "a")
	res := runRadius(t, Radius{
		Servers: []radius.Server{{Name: "gone", Network: "udp", Addr: "127.0.0.1:9", Secret: radius.NewSecret("x")}},
		Users:   u, Count: 1, Timeout: 100 * time.Millisecond,
	})
	counted(t, res, Counts{Started: 1, Unanswered: 1})
	if res.Verdict(.5) != Short {
		t.Error("that is as it should be?")
	}
}

// liar is a service that accepts everybody and gets something wrong.
func liar(t *testing.T, what Wrong, seen *int) radius.Server {
	return radius.Server{Name: "liar", Network: "inproc", Local: radius.HandlerFunc(func(_ context.Context, b []byte, from radius.Peer) []byte {
		p, err := radius.ParseRequest(b, from.Secret, true)
		if err != nil {
			t.Error(err)
			return nil
		}
		*seen++
		if p.Code == radius.CodeAccountingRequest {
			reply, _ := radius.EncodeReply(radius.NewReply(p, radius.CodeAccountingResponse), p)
			return reply
		}
		challenge, r, _ := radius.GetMSCHAP2Response(p)
		password := "password of " + rfc2865.UserName_GetString(p)
		if what == WrongProof {
			password = "another"
		}
		hash := mschap.NTHash(password)
		hashHash := mschap.HashHash(&hash)
		master := mschap.MasterKey(&hashHash, &r.NTResponse)
		send, recv := mschap.StartKeys(&master, what != WrongKeys)
		a := radius.NewReply(p, radius.CodeAccessAccept)
		text := mschap.AuthenticatorResponse(&hashHash, &r.NTResponse, mschap.ChallengeHash(&r.PeerChallenge, &challenge, rfc2865.UserName_GetString(p)))
		addr := netip.MustParseAddr("10.0.0.1")
		if what == WrongAddress {
			addr = netip.MustParseAddr("127.0.0.1")
		}
		for _, err := range []error{
			radius.AddMSCHAP2Success(a, r.Ident, text), radius.AddMPPEKeys(a, &send, &recv), rfc2865.FramedIPAddress_Add(a, addr.AsSlice()),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		reply, err := radius.EncodeReply(a, p)
		if err != nil {
			t.Error(err)
		}
		return reply
	})}
}

// What a swarm is for: a service that gives the wrong answer is found out.
func TestRadiusFindsWrongAnswers(t *testing.T) {
	for _, what := range []Wrong{WrongUnknown, WrongProof, WrongKeys, WrongAddress} {
		t.Run(what.String(), func(t *testing.T) {
			seen := 0
			res := runRadius(t, Radius{Servers: []radius.Server{liar(t, what, &seen)}, Users: users(t, "a"), Count: 3, InFlight: 1})
			if what == WrongUnknown {
				counted(t, res, Counts{Started: 3, Accepted: 3})
				return
			}
			counted(t, res, Counts{Started: 3, Broken: 3, Wrong: 3})
			if res.WrongBy[what.String()] != 3 || res.Verdict(1) != Corrupt {
				t.Errorf("%v", res.WrongBy)
			}
		})
	}
	t.Run(WrongTwice.String(), func(t *testing.T) {
		seen := 0
		res := runRadius(t, Radius{Servers: []radius.Server{liar(t, WrongUnknown, &seen)}, Users: users(t, "a", "b"), Count: 2, InFlight: 1, Accounting: true, Hold: time.Second})
		counted(t, res, Counts{Started: 2, Accepted: 2, Wrong: 1})
	})
}

func TestRadiusChecksItsOptions(t *testing.T) {
	good := Radius{Servers: []radius.Server{{}}, Users: users(t, "a"), Count: 1}
	if err := good.check(); err != nil {
		t.Fatal(err)
	}
	for want, breakIt := range map[string]func(*Radius){
		"no server":            func(o *Radius) { o.Servers = nil },
		"no users":             func(o *Radius) { o.Users = nil },
		"neither a duration":   func(o *Radius) { o.Count = 0 },
		"a negative number":    func(o *Radius) { o.Rate = -1 },
		"only with":            func(o *Radius) { o.Hold = 1 },
		"accounting is wanted": func(o *Radius) { o.Interim = 1 },
		"no IPv4 prefix":       func(o *Radius) { o.Sources = netip.MustParsePrefix("2001:db8::/64") },
	} {
		bad := good
		breakIt(&bad)
		if _, err := bad.Run(t.Context(), t.Context(), NewTally()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestSources(t *testing.T) {
	p := netip.MustParsePrefix("198.18.0.0/15")
	for i, want := range map[int]string{0: "198.18.0.1", 254: "198.18.0.255", 255: "198.18.1.0", 131070: "198.19.255.255", 131071: "198.18.0.0"} {
		if got := source(p, i); got.String() != want {
			t.Errorf("source %d is %v, want %s", i, got, want)
		}
	}
	if got := source(netip.MustParsePrefix("192.0.2.7/32"), 99); got.String() != "192.0.2.7" {
		t.Error(got)
	}
}
