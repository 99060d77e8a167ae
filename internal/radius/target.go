package radius

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"layeh.com/radius/rfc2865"
)

var (
	// errSilent: the service was asked as often as configured and did not answer, or
	// is known not to.
	errSilent = errors.New("silent")
	// errLost: what the request was sent on broke, or could not be opened.
	errLost = errors.New("connection lost")
)

// target is one place to ask: a service's authentication or accounting port, or its
// RadSec connections. It knows whether it lives.
//
// It dies when a request went through all its repetitions and nothing at all came
// back since it began: a service that keeps silent on one request, because a
// directory behind it is down, and answers others is not dead. It lives again with
// any reply that is believed, which while it is dead Status-Server asks for.
type target struct {
	c         *Client
	name      string
	port      string
	transport Transport
	addr      string
	secret    Secret
	tls       *tls.Config
	local     Handler
	priority  int
	weight    int
	exposed   bool // UDP that others can read
	unsigned  bool // see Server.UnsignedAccounting
	m         *targetMetrics

	mu      sync.Mutex
	links   []*link
	opened  uint16        // links opened so far
	growing bool          // radsec: one more connection is being opened
	grow    time.Time     // radsec: not before then
	waiting int           // who waits in acquire
	gate    chan struct{} // holds the one of them who looks
	changed chan struct{} // closed when an Identifier, a link or a death may end the wait
	heard   time.Time     // last reply believed
	dead    bool
	until   time.Time     // dead: when it may be tried without a Status-Server's answer
	answers bool          // it has been seen to answer Status-Server
	died    chan struct{} // closed while dead
}

func newTarget(c *Client, s *Server, transport Transport, port, addr string, secret Secret, m *metrics) *target {
	return &target{
		c: c, name: s.Name, port: port, transport: transport, addr: addr, secret: secret, local: s.Local,
		priority: s.Priority, weight: max(s.Weight, 1), exposed: transport == UDP && leavesHost(addr), unsigned: s.UnsignedAccounting,
		m: m.of(s.Name, port), changed: make(chan struct{}), gate: make(chan struct{}, 1), died: make(chan struct{}),
	}
}

func (t *target) stream() bool { return t.transport == RadSec }

// run is the target's own goroutine.
func (t *target) run() {
	if t.stream() {
		t.keepConnected()
		return
	}
	for {
		select {
		case <-t.death():
			t.probe()
		case <-t.c.ctx.Done():
			return
		}
	}
}

// probe asks a dead target with Status-Server until it lives (RFC 5997 §4.2).
func (t *target) probe() {
	for {
		select {
		case <-t.c.ctx.Done():
			return
		case <-time.After(jittered(probeInterval)):
		}
		if t.living() {
			return
		}
		// Whether it answers is seen where replies arrive.
		_ = t.status(nil)
	}
}

// status sends one Status-Server, on l or on any link, and waits for its answer.
func (t *target) status(l *link) error {
	ctx, cancel := context.WithTimeout(t.c.ctx, 2*t.c.cfg.Timeout)
	defer cancel()
	var id byte
	if l == nil {
		var err error
		if l, id, err = t.acquire(ctx, false); err != nil {
			return err
		}
	} else {
		var ok bool
		if id, ok = l.reserve(); !ok {
			return fmt.Errorf("%w: every identifier waits", errSilent)
		}
	}
	q := NewRequest(CodeStatusServer, t.secret)
	if t.c.cfg.Name != "" { // RFC 5997 §3: a server may want to know who asks
		if err := rfc2865.NASIdentifier_AddString(q, t.c.cfg.Name); err != nil {
			l.abandon(id)
			return err
		}
	}
	f, err := t.launch(l, id, q, make(chan *Packet, 1))
	if err != nil {
		return err
	}
	defer t.release(f)
	select {
	case <-f.replies:
		t.mu.Lock()
		t.answers = true
		t.mu.Unlock()
		return nil
	case <-l.gone:
		return errLost
	case <-ctx.Done():
		return errSilent
	}
}

// alive says whether the target should be asked: it lives, or its dead time is over
// and Status-Server would not tell.
func (t *target) alive(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.dead || !t.answers && !t.stream() && !now.Before(t.until)
}

func (t *target) living() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.dead
}

// death is closed while the target is dead.
func (t *target) death() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.died
}

// dieLocked marks the target dead, or dead for longer. Called with t.mu held.
func (t *target) dieLocked(why error) {
	t.until = time.Now().Add(t.c.cfg.DeadTime)
	if t.dead {
		return
	}
	t.dead = true
	close(t.died)
	t.wakeLocked()
	t.m.up.Set(0)
	t.c.log.Warn("RADIUS server is passed over", "server", t.name, "port", t.port, "reason", why)
}

// reviveLocked notes that something believable was heard. Called with t.mu held.
func (t *target) reviveLocked() {
	t.heard = time.Now()
	if !t.dead {
		return
	}
	t.dead = false
	t.died = make(chan struct{})
	t.wakeLocked()
	t.m.up.Set(1)
	t.c.log.Info("RADIUS server answers again", "server", t.name, "port", t.port)
}

// silent counts a request that began then and stayed without an answer.
func (t *target) silent(l *link, began time.Time) {
	t.m.silences.Inc()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.heard.After(began) {
		return
	}
	t.dieLocked(errSilent)
	if l != nil {
		l.suspect()
	}
}

// exchange asks this target, from the first transmission to the last wait.
func (t turn) exchange(ctx context.Context, p *Packet, first time.Time) (*Packet, error) {
	began := time.Now()
	died := t.death()
	select {
	case <-died: // as the last resort; it cannot die again
		died = nil
	default:
	}
	if t.last {
		died = nil
	}
	whole := window(t.c.cfg.Timeout, t.retries)
	replies := make(chan *Packet, 1)
	var flights []*flight
	defer func() {
		for _, f := range flights {
			t.release(f)
		}
	}()
	// send makes a request of its own: a new Identifier and Authenticator.
	send := func() error {
		actx, cancel := context.WithTimeout(ctx, whole)
		defer cancel()
		l, id, err := t.acquire(actx, t.last)
		if err != nil {
			return err
		}
		q, err := prepare(p, t.secret, time.Since(first))
		if err != nil {
			l.abandon(id)
			return err
		}
		f, err := t.launch(l, id, q, replies)
		if err != nil {
			return err
		}
		flights = append(flights, f)
		return nil
	}
	if err := send(); err != nil {
		return nil, err
	}
	t.m.requests.WithLabelValues(p.Code.String()).Inc()

	wait := retransmission{initial: t.c.cfg.Timeout}
	next := wait.next()
	if t.stream() {
		next = jittered(whole)
	}
	timer := time.NewTimer(next)
	defer timer.Stop()
	// A stream repeats nothing, and the whole series is long. When nothing at all has come
	// on it for the first wait, the watchdog asks whether anybody is there.
	var doubt <-chan time.Time
	if t.stream() {
		first := time.NewTimer(jittered(t.c.cfg.Timeout))
		defer first.Stop()
		doubt = first.C
	}
	delay := time.Since(first) / time.Second
	for repeated := 0; ; {
		current := flights[len(flights)-1]
		select {
		case reply := <-replies:
			t.m.roundTrip.Observe(time.Since(began).Seconds())
			return reply, nil
		case <-current.link.gone:
			return nil, errLost
		case <-doubt:
			t.mu.Lock()
			quiet := !current.link.heard.After(began)
			t.mu.Unlock()
			if quiet {
				current.link.suspect()
			}
		case <-died:
			t.m.silences.Inc()
			return nil, errSilent
		case <-ctx.Done():
			if repeated > 0 { // the caller has less patience than we: two unanswered transmissions tell enough
				t.silent(current.link, began)
			}
			return nil, ctx.Err()
		case <-t.c.ctx.Done():
			return nil, ErrClosed
		case <-timer.C:
			if t.stream() || repeated == t.retries {
				t.silent(current.link, began)
				return nil, errSilent
			}
			repeated++
			timer.Reset(wait.next())
			t.m.retransmits.Inc()
			// The same octets again, so that the server knows a repetition for one (RFC 5080
			// §2.2.1), unless Acct-Delay-Time has to change: then it is a new request (RFC
			// 2866 §5.2). An answer to any of them will do.
			if _, ok := acctDelay(p); ok && time.Since(first)/time.Second != delay {
				delay = time.Since(first) / time.Second
				if send() == nil {
					continue
				}
			}
			t.transmit(current)
		}
	}
}
