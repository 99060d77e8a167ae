package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"postern/internal/mschap"
	"postern/internal/simnet"
	"postern/pptp/chap"
	"postern/pptp/control"
	"postern/pptp/gre"
	"postern/pptp/gre/gretest"
	"postern/pptp/mppe"
	"postern/pptp/ppp"
)

var (
	serverAddr  = netip.MustParseAddr("192.0.2.1")
	clientAddr  = netip.MustParseAddr("198.51.100.7")
	serverInner = netip.MustParseAddr("10.0.0.1")
	dns1        = netip.MustParseAddr("10.0.0.53")
	dns2        = netip.MustParseAddr("10.0.0.54")
)

// rules are how a test's server behaves. The zero value, by newLab, demands
// MS-CHAPv2 and MPPE-128.
type rules struct {
	demand   []ppp.Auth
	ccp      ppp.CCPConfig
	timer    ppp.Timer
	mru      uint16
	impostor bool   // proves to know another password
	retry    bool   // refuses with R=1
	text     string // of the refusal's M=
	expired  string // refuses right passwords so, until one is changed
	deaf     bool   // takes no GRE
	start    control.StartResult
	call     control.CallResult
	early    bool                        // PPP begins before the Outgoing-Call-Reply arrives
	rewrite  func(ip []byte) []byte      // of echo replies
	control  func(p ppp.Proto, b []byte) // sees what the client sends
	message  func(control.Event)
}

// server is a PPTP server of the server-role machines, all under one lock.
type server struct {
	t     testing.TB
	rules rules
	gre   gre.Conn
	l     net.Listener
	work  sync.WaitGroup

	mu     sync.Mutex
	calls  map[uint16]*serverCall
	conns  []*serverConn
	nextID uint16
	got    [][]byte // inner packets that were no echo requests
	swaps  int      // GRE packets that came behind their successors
	first  []uint32 // sequence number each call began with
	clear  int      // inner packets in the clear
	dead   int      // encrypted ones without a decryptor, or that did not open
}

type serverConn struct {
	s   *server
	tcp net.Conn
	m   *control.Conn
}

type serverCall struct {
	s                  *server
	conn               *serverConn
	callID, peerCallID uint16
	peer, inner        netip.Addr
	timer              *time.Timer
	window             gre.Window
	last, seq          uint32
	lcp                *ppp.LCP
	chap               *chap.Authenticator
	ccp                *ppp.CCP
	ipcp               *ppp.IPCP
	sendKey, recvKey   [16]byte
	sealer             *mppe.Sealer
	opener             *mppe.Opener
	openerBits         ppp.MPPEBits
	up, gone           bool
}

// users of every server here.
var users = map[string]string{"alice": "clientPass", `CORP\bob`: "Äpfel und Birnen"}

func newServer(t testing.TB, h *simnet.Host, r rules) *server {
	t.Helper()
	l, err := h.Listen(Port)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, l, gretest.Listen(h), r)
}

func serve(t testing.TB, l net.Listener, conn gre.Conn, r rules) *server {
	if r.demand == nil {
		r.demand = []ppp.Auth{ppp.AuthMSCHAPv2}
	}
	if r.ccp.Allow == 0 && r.ccp.Quirk == 0 {
		r.ccp = ppp.CCPConfig{Require: true, Allow: ppp.MPPE128}
	}
	s := &server{t: t, rules: r, gre: conn, l: l, calls: map[uint16]*serverCall{}, nextID: 100}
	s.work.Go(s.accept)
	s.work.Go(s.receive)
	return s
}

// close ends it and waits.
func (s *server) close() {
	_ = s.l.Close()
	_ = s.gre.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		_ = c.tcp.Close()
	}
	for _, c := range s.calls {
		c.end()
	}
	s.mu.Unlock()
	s.work.Wait()
}

func (s *server) accept() {
	for {
		tcp, err := s.l.Accept()
		if err != nil {
			return
		}
		c := &serverConn{s: s, tcp: tcp, m: control.NewServer(&control.Config{HostName: "test", Vendor: "test"}, time.Now())}
		s.mu.Lock()
		if s.rules.start != 0 {
			c.step(c.m.Refuse(time.Now(), s.rules.start, 0))
		}
		s.conns = append(s.conns, c)
		s.mu.Unlock()
		s.work.Go(c.serve)
	}
}

func (c *serverConn) serve() {
	defer c.over()
	buf := make([]byte, 512)
	for {
		c.s.mu.Lock()
		at := c.m.Deadline()
		c.s.mu.Unlock()
		_ = c.tcp.SetReadDeadline(at)
		k, err := c.tcp.Read(buf)
		now := time.Now()
		c.s.mu.Lock()
		var st control.Step
		if k > 0 {
			if st, err = c.m.Input(now, buf[:k]); err != nil {
				c.s.t.Errorf("server: %v", err)
			}
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			st, err = c.m.Timeout(now), nil
		}
		c.step(st)
		c.s.mu.Unlock()
		if err != nil || st.Close {
			return
		}
	}
}

func (c *serverConn) over() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	_ = c.tcp.Close()
	for _, k := range c.s.calls {
		if k.conn == c {
			k.end()
		}
	}
}

// step obeys the control machine. s.mu is held.
func (c *serverConn) step(st control.Step) {
	if len(st.Send) > 0 {
		_, _ = c.tcp.Write(st.Send)
	}
	s := c.s
	for _, e := range st.Events {
		if s.rules.message != nil {
			s.rules.message(e)
		}
		switch e := e.(type) {
		case control.CallRequest:
			now := time.Now()
			if s.rules.call != 0 {
				c.step(c.m.RefuseCall(now, e.PeerCallID, s.rules.call, 0))
				continue
			}
			s.nextID++
			k := &serverCall{s: s, conn: c, callID: s.nextID, peerCallID: e.PeerCallID, peer: peerOf(c.tcp)}
			k.inner = netip.AddrFrom4([4]byte{10, 0, byte(k.callID >> 8), byte(k.callID)})
			s.calls[k.callID] = k
			k.timer = time.AfterFunc(time.Hour, k.fire)
			if s.rules.early {
				k.start(now)
				time.AfterFunc(20*time.Millisecond, func() {
					s.mu.Lock()
					defer s.mu.Unlock()
					c.step(c.m.AcceptCall(time.Now(), e.PeerCallID, k.callID, 0, 0))
				})
				continue
			}
			c.step(c.m.AcceptCall(now, e.PeerCallID, k.callID, 0, 0))
			k.start(now)
		case control.CallClear:
			if k := s.calls[e.CallID]; k != nil {
				k.end()
			}
		case control.Stopped, control.Started:
		case control.Ignored:
			s.t.Logf("server: ignored %s: %s", e.Type, e.Why)
		}
	}
}

func peerOf(c net.Conn) netip.Addr {
	return c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
}

func (k *serverCall) start(now time.Time) {
	mru := k.s.rules.mru
	if mru == 0 {
		mru = 1400
	}
	k.lcp = ppp.NewLCP(ppp.LCPConfig{MRU: mru, PFC: true, ACFC: true, Demand: k.s.rules.demand, Timer: k.s.rules.timer})
	k.lcpStep(now, k.lcp.Open(now))
	k.lcpStep(now, k.lcp.LowerUp(now))
	k.arm(now)
}

// end forgets the call. s.mu is held.
func (k *serverCall) end() {
	k.gone = true
	k.timer.Stop()
	delete(k.s.calls, k.callID)
}

// disconnect sends a CDN. s.mu is held.
func (k *serverCall) disconnect(r control.DisconnectResult) {
	k.conn.step(k.conn.m.Disconnect(time.Now(), k.callID, r, 0))
	k.end()
}

func (k *serverCall) fire() {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	if k.gone {
		return
	}
	now := time.Now()
	if due(now, k.window.Deadline()) {
		k.window.Timeout(now, k.frame)
	}
	if due(now, k.lcp.Deadline()) {
		k.lcpStep(now, k.lcp.Timeout(now))
	}
	if k.chap != nil && due(now, k.chap.Deadline()) {
		k.chapStep(now, k.chap.Timeout(now))
	}
	if k.ccp != nil && due(now, k.ccp.Deadline()) {
		k.ccpStep(now, k.ccp.Timeout(now))
	}
	if k.ipcp != nil && due(now, k.ipcp.Deadline()) {
		k.ipcpStep(now, k.ipcp.Timeout(now))
	}
	k.arm(now)
}

func (k *serverCall) arm(now time.Time) {
	if k.gone {
		return
	}
	all := []time.Time{k.window.Deadline(), k.lcp.Deadline()}
	if k.chap != nil {
		all = append(all, k.chap.Deadline())
	}
	if k.ccp != nil {
		all = append(all, k.ccp.Deadline(), k.ipcp.Deadline())
	}
	var first time.Time
	for _, t := range all {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	k.timer.Stop()
	if !first.IsZero() {
		k.timer.Reset(max(first.Sub(now), 0))
	}
}

func (s *server) receive() {
	ms := make([]gre.Message, 16)
	for i := range ms {
		ms[i].Buf = make([]byte, maxFrame)
	}
	for {
		n, err := s.gre.ReadBatch(ms)
		if err != nil {
			return
		}
		now := time.Now()
		s.mu.Lock()
		for i := range n {
			h, err := gre.Parse(ms[i].Buf[:ms[i].N])
			if err != nil {
				s.t.Errorf("server: %v", err)
				continue
			}
			k := s.calls[h.CallID]
			if k == nil || k.peer != ms[i].Addr || s.rules.deaf || !h.HasSeq {
				continue
			}
			if _, any := k.window.Highest(); !any {
				s.first = append(s.first, h.Seq)
			} else if int32(h.Seq-k.last) < 0 {
				s.swaps++
			}
			k.last = h.Seq
			k.window.Receive(now, h.Seq, h.Payload, k.frame)
			k.arm(now)
		}
		s.mu.Unlock()
	}
}

func (k *serverCall) frame(b []byte) {
	proto, data, err := ppp.ParseFrame(b)
	if err != nil || k.gone {
		return
	}
	if proto == ppp.ProtoMPPE {
		if k.opener == nil {
			k.s.dead++
			return
		}
		plain, err := k.opener.Open(nil, data)
		if err != nil {
			k.s.dead++
			if err == mppe.ErrNeedReset {
				k.ccpStep(time.Now(), k.ccp.ResetRequest(time.Now()))
			}
			return
		}
		inner, ip, err := ppp.ParseFrame(plain)
		if err != nil || inner != ppp.ProtoIP {
			k.s.t.Errorf("server: encrypted frame of %s: %v", inner, err)
			return
		}
		k.ip(ip)
		return
	}
	if proto == ppp.ProtoIP {
		k.s.clear++
		k.ip(data)
		return
	}
	if k.s.rules.control != nil {
		k.s.rules.control(proto, data)
	}
	now := time.Now()
	switch {
	case proto == ppp.ProtoLCP:
		k.lcpStep(now, k.lcp.Input(now, data))
	case proto == ppp.ProtoCHAP && k.chap != nil:
		k.chapStep(now, k.chap.Input(now, data))
	case proto == ppp.ProtoCCP && k.ccp != nil:
		k.ccpStep(now, k.ccp.Input(now, data))
	case proto == ppp.ProtoIPCP && k.ipcp != nil:
		k.ipcpStep(now, k.ipcp.Input(now, data))
	case k.ccp != nil && proto != ppp.ProtoCHAP:
		k.lcpStep(now, k.lcp.ProtocolReject(now, proto, data))
	}
}

// ip answers echo requests and keeps the rest.
func (k *serverCall) ip(b []byte) {
	e, ok := parseEcho(b)
	if !ok || e.reply {
		k.s.got = append(k.s.got, append([]byte(nil), b...))
		return
	}
	e.src, e.dst, e.reply = e.dst, e.src, true
	ip := e.Append(nil)
	if k.s.rules.rewrite != nil {
		ip = k.s.rules.rewrite(ip)
	}
	k.sendIP(ip)
}

func (k *serverCall) sendIP(ip []byte) {
	frame := append([]byte{0, byte(ppp.ProtoIP)}, ip...)
	if k.sealer != nil {
		frame = k.sealer.Seal([]byte{0, byte(ppp.ProtoMPPE)}, frame)
	}
	k.sendFrame(frame)
}

func (k *serverCall) sendFrame(frame []byte) {
	buf := append(make([]byte, gre.MaxHeader), frame...)
	high, any := k.window.Highest()
	off := gre.Prepend(buf, gre.MaxHeader, k.peerCallID, true, k.seq, any, high)
	k.seq++
	_, _ = k.s.gre.WriteBatch([]gre.Message{{Buf: buf[off:], N: len(buf) - off, Addr: k.peer}})
}

func (k *serverCall) send(st *ppp.Step) {
	for _, p := range st.Send {
		k.sendFrame(append(ppp.AppendHeader(nil, p.Proto, false, false), p.Data...))
	}
}

func (k *serverCall) lcpStep(now time.Time, st ppp.Step) {
	k.send(&st)
	for _, e := range st.Events {
		switch e.Kind {
		case ppp.Up:
			if len(k.s.rules.demand) == 0 {
				continue
			}
			k.chap = chap.NewAuthenticator(chap.Config{Name: "test"})
			k.chapStep(now, k.chap.Start(now))
		case ppp.Finished:
			k.disconnect(control.DisconnectAdminShutdown)
		case ppp.PeerProtocolReject:
			if e.Proto == ppp.ProtoCCP && k.ccp != nil {
				k.ccpStep(now, k.ccp.Rejected(now))
			}
		default:
		}
	}
}

func (k *serverCall) chapStep(now time.Time, st chap.Step) {
	if st.Send != nil {
		k.sendFrame(append(ppp.AppendHeader(nil, ppp.ProtoCHAP, false, false), st.Send...))
	}
	switch e := st.Event.(type) {
	case chap.Response:
		k.judge(now, e)
	case chap.ChangePassword:
		k.change(now, e)
	case chap.Failed:
		if e.Reason != chap.Rejected {
			k.lcpStep(now, k.lcp.Close(now, "authentication failed"))
		}
	}
}

func (k *serverCall) judge(now time.Time, e chap.Response) {
	hash := mschap.NTHash(users[e.Name])
	digest := mschap.ChallengeHash(&e.PeerChallenge, &e.Challenge, mschap.TrimDomain(e.Name))
	if users[e.Name] == "" || mschap.NTResponse(digest, &hash) != e.NTResponse {
		no := mschap.Error{Code: mschap.ErrorAuthenticationFailed, Retry: k.s.rules.retry, Version: 3, Message: k.s.rules.text}
		k.chapStep(now, k.chap.Failure(now, no.String()))
		return
	}
	if k.s.rules.expired != "" {
		k.chapStep(now, k.chap.Failure(now, k.s.rules.expired))
		return
	}
	k.succeed(now, hash, e.NTResponse, digest)
}

// change takes any new password that fits the old one.
func (k *serverCall) change(now time.Time, e chap.ChangePassword) {
	old := mschap.NTHash(users[e.Name])
	password, err := mschap.DecryptPassword(&e.EncryptedPassword, &old)
	hash := mschap.NTHash(password)
	digest := mschap.ChallengeHash(&e.PeerChallenge, &e.Challenge, mschap.TrimDomain(e.Name))
	if err != nil || mschap.EncryptHash(&old, &hash) != e.EncryptedHash || mschap.NTResponse(digest, &hash) != e.NTResponse {
		k.chapStep(now, k.chap.Failure(now, mschap.Error{Code: mschap.ErrorAuthenticationFailed, Version: 3}.String()))
		return
	}
	k.succeed(now, hash, e.NTResponse, digest)
}

func (k *serverCall) succeed(now time.Time, hash [16]byte, response [24]byte, digest [8]byte) {
	if k.s.rules.impostor {
		hash = mschap.NTHash("something else")
	}
	hashHash := mschap.HashHash(&hash)
	proof := mschap.AuthenticatorResponse(&hashHash, &response, digest)
	master := mschap.MasterKey(&hashHash, &response)
	k.sendKey, k.recvKey = mschap.StartKeys(&master, true)
	k.chapStep(now, k.chap.Success(now, proof+" M=welcome"))
	cfg := k.s.rules.ccp
	k.ccp = ppp.NewCCP(cfg)
	k.ipcp = ppp.NewIPCP(ppp.IPCPConfig{Timer: k.s.rules.timer, Local: serverInner, Peer: k.inner, DNS: []netip.Addr{dns1, dns2}})
	k.ccpStep(now, k.ccp.Open(now))
	k.ipcpStep(now, k.ipcp.Open(now))
	k.ccpStep(now, k.ccp.LowerUp(now))
	if !cfg.Require {
		k.ipcpStep(now, k.ipcp.LowerUp(now))
	}
}

func (k *serverCall) ccpStep(now time.Time, st ppp.Step) {
	if st.Down() {
		k.opener, k.openerBits, k.sealer = nil, 0, nil
	}
	if b := st.RecvReady; b != 0 && b != k.openerBits {
		k.opener, k.openerBits = mppe.NewOpener(&k.recvKey, mppeParams(b)), b
	}
	k.send(&st)
	for _, e := range st.Events {
		switch e.Kind {
		case ppp.Up:
			if b := k.ccp.Results().SendBits; b != 0 {
				k.sealer = mppe.NewSealer(&k.sendKey, mppeParams(b))
			}
			k.ipcpStep(now, k.ipcp.LowerUp(now))
		case ppp.Down:
			if k.s.rules.ccp.Require {
				k.ipcpStep(now, k.ipcp.LowerDown(now))
			}
		case ppp.Refused:
			k.lcpStep(now, k.lcp.Close(now, "encryption required"))
		case ppp.ResetRequest:
			if k.sealer != nil {
				k.sealer.Reset()
			}
		default:
		}
	}
}

func (k *serverCall) ipcpStep(_ time.Time, st ppp.Step) {
	k.send(&st)
	for _, e := range st.Events {
		k.up = k.up && e.Kind != ppp.Down || e.Kind == ppp.Up
	}
}

// do runs f on the only call.
func (s *server) do(f func(now time.Time, k *serverCall)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) != 1 {
		s.t.Fatalf("server has %d calls, want 1", len(s.calls))
	}
	for _, k := range s.calls {
		now := time.Now()
		f(now, k)
		k.arm(now)
	}
}

// empty fails the test if the server still has a call.
func (s *server) empty() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) != 0 {
		s.t.Errorf("server has %d calls left", len(s.calls))
	}
}

// lab is a server, a client's host and the link between them.
type lab struct {
	t      *testing.T
	net    *simnet.Network
	server *server
	client *simnet.Host
}

// newLab makes one in a synctest bubble; close ends it.
func newLab(t *testing.T, r rules) *lab {
	t.Helper()
	n := simnet.New(1)
	n.SetFaults(netip.Addr{}, netip.Addr{}, simnet.Faults{Delay: 10 * time.Millisecond})
	return &lab{t: t, net: n, server: newServer(t, n.Host(serverAddr), r), client: n.Host(clientAddr)}
}

func (l *lab) close() { l.server.close() }

// config is alice's, from the lab's client host.
func (l *lab) config() Config {
	return Config{
		Server: netip.AddrPortFrom(serverAddr, 0), Local: clientAddr, User: "alice", Password: users["alice"],
		Timeout: 30 * time.Second,
		DialTCP: func(ctx context.Context, _ netip.Addr, to netip.AddrPort) (net.Conn, error) {
			return l.client.Dial(ctx, to)
		},
		ListenGRE: func(netip.Addr) (gre.Conn, error) { return gretest.Listen(l.client), nil },
	}
}

// dial dials and fails the test if there is no session.
func (l *lab) dial(cfg Config) *Session {
	l.t.Helper()
	s, err := Dial(l.t.Context(), cfg)
	if err != nil {
		l.t.Fatalf("dial: %v", err)
	}
	return s
}

// ping fails the test if a ping through the session does not come back.
func (l *lab) ping(s *Session, size int) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second)
	defer cancel()
	if _, err := s.Ping(ctx, serverInner, size); err != nil {
		l.t.Errorf("ping of %d octets: %v", size, err)
	}
}

// pass lets time go by until everybody else in the bubble waits, so that what they
// wrote can be read.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
