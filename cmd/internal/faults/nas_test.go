//go:build integration

package faults

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/authz/session"
	"postern/cmd/internal/faults/history"
	"postern/internal/config"
	"postern/internal/mschap"
	"postern/internal/radius"
	"postern/internal/spool"
)

// nas is a node without its tunnels: it asks services and reports to them as a node does,
// by the same client and spool, and ends sessions when it is told to.
type nas struct {
	w        *world
	name     string
	identity config.Identity
	dir      string // of the spool, which outlives the process

	mu    sync.Mutex
	now   *boot // nil: it is down
	boots int
}

// boot is a NAS from its start until it is killed.
type boot struct {
	nas    *nas
	id     string
	client *radius.Client
	spool  *spool.Spool
	ctx    context.Context // ends when it is killed
	cancel context.CancelFunc
	length atomic.Int64
	wg     sync.WaitGroup

	mu      sync.Mutex
	dead    bool
	serial  int
	tunnels map[string]*tunnel // by Acct-Session-Id
}

// tunnel is a session that is up.
type tunnel struct {
	boot    *boot
	acct    string
	began   time.Time
	accept  *radius.Packet
	session *history.Session // under world.mu
	hangUp  chan rfc2866.AcctTerminateCause
}

// start starts the NAS: Accounting-On, and whatever its spool has kept.
func (n *nas) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.boots++
	b := &boot{nas: n, id: fmt.Sprintf("%s-%04d", n.name, n.boots), tunnels: make(map[string]*tunnel)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	servers, err := n.w.servers(n.identity)
	if err != nil {
		n.w.t.Error(err)
		return
	}
	dynamic, err := radius.NewDynamic(radius.DynamicConfig{CarryOut: b.carryOut})
	if err != nil {
		n.w.t.Error(err)
		return
	}
	if b.client, err = radius.NewClient(radius.ClientConfig{Name: n.name, Servers: servers, Timeout: time.Second, Retries: 1, Reverse: dynamic}); err != nil {
		n.w.t.Error(err)
		return
	}
	b.spool, err = spool.Open(spool.Config{Dir: n.dir, Log: slog.New(slog.DiscardHandler), Length: &b.length})
	if err != nil {
		n.w.t.Error(err)
		return
	}
	on := &radius.Packet{Code: radius.CodeAccountingRequest}
	if err := errors.Join(
		rfc2866.AcctStatusType_Set(on, rfc2866.AcctStatusType_Value_AccountingOn),
		rfc2865.NASIdentifier_SetString(on, n.name),
		rfc2866.AcctSessionID_SetString(on, b.id),
		rfc2869.EventTimestamp_Set(on, time.Now()),
	); err != nil {
		n.w.t.Error(err)
		return
	}
	b.spool.Add(b.id, rfc2866.AcctStatusType_Value_AccountingOn, on, time.Now())
	b.wg.Go(func() { b.spool.Run(b.ctx, func() radius.Exchanger { return witness{n.w, n.name, b.client} }) })
	n.now = b
}

// running is the NAS as it runs; nil: it is down.
func (n *nas) running() *boot {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}

// kill ends the NAS and all its tunnels at once, without a word to anybody. Its spool
// stays as a file system leaves it.
func (n *nas) kill() {
	n.mu.Lock()
	b := n.now
	n.now = nil
	n.mu.Unlock()
	if b == nil {
		return
	}
	b.mu.Lock()
	b.dead = true
	n.w.mu.Lock()
	for _, t := range b.tunnels {
		t.endLocked()
	}
	n.w.mu.Unlock()
	b.mu.Unlock()
	b.cancel()
	b.client.Close()
	b.wg.Wait()
}

// attempt is what somebody types.
type attempt struct {
	user   *user
	wrong  bool   // the password
	code   string // "": none
	source netip.Addr
	life   time.Duration // of the tunnel, if it comes up
}

// login is one call, as its client sees it.
func (b *boot) login(a attempt) *history.Session {
	w := b.nas.w
	b.mu.Lock()
	b.serial++
	acct := fmt.Sprintf("%s-%06d", b.id, b.serial)
	b.mu.Unlock()
	s := &history.Session{ID: session.ID(b.nas.name, acct), User: a.user.name, Node: b.nas.name, Wrong: a.wrong, Code: a.code}
	p, proof, err := request(b.nas.name, acct, a)
	if err != nil {
		w.t.Error(err)
		return s
	}
	s.Asked = time.Now()
	w.mu.Lock()
	w.all = append(w.all, s)
	w.byID[s.ID] = s
	w.mu.Unlock()

	ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second) // what a client waits for its CHAP
	defer cancel()
	reply, err := b.client.Exchange(ctx, p)

	b.mu.Lock()
	defer b.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Answered = time.Now()
	switch {
	case err != nil || b.dead:
		w.code["no answer"]++
	case reply.Code == radius.CodeAccessAccept:
		s.Verdict, s.Proved = history.Accepted, proof(reply)
		s.Addr, _ = netip.AddrFromSlice(rfc2865.FramedIPAddress_Get(reply))
		t := &tunnel{boot: b, acct: acct, began: time.Now(), accept: reply, session: s, hangUp: make(chan rfc2866.AcctTerminateCause, 1)}
		b.tunnels[acct] = t
		b.reportLocked(t, rfc2866.AcctStatusType_Value_Start, 0)
		b.wg.Go(func() { t.live(a.life) })
	default:
		s.Verdict = history.Refused
		_, text, _ := radius.GetMSCHAPError(reply)
		e, err := mschap.ParseError(text)
		if err != nil {
			w.t.Errorf("a refusal without a reason: %v", err)
		}
		w.code[fmt.Sprintf("%d %s", e.Code, e.Message)]++
	}
	return s
}

// endLocked notes when the tunnel went. world.mu is held.
func (t *tunnel) endLocked() {
	if t.session.Ended.IsZero() {
		t.session.Ended = time.Now()
	}
}

// live is a tunnel's time.
func (t *tunnel) live(life time.Duration) {
	b := t.boot
	over := time.NewTimer(life)
	defer over.Stop()
	report := time.NewTicker(interim)
	defer report.Stop()
	cause := rfc2866.AcctTerminateCause_Value_UserRequest
wait:
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-report.C:
			b.mu.Lock()
			if !b.dead {
				b.reportLocked(t, rfc2866.AcctStatusType_Value_InterimUpdate, 0)
			}
			b.mu.Unlock()
		case cause = <-t.hangUp:
			break wait
		case <-over.C:
			break wait
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return
	}
	b.nas.w.mu.Lock()
	t.endLocked()
	b.nas.w.mu.Unlock()
	delete(b.tunnels, t.acct)
	b.reportLocked(t, rfc2866.AcctStatusType_Value_Stop, cause)
}

// carryOut does what services ask for (RFC 5176).
func (b *boot) carryOut(_ context.Context, p *radius.Packet) error {
	b.mu.Lock()
	t := b.tunnels[rfc2866.AcctSessionID_GetString(p)]
	b.mu.Unlock()
	if t == nil {
		return radius.CauseSessionNotFound
	}
	if p.Code == radius.CodeDisconnectRequest {
		b.nas.w.mu.Lock()
		t.endLocked()
		b.nas.w.mu.Unlock()
		select {
		case t.hangUp <- rfc2866.AcctTerminateCause_Value_AdminReset:
		default:
		}
	}
	return nil
}

// reportLocked hands a record to the spool.
func (b *boot) reportLocked(t *tunnel, status rfc2866.AcctStatusType, cause rfc2866.AcctTerminateCause) {
	p := &radius.Packet{Code: radius.CodeAccountingRequest}
	now := time.Now()
	errs := []error{
		rfc2866.AcctStatusType_Set(p, status),
		rfc2865.NASIdentifier_SetString(p, b.nas.name),
		rfc2865.UserName_SetString(p, t.session.User),
		rfc2866.AcctSessionID_SetString(p, t.acct),
		rfc2866.AcctSessionTime_Set(p, rfc2866.AcctSessionTime(now.Sub(t.began)/time.Second)),
		rfc2865.FramedIPAddress_Set(p, rfc2865.FramedIPAddress_Get(t.accept)),
		rfc2865.Class_Set(p, rfc2865.Class_Get(t.accept)),
	}
	if cause != 0 {
		errs = append(errs, rfc2866.AcctTerminateCause_Set(p, cause))
	}
	if err := errors.Join(errs...); err != nil {
		b.nas.w.t.Error(err)
	}
	b.spool.Add(t.acct, status, p, now)
}

// witness notes what services have acknowledged.
type witness struct {
	w    *world
	nas  string
	next radius.Exchanger
}

func (x witness) Exchange(ctx context.Context, p *radius.Packet) (*radius.Packet, error) {
	made := time.Now()
	reply, err := x.next.Exchange(ctx, p)
	kind := map[rfc2866.AcctStatusType]history.Kind{
		rfc2866.AcctStatusType_Value_Start: history.Start, rfc2866.AcctStatusType_Value_InterimUpdate: history.Interim, rfc2866.AcctStatusType_Value_Stop: history.Stop,
	}[rfc2866.AcctStatusType_Get(p)]
	if err == nil && kind != history.Unknown {
		x.w.mu.Lock()
		defer x.w.mu.Unlock()
		s := x.w.byID[session.ID(x.nas, rfc2866.AcctSessionID_GetString(p))]
		s.Reports = append(s.Reports, history.Report{Kind: kind, Made: made, Acked: time.Now()})
	}
	return reply, err
}

// request is an Access-Request by MS-CHAPv2 (RFC 2759, RFC 2548 §2.3), and what tells
// whether an Accept is from somebody who knows the password.
func request(nas, acct string, a attempt) (p *radius.Packet, proof func(*radius.Packet) bool, _ error) {
	var challenge [16]byte
	r := radius.MSCHAP2Response{Ident: 9}
	_, _ = rand.Read(challenge[:])
	_, _ = rand.Read(r.PeerChallenge[:])
	secret, name := password, a.user.name
	if a.wrong {
		secret += "?"
	}
	if a.code != "" {
		name += "+" + a.code
	}
	hash := mschap.NTHash(secret)
	said := mschap.ChallengeHash(&r.PeerChallenge, &challenge, name)
	r.NTResponse = mschap.NTResponse(said, &hash)
	p = radius.NewRequest(radius.CodeAccessRequest, radius.Secret{})
	err := errors.Join(
		rfc2865.UserName_SetString(p, name),
		rfc2865.NASIdentifier_SetString(p, nas),
		rfc2865.CallingStationID_SetString(p, a.source.String()),
		rfc2866.AcctSessionID_SetString(p, acct),
		radius.AddMSCHAP2Response(p, &challenge, &r))
	return p, func(reply *radius.Packet) bool {
		twice := mschap.HashHash(&hash)
		want := mschap.AuthenticatorResponse(&twice, &r.NTResponse, said)
		ident, got, ok := radius.GetMSCHAP2Success(reply)
		master := mschap.MasterKey(&twice, &r.NTResponse)
		wantSend, wantRecv := mschap.StartKeys(&master, true)
		send, recv, keys := radius.MPPEKeys(reply)
		return ok && ident == r.Ident && len(got) >= len(want) && subtle.ConstantTimeCompare([]byte(got[:len(want)]), []byte(want)) == 1 &&
			keys && send == wantSend && recv == wantRecv
	}, err
}
