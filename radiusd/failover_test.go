package radiusd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pquerna/otp/totp"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2868"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/lockout"
	"postern/authz/mfa"
	"postern/authz/session"
	"postern/internal/mschap"
	"postern/internal/radius"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/policy"
)

// A node's RADIUS client, two services and one store, over a network that loses, delays
// and repeats, with services that freeze wherever they happen to be. All in virtual time.

// ice holds up whoever passes while it is frozen, as SIGSTOP does.
type ice struct {
	mu   sync.Mutex
	thaw chan struct{} // nil: not frozen
	slow time.Duration // beyond that, a trip to the store takes up to so long
}

func (i *ice) freeze(on bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case on && i.thaw == nil:
		i.thaw = make(chan struct{})
	case !on && i.thaw != nil:
		close(i.thaw)
		i.thaw = nil
	}
}

func (i *ice) slower(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.slow = d
}

func (i *ice) pass() {
	i.mu.Lock()
	thaw := i.thaw
	i.mu.Unlock()
	if thaw != nil {
		<-thaw
	}
}

func (i *ice) dawdle() {
	i.mu.Lock()
	d := i.slow
	i.mu.Unlock()
	if d > 0 {
		time.Sleep(mathrand.N(d))
	}
}

// iced is the store as one service sees it.
type iced struct {
	store.Store
	ice *ice
}

func (s iced) Do(ctx context.Context, seqs ...store.Seq) error {
	s.ice.pass()
	s.ice.dawdle()
	err := s.Store.Do(ctx, seqs...)
	s.ice.pass()
	return err
}

// weather is what the network does to each datagram.
type weather struct {
	mu    sync.Mutex
	loss  float64
	twice float64
	delay time.Duration
}

func (w *weather) set(loss, twice float64, delay time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loss, w.twice, w.delay = loss, twice, delay
}

// carry brings a datagram to f, or not, or twice.
func (w *weather) carry(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	copies := 1
	if mathrand.Float64() < w.twice {
		copies = 2
	}
	for range copies {
		if mathrand.Float64() < w.loss {
			continue
		}
		time.AfterFunc(time.Millisecond+mathrand.N(w.delay+1), f)
	}
}

// away is one service over the network.
type away struct {
	*service
	ice     ice
	decided atomic.Bool // it freezes when it has decided one more login
	addr    string
}

// line is a client's UDP socket to a service.
type line struct {
	w      *weather
	to     *away
	local  netip.AddrPort
	in     chan []byte
	closed chan struct{}
	once   sync.Once
}

func (l *line) Write(b []byte) (int, error) {
	req := append([]byte(nil), b...)
	l.w.carry(func() { // as udpSocket.read does
		s, at := l.to, time.Now()
		s.ice.pass()
		t, reply := s.admit(at, req, peer{addr: l.local, via: radius.UDP})
		switch {
		case t != nil:
			t.via = l
			ok, gone := s.queue(t).offer(time.Now(), t)
			s.giveUp(gone)
			if !ok {
				s.refuse(t, dropOverload)
			}
		default:
			l.answer(nil, reply)
		}
	})
	return len(b), nil
}

// answer implements answerer.
func (l *line) answer(_ *ticket, reply []byte) {
	l.to.ice.pass()
	if reply != nil {
		l.w.carry(func() {
			select {
			case l.in <- reply:
			default:
			}
		})
	}
}

func (l *line) Read(b []byte) (int, error) {
	select {
	case m := <-l.in:
		return copy(b, m), nil
	case <-l.closed:
		return 0, net.ErrClosed
	}
}

func (l *line) Close() error                     { l.once.Do(func() { close(l.closed) }); return nil }
func (l *line) LocalAddr() net.Addr              { return &net.UDPAddr{} }
func (l *line) RemoteAddr() net.Addr             { return &net.UDPAddr{} }
func (l *line) SetDeadline(time.Time) error      { return nil }
func (l *line) SetReadDeadline(time.Time) error  { return nil }
func (l *line) SetWriteDeadline(time.Time) error { return nil }

// ledger is what services have answered to each attempt.
type ledger struct {
	mu     sync.Mutex
	said   map[string]map[string]bool // by attempt
	twice  int                        // attempts answered by more than one service
	silent int
	by     map[string]map[int]bool
}

// witness is a Decider that tells the ledger.
type witness struct {
	Decider
	ledger  *ledger
	service int
	away    *away
}

func (w witness) Decide(ctx context.Context, r *authz.Request) *authz.Result {
	attempt := r.SessionID + " " + r.User + " " + hex.EncodeToString(r.MSCHAPv2.Response[:]) + string(r.Password) + string(r.State)
	res := w.Decider.Decide(ctx, r)
	if w.away.decided.CompareAndSwap(true, false) {
		w.away.ice.freeze(true)
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	if res.Verdict == authz.Silent {
		w.ledger.silent++
		return res
	}
	if w.ledger.said[attempt] == nil {
		w.ledger.said[attempt], w.ledger.by[attempt] = make(map[string]bool), make(map[int]bool)
	}
	w.ledger.said[attempt][fmt.Sprint(res.Verdict, " ", res.ErrorCode, " ", res.Grant.Addr, " ", res.Success)] = true
	if w.ledger.by[attempt][w.service] = true; len(w.ledger.by[attempt]) == 2 {
		w.ledger.twice++
	}
	return res
}

const failoverPolicy = `version: 1
pools: {staff: [10.20.0.0/16]}
rules:
  - {id: pap, when: {group: Challenged}, then: {permit: {pool: staff, carriers: challenge}}}
  - {id: retry, when: {group: Retriers}, then: {permit: {pool: staff, carriers: retry}}}
  - {id: staff, when: {group: Staff}, then: {permit: {pool: staff}}}
`

// site is two services over one store, and a node's client.
type site struct {
	services [2]*away
	weather  weather
	client   *radius.Client
	ledger   ledger
	sessions *session.Registry
	secrets  map[string]string
	serial   int
	mu       sync.Mutex
}

func newSite(t *testing.T, users map[string]string, second int) *site {
	t.Helper()
	v := &site{ledger: ledger{said: make(map[string]map[string]bool), by: make(map[string]map[int]bool)}, secrets: make(map[string]string)}
	base, err := store.OpenEmbedded(store.EmbeddedConfig{Path: filepath.Join(t.TempDir(), "store.db")})
	must(t, err)
	t.Cleanup(func() { _ = base.Close() })
	ring, err := seal.ParseRing([]byte("k1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"))
	must(t, err)
	file := &directory.Users{Path: filepath.Join(t.TempDir(), "users"), Ring: ring}
	for name, group := range users {
		must(t, file.Add(directory.User{Name: name, Groups: []string{group}}, goodPassword))
		e, err := mfa.New(base, ring, mfa.Config{}).Enroll(t.Context(), time.Now(), name, "phone")
		must(t, err)
		v.secrets[name] = e.Secret
	}
	dir, err := directory.OpenFile(directory.FileConfig{Users: file.Path, Ring: ring})
	must(t, err)
	p, err := policy.Load("policy.yaml", []byte(failoverPolicy))
	must(t, err)
	v.sessions = session.New(base, session.Config{})
	var servers []radius.Server
	for i := range v.services {
		a := &away{addr: fmt.Sprintf("192.0.2.10%d:1812", i)}
		s := iced{base, &a.ice}
		d, err := authz.New(authz.Config{
			Directory: dir, Store: s, Shield: lockout.New(lockout.Config{}), MFA: mfa.New(s, ring, mfa.Config{}),
			Sessions: session.New(s, session.Config{}), Policy: p, Audit: authz.NewAudit(io.Discard), Ring: ring, Retry: true,
		})
		must(t, err)
		a.service = &service{}
		clients := testClients()
		clients[1].AllowMSCHAPOverUDP = true
		a.Server, err = New(Config{Clients: clients}, witness{d, &v.ledger, i, a}, authz.NewBookkeeper(session.New(s, session.Config{}), nil, slog.New(slog.DiscardHandler)), nil, nil)
		must(t, err)
		var workers sync.WaitGroup
		for range 64 {
			workers.Go(func() { a.work(a.access) })
			workers.Go(func() { a.work(a.accounting) })
		}
		t.Cleanup(func() {
			a.ice.freeze(false)
			a.access.close()
			a.accounting.close()
			workers.Wait()
			a.Stop()
			_ = a.Wait()
		})
		v.services[i] = a
		servers = append(servers, radius.Server{Name: string(rune('a' + i)), Network: "udp", Addr: a.addr, AcctAddr: a.addr, Secret: sharedSecret, Priority: i * second})
	}
	n := 0
	v.client, err = radius.NewClient(radius.ClientConfig{
		Name: "gw1", Servers: servers, Timeout: time.Second, Retries: 2, AllowMSCHAPOverUDP: true,
		Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
			v.mu.Lock()
			defer v.mu.Unlock()
			n++
			l := &line{w: &v.weather, local: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.10"), uint16(20000+n)), in: make(chan []byte, 512), closed: make(chan struct{})}
			for _, a := range v.services {
				if a.addr == addr {
					l.to = a
				}
			}
			return l, nil
		},
	})
	must(t, err)
	t.Cleanup(v.client.Close)
	return v
}

func (v *site) code(t testing.TB, user string) string {
	t.Helper()
	c, err := totp.GenerateCode(v.secrets[user], time.Now())
	must(t, err)
	return c
}

// acct is a new Acct-Session-Id.
func (v *site) acct() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.serial++
	return fmt.Sprintf("boot-%06d", v.serial)
}

func fromNode(p *radius.Packet, user, acct string) error {
	return errors.Join(rfc2865.UserName_SetString(p, user), rfc2866.AcctSessionID_SetString(p, acct), rfc2865.NASIdentifier_SetString(p, "gw1"),
		rfc2865.CallingStationID_SetString(p, "198.51.100.7"))
}

// ask logs in by MS-CHAPv2, as a node does.
func (v *site) ask(t testing.TB, typed, acct string) (*radius.Packet, error) {
	t.Helper()
	p := &radius.Packet{Code: radius.CodeAccessRequest}
	var challenge [16]byte
	r := radius.MSCHAP2Response{Ident: 1}
	rand.Read(challenge[:])
	rand.Read(r.PeerChallenge[:])
	nt := mschap.NTHash(goodPassword)
	r.NTResponse = mschap.NTResponse(mschap.ChallengeHash(&r.PeerChallenge, &challenge, typed), &nt)
	must(t, errors.Join(fromNode(p, typed, acct), rfc2868.TunnelType_Set(p, 0, rfc2868.TunnelType_Value_PPTP), radius.AddMSCHAP2Response(p, &challenge, &r)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // pptp.timers.login
	defer cancel()
	return v.client.Exchange(ctx, p)
}

// account reports until it is answered, as the node's spool does.
func (v *site) account(t testing.TB, user, acct string, status rfc2866.AcctStatusType) {
	t.Helper()
	for {
		p := &radius.Packet{Code: radius.CodeAccountingRequest}
		must(t, errors.Join(fromNode(p, user, acct), rfc2866.AcctStatusType_Set(p, status)))
		if _, err := v.client.Exchange(t.Context(), p); err == nil || t.Context().Err() != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// agreed checks that no attempt got two different answers, and returns how many were
// answered by both services.
func (v *site) agreed(t testing.TB) int {
	t.Helper()
	v.ledger.mu.Lock()
	defer v.ledger.mu.Unlock()
	for attempt, said := range v.ledger.said {
		if len(said) != 1 {
			t.Errorf("%s… got %d different answers: %v", attempt[:30], len(said), said)
		}
	}
	return v.ledger.twice
}

// TestFailOver: loss, delay and repetition; one service frozen and back; both frozen and
// back; one slow. No login is answered in two ways, no code opens two, every session that
// the node has is in the registry and no other, and logins go on by themselves.
func TestFailOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const people = 30
		users := make(map[string]string)
		for i := range people {
			users[fmt.Sprint("user", i)] = "Staff"
		}
		v := newSite(t, users, 0)
		began := time.Now()
		phases := []struct {
			name  string
			until time.Duration
			begin func()
		}{
			{"calm", 30 * time.Second, func() {}},
			{"a quarter lost, late and twice", 90 * time.Second, func() { v.weather.set(0.25, 0.1, 300*time.Millisecond) }},
			{"one frozen", 130 * time.Second, func() { v.weather.set(0, 0, 20*time.Millisecond); v.services[0].ice.freeze(true) }},
			{"back", 160 * time.Second, func() { v.services[0].ice.freeze(false) }},
			{"all frozen", 200 * time.Second, func() { v.services[0].ice.freeze(true); v.services[1].ice.freeze(true) }},
			{"all back", 240 * time.Second, func() { v.services[0].ice.freeze(false); v.services[1].ice.freeze(false) }},
			{"one slow", 300 * time.Second, func() { v.services[1].ice.slower(6 * time.Second) }},
			{"one frozen and back, again and again", 360 * time.Second, func() { v.services[1].ice.slower(0) }},
			{"the end", 400 * time.Second, func() { v.services[0].ice.freeze(false) }},
		}
		phase := func() int {
			for i := range phases {
				if time.Since(began) < phases[i].until {
					return i
				}
			}
			return len(phases) - 1
		}
		type count struct {
			accepted, refused, none int
			longest                 time.Duration
		}
		var mu sync.Mutex
		counts := make([]count, len(phases))
		var sessions []string // that the node has, ID
		live := make(map[string]int)
		var work sync.WaitGroup
		for i := range people {
			work.Go(func() {
				user := fmt.Sprint("user", i)
				time.Sleep(mathrand.N(35 * time.Second))
				for time.Since(began) < phases[len(phases)-1].until {
					at, start, acct := phase(), time.Now(), v.acct()
					typed := user + "+" + v.code(t, user)
					reply, err := v.ask(t, typed, acct)
					mu.Lock()
					c := &counts[at]
					c.longest = max(c.longest, time.Since(start))
					switch {
					case err != nil:
						c.none++
					case reply.Code == radius.CodeAccessAccept:
						c.accepted++
						sessions = append(sessions, session.ID("gw1", acct))
						live[user]++
					default:
						c.refused++
					}
					mu.Unlock()
					if err == nil && reply.Code == radius.CodeAccessAccept {
						v.account(t, user, acct, rfc2866.AcctStatusType_Value_Start)
						if again, err := v.ask(t, typed, v.acct()); err == nil && again.Code == radius.CodeAccessAccept {
							t.Errorf("%s was let in twice by one code", user)
						}
						if mathrand.N(2) == 0 {
							v.account(t, user, acct, rfc2866.AcctStatusType_Value_Stop)
							mu.Lock()
							live[user]--
							mu.Unlock()
						}
					}
					time.Sleep(31*time.Second + mathrand.N(5*time.Second)) // a code of its own
				}
			})
		}
		for i, p := range phases {
			p.begin()
			if i == 7 {
				for on := true; time.Since(began) < p.until-4*time.Second; on = !on {
					v.services[0].ice.freeze(on)
					time.Sleep(500*time.Millisecond + mathrand.N(4*time.Second))
				}
			}
			time.Sleep(p.until - time.Since(began))
		}
		work.Wait()
		time.Sleep(3 * time.Minute) // what was let in for nobody has lapsed
		_, err := v.sessions.Sweep(t.Context())
		must(t, err)
		twice := v.agreed(t)
		accepted := 0
		for i, c := range counts {
			t.Logf("%-40s %3d accepted, %d refused, %d without an answer, at most %.1f s", phases[i].name, c.accepted, c.refused, c.none, c.longest.Seconds())
			accepted += c.accepted
			if phases[i].name != "all frozen" && c.none > c.accepted/4+1 {
				t.Errorf("%s: %d logins without an answer", phases[i].name, c.none)
			}
			if c.refused > 0 {
				t.Errorf("%s: %d right logins were refused", phases[i].name, c.refused)
			}
		}
		t.Logf("%d attempts were answered by both services, %d times one kept silent", twice, v.ledger.silent)
		if accepted < 100 || twice+v.ledger.silent < 10 {
			t.Errorf("%d accepted, %d came to both services: this test tells nothing", accepted, twice+v.ledger.silent)
		}
		// The registry and the node agree.
		for user := range users {
			n, err := v.sessions.Count(t.Context(), user)
			must(t, err)
			if n != live[user] {
				t.Errorf("%s: %d sessions in the registry, %d at the node", user, n, live[user])
			}
		}
		events, err := v.sessions.History(t.Context(), 10000)
		must(t, err)
		starts, stops := make(map[string]int), make(map[string]int)
		for _, e := range events {
			switch e.Kind {
			case session.EventStart:
				starts[e.ID]++
			case session.EventStop:
				stops[e.ID]++
			}
		}
		for _, id := range sessions {
			if starts[id] != 1 || stops[id] > 1 {
				t.Errorf("%s: %d starts and %d stops in the history", id, starts[id], stops[id])
			}
			delete(starts, id)
		}
		if len(starts) > 0 {
			t.Errorf("in the history, and not at the node: %v", starts)
		}
	})
}

// A conversation that one service began goes on at the other: the answer to an
// Access-Challenge, and a name with the code behind it after R=1; also when the service
// that is silent has decided the answer already.
func TestConversationGoesOnElsewhere(t *testing.T) {
	for _, when := range []string{"frozen before the answer", "frozen when it has decided"} {
		t.Run(when, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newSite(t, map[string]string{"paul": "Challenged", "tina": "Retriers"}, 1)
				a, b := v.services[0], v.services[1]
				b.ice.freeze(true) // a begins, which is asked first
				password := func(acct, word string, state []byte) (*radius.Packet, error) {
					p := radius.NewRequest(radius.CodeAccessRequest, sharedSecret)
					must(t, errors.Join(fromNode(p, "paul", acct), rfc2865.UserPassword_SetString(p, word)))
					if state != nil {
						must(t, rfc2865.State_Set(p, state))
					}
					return v.client.Exchange(t.Context(), p)
				}
				pap, chap := v.acct(), v.acct()
				asked, err := password(pap, goodPassword, nil)
				must(t, err)
				wantCode(t, asked, radius.CodeAccessChallenge)
				retry, err := v.ask(t, "tina", chap)
				must(t, err)
				wantCode(t, retry, radius.CodeAccessReject)
				if _, text, ok := radius.GetMSCHAPError(retry); !ok || !strings.Contains(text, "R=1") {
					t.Errorf("MS-CHAP-Error %q", text)
				}

				time.Sleep(time.Second)
				if when == "frozen before the answer" {
					b.ice.freeze(false)
					time.Sleep(10 * time.Second) // b lives again
					a.ice.freeze(true)
				} else {
					// It stops between its decision and the reply.
					a.decided.Store(true)
					time.AfterFunc(2*time.Second, func() { b.ice.freeze(false) })
				}
				answer, err := password(pap, v.code(t, "paul"), rfc2865.State_Get(asked))
				must(t, err)
				wantCode(t, answer, radius.CodeAccessAccept)
				again, err := v.ask(t, "tina+"+v.code(t, "tina"), chap)
				must(t, err)
				wantCode(t, again, radius.CodeAccessAccept)
				a.ice.freeze(false)
				time.Sleep(10 * time.Second)
				if twice := v.agreed(t); when == "frozen when it has decided" && twice == 0 {
					t.Error("no answer was decided by both services")
				}
				for _, user := range []string{"paul", "tina"} {
					if n, err := v.sessions.Count(t.Context(), user); n != 1 || err != nil {
						t.Errorf("%s: %d sessions, %v", user, n, err)
					}
				}
			})
		})
	}
}
