package netlogon

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Pool is the channels to one DC. It is safe for concurrent use. It has no goroutine
// of its own: channels are set up when a logon needs them, by that logon.
//
// A channel serves one call at a time. After anything but a DC's answer it is closed,
// and the request is not sent again: the DC may have counted it. It is sent once more
// in two cases in which the DC cannot have looked at it: an idle channel turned out
// dead before the request had left, as a restart of the DC leaves it behind, or the
// DC refused the channel itself.
//
// Channels are set up one after the other: a DC keeps one session for a computer, so
// that a second negotiation between the first and its bind would spoil that one's
// key (MS-NRPC §3.5.4.4.2; Samba answers the calls with a security package error).
// What another process under the same machine account does, openSealed notices.
//
// A DC that does not accept MS-CHAPv2 (Samba's default `ntlm auth`) answers
// WRONG_PASSWORD to everybody and counts it. The Pool cannot tell: whoever configures
// a DC has to try with an account that may be locked.
type Pool struct {
	cfg     Config
	open    opener
	slots   chan struct{} // one for each channel that may be in use
	setUp   chan struct{} // held while a channel is set up
	done    chan struct{} // closed by Close
	waiting atomic.Int64

	mu     sync.Mutex
	idle   []idle // the last used is the last
	closed bool
	calls  sync.WaitGroup // Add under mu while not closed
	stats  Stats
}

type idle struct {
	channel
	since time.Time
}

// Stats counts what a Pool did, and what it has.
type Stats struct {
	Idle, Busy, Waiting int
	Opened              uint64        // channels set up
	Failed              uint64        // set-ups that failed
	Dropped             uint64        // channels closed after a failed call, or found dead
	Retried             uint64        // requests sent again because they had never left
	SetUp               time.Duration // of the last channel
}

// New makes a Pool. It asks nobody yet.
func New(cfg Config) (*Pool, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return newPool(cfg, newOpener(&cfg)), nil
}

func newPool(cfg Config, open opener) *Pool {
	return &Pool{
		cfg: cfg, open: open, slots: make(chan struct{}, cfg.Channels), setUp: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// Server is the DC's name as configured.
func (p *Pool) Server() string { return p.cfg.Server }

// Close refuses new calls and those that wait, lets the running ones end (each has
// its deadline) and closes the channels.
func (p *Pool) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.done)
	}
	left := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range left {
		c.close()
	}
	p.calls.Wait()
}

// Logon verifies a response. Errors are *Rejected or *Unavailable. The caller wipes
// the Logon.
func (p *Pool) Logon(ctx context.Context, r *Request) (*Logon, error) {
	if r.User == "" { // would be an anonymous logon
		return nil, &Rejected{StatusNoSuchUser}
	}
	if err := p.enter(ctx); err != nil {
		return nil, p.unavailable("wait for a channel", err)
	}
	defer p.leave()
	c, reused, err := p.take(ctx)
	if err != nil {
		return nil, p.unavailable("set up a channel", err)
	}
	l, err := p.call(ctx, c, r)
	if reused && errors.Is(err, errUnsent) || refusesChannel(err) {
		p.count(func(s *Stats) { s.Retried++ })
		if c, err = p.fresh(ctx); err != nil {
			return nil, p.unavailable("set up a channel", err)
		}
		l, err = p.call(ctx, c, r)
	}
	if err != nil {
		return nil, p.judge(r, err)
	}
	if err := l.check(); err != nil {
		l.Wipe()
		return nil, err
	}
	return l, nil
}

// call makes one call on c and keeps or closes it.
func (p *Pool) call(ctx context.Context, c channel, r *Request) (*Logon, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	l, err := c.logon(ctx, r)
	var s Status
	switch {
	case err == nil:
		p.put(c)
	case errors.As(err, &s) && !s.IsConfiguration() && s.Class() != ClassBusy:
		p.put(c)
	default:
		// Also after an answer that concerns the channel: the next one starts anew.
		l.Wipe()
		p.drop(c, err)
	}
	return l, err
}

// judge makes of a call's failure what the caller gets.
func (p *Pool) judge(r *Request, err error) error {
	var s Status
	if !errors.As(err, &s) {
		u := p.unavailable("log on", err)
		u.Alarm = errors.As(err, new(misconfigured))
		return u
	}
	u := p.unavailable("log on", s)
	switch s.Class() {
	case ClassUser:
		return &Rejected{s}
	case ClassDomain:
		// Of another domain than the DC's own: whoever types names must not be able to
		// make the DC look broken.
		u.Final = !p.own(r)
	case ClassUnknown:
		u.Final = true
	case ClassConfiguration, ClassBusy:
	}
	return u
}

// enter takes a slot, or waits for one.
func (p *Pool) enter(ctx context.Context) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	p.calls.Add(1) // Close waits; leave is done
	p.mu.Unlock()
	err := p.slot(ctx)
	if err != nil {
		p.calls.Done()
	}
	return err
}

func (p *Pool) slot(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > maxWaiting {
		return ErrBusy
	}
	t := time.NewTimer(p.cfg.Timeout)
	defer t.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return ErrBusy
	case <-p.done:
		return ErrClosed
	}
}

func (p *Pool) leave() {
	<-p.slots
	p.calls.Done()
}

// take returns an idle channel, or a new one.
func (p *Pool) take(ctx context.Context) (c channel, reused bool, err error) {
	for {
		i, ok := p.pop()
		if !ok {
			c, err := p.fresh(ctx)
			return c, false, err
		}
		if time.Since(i.since) < idleTime && i.alive() {
			return i.channel, true, nil
		}
		p.drop(i.channel, errUnsent)
	}
}

func (p *Pool) pop() (idle, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return idle{}, false
	}
	i := p.idle[n-1]
	p.idle = p.idle[:n-1]
	return i, true
}

func (p *Pool) fresh(ctx context.Context) (channel, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	c, err := p.openNext(ctx)
	if err != nil {
		p.count(func(s *Stats) { s.Failed++ })
		return nil, err
	}
	f := c.facts()
	p.count(func(s *Stats) { s.Opened++; s.SetUp = f.took })
	p.cfg.Log.Debug("netlogon channel is set up", "server", p.cfg.Server, "addr", f.addr, "took", f.took)
	return c, nil
}

// openNext sets up a channel when no other is being set up.
func (p *Pool) openNext(ctx context.Context) (channel, error) {
	select {
	case p.setUp <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.setUp }()
	return p.open(ctx)
}

func (p *Pool) put(c channel) {
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.idle = append(p.idle, idle{c, time.Now()})
	}
	p.mu.Unlock()
	if closed {
		c.close()
	}
}

func (p *Pool) drop(c channel, why error) {
	c.close()
	p.count(func(s *Stats) { s.Dropped++ })
	p.cfg.Log.Debug("netlogon channel is closed", "server", p.cfg.Server, "reason", why)
}

func (p *Pool) count(f func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

// Stats returns the numbers as they are now.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Idle, s.Busy, s.Waiting = len(p.idle), len(p.slots), int(p.waiting.Load())
	return s
}

func (p *Pool) unavailable(doing string, err error) *Unavailable {
	return unavailable(p.cfg.Server, doing, err)
}
