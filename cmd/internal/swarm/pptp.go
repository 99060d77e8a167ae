package swarm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"postern/pptp/client"
	"postern/pptp/gre"
)

// Codes says with which logins a user who has a token types a code.
//
// Handled in: codesNames, dialler.typed.
type Codes uint8

const (
	CodesAlways Codes = iota
	CodesFirst        // with a client's first login: the service remembers it
	CodesNever
)

var codesNames = [...]string{CodesAlways: "always", CodesFirst: "first", CodesNever: "never"}

// String returns the word that flags use.
func (c Codes) String() string {
	if int(c) < len(codesNames) {
		return codesNames[c]
	}
	return "unknown"
}

// ParseCodes reads what String returns.
func ParseCodes(s string) (Codes, error) {
	for i, n := range codesNames {
		if n == s {
			return Codes(i), nil
		}
	}
	return 0, fmt.Errorf("%q: want always, first or never", s)
}

// PPTP is clients that dial, stay and hang up.
type PPTP struct {
	Servers []netip.AddrPort // a client that gets no session at one tries the next
	Locals  []netip.Addr     // outer addresses of the clients, shared out; none: the kernel's choice

	Users     []User
	Separator string
	Codes     Codes
	Clients   int
	Rate      float64       // dials begun in a second; 0: all at once
	Hold      time.Duration // for how long each session stays
	Duration  time.Duration // clients dial again for so long; 0: each has one session
	Tries     int           // of each dial, where a server is busy or silent; 0: DefaultTries
	Redial    bool          // a client that was cut comes back for the rest of its time
	Timeout   time.Duration // of a dial; 0: DefaultDialTimeout

	Traffic uint64     // bits in a second of each client, each way; 0: none
	Packet  int        // octets of its packets; 0: DefaultPacket
	Ping    netip.Addr // whom it goes to; zero: the server's end of the tunnel

	Log *slog.Logger // nil: none

	// DialTCP and ListenGRE are client.Config's, for tests.
	DialTCP   func(ctx context.Context, local netip.Addr, remote netip.AddrPort) (net.Conn, error)
	ListenGRE func(local netip.Addr) (gre.Conn, error)
}

const (
	DefaultTries       = 8
	DefaultDialTimeout = 30 * time.Second
	DefaultPacket      = 512

	// The smallest packet has an IP and an ICMP header, the largest fits every tunnel.
	minPacket, maxPacket = 28, 1400
	// closing bounds the good-byes of sessions that end at once.
	closing = 256
)

func (o *PPTP) check() error {
	switch {
	case len(o.Servers) == 0:
		return errors.New("no server")
	case len(o.Users) == 0:
		return errors.New("no users")
	case o.Clients < 1:
		return errors.New("no clients")
	case o.Clients > len(o.Users):
		return fmt.Errorf("%d clients and %d users: each client needs a user of its own", o.Clients, len(o.Users))
	case o.Rate < 0 || o.Hold < 0 || o.Duration < 0 || o.Tries < 0 || o.Timeout < 0:
		return errors.New("a negative number")
	case o.Packet < minPacket || o.Packet > maxPacket:
		return fmt.Errorf("packets of %d octets: want %d to %d", o.Packet, minPacket, maxPacket)
	case o.Ping.IsValid() && !o.Ping.Is4():
		return errors.New("pings go to an IPv4 address")
	}
	return nil
}

// Run runs until it is done or polite ends; then clients hang up as they should. With
// ctx all ends at once.
func (o PPTP) Run(ctx context.Context, polite context.Context, t *Tally) (*Result, error) {
	if o.Packet == 0 {
		o.Packet = DefaultPacket
	}
	if o.Tries == 0 {
		o.Tries = DefaultTries
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultDialTimeout
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	began := time.Now()
	polite, cancel := join(polite, ctx)
	defer cancel()
	r := &pptpRun{o: o, t: t, roster: NewRoster(o.Users, o.Separator), pace: newPace(o.Rate, began, nil), closing: make(chan struct{}, closing)}
	locals := o.Locals
	if len(locals) == 0 {
		locals = []netip.Addr{netip.IPv4Unspecified()}
	}
	for _, a := range locals[:min(len(locals), o.Clients)] {
		h, err := client.NewHost(a, o.ListenGRE)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("GRE on %v: %w", a, err), r.close())
		}
		r.hosts = append(r.hosts, h)
	}
	r.polite = polite
	r.starting = polite
	if o.Duration > 0 {
		var stop context.CancelFunc
		r.starting, stop = context.WithTimeout(polite, o.Duration)
		defer stop()
	}
	var work sync.WaitGroup
	for i := range o.Clients {
		turn := r.roster.take(polite)
		if turn == nil {
			break
		}
		work.Go(func() { (&dialler{pptpRun: r, ctx: ctx, index: i, turn: turn}).run() })
	}
	work.Wait()
	res := t.result()
	res.Mode, res.Users, res.Began, res.Rate, res.Interrupted = "pptp", len(o.Users), began, o.Rate, polite.Err() != nil
	for _, s := range o.Servers {
		res.Servers = append(res.Servers, s.String())
	}
	res.times(began, r.last)
	return res, r.close()
}

// pptpRun is a PPTP at work.
type pptpRun struct {
	o                PPTP
	t                *Tally
	roster           *Roster
	pace             *pace
	hosts            []*client.Host
	polite, starting context.Context // sessions end; no client starts another one
	closing          chan struct{}

	mu   sync.Mutex
	last time.Time // when the last dial ended
}

func (r *pptpRun) close() error {
	var errs []error
	for _, h := range r.hosts {
		errs = append(errs, h.Close())
	}
	return errors.Join(errs...)
}

// dialler is one client. Its goroutine is Run's.
type dialler struct {
	*pptpRun
	ctx     context.Context
	index   int
	turn    *Turn
	serving int        // how many servers it has left behind
	known   bool       // it was logged in before
	addr    netip.Addr // that it had
}

// run dials, stays, hangs up, and does so again if that is wanted.
func (d *dialler) run() {
	for d.pace.wait(d.starting) {
		until := time.Time{} // a session stays for Hold from when it is up
		cut := time.Time{}
		for {
			s, again := d.dial(cut)
			if s == nil && !again {
				return // whoever is refused and goes on dialling locks the account
			}
			if s == nil {
				break
			}
			if until.IsZero() {
				until = time.Now().Add(d.o.Hold)
			}
			if d.stay(s, until) || !d.o.Redial || !time.Now().Before(until) {
				break
			}
			cut = time.Now()
			if !sleep(d.polite, client.Settle()) {
				break
			}
		}
		if d.o.Duration == 0 {
			return
		}
	}
}

// dial gets a session, with patience where servers have none to give. When it came to
// nothing it says whether the client may dial again. cut is when the session before
// was cut, zero if it was not.
func (d *dialler) dial(cut time.Time) (s *client.Session, again bool) {
	d.t.started()
	var wait client.Backoff
	for try := 1; ; try++ {
		s, err := d.attempt()
		if err == nil {
			if !cut.IsZero() {
				d.t.took(StepReturn, time.Since(cut))
			}
			d.ended(Accepted, "")
			return s, true
		}
		if d.polite.Err() != nil {
			d.ended(Unfinished, "")
			return nil, false
		}
		o, why, again := failure(err)
		if errors.Is(err, client.ErrImpostor) {
			d.t.wrong(WrongProof)
		}
		if !again || try == d.o.Tries {
			d.ended(o, why)
			return nil, again
		}
		d.t.retried(why)
		d.serving++
		if !sleep(d.polite, wait.Next()) {
			d.ended(Unfinished, "")
			return nil, false
		}
	}
}

func (d *dialler) ended(o Outcome, why string) {
	d.t.ended(o, why)
	d.mu.Lock()
	d.last = time.Now()
	d.mu.Unlock()
}

// typed is the name, with a code where one is due; it waits for a new code.
func (d *dialler) typed() (string, error) {
	if d.o.Codes == CodesNever || d.o.Codes == CodesFirst && d.known {
		return d.turn.User.Name, nil
	}
	for {
		name, at := d.roster.Typed(d.turn, time.Now())
		if at.IsZero() {
			return name, nil
		}
		if !sleep(d.polite, time.Until(at)) {
			return "", context.Canceled
		}
	}
}

// attempt dials once.
func (d *dialler) attempt() (*client.Session, error) {
	name, err := d.typed()
	if err != nil {
		return nil, err
	}
	hash := d.turn.User.hash
	began := time.Now()
	last := began
	host := d.hosts[d.index%len(d.hosts)]
	s, err := host.Dial(d.polite, client.Config{
		Server: d.o.Servers[(d.index+d.serving)%len(d.o.Servers)], User: name, NTHash: &hash,
		Timeout: d.o.Timeout, DialTCP: d.o.DialTCP, Log: d.o.Log,
		Reached: func(m client.Milestone, at time.Time) {
			d.t.took(stepTo(m), at.Sub(last))
			last = at
		},
	})
	if err == nil {
		d.t.took(StepDial, last.Sub(began))
	}
	return s, err
}

// stepTo is the step that ends with a milestone.
func stepTo(m client.Milestone) Step {
	switch m {
	case client.Connected:
		return StepConnect
	case client.Called:
		return StepCall
	case client.Linked:
		return StepLCP
	case client.LoggedIn:
		return StepAuth
	case client.Up:
		return StepNetwork
	case client.MilestoneNone:
	}
	return StepUnknown
}

// stay keeps a session until its time is over, and hangs up; false: it was cut.
func (d *dialler) stay(s *client.Session, until time.Time) (whole bool) {
	addr := s.Local()
	d.t.up(addr, true)
	if d.known && d.addr.IsValid() && d.addr != addr {
		d.t.moved()
	}
	d.known, d.addr = true, addr
	ctx, cancel := context.WithDeadline(d.polite, until)
	defer cancel()
	var work sync.WaitGroup
	if d.o.Traffic > 0 {
		work.Go(func() { d.traffic(ctx, s) })
	}
	select {
	case <-s.Done():
	case <-ctx.Done():
	}
	why := ""
	if err := s.Err(); err != nil {
		why = cutBy(err)
	}
	cancel()
	work.Wait()
	d.t.down(addr, true, why) // before the good-bye: with it the address is free
	if why == "" {
		d.hangUp(s)
	}
	x := s.Stats()
	d.t.carried(Traffic{InOctets: x.InOctets, OutOctets: x.OutOctets, Unreadable: x.Undecryptable, Cleartext: x.Cleartext})
	return why == ""
}

// hangUp says good-bye, as one of not too many: each waits for the server's answers.
func (d *dialler) hangUp(s *client.Session) {
	select {
	case d.closing <- struct{}{}:
		defer func() { <-d.closing }()
		stop := context.AfterFunc(d.ctx, func() { _ = s.Host().Close() }) // ends at once, and all others there
		defer stop()
		_ = s.Close() // it has no error
	case <-d.ctx.Done():
	}
}

// traffic pings at the client's rate until ctx ends.
func (d *dialler) traffic(ctx context.Context, s *client.Session) {
	to := d.o.Ping
	if !to.IsValid() {
		to = s.Peer()
	}
	every := time.Duration(float64(d.o.Packet*8) / float64(d.o.Traffic) * float64(time.Second))
	p := newPace(float64(time.Second)/float64(max(every, time.Microsecond)), time.Now(), nil)
	var work sync.WaitGroup
	defer work.Wait()
	for p.wait(ctx) {
		work.Go(func() { // bounded by the rate and pingWait
			ctx, cancel := context.WithTimeout(ctx, pingWait)
			defer cancel()
			rtt, err := s.Ping(ctx, to, d.o.Packet-minPacket)
			switch {
			case errors.Is(err, client.ErrPayload):
				d.t.wrong(WrongPayload)
			case err != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded): // the session is over
			case err != nil:
				d.t.pinged(false, 0)
			default:
				d.t.pinged(true, rtt)
			}
		})
	}
}

// pingWait is when a ping counts as lost.
const pingWait = 2 * time.Second
