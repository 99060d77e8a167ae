package control

import (
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Our own bounds, where AdmissionConfig says zero.
const (
	// Half-open connections of a node: with DefaultStartTimeout, more than 30
	// strangers a second who say nothing.
	DefaultMaxHalfOpen = 1024
	// Of one source: an office behind one NAT address that dials in at nine.
	DefaultMaxHalfOpenPerSource = 64
	// Sources remembered; 6 MB when full.
	DefaultMaxSources = 1 << 16
	// Rows looked at for one to forget, whenever one is added.
	sweep = 8
)

// Verdict is what becomes of a new TCP connection. The zero value refuses.
//
// Handled in: verdictNames; metrics label refusals with it.
type Verdict uint8

// The verdicts.
const (
	VerdictUnknown  Verdict = iota // refuse
	Admitted                       // go on
	NotIPv4                        // PPTP's GRE is IPv4 only here
	Denied                         // in a denied network
	NotAllowed                     // in none of the allowed networks
	TooManyHalfOpen                // the node has all it can bear
	SourceHalfOpen                 // the source has its share
	SourceRate                     // the source connects too fast
)

var verdictNames = [...]string{
	VerdictUnknown:  "unknown",
	Admitted:        "admitted",
	NotIPv4:         "not IPv4",
	Denied:          "denied",
	NotAllowed:      "not allowed",
	TooManyHalfOpen: "too many half-open",
	SourceHalfOpen:  "too many half-open from source",
	SourceRate:      "source rate",
}

// String returns the verdict as the metric label spells it.
func (v Verdict) String() string { return enumName(verdictNames[:], int(v)) }

// AdmissionConfig sets the limits. Zero is a default, but for Rate, where it
// is no limit.
type AdmissionConfig struct {
	Deny  []netip.Prefix // refused whatever Allow says
	Allow []netip.Prefix // if any, nobody else is admitted

	Rate  float64 // connections a second from one source
	Burst int     // and as many at once; at least 1

	MaxHalfOpen          int
	MaxHalfOpenPerSource int

	SourceBits int // length of the prefix that is one source, 1 to 32; 0: 32
	MaxSources int
}

// Admission decides which TCP connections a node takes at all, before a Conn
// is made for them. It is safe for concurrent use: connections are accepted in
// one goroutine and started in others.
//
// Every admitted connection is half-open until exactly one of Started, when
// its SCCRQ was accepted, and Done, when it ended before that.
//
// Memory is bounded by MaxSources. When the table is full of sources that are
// still of interest, all further ones share a single row: strangers then
// compete with each other, and nobody who is in the table is touched.
type Admission struct {
	epoch time.Time

	mu       sync.Mutex
	cfg      AdmissionConfig
	interval time.Duration // between connections of a source, 0: no limit
	burst    time.Duration // how far a source may be ahead of its rate
	halfOpen int
	sources  map[netip.Addr]*source
	rest     source // of those for whom the table has no room
}

// source is one row: a token bucket kept as the moment when it will be full
// again (GCRA), so that there is nothing to refill.
type source struct {
	full     time.Duration // since epoch
	halfOpen int
}

// NewAdmission makes an Admission; cfg is copied.
func NewAdmission(cfg AdmissionConfig, now time.Time) *Admission {
	if cfg.SourceBits <= 0 || cfg.SourceBits > 32 {
		cfg.SourceBits = 32
	}
	a := &Admission{epoch: now, sources: make(map[netip.Addr]*source)}
	a.cfg.SourceBits = cfg.SourceBits
	a.Configure(cfg)
	return a
}

// Configure replaces networks and limits, and forgets nothing of what the
// sources did. SourceBits stays as it was made: the rows are named by it.
func (a *Admission) Configure(cfg AdmissionConfig) {
	cfg.Deny, cfg.Allow = slices.Clone(cfg.Deny), slices.Clone(cfg.Allow)
	cfg.MaxHalfOpen = orDefault(cfg.MaxHalfOpen, DefaultMaxHalfOpen)
	cfg.MaxHalfOpenPerSource = orDefault(cfg.MaxHalfOpenPerSource, DefaultMaxHalfOpenPerSource)
	cfg.MaxSources = orDefault(cfg.MaxSources, DefaultMaxSources)
	cfg.Burst = max(cfg.Burst, 1)

	a.mu.Lock()
	defer a.mu.Unlock()
	cfg.SourceBits = a.cfg.SourceBits
	a.cfg, a.interval, a.burst = cfg, 0, 0
	if cfg.Rate > 0 {
		// A day for a connection is as good as none, and cannot overflow.
		seconds := min(1/cfg.Rate, 24*time.Hour.Seconds())
		a.interval = max(1, time.Duration(seconds*float64(time.Second)))
		a.burst = time.Duration(min(float64(a.interval)*float64(cfg.Burst), math.MaxInt64/4))
	}
}

func orDefault(n, standard int) int {
	if n > 0 {
		return n
	}
	return standard
}

// Admit decides on a connection from addr. The order is cheapest first, and a
// refused attempt costs its source nothing.
func (a *Admission) Admit(now time.Time, addr netip.Addr) Verdict {
	addr = addr.Unmap()
	if !addr.Is4() {
		return NotIPv4
	}
	t := now.Sub(a.epoch)

	a.mu.Lock()
	defer a.mu.Unlock()
	if within(a.cfg.Deny, addr) {
		return Denied
	}
	if len(a.cfg.Allow) > 0 && !within(a.cfg.Allow, addr) {
		return NotAllowed
	}
	if a.halfOpen >= a.cfg.MaxHalfOpen {
		return TooManyHalfOpen
	}
	s := a.row(t, a.key(addr))
	if s.halfOpen >= a.cfg.MaxHalfOpenPerSource {
		return SourceHalfOpen
	}
	if a.interval > 0 {
		full := max(s.full, t) + a.interval
		if full-t > a.burst {
			return SourceRate
		}
		s.full = full
	}
	s.halfOpen++
	a.halfOpen++
	return Admitted
}

// Started tells that an admitted connection is established.
func (a *Admission) Started(addr netip.Addr) { a.leave(addr) }

// Done tells that an admitted connection ended without being established.
func (a *Admission) Done(addr netip.Addr) { a.leave(addr) }

// leave takes a connection out of the half-open. One that was admitted on the
// shared row may have a row of its own by now, with nothing on it.
func (a *Admission) leave(addr netip.Addr) {
	addr = addr.Unmap()
	if !addr.Is4() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sources[a.key(addr)]
	if s == nil || s.halfOpen == 0 {
		s = &a.rest
	}
	if s.halfOpen > 0 {
		s.halfOpen--
		a.halfOpen--
	}
}

// HalfOpen counts the half-open connections, for a gauge.
func (a *Admission) HalfOpen() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.halfOpen
}

// row finds or makes the row of a source, and forgets a few that no longer
// matter on the way: the runtime starts a map's iteration anywhere, so all get
// their turn and no sweep ever takes long.
func (a *Admission) row(t time.Duration, key netip.Addr) *source {
	if s := a.sources[key]; s != nil {
		return s
	}
	seen := 0
	for k, s := range a.sources {
		if s.halfOpen == 0 && s.full <= t {
			delete(a.sources, k)
		}
		if seen++; seen == sweep {
			break
		}
	}
	if len(a.sources) >= a.cfg.MaxSources {
		return &a.rest
	}
	s := new(source)
	a.sources[key] = s
	return s
}

func (a *Admission) key(addr netip.Addr) netip.Addr {
	p, err := addr.Prefix(a.cfg.SourceBits)
	if err != nil { // not with an IPv4 address and 1 to 32 bits
		return addr
	}
	return p.Addr()
}

func within(nets []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(addr) })
}
