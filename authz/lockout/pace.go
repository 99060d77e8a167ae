package lockout

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// paceSamples is how many logins stand for what wrong passwords take here. Their
	// median and 90th percentile move with the directory's, within a few minutes of an
	// ordinary day.
	paceSamples = 64
	// paceKinds bounds what is told apart: realms, by two methods.
	paceKinds = 256
	// paceMost is the longest that counts: a directory that is slower is ill, and
	// nobody is to be held that long.
	paceMost = 4 * time.Second
	// paceJitter spreads what is drawn, in parts of it, so that no value comes twice.
	paceJitter = 0.05
	// Before the first wrong password: what a directory in the same building takes.
	paceLeast, paceSpread = 10 * time.Millisecond, 20 * time.Millisecond
)

// Pace knows how long logins with a wrong password take, so that those who are refused
// without a question can be answered in the same time. It is safe for concurrent use.
type Pace struct {
	mu    sync.Mutex
	kinds map[string]*laps
	draw  func() float64 // of [0, 1)
}

// laps are the samples of one kind, the oldest replaced first.
type laps struct {
	took [paceSamples]time.Duration
	n    int // ever
}

// NewPace makes a Pace that knows nothing.
func NewPace() *Pace { return &Pace{kinds: make(map[string]*laps), draw: rand.Float64} }

// Took notes how long a wrong password took. Kind is what its time depends on: the
// directory, and the way of proving.
func (p *Pace) Took(kind string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.kinds[kind]
	if l == nil {
		if len(p.kinds) >= paceKinds {
			return
		}
		l = new(laps)
		p.kinds[kind] = l
	}
	l.took[l.n%paceSamples] = min(max(d, 0), paceMost)
	l.n++
}

// Like draws how long a wrong password would have taken.
func (p *Pace) Like(kind string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.kinds[kind]
	if l == nil {
		return paceLeast + time.Duration(p.draw()*float64(paceSpread))
	}
	d := l.took[int(p.draw()*float64(min(l.n, paceSamples)))]
	return d + time.Duration((2*p.draw()-1)*paceJitter*float64(d))
}
