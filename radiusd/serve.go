package radiusd

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"postern/authz"
	"postern/internal/radius"
)

// port is what a request may ask for where it came in (RFC 2865 §3, RFC 2866 §3: two
// UDP ports; RFC 6614 §2.1: one for everything). The zero value is everything.
type port uint8

const (
	portAny port = iota
	portAuth
	portAcct
)

// serves says whether requests of a kind belong here. Status-Server asks about the
// port it comes to.
func (p port) serves(k kind) bool {
	switch k {
	case kindAccess:
		return p != portAcct
	case kindAccounting:
		return p != portAuth
	case kindStatus:
		return true
	case kindNone:
	}
	return false
}

// peer is where a request came from, and what is known of who that is.
type peer struct {
	addr   netip.AddrPort
	via    radius.Transport
	port   port
	space  uint64        // RadSec: the connection
	names  []string      // RadSec: what the certificate proves
	local  string        // in process: who says it is
	secret radius.Secret // in process
}

// ticket is a request that was believed and is nobody's repetition. It must be
// finished, or the request's repetitions are dropped for ever.
type ticket struct {
	from   peer
	client *client
	kind   kind
	packet *radius.Packet
	key    fingerprint
	taken  time.Time
	until  time.Time
	hold   time.Duration // that the answer waits for when it is made

	// In a queue.
	rank           rank
	before, behind *ticket

	// Where the answer goes; nil in process.
	via     answerer
	control []byte // UDP: see replyFrom
}

// answerer sends an answer; nil is silence.
type answerer interface {
	answer(t *ticket, reply []byte)
}

// ServeRADIUS implements radius.Handler. In process a request is signed with from's
// Secret, and its sender is known by from's Name; with from.Transport UDP or RadSec
// the client is looked up by from's Addr or Name. It may be called before Start, and
// answers nothing after Stop.
func (s *Server) ServeRADIUS(ctx context.Context, req []byte, from radius.Peer) []byte {
	in := peer{addr: netip.AddrPortFrom(from.Addr.Addr().Unmap(), from.Addr.Port()), via: from.Transport, local: from.Name, secret: from.Secret}
	switch in.via {
	case radius.RadSec:
		in.names = []string{from.Name}
	case radius.InProcess, radius.UDP:
	default:
		in.via = radius.TransportUnknown
	}
	if !s.enter() {
		s.drop(&in, dropStopped)
		return nil
	}
	defer s.calls.Done()
	t, reply := s.admit(time.Now(), req, in)
	if t == nil {
		return reply
	}
	reply = s.finish(ctx, t)
	s.wait(ctx, t)
	s.settle(t, reply)
	return reply
}

// admit is the part of a request's way that waits for nobody. It returns a ticket,
// or the answer given before to the same request, or neither: then it was dropped
// and counted. req may be used again afterwards.
func (s *Server) admit(now time.Time, req []byte, from peer) (t *ticket, reply []byte) {
	t, reply, err := s.tryAdmit(now, req, from)
	if err != nil {
		s.drop(&from, err)
		return nil, nil
	}
	return t, reply
}

func (s *Server) tryAdmit(now time.Time, req []byte, from peer) (t *ticket, reply []byte, err error) {
	defer s.rescue(&err)
	st := s.state.Load()
	c, secret := st.identify(&from)
	if c == nil {
		return nil, nil, dropNoClient
	}
	p, err := believe(req, secret, c, from.port)
	if err != nil {
		return nil, nil, err
	}
	t = &ticket{from: from, client: c, kind: kindOf(p.Code), packet: p, taken: now, until: now.Add(st.deadline)}
	t.rank = rankOf(t.kind, p)
	s.metrics.requests[from.via][t.kind].Inc()
	t.key = fingerprint{from: from.addr, space: from.space, via: from.via, code: byte(p.Code), id: p.Identifier, auth: p.Authenticator}
	reply, before := s.duplicates.begin(now, t.key)
	switch before {
	case seenInWork:
		return nil, nil, dropInFlight
	case seenAnswered:
		s.metrics.repeated[from.via].Inc()
		return nil, reply, nil
	case seenNever:
	}
	return t, nil, nil
}

// identify finds the client, and the secret it signs with.
func (st *state) identify(from *peer) (*client, radius.Secret) {
	switch from.via {
	case radius.UDP:
		if c := st.clients.at(from.addr.Addr()); c != nil {
			return c, c.Secret
		}
	case radius.RadSec:
		if c := st.clients.certified(from.names...); c != nil {
			return c, radius.RadSecSecret()
		}
	case radius.InProcess:
		return inProcess(from.local), from.secret
	case radius.TransportUnknown:
	}
	return nil, radius.Secret{}
}

// maxProxyState is how much Proxy-State a request may carry, ours: the reply must
// carry it back and have room for an answer. Eight proxies get along with it.
const maxProxyState = 2048

// believe checks that a request comes from the client and belongs here.
func believe(req []byte, secret radius.Secret, c *client, at port) (*radius.Packet, error) {
	shape, err := radius.Inspect(req)
	if err != nil {
		return nil, err
	}
	k := kindOf(shape.Code)
	switch {
	case k == kindNone: // CoA, Disconnect and replies among them
		return nil, radius.FaultCode
	case !at.serves(k):
		return nil, dropPort
	case k == kindAccess && !shape.Signed && shape.ProxyState && !c.AllowUnsignedProxyState:
		return nil, dropProxyState
	}
	p, err := radius.ParseRequest(req, secret, k == kindAccess && c.mustSign())
	if err != nil {
		return nil, err
	}
	if shape.ProxyState && proxyStates(p) > maxProxyState {
		return nil, dropProxyState
	}
	if k == kindAccess && shape.Signed {
		c.signed.Store(true)
	}
	return p, nil
}

// finish makes the answer to a ticket's request, nil where it must not be answered.
// It is not to be sent before t.hold is over, and then the ticket is to be settled.
func (s *Server) finish(ctx context.Context, t *ticket) []byte {
	reply, err := s.tryFinish(ctx, t)
	if err != nil {
		t.hold = 0
		s.drop(&t.from, err)
		return nil
	}
	s.metrics.seconds[t.kind].Observe(time.Since(t.taken).Seconds())
	return reply
}

// settle ends the work on a request: its repetitions get the same reply from now on,
// or, if there is none, a new chance.
func (s *Server) settle(t *ticket, reply []byte) { s.duplicates.finish(time.Now(), t.key, reply) }

func (s *Server) tryFinish(ctx context.Context, t *ticket) (reply []byte, err error) {
	defer s.rescue(&err)
	if time.Now().After(t.until) {
		return nil, dropLate
	}
	ctx, cancel := context.WithDeadline(ctx, t.until)
	defer cancel()
	p, err := s.reply(ctx, t)
	if err != nil {
		return nil, err
	}
	b, err := radius.EncodeReply(p, t.packet)
	if err != nil {
		s.log.Error("answer cannot be encoded", "client", t.client.Name, "error", err)
		return nil, dropUnencodable
	}
	return b, nil
}

// reply makes the packet that answers.
func (s *Server) reply(ctx context.Context, t *ticket) (*radius.Packet, error) {
	switch t.kind {
	case kindAccess:
		return s.login(ctx, t)
	case kindAccounting:
		return s.account(ctx, t)
	case kindStatus:
		return s.status(ctx, t)
	case kindNone:
	}
	return nil, radius.FaultCode
}

// rescue keeps a fault of ours in one request from ending the others.
func (s *Server) rescue(err *error) {
	if v := recover(); v != nil {
		s.log.Error("panic while serving a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		*err = dropPanic
	}
}

// drop counts a request that gets no answer. What strangers send is not worth more
// than a debug line.
func (s *Server) drop(from *peer, why error) {
	s.metrics.drop(from.via, why)
	if s.log.Enabled(context.Background(), slog.LevelDebug) {
		s.log.Debug("request dropped", "transport", from.via.String(), "peer", from.addr.String(), "reason", why.Error())
	}
}

// seldom lets one line in a while through, of many that say the same.
type seldom struct{ last atomic.Int64 }

const seldomEvery = 10 * time.Second

func (s *seldom) now() bool {
	now, last := time.Now().UnixNano(), s.last.Load()
	return now-last >= int64(seldomEvery) && s.last.CompareAndSwap(last, now)
}

// Decider decides logins; authz.Decider is one. It is called from many goroutines.
type Decider interface {
	Decide(ctx context.Context, r *authz.Request) *authz.Result
}

// Accounter stores accounting; authz.Bookkeeper is one. It is called from many
// goroutines. Only after nil is the NAS told that the record is stored.
type Accounter interface {
	Account(ctx context.Context, a *authz.Accounting) error
}
