package pptp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/internal/config"
	"postern/internal/mschap"
	"postern/internal/radius"
	"postern/internal/simnet"
	"postern/pptp"
	"postern/pptp/client"
	"postern/pptp/gre"
	"postern/pptp/gre/gretest"
	"postern/pptp/tun"
	"postern/pptp/tun/tuntest"
)

// Whole logins: our client against the node, a service that knows one password, a
// network of the test's making, all on virtual time.

var (
	nodeAddr = netip.MustParseAddr("192.0.2.1")
	inside   = netip.MustParseAddr("10.80.0.1")
)

const password = "correct horse"

// service judges as radiusd does and keeps books.
type service struct {
	reported []*radius.Packet // Status-Servers
	older    bool             // it knows nothing of duties
	duty     radius.Duty

	delay atomic.Int64 // of every answer, nanoseconds
	away  atomic.Bool
	retry atomic.Bool // refuse with R=1

	// adorn adds to what an accepted login is granted.
	adorn atomic.Pointer[func(*radius.Packet) error]

	mu       sync.Mutex
	next     int
	logins   int
	starts   map[string]int
	stops    map[string]stop
	interims int

	expired map[string]bool     // users who must change the password
	fresh   map[string]string   // passwords that were changed
	offered map[string][16]byte // dialogue → challenge of its E=648
	changes int                 // requests for one
}

type stop struct {
	count   int
	cause   rfc2866.AcctTerminateCause
	in, out uint64
	seconds uint32
	filter  string
}

func newService() *service {
	return &service{
		next: 9, starts: make(map[string]int), stops: make(map[string]stop),
		expired: make(map[string]bool), fresh: make(map[string]string), offered: make(map[string][16]byte),
	}
}

func (s *service) Exchange(ctx context.Context, p *radius.Packet) (*radius.Packet, error) {
	select {
	case <-time.After(time.Duration(s.delay.Load())):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.away.Load() {
		return nil, radius.ErrNoAnswer
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Code == radius.CodeStatusServer {
		if s.reported = append(s.reported, p); !s.older {
			reply := radius.NewReply(p, radius.CodeAccessAccept)
			return reply, radius.AddDuty(reply, s.duty)
		}
		return radius.NewReply(p, radius.CodeAccessAccept), nil
	}
	if p.Code == radius.CodeAccountingRequest {
		id := rfc2866.AcctSessionID_GetString(p)
		switch rfc2866.AcctStatusType_Get(p) {
		case rfc2866.AcctStatusType_Value_Start:
			s.starts[id]++
		case rfc2866.AcctStatusType_Value_InterimUpdate:
			s.interims++
		case rfc2866.AcctStatusType_Value_Stop:
			s.stops[id] = stop{
				count: s.stops[id].count + 1, cause: rfc2866.AcctTerminateCause_Get(p),
				in: uint64(rfc2866.AcctInputOctets_Get(p)), out: uint64(rfc2866.AcctOutputOctets_Get(p)),
				seconds: uint32(rfc2866.AcctSessionTime_Get(p)), filter: rfc2865.FilterID_GetString(p),
			}
		default:
		}
		return radius.NewReply(p, radius.CodeAccountingResponse), nil
	}
	s.logins++
	name := rfc2865.UserName_GetString(p)
	dialogue := rfc2866.AcctSessionID_GetString(p) + " " + name
	challenge, r, ok := radius.GetMSCHAP2Response(p)
	request := radius.NewRequest(radius.CodeAccessRequest, radius.NewSecret("secret"))
	refuse := func(e mschap.Error) (*radius.Packet, error) {
		reply := radius.NewReply(request, radius.CodeAccessReject)
		e.Version = 3
		return reply, radius.AddMSCHAPError(reply, r.Ident, e.String())
	}
	now, changed := s.fresh[name]
	if !changed {
		now = password
	}
	nt := mschap.NTHash(now)
	if !ok {
		var c radius.MSCHAP2CPW
		if challenge, c, ok = radius.GetMSCHAP2CPW(p); !ok {
			return nil, errors.New("neither MS-CHAP2-Response nor MS-CHAP2-CPW")
		}
		s.changes++
		r = radius.MSCHAP2Response{Ident: c.Ident, PeerChallenge: c.PeerChallenge, NTResponse: c.NTResponse}
		fresh, err := mschap.DecryptPassword(&c.EncryptedPassword, &nt)
		old := nt
		nt = mschap.NTHash(fresh)
		if err != nil || mschap.EncryptHash(&old, &nt) != c.EncryptedHash {
			return refuse(mschap.Error{Code: 691})
		}
		if offered, was := s.offered[dialogue]; !was || offered != challenge {
			return refuse(mschap.Error{Code: 691, Message: "not in this dialogue"})
		}
		delete(s.offered, dialogue)
		if len(fresh) < 8 {
			return refuse(mschap.Error{Code: 709, Message: "too short"})
		}
		s.fresh[name], s.expired[name] = fresh, false
	}
	hh := mschap.HashHash(&nt)
	hash := mschap.ChallengeHash(&r.PeerChallenge, &challenge, mschap.TrimDomain(name))
	if mschap.NTResponse(hash, &nt) != r.NTResponse {
		return refuse(mschap.Error{Code: 691, Retry: s.retry.Swap(false), Challenge: [16]byte{7}, Message: "Try again"})
	}
	if s.expired[name] {
		s.offered[dialogue] = [16]byte{8, byte(s.logins >> 8), byte(s.logins)}
		return refuse(mschap.Error{Code: 648, Challenge: s.offered[dialogue], Message: "Password expired"})
	}
	reply := radius.NewReply(request, radius.CodeAccessAccept)
	s.next++
	master := mschap.MasterKey(&hh, &r.NTResponse)
	send, recv := mschap.StartKeys(&master, true)
	addr := inside.As4()
	addr[2], addr[3] = byte(s.next>>8), byte(s.next)
	err := errors.Join(
		rfc2865.FramedIPAddress_Set(reply, addr[:]),
		rfc2865.SessionTimeout_Set(reply, 3600), rfc2865.IdleTimeout_Set(reply, 600), rfc2869.AcctInterimInterval_Set(reply, 60),
		radius.AddNameServers(reply, radius.NameServers{DNS: []netip.Addr{netip.MustParseAddr("10.81.0.53")}}),
		radius.AddMSCHAP2Success(reply, r.Ident, mschap.AuthenticatorResponse(&hh, &r.NTResponse, hash)),
		radius.AddMPPEKeys(reply, &send, &recv),
		radius.AddMPPEPolicy(reply, radius.EncryptionRequired, radius.Encryption128|radius.Encryption40|radius.Encryption56))
	if adorn := s.adorn.Load(); adorn != nil {
		err = errors.Join(err, (*adorn)(reply))
	}
	return reply, err
}

// world is a node on a simulated network, with a host behind it that answers pings.
type world struct {
	t       *testing.T
	net     *simnet.Network
	node    *pptp.Node
	service *service
	far     tun.Device
	listen  func(context.Context, netip.AddrPort) (net.Listener, error)
}

// A network that carries nothing, and one that carries all.
var faultsDown, faultsUp = simnet.Faults{Down: true}, simnet.Faults{}

func newWorld(t *testing.T, change func(*config.Gateway, *pptp.Deps)) *world {
	t.Helper()
	w := &world{t: t, net: simnet.New(1), service: newService()}
	cfg, err := config.ParseGateway("test.yaml", fmt.Appendf(nil, `
node: test
pptp: {listen: "%v:1723", inside: %v, routes: [10.80.0.0/16], limits: {per_source_rate: 60000, max_calls: 20000, half_open: 20000}}
radius:
  servers: [{name: s, transport: udp, address: "127.0.0.1:1812", acct_address: "127.0.0.1:1813", secret_env: TEST_SECRET}]
`, nodeAddr, inside))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Spool.Dir = ""
	host := w.net.Host(nodeAddr)
	near, far := tuntest.Pair(1400, 64)
	w.far = far
	w.listen = func(_ context.Context, a netip.AddrPort) (net.Listener, error) {
		if a.Addr() == inside {
			return w.net.Host(inside).Listen(a.Port())
		}
		return host.Listen(a.Port())
	}
	deps := pptp.Deps{
		Listen:    w.listen,
		ListenGRE: func(netip.Addr) (gre.Conn, error) { return gretest.Listen(host), nil },
		TUN:       near, RADIUS: w.service, Log: slog.New(slog.DiscardHandler),
	}
	if testing.Verbose() {
		deps.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if change != nil {
		change(cfg, &deps)
	}
	if w.node, err = pptp.New(cfg, deps); err != nil {
		t.Fatal(err)
	}
	if err := w.node.Start(); err != nil {
		t.Fatal(err)
	}
	go w.answerPings() // ends with the device
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) stop() {
	w.node.Stop()
	if err := w.node.Wait(); err != nil {
		w.t.Error(err)
	}
	_ = w.far.Close()
}

// answerPings is the host behind the node.
func (w *world) answerPings() {
	bufs, sizes := [][]byte{make([]byte, 2048)}, make([]int, 1)
	for {
		n, err := w.far.ReadBatch(bufs, sizes, 0)
		if err != nil {
			return
		}
		for i := range n {
			b := bufs[i][:sizes[i]]
			if len(b) < 28 || b[9] != 1 || b[20] != 8 {
				continue
			}
			src := [4]byte(b[12:16])
			copy(b[12:16], b[16:20])
			copy(b[16:20], src[:])
			b[20] = 0 // echo reply; the checksum changes by as much
			sum := uint32(b[22])<<8 | uint32(b[23])
			sum += 0x0800
			sum = sum>>16 + sum&0xFFFF
			b[22], b[23] = byte(sum>>8), byte(sum)
			_, _ = w.far.WriteBatch([][]byte{b}, 0)
		}
	}
}

// clientConfig is a client at addr.
func (w *world) clientConfig(addr netip.Addr) client.Config {
	host := w.net.Host(addr)
	return client.Config{
		Server: netip.AddrPortFrom(nodeAddr, 1723), Local: addr, User: "alice", Password: password, Timeout: time.Minute,
		DialTCP: func(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
			return host.Dial(ctx, to)
		},
		ListenGRE: func(netip.Addr) (gre.Conn, error) { return gretest.Listen(host), nil },
	}
}

func clientAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 51, byte(100 + i/250), byte(1 + i%250)})
}

var farHost = netip.MustParseAddr("10.81.0.2")

func TestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(0)))
		if err != nil {
			t.Fatal(err)
		}
		if s.Local() != netip.MustParseAddr("10.80.0.10") || s.Peer() != inside || len(s.DNS()) != 1 {
			t.Errorf("got %v, %v, %v", s.Local(), s.Peer(), s.DNS())
		}
		for _, size := range []int{56, 1000, 1372} {
			if _, err := s.Ping(t.Context(), farHost, size); err != nil {
				t.Errorf("ping of %d: %v", size, err)
			}
		}
		if w.node.Sessions() != 1 {
			t.Errorf("%d sessions", w.node.Sessions())
		}
		time.Sleep(190 * time.Second) // three interims, echoes
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // nobody waits for a client that has cleared the call
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		if len(w.service.starts) != 1 || len(w.service.stops) != 1 || w.service.interims != 3 {
			t.Errorf("%v, %v, %d interims", w.service.starts, w.service.stops, w.service.interims)
		}
		for id, got := range w.service.stops {
			octets := uint64(84 + 1028 + 1400)
			if got.count != 1 || got.cause != rfc2866.AcctTerminateCause_Value_UserRequest || got.in != octets || got.out != octets ||
				got.seconds < 190 || got.seconds > 200 || w.service.starts[id] != 1 {
				t.Errorf("stop: %+v", got)
			}
		}
	})
}

func TestLoginRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		cfg := w.clientConfig(clientAddr(0))
		cfg.Password = "wrong"
		_, err := client.Dial(t.Context(), cfg)
		var refused *client.RefusedError
		if !errors.As(err, &refused) || refused.Verdict.Code != 691 || !strings.Contains(refused.Verdict.Message, "Try again") {
			t.Fatalf("%v", err)
		}
		time.Sleep(20 * time.Second)
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		if w.node.Sessions() != 0 || len(w.service.starts)+len(w.service.stops) != 0 {
			t.Errorf("%v %v", w.service.starts, w.service.stops)
		}
	})
}

// With every service away the call ends by itself, and is not called a wrong password.
func TestServiceAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.service.away.Store(true)
		_, err := client.Dial(t.Context(), w.clientConfig(clientAddr(0)))
		var refused *client.RefusedError
		if err == nil || errors.As(err, &refused) {
			t.Fatalf("%v", err)
		}
		w.service.away.Store(false)
	})
}

// What the service allows ends sessions on time, with the right cause.
func TestTimeouts(t *testing.T) {
	for _, tc := range []struct {
		name  string
		ping  bool
		after time.Duration
		cause rfc2866.AcctTerminateCause
	}{
		{"idle", false, 10 * time.Minute, rfc2866.AcctTerminateCause_Value_IdleTimeout},
		{"session", true, time.Hour, rfc2866.AcctTerminateCause_Value_SessionTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				start := time.Now()
				s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(0)))
				if err != nil {
					t.Fatal(err)
				}
				for live := true; live; {
					if tc.ping {
						_, _ = s.Ping(t.Context(), farHost, 56)
					}
					select {
					case <-s.Done():
						live = false
					case <-time.After(time.Minute):
					}
				}
				if d := time.Since(start); d < tc.after || d > tc.after+2*time.Minute {
					t.Errorf("ended after %v", d)
				}
				time.Sleep(5 * time.Second)
				w.service.mu.Lock()
				defer w.service.mu.Unlock()
				for _, got := range w.service.stops {
					if got.cause != tc.cause {
						t.Errorf("cause %v", got.cause)
					}
				}
				if len(w.service.stops) != 1 {
					t.Errorf("%d stops", len(w.service.stops))
				}
			})
		})
	}
}

// A client that vanishes is noticed by echoes; its Stop is right although no Interim
// had been sent.
func TestPeerVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(0)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Ping(t.Context(), farHost, 100); err != nil {
			t.Fatal(err)
		}
		w.net.SetFaults(netip.Addr{}, netip.Addr{}, simnet.Faults{Down: true})
		time.Sleep(5 * time.Minute)
		w.service.mu.Lock()
		for _, got := range w.service.stops {
			if got.cause != rfc2866.AcctTerminateCause_Value_LostCarrier || got.in != 128 || got.out != 128 {
				t.Errorf("%+v", got)
			}
		}
		if len(w.service.stops) != 1 || w.node.Sessions() != 0 {
			t.Errorf("%d stops, %d sessions", len(w.service.stops), w.node.Sessions())
		}
		w.service.mu.Unlock()
		w.net.SetFaults(netip.Addr{}, netip.Addr{}, simnet.Faults{})
		_ = s.Close()
	})
}

// A node that goes down tells every client and accounting.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		var sessions []*client.Session
		for i := range 5 {
			s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(i)))
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, s)
		}
		w.node.Stop()
		for _, s := range sessions {
			select {
			case <-s.Done():
			case <-time.After(time.Second):
				t.Error("a client was not told")
			}
		}
		if len(w.service.stops) != 5 {
			t.Errorf("%d stops", len(w.service.stops))
		}
		for _, got := range w.service.stops {
			if got.cause != rfc2866.AcctTerminateCause_Value_AdminReboot {
				t.Errorf("%+v", got)
			}
		}
	})
}

// What native clients do differently costs none of them their session.
func TestQuirks(t *testing.T) {
	for _, q := range []client.Quirk{client.QuirkNone, client.QuirkWindows10, client.QuirkMacOS, client.QuirkKernelPPPD} {
		t.Run(q.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				cfg := w.clientConfig(clientAddr(0))
				cfg.Quirk = q
				s, err := client.Dial(t.Context(), cfg)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second) // Windows' repeated Configure-Request
				if _, err := s.Ping(t.Context(), farHost, 1000); err != nil {
					t.Error(err)
				}
				_ = s.Close()
			})
		})
	}
	t.Run("router without encryption", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			cfg := w.clientConfig(clientAddr(0))
			cfg.Quirk = client.QuirkRouter
			if s, err := client.Dial(t.Context(), cfg); err == nil {
				t.Fatalf("a session with %v", s.Local())
			}
			time.Sleep(10 * time.Second)
			if w.node.Sessions() != 0 {
				t.Error("a session is left")
			}
		})
	})
}

// A thousand logins over a bad network end in a session that carries packets, or in
// a clean refusal; none hangs, and nothing is left behind.
func TestLoginsOverBadNetwork(t *testing.T) {
	const logins = 1000
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.net.SetFaults(netip.Addr{}, netip.Addr{}, simnet.Faults{
			Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.2, Duplicate: 0.1, Reorder: 0.2,
		})
		w.service.delay.Store(int64(50 * time.Millisecond))
		var up, refused, dead atomic.Int64
		var wg sync.WaitGroup
		for i := range logins {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				cfg := w.clientConfig(clientAddr(i))
				s, err := client.Dial(t.Context(), cfg)
				if err != nil {
					refused.Add(1)
					return
				}
				up.Add(1)
				// A fifth is lost each way, and IPCP may be renegotiating at one end.
				for start := time.Now(); ; time.Sleep(200 * time.Millisecond) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					_, err := s.Ping(ctx, farHost, 200)
					cancel()
					if err == nil {
						break
					}
					if time.Since(start) > time.Minute {
						dead.Add(1)
						t.Logf("dead: %v, %+v, %v", s.Local(), s.Stats(), s.Err())
						break
					}
				}
				_ = s.Close()
			})
		}
		wg.Wait()
		time.Sleep(3 * time.Minute)
		t.Logf("%d sessions, %d clean refusals", up.Load(), refused.Load())
		if up.Load()+refused.Load() != logins || up.Load() < logins*9/10 || dead.Load() != 0 {
			t.Errorf("of %d: %d up, %d refused, %d dead tunnels", logins, up.Load(), refused.Load(), dead.Load())
		}
		w.service.mu.Lock()
		defer w.service.mu.Unlock()
		for id, n := range w.service.starts {
			if n != 1 || w.service.stops[id].count != 1 {
				t.Errorf("session %s: %d starts, %d stops", id, n, w.service.stops[id].count)
			}
		}
		if w.node.Sessions() != 0 {
			t.Errorf("%d sessions left", w.node.Sessions())
		}
	})
}

// No dead tunnel in 200 dials on a good network: the first packets pass.
func TestNoDeadTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.net.SetFaults(netip.Addr{}, netip.Addr{}, simnet.Faults{Delay: 5 * time.Millisecond, Jitter: 10 * time.Millisecond})
		for i := range 200 {
			s, err := client.Dial(t.Context(), w.clientConfig(clientAddr(i)))
			if err != nil {
				t.Fatalf("dial %d: %v", i, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := s.Ping(ctx, farHost, 56); err != nil {
				t.Errorf("dial %d: %v", i, err)
			}
			cancel()
			_ = s.Close()
		}
	})
}

// Two clients behind one address keep their calls apart.
func TestOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		cfg := w.clientConfig(clientAddr(0))
		a, err := client.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		b, err := client.Dial(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*client.Session{a, b} {
			if _, err := s.Ping(t.Context(), farHost, 100); err != nil {
				t.Error(err)
			}
		}
		if a.Local() == b.Local() || w.node.Sessions() != 2 {
			t.Errorf("%v and %v, %d sessions", a.Local(), b.Local(), w.node.Sessions())
		}
		_, _ = a.Close(), b.Close()
	})
}
