package swarm

import (
	"context"
	"sync"
	"time"
)

// catchUp is how far behind its schedule a rate may be and make up for it. What is
// more is skipped: a burst would measure something else.
const catchUp = time.Second

// pace starts things at a rate.
type pace struct {
	every time.Duration // 0: at once
	skip  func(n uint64)

	mu   sync.Mutex
	next time.Time
}

func newPace(rate float64, now time.Time, skip func(uint64)) *pace {
	p := &pace{next: now, skip: skip}
	if rate > 0 {
		p.every = time.Duration(float64(time.Second) / rate)
	}
	return p
}

// book takes the next place in the schedule.
func (p *pace) book(now time.Time) time.Time {
	if p.every == 0 {
		return now
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if late := now.Sub(p.next); late > catchUp {
		behind := late - catchUp
		n := behind / p.every
		p.next = p.next.Add(behind - behind%p.every)
		if p.skip != nil && n > 0 {
			p.skip(uint64(n))
		}
	}
	at := p.next
	p.next = at.Add(p.every)
	return at
}

// wait is book, and waits; false when ctx ends before.
func (p *pace) wait(ctx context.Context) bool {
	return sleep(ctx, time.Until(p.book(time.Now())))
}

// sleep waits; false when ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// take waits for somebody who may log in; nil when ctx ends before.
func (r *Roster) take(ctx context.Context) *Turn {
	for {
		freed := r.Freed()
		t, at := r.Take(time.Now())
		if t != nil {
			return t
		}
		var due <-chan time.Time
		var timer *time.Timer
		if !at.IsZero() {
			timer = time.NewTimer(time.Until(at))
			due = timer.C
		}
		select {
		case <-freed:
		case <-due:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}
