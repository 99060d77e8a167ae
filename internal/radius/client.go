package radius

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Exchanger asks a service. Of p only Code and attributes count (and Secret and
// Authenticator, where a User-Password is hidden under them): Identifier,
// Authenticator, signature and repetition are the Exchanger's, and p stays as it is.
// The reply was verified, and its Secret and Authenticator open MPPE keys.
type Exchanger interface {
	Exchange(ctx context.Context, p *Packet) (*Packet, error)
}

var (
	// ErrNoAnswer: every service was asked and kept silent, or could not be reached.
	ErrNoAnswer = errors.New("radius: no service answered")
	// ErrNoService: none is configured for this kind of request.
	ErrNoService = errors.New("radius: no service is configured for this request")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("radius: client closed")
	// ErrMSCHAPOverUDP: see ClientConfig.AllowMSCHAPOverUDP.
	ErrMSCHAPOverUDP = errors.New("radius: MS-CHAP over UDP to another host is refused: whoever reads it there recovers the " +
		"password's hash at the price of one DES key (use RadSec, or allow MS-CHAP over UDP explicitly)")
)

// Server is one service.
type Server struct {
	Name     string
	Network  string      // "udp", "radsec" or "inproc"
	Addr     string      // host:port for authentication, with RadSec for everything
	AcctAddr string      // udp: host:port for accounting; empty: this server gets none
	Secret   Secret      // radsec: "radsec" unless set; inproc: drawn unless set
	TLS      *tls.Config // radsec; see ClientTLS
	Local    Handler     // inproc

	// UnsignedAccounting believes an Accounting-Response for its Response Authenticator.
	// RFC 2866 has no Message-Authenticator, and FreeRADIUS sends none there. What a
	// forger gains is that a record is lost (CVE-2024-3596); nobody is let in.
	UnsignedAccounting bool

	Priority int // the lowest number that answers is asked
	Weight   int // share among equals; 0 is 1
}

// ClientConfig is what NewClient needs.
type ClientConfig struct {
	Name    string // who asks: NAS-Identifier of Status-Server, Peer.Name in process
	Servers []Server

	// Timeout is the first wait for an answer, doubled for each repetition (RFC 5080
	// §2.2.1); zero is DefaultTimeout. Retries is how often a request is repeated
	// before the next service is asked; zero is never.
	Timeout time.Duration
	Retries int
	// DeadTime is how long a service that kept silent, and was never seen to answer
	// Status-Server, is passed over; zero is DefaultDeadTime. One that does answer
	// Status-Server stays dead until it answers again.
	DeadTime time.Duration

	// Reverse answers what RadSec services ask on the connections we opened to them
	// (RFC 5176); nil: such requests are dropped.
	Reverse Handler

	// AllowMSCHAPOverUDP lets MS-CHAP responses leave the host in the clear.
	AllowMSCHAPOverUDP bool

	// MaxSockets bounds the UDP sockets per service and port, MaxConns the RadSec
	// connections per service; each carries 256 requests at a time. Zero is 64 and 4.
	MaxSockets, MaxConns int

	// Dial opens a UDP socket or TCP connection; nil is net.Dialer's. The connection
	// must drop what comes from another address than it was opened to.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	Log     *slog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Client is an Exchanger over several services. Its methods may be called from many
// goroutines.
type Client struct {
	cfg        ClientConfig
	log        *slog.Logger
	auth, acct []*target // RadSec and in-process targets stand in both

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup // every goroutine of ours; Close waits
}

// NewClient checks cfg and starts to connect to RadSec services. Close ends it.
func NewClient(cfg ClientConfig) (*Client, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, DefaultTimeout)
	cfg.DeadTime = cmp.Or(cfg.DeadTime, DefaultDeadTime)
	cfg.MaxSockets = cmp.Or(cfg.MaxSockets, 64)
	cfg.MaxConns = cmp.Or(cfg.MaxConns, 4)
	if cfg.Timeout < 0 || cfg.Retries < 0 || cfg.DeadTime < 0 || cfg.MaxSockets < 0 || cfg.MaxConns < 0 {
		return nil, errors.New("radius client: a negative time or number")
	}
	cfg.Servers = slices.Clone(cfg.Servers) // secrets are filled in below
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, log: cfg.Log}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	names := make(map[string]bool)
	for i := range cfg.Servers {
		s := &cfg.Servers[i]
		if s.Name == "" || names[s.Name] {
			err = errors.Join(err, fmt.Errorf("radius client: server %d needs a name of its own, not %q", i, s.Name))
			continue
		}
		names[s.Name] = true
		err = errors.Join(err, c.addServer(s, m))
	}
	if err != nil {
		c.cancel()
		return nil, err
	}
	for _, t := range c.targets() {
		c.spawn(t.run)
	}
	return c, nil
}

func (c *Client) addServer(s *Server, m *metrics) error {
	transport, ok := ParseTransport(s.Network)
	if !ok {
		return fmt.Errorf("radius client: server %s: network %q is not udp, radsec or inproc", s.Name, s.Network)
	}
	if s.Weight < 0 {
		return fmt.Errorf("radius client: server %s: negative weight", s.Name)
	}
	switch transport {
	case UDP:
		if s.Secret.IsZero() {
			return fmt.Errorf("radius client: server %s: UDP needs a secret", s.Name)
		}
		if s.Addr == "" && s.AcctAddr == "" {
			return fmt.Errorf("radius client: server %s has no address", s.Name)
		}
		if s.Addr != "" {
			t := newTarget(c, s, transport, "auth", s.Addr, s.Secret, m)
			if t.exposed && !c.cfg.AllowMSCHAPOverUDP {
				c.log.Warn("MS-CHAP will not be sent to this server: UDP to another host", "server", s.Name)
			}
			c.auth = append(c.auth, t)
		}
		if s.AcctAddr != "" {
			c.acct = append(c.acct, newTarget(c, s, transport, "acct", s.AcctAddr, s.Secret, m))
		}
		return nil
	case RadSec:
		if s.Addr == "" {
			return fmt.Errorf("radius client: server %s has no address", s.Name)
		}
		conf, err := strictTLS(s.TLS, s.Addr)
		if err != nil {
			return fmt.Errorf("radius client: server %s: %w", s.Name, err)
		}
		if s.Secret.IsZero() {
			s.Secret = RadSecSecret()
		}
		t := newTarget(c, s, transport, "any", s.Addr, s.Secret, m)
		t.tls = conf
		c.auth, c.acct = append(c.auth, t), append(c.acct, t)
		return nil
	case InProcess:
		if s.Local == nil {
			return fmt.Errorf("radius client: server %s: inproc needs a handler", s.Name)
		}
		if s.Secret.IsZero() {
			var b [32]byte
			draw(b[:])
			s.Secret = NewSecret(b[:])
		}
		t := newTarget(c, s, transport, "any", "", s.Secret, m)
		c.auth, c.acct = append(c.auth, t), append(c.acct, t)
		return nil
	case TransportUnknown:
	}
	return fmt.Errorf("radius client: server %s: transport %v", s.Name, transport)
}

// strictTLS refuses what would make RadSec less than RFC 6614 §2.3 wants.
func strictTLS(conf *tls.Config, addr string) (*tls.Config, error) {
	if conf == nil {
		return nil, errors.New("radsec needs a TLS configuration")
	}
	if conf.InsecureSkipVerify {
		return nil, errors.New("radsec does not go without checking the service's certificate")
	}
	if len(conf.Certificates) == 0 && conf.GetClientCertificate == nil {
		return nil, errors.New("radsec needs a client certificate")
	}
	conf = conf.Clone()
	conf.MinVersion = tls.VersionTLS13
	if conf.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		conf.ServerName = host
	}
	return conf, nil
}

// leavesHost says whether UDP to addr can be read by others. A name other than
// localhost could resolve to anything.
func leavesHost(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host != "localhost"
	}
	return !a.Unmap().IsLoopback()
}

// Close ends all exchanges with ErrClosed and returns when no goroutine is left.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}

// spawn runs f in a goroutine that Close waits for, unless it is closed.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

func (c *Client) targets() []*target {
	all := slices.Clone(c.auth)
	for _, t := range c.acct {
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return all
}

// turn is one service's turn to be asked.
type turn struct {
	*target
	retries int
	last    bool // nobody comes after it: wait rather than give up
}

// order is whom to ask, one after the other: the living by priority and, among
// equals, at random by weight; then, once each, the dead, for one may just have come
// back. If all are dead they are asked as if they lived.
func (c *Client) order(targets []*target) []turn {
	now := time.Now()
	type drawn struct {
		turn
		dead bool
		lot  float64
	}
	lots := make([]drawn, len(targets))
	living := 0
	for i, t := range targets {
		d := drawn{turn: turn{target: t, retries: c.cfg.Retries}, dead: !t.alive(now), lot: rand.ExpFloat64() / float64(t.weight)}
		if !d.dead {
			living++
		}
		lots[i] = d
	}
	slices.SortFunc(lots, func(a, b drawn) int {
		if a.dead != b.dead {
			if a.dead {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.lot, b.lot))
	})
	turns := make([]turn, len(lots))
	for i, d := range lots {
		turns[i] = d.turn
		if d.dead && living > 0 {
			turns[i].retries = 0
		}
		turns[i].last = i == len(lots)-1 || i == living-1
	}
	return turns
}

// Exchange implements Exchanger. It returns the first reply that is believed;
// ErrNoAnswer, with each service's excuse, when there is none; or ctx's error.
func (c *Client) Exchange(ctx context.Context, p *Packet) (*Packet, error) {
	if requestRule(p.Code) == overNothing {
		return nil, fmt.Errorf("exchange %v: %w", p.Code, FaultCode)
	}
	targets := c.auth
	if p.Code == CodeAccountingRequest {
		targets = c.acct
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("exchange %v: %w", p.Code, ErrNoService)
	}
	if !c.cfg.AllowMSCHAPOverUDP && carriesMSCHAP(p) {
		targets = slices.DeleteFunc(slices.Clone(targets), func(t *target) bool { return t.exposed })
		if len(targets) == 0 {
			return nil, ErrMSCHAPOverUDP
		}
	}
	began := time.Now()
	turns := c.order(targets)
	excuses := make([]error, 0, len(turns))
	again := false
	for i := 0; i < len(turns); i++ {
		reply, err := turns[i].exchange(ctx, p, began)
		switch {
		case err == nil:
			return reply, nil
		case c.ctx.Err() != nil:
			return nil, ErrClosed
		case ctx.Err() != nil:
			return nil, fmt.Errorf("exchange %v: %w", p.Code, ctx.Err())
		case errors.Is(err, errLost) && !again:
			// The connection broke under the request, as when a service is started anew:
			// it was not refused, so it may be asked once more.
			again = true
			turns = append(turns, turn{turns[i].target, c.cfg.Retries, true})
		case !errors.Is(err, errLost) && !errors.Is(err, errSilent):
			return nil, fmt.Errorf("exchange %v: %w", p.Code, err)
		}
		excuses = append(excuses, fmt.Errorf("%s: %w", turns[i].name, err))
	}
	return nil, fmt.Errorf("%w: %w", ErrNoAnswer, errors.Join(excuses...))
}
