package activation

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"postern/internal/store"
	"postern/policy"
)

const (
	// pollEvery is how often a service looks for another policy whether it was told of
	// one or not, so that one that missed the message switches within a second, too.
	pollEvery = 500 * time.Millisecond
	// retryEvery is how often a service without any policy tries again what it refused.
	retryEvery = 10 * time.Second
	// lookTime bounds one look.
	lookTime = 10 * time.Second
	// sourceLife is how long is remembered what a node found in its policy file.
	sourceLife = 90 * 24 * time.Hour
)

// FollowerConfig is what a Follower follows with. All but the last must be there.
type FollowerConfig struct {
	Store store.Store
	Name  string // of the service, for people
	Gate  func() Gate
	Board *Board
	Log   *slog.Logger

	// Force puts a policy in force here. After an error the one before is in force.
	Force func(*policy.Policy) error
	// Shadow has a candidate asked; nil: none.
	Shadow func(*policy.Policy)
	// Fallback is the policy of a service whose store says that none was ever activated.
	Fallback func() (p *policy.Policy, from string, err error)
}

// Follower has a service follow what is activated. Run and First are for one goroutine.
type Follower struct {
	cfg  FollowerConfig
	desk *Desk
	self string // who we are in the store

	raw       string // the state that was dealt with
	serial    uint64
	active    Pin // in force; zero: none, or the fallback
	candidate Pin
	version   string    // in force; "": none
	since     time.Time // since when
	err       error     // why it is not what the state says
	tried     time.Time // when that was found out
	said      time.Time // when the store was told what is in force here
	dirty     bool      // it is something else by now
	away      bool      // the store is

	mu    sync.Mutex
	again bool
	poke  chan struct{}
}

// NewFollower makes a Follower; First and Run run it.
func NewFollower(c FollowerConfig) *Follower {
	return &Follower{cfg: c, desk: NewDesk(c.Store), self: c.Name + " " + rand.Text()[:8], poke: make(chan struct{}, 1)}
}

// First looks once, before a service serves. Its only error is that of a fallback that is
// needed and cannot be used: a store that is away may come back.
func (f *Follower) First(ctx context.Context) error {
	err := f.look(ctx)
	if f.version == "" && err == nil {
		f.cfg.Board.Raise(AlarmNone, cmp.Or(f.err, errors.New("the store has not said yet which one is activated")))
	}
	return err
}

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	defer f.leave()
	told := f.told(ctx)
	for {
		// A fallback that cannot be used is an alarm by now, and may be mended.
		_ = f.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-f.poke:
		case _, open := <-told:
			if !open {
				told = nil
			}
		case <-ticker.C:
			if told == nil {
				told = f.told(ctx)
			}
		}
	}
}

// Again has everything that was refused looked at again: what it depends on may be another
// by now. It may be called from any goroutine.
func (f *Follower) Again() {
	f.mu.Lock()
	f.again = true
	f.mu.Unlock()
	select {
	case f.poke <- struct{}{}:
	default: // one is waiting
	}
}

// told is where is said that something has changed; nil: nobody says so now.
func (f *Follower) told(ctx context.Context) <-chan string {
	ch, err := f.cfg.Store.Watch(ctx, Topic)
	if err != nil {
		return nil // it is looked for each pollEvery
	}
	return ch
}

// look looks at the state, and does what it says.
func (f *Follower) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	defer f.say(ctx)
	f.mu.Lock()
	again := f.again || f.version == "" && time.Since(f.tried) > retryEvery
	f.again = false
	f.mu.Unlock()
	s, err := f.desk.State(ctx)
	switch {
	case errors.Is(err, store.ErrUnavailable):
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			f.lost(err)
		}
		return nil
	case err != nil: // it is there, and nonsense
		f.back()
		if f.err == nil {
			f.refuse(ctx, AlarmRefused, Pin{}, &Refusal{WhySource, err})
		}
		return nil
	}
	f.back()
	if !s.Active.Set() {
		if err := f.fallBack(ctx, &s, again); err != nil {
			return err
		}
	}
	if s.raw == f.raw && !again {
		return nil
	}
	if f.follow(ctx, &s) {
		f.raw, f.serial, f.dirty = s.raw, s.Serial, true
	}
	return nil
}

func (f *Follower) lost(err error) {
	if !f.away {
		f.cfg.Board.Raise(AlarmAway, err)
	}
	f.away = true
}

func (f *Follower) back() {
	if f.away {
		f.cfg.Board.Clear(AlarmAway)
	}
	f.away = false
}

// fallBack is for a store in which nothing was ever activated. One that has forgotten takes
// nothing out of force.
func (f *Follower) fallBack(ctx context.Context, s *State, again bool) error {
	switch {
	case f.active.Set(): // in force since it was activated
		if f.raw != s.raw {
			f.cfg.Log.Warn("the store knows of no policy any more; the one in force stays", "version", f.version)
		}
		return nil
	case (f.version != "" || f.err != nil) && !again:
		return nil
	}
	p, from, err := f.cfg.Fallback()
	switch {
	case err == nil && p.Version() == f.version:
		f.settle()
	case err == nil:
		err = f.force(p, Event{Action: InForce, Who: f.cfg.Name, From: from, After: p.Version()})
	}
	if err != nil {
		f.refuse(ctx, AlarmRefused, Pin{From: from}, err)
	}
	return err
}

// follow does what a state says, and reports whether it is dealt with.
func (f *Follower) follow(ctx context.Context, s *State) (done bool) {
	done = true
	if a := &s.Active; a.Set() && a.Sum != f.active.Sum {
		p, signer, err := f.open(ctx, a)
		if err == nil {
			e := a.event()
			e.Signer = signer
			if f.version == "" { // we were not there when it was activated
				e.Action = InForce
			}
			err = f.force(p, e)
		}
		switch {
		case errors.Is(err, store.ErrUnavailable):
			done = false
		case err != nil:
			f.refuse(ctx, AlarmRefused, *a, err)
		default:
			f.active = *a
		}
	} else if a.Set() {
		f.settle()
	}
	return f.followCandidate(ctx, &s.Candidate) && done
}

// followCandidate is follow for the candidate.
func (f *Follower) followCandidate(ctx context.Context, c *Pin) (done bool) {
	if c.Sum == f.candidate.Sum {
		return true
	}
	if !c.Set() {
		e := Event{At: time.Now(), Action: Withdrawn, Before: f.candidate.Version}
		f.candidate = Pin{}
		f.cfg.Shadow(nil)
		f.cfg.Board.Beside(e)
		f.cfg.Board.Clear(AlarmCandidate)
		return true
	}
	p, signer, err := f.open(ctx, c)
	switch {
	case errors.Is(err, store.ErrUnavailable):
		return false
	case err != nil:
		f.cfg.Board.Refused(AlarmCandidate, c.event(), err)
		return true
	}
	e := c.event()
	e.Before, e.Signer = f.candidate.Version, signer
	f.candidate = *c
	f.cfg.Shadow(p)
	f.cfg.Board.Beside(e)
	f.cfg.Board.Clear(AlarmCandidate)
	return true
}

// open reads a bundle and looks at it as if nobody had before.
func (f *Follower) open(ctx context.Context, pin *Pin) (*policy.Policy, string, error) {
	b, err := f.desk.bundle(ctx, pin.Version, pin.Sum)
	switch {
	case errors.Is(err, store.ErrUnavailable):
		return nil, "", err
	case err != nil:
		return nil, "", &Refusal{WhySource, err}
	}
	gate := f.cfg.Gate()
	p, signer, err := gate.Open(&b, pin.At)
	if err == nil && p.Version() != pin.Version {
		err = &Refusal{WhySource, fmt.Errorf("policy bundle %s: its version is %s", pin.Version, p.Version())}
	}
	return p, signer, err
}

// force puts a policy in force here.
func (f *Follower) force(p *policy.Policy, e Event) error {
	if err := f.cfg.Force(p); err != nil {
		return &Refusal{WhyHere, err}
	}
	e.Before = f.version
	if e.At.IsZero() {
		e.At = time.Now()
	}
	f.version, f.since, f.dirty = p.Version(), time.Now(), true
	f.cfg.Board.InForce(e)
	f.settle()
	return nil
}

// settle ends what was wrong before.
func (f *Follower) settle() {
	if f.err != nil {
		f.err, f.dirty = nil, true
	}
	f.cfg.Board.Clear(AlarmRefused)
}

// refuse leaves in force what is, and says so to all who should know.
func (f *Follower) refuse(ctx context.Context, a Alarm, pin Pin, err error) {
	e := pin.event()
	e.At, e.Before = time.Now(), f.version
	again := f.err != nil && f.err.Error() == err.Error()
	f.err, f.tried, f.dirty = err, time.Now(), true
	if again {
		return // told once
	}
	e.Action, e.Service, e.Error = Refused, f.cfg.Name, err.Error()
	f.cfg.Board.Refused(a, e, err)
	if err := f.desk.Refuse(ctx, &e); err != nil {
		f.cfg.Log.Warn("a refused policy is not in the history", "error", err)
	}
}

// say tells the store what is in force here, when it is another, and now and then.
func (f *Follower) say(ctx context.Context) {
	if f.away || !f.dirty && time.Since(f.said) < serviceEvery {
		return
	}
	s := Service{ID: f.self, Name: f.cfg.Name, Version: f.version, Candidate: f.candidate.Version, Serial: f.serial, Since: f.since}
	if f.err != nil {
		s.Error = bounded(f.err.Error(), maxError)
	}
	text, _ := json.Marshal(s) // strings, a number and a time of this age
	seq := store.Seq{
		&store.Put{Key: store.PolicyService(f.self), Value: string(text), TTL: serviceLife},
		&store.Enter{Key: store.PolicyServices(), Member: f.self, For: serviceLife, Lapsed: serviceLife},
	}
	if f.cfg.Store.Do(ctx, seq) == nil { // else the next look says so
		f.said, f.dirty = time.Now(), false
	}
}

// leave says that the service is not there any more; without it that lapses.
func (f *Follower) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = f.cfg.Store.Do(ctx, store.Seq{&store.Leave{Key: store.PolicyServices(), Member: f.self}, &store.Delete{Key: store.PolicyService(f.self)}})
}
