package swarm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"

	"postern/internal/radius"
)

// Radius is logins as a NAS asks for them.
type Radius struct {
	Servers            []radius.Server
	AllowMSCHAPOverUDP bool
	Timeout            time.Duration // first wait for an answer; 0: the client's
	Retries            int

	Users     []User
	Separator string
	Rate      float64       // logins begun in a second; 0: as fast as they are answered
	Duration  time.Duration // for how long logins begin; 0: until Count
	Count     uint64        // of logins; 0: until Duration
	InFlight  int           // logins under way at once, at most; 0: DefaultInFlight

	// Accounting reports each session: Start, Interims, and Stop after Hold. Without it a
	// service holds every session, with its address, until it has waited long enough for a
	// Start.
	Accounting bool
	Hold       time.Duration
	Interim    time.Duration // 0: as the service wants them

	NAS     string       // NAS-Identifier; "": swarm
	Nodes   int          // so many NAS, their names numbered; 0: one
	Sources netip.Prefix // of the clients; zero: DefaultSources

	Log *slog.Logger // nil: none
}

// DefaultInFlight is enough for 1,000 logins/s of half a second.
const DefaultInFlight = 512

// DefaultSources are addresses for tests (RFC 2544): no machine has one.
var DefaultSources = netip.MustParsePrefix("198.18.0.0/15")

// check refuses what cannot be run.
func (o *Radius) check() error {
	switch {
	case len(o.Servers) == 0:
		return errors.New("no server")
	case len(o.Users) == 0:
		return errors.New("no users")
	case o.Duration <= 0 && o.Count == 0:
		return errors.New("neither a duration nor a number of logins")
	case o.Rate < 0 || o.InFlight < 0 || o.Hold < 0 || o.Interim < 0 || o.Nodes < 0:
		return errors.New("a negative number")
	case o.Hold > 0 && !o.Accounting:
		return errors.New("sessions are held only with accounting: nothing else tells the service of them")
	case o.Interim > 0 && !o.Accounting:
		return errors.New("accounting is wanted where Interims are")
	case o.Sources.IsValid() && !o.Sources.Addr().Is4():
		return errors.New("the sources are no IPv4 prefix")
	}
	return nil
}

// Run runs until it is done or polite ends; then sessions are ended as a NAS does.
// With ctx all ends at once. The tally may be looked at meanwhile.
func (o Radius) Run(ctx context.Context, polite context.Context, t *Tally) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.InFlight == 0 {
		o.InFlight = DefaultInFlight
	}
	if !o.Sources.IsValid() {
		o.Sources = DefaultSources
	}
	if o.NAS == "" {
		o.NAS = "swarm"
	}
	r := &radiusRun{
		o: o, t: t, roster: NewRoster(o.Users, o.Separator), prefix: rand.Text()[:8],
		slots: make(chan struct{}, o.InFlight), sessions: map[string]func(){},
	}
	reg := prometheus.NewRegistry()
	dynamic, err := radius.NewDynamic(radius.DynamicConfig{CarryOut: r.carryOut})
	if err != nil {
		return nil, err
	}
	r.client, err = radius.NewClient(radius.ClientConfig{
		Name: o.NAS, Servers: o.Servers, Timeout: o.Timeout, Retries: o.Retries, Reverse: dynamic,
		AllowMSCHAPOverUDP: o.AllowMSCHAPOverUDP, MaxConns: 16, Log: o.Log, Metrics: reg,
	})
	if err != nil {
		return nil, err
	}
	defer r.client.Close()
	return r.run(ctx, polite, reg)
}

// radiusRun is a Radius at work.
type radiusRun struct {
	o      Radius
	t      *Tally
	roster *Roster
	client *radius.Client
	prefix string // of session IDs, so that no run takes up another's
	serial atomic.Uint64
	slots  chan struct{}
	work   sync.WaitGroup // a goroutine for each login; run waits

	mu       sync.Mutex
	sessions map[string]func() // by Acct-Session-Id: how the service ends it
	answered time.Time         // when the last login was
}

func (r *radiusRun) run(ctx, polite context.Context, reg *prometheus.Registry) (*Result, error) {
	began := time.Now()
	polite, cancel := join(polite, ctx)
	defer cancel()
	starting := polite
	if r.o.Duration > 0 {
		var stop context.CancelFunc
		starting, stop = context.WithTimeout(polite, r.o.Duration)
		defer stop()
	}
	p := newPace(r.o.Rate, began, r.t.skipped)
	for n := uint64(0); (r.o.Count == 0 || n < r.o.Count) && p.wait(starting); n++ {
		select {
		case r.slots <- struct{}{}:
		case <-starting.Done():
			continue // and ends
		}
		turn := r.roster.take(starting)
		if turn == nil {
			<-r.slots
			break
		}
		r.work.Go(func() { r.login(ctx, polite, turn) })
	}
	interrupted := polite.Err() != nil
	r.work.Wait()
	res := r.t.result()
	res.Mode, res.Users, res.Began, res.Rate, res.Interrupted = "radius", len(r.o.Users), began, r.o.Rate, interrupted || polite.Err() != nil
	for _, s := range r.o.Servers {
		res.Servers = append(res.Servers, s.Network+" "+s.Addr)
	}
	res.times(began, r.answered)
	var err error
	res.Services, err = services(reg, r.o.Servers)
	return res, err
}

// times fills in how long it took; rates are of the time in which there were logins.
func (r *Result) times(began, last time.Time) {
	r.Seconds = time.Since(began).Seconds()
	if last.After(began) {
		r.LoginTime = last.Sub(began).Seconds()
		r.PerSecond = float64(r.Accepted) / r.LoginTime
	}
}

// join is a context that ends with either.
func join(a, b context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(a)
	stop := context.AfterFunc(b, cancel)
	return ctx, func() { stop(); cancel() }
}

// login is one turn, to the end of its session. It holds a slot until the login has
// its answer.
func (r *radiusRun) login(ctx, polite context.Context, turn *Turn) {
	defer r.roster.Done(turn)
	n := r.serial.Add(1)
	l := &login{nas: r.nas(n), session: r.prefix + "-" + strconv.FormatUint(n, 36), source: source(r.o.Sources, turn.Index), hash: &turn.User.hash}
	g, ok := r.access(ctx, l, turn)
	<-r.slots
	if !ok || !r.o.Accounting {
		return
	}
	r.session(ctx, polite, l, g)
}

func (r *radiusRun) nas(n uint64) string {
	if r.o.Nodes < 2 {
		return r.o.NAS
	}
	return fmt.Sprintf("%s-%d", r.o.NAS, n%uint64(r.o.Nodes)+1)
}

// source is a user's own address: what a service remembers of user and address, it
// remembers as of a client that comes back.
func source(p netip.Prefix, i int) netip.Addr {
	base := p.Masked().Addr().As4()
	size := new(big.Int).Lsh(big.NewInt(1), uint(32-p.Bits()))
	n := new(big.Int).Mod(big.NewInt(int64(i)+1), size).Uint64()
	for k := range 4 {
		base[3-k] |= byte(n >> (8 * k))
	}
	return netip.AddrFrom4(base)
}

// access asks for a login and judges the answer.
func (r *radiusRun) access(ctx context.Context, l *login, turn *Turn) (g granted, ok bool) {
	r.t.started()
	defer func() {
		r.mu.Lock()
		r.answered = time.Now()
		r.mu.Unlock()
	}()
	name, at := r.roster.Typed(turn, time.Now())
	if !at.IsZero() { // Take hands out nobody without a code
		r.t.ended(Broken, "no new code yet")
		return g, false
	}
	l.name = name
	p, err := l.request()
	if err != nil {
		r.t.ended(Broken, plain(err.Error()))
		return g, false
	}
	asked := time.Now()
	reply, err := r.client.Exchange(ctx, p)
	switch {
	case ctx.Err() != nil:
		r.t.ended(Unfinished, "")
		return g, false
	case errors.Is(err, radius.ErrNoAnswer):
		r.t.ended(Unanswered, "no service answered")
		return g, false
	case err != nil:
		r.t.ended(Broken, plain(err.Error()))
		return g, false
	}
	r.t.took(StepAccess, time.Since(asked))
	if reply.Code != radius.CodeAccessAccept {
		r.t.ended(Refused, refusal(reply))
		return g, false
	}
	g, wrong := l.accepted(reply)
	if wrong != WrongUnknown {
		r.t.wrong(wrong)
		r.t.ended(Broken, "accepted, with a wrong answer")
		return g, false
	}
	if i, err := rfc2869.AcctInterimInterval_Lookup(reply); err == nil {
		g.interim = uint32(i)
	}
	r.t.ended(Accepted, "")
	return g, true
}

// session reports a session from its start to its end.
func (r *radiusRun) session(ctx, polite context.Context, l *login, g granted) {
	held, cancel := context.WithTimeout(polite, max(r.o.Hold, time.Nanosecond))
	defer cancel()
	cut := make(chan struct{}, 1)
	r.mu.Lock()
	r.sessions[l.session] = func() {
		select {
		case cut <- struct{}{}:
		default: // it was told before
		}
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.sessions, l.session)
		r.mu.Unlock()
	}()
	start := time.Now()
	r.t.up(g.addr, true)
	why := ""
	cause := rfc2866.AcctTerminateCause_Value_UserRequest
	r.account(ctx, StepStart, l, g, start, rfc2866.AcctStatusType_Value_Start, 0)
	interim := time.Duration(g.interim) * time.Second
	if r.o.Interim > 0 {
		interim = r.o.Interim
	}
	for alive := true; alive; {
		wait := time.Duration(1<<63 - 1)
		if interim > 0 {
			wait = interim
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
			r.account(ctx, StepInterim, l, g, start, rfc2866.AcctStatusType_Value_InterimUpdate, 0)
		case <-cut:
			why, cause, alive = "Disconnect-Request", rfc2866.AcctTerminateCause_Value_AdminReset, false
		case <-held.Done():
			alive = false
		}
		timer.Stop()
	}
	// From here on the address is the service's again: whoever else gets it may.
	r.t.down(g.addr, true, why)
	r.account(ctx, StepStop, l, g, start, rfc2866.AcctStatusType_Value_Stop, cause)
}

// account sends one Accounting-Request. The slots bound these as well: when all
// sessions end at once, their Stops stand in a queue here.
func (r *radiusRun) account(ctx context.Context, step Step, l *login, g granted, start time.Time, status rfc2866.AcctStatusType, cause rfc2866.AcctTerminateCause) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		r.t.unaccounted()
		return
	}
	p := radius.NewRequest(radius.CodeAccountingRequest, radius.Secret{})
	now := time.Now()
	err := errors.Join(
		rfc2866.AcctStatusType_Set(p, status),
		l.describe(p),
		rfc2865.UserName_SetString(p, g.user),
		rfc2866.AcctAuthentic_Set(p, rfc2866.AcctAuthentic_Value_RADIUS),
		rfc2869.EventTimestamp_Set(p, now))
	if g.addr.IsValid() {
		err = errors.Join(err, rfc2865.FramedIPAddress_Set(p, g.addr.AsSlice()))
	}
	for _, c := range g.class {
		err = errors.Join(err, rfc2865.Class_Add(p, c))
	}
	if step != StepStart {
		err = errors.Join(err, rfc2866.AcctSessionTime_Set(p, rfc2866.AcctSessionTime(now.Sub(start)/time.Second)))
	}
	if step == StepStop {
		err = errors.Join(err, rfc2866.AcctTerminateCause_Set(p, cause))
	}
	if err == nil {
		_, err = r.client.Exchange(ctx, p)
	}
	if err != nil {
		r.t.unaccounted()
		return
	}
	r.t.took(step, time.Since(now))
}

// carryOut ends sessions as the service asks by RadSec (RFC 5176). A CoA changes
// nothing here, and is agreed to.
func (r *radiusRun) carryOut(_ context.Context, p *radius.Packet) error {
	id := rfc2866.AcctSessionID_GetString(p)
	r.mu.Lock()
	end := r.sessions[id]
	r.mu.Unlock()
	if end == nil {
		return radius.CauseSessionNotFound
	}
	if p.Code == radius.CodeDisconnectRequest {
		end()
	}
	return nil
}

// services reads what the client counted.
func services(reg *prometheus.Registry, servers []radius.Server) ([]Service, error) {
	families, err := reg.Gather()
	if err != nil {
		return nil, err
	}
	all := make([]Service, len(servers))
	byName := map[string]*Service{}
	for i, s := range servers {
		all[i].Name = s.Name
		byName[s.Name] = &all[i]
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var s *Service
			for _, l := range m.GetLabel() {
				if l.GetName() == "server" {
					s = byName[l.GetValue()]
				}
			}
			if s == nil {
				continue
			}
			n := uint64(m.GetCounter().GetValue())
			switch f.GetName() {
			case "postern_radius_client_requests_total":
				s.Requests += n
			case "postern_radius_client_retransmits_total":
				s.Retransmits += n
			case "postern_radius_client_silences_total":
				s.Silences += n
			case "postern_radius_client_dropped_replies_total":
				s.Dropped += n
			}
		}
	}
	return all, nil
}
