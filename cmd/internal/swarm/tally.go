package swarm

import (
	"net/netip"
	"sync"
	"time"
)

// Step is what takes time.
//
// Handled in: stepNames.
type Step uint8

const (
	StepUnknown Step = iota
	StepConnect      // TCP
	StepCall         // control connection and call
	StepLCP          //
	StepAuth         // MS-CHAPv2, the service's answer included
	StepNetwork      // CCP and IPCP
	StepDial         // all of these
	StepReturn       // from a session's cut to the next one
	StepPing         // through the tunnel and back
	StepAccess       // Access-Request
	StepStart        // Accounting-Requests
	StepInterim
	StepStop
)

var stepNames = [...]string{
	StepUnknown: "unknown", StepConnect: "connect", StepCall: "call", StepLCP: "lcp", StepAuth: "auth", StepNetwork: "network",
	StepDial: "dial", StepReturn: "return", StepPing: "ping",
	StepAccess: "access", StepStart: "start", StepInterim: "interim", StepStop: "stop",
}

// String returns the word of results.
func (s Step) String() string {
	if int(s) < len(stepNames) {
		return stepNames[s]
	}
	return stepNames[StepUnknown]
}

// Wrong is an answer that nobody should ever get.
//
// Handled in: wrongNames.
type Wrong uint8

const (
	WrongUnknown Wrong = iota
	WrongProof         // accepted without proof to know the password (RFC 2759 §5)
	WrongKeys          // accepted with MPPE keys that are not the password's
	WrongAddress       // accepted without an address a client could have
	WrongTwice         // accepted with an address that another live session has
	WrongPayload       // a ping's answer with another content
)

var wrongNames = [...]string{
	WrongUnknown: "unknown", WrongProof: "no proof", WrongKeys: "wrong keys", WrongAddress: "no address",
	WrongTwice: "address of another session", WrongPayload: "wrong payload",
}

// String returns the words of results.
func (w Wrong) String() string {
	if int(w) < len(wrongNames) {
		return wrongNames[w]
	}
	return wrongNames[WrongUnknown]
}

// Outcome is what became of a login.
//
// Handled in: Tally.Ended.
type Outcome uint8

const (
	Unfinished Outcome = iota // we gave up: Ctrl-C
	Accepted
	Refused    // the answer was no
	Unanswered // there was none
	Broken     // it went wrong otherwise, or the answer was wrong
)

// maxReasons bounds the reasons told apart: some are a server's text.
const maxReasons = 64

// reasons counts by reason.
type reasons map[string]uint64

func (r reasons) add(why string) {
	if _, known := r[why]; !known && len(r) >= maxReasons {
		why = "other"
	}
	r[why]++
}

// Tally counts what comes of a run. Its methods may be called from any goroutine.
type Tally struct {
	mu      sync.Mutex
	c       Counts
	reasons struct{ refused, unanswered, broken, retried, wrong, cut reasons }
	steps   [len(stepNames)]Latency
	held    map[netip.Addr]int // addresses of live sessions
	traffic Traffic
}

// Counts are the numbers of a run.
type Counts struct {
	Started     uint64 `json:"started"`
	Accepted    uint64 `json:"accepted"`
	Refused     uint64 `json:"refused"`
	Unanswered  uint64 `json:"no_answer"`
	Broken      uint64 `json:"broken"`
	Unfinished  uint64 `json:"unfinished"` // when the run was interrupted
	Wrong       uint64 `json:"wrong"`
	Retried     uint64 `json:"retried"`     // attempts behind the first of a login
	Cut         uint64 `json:"cut"`         // sessions that ended before we ended them
	Moved       uint64 `json:"moved"`       // came back with another address
	Unaccounted uint64 `json:"unaccounted"` // Accounting-Requests without an answer
	Skipped     uint64 `json:"skipped"`     // logins that the rate wanted and nobody was free for
	Live        uint64 `json:"-"`
	Peak        uint64 `json:"peak_sessions"`
}

// Traffic is what went through tunnels.
type Traffic struct {
	Sent       uint64 `json:"pings_sent"`
	Answered   uint64 `json:"pings_answered"`
	InOctets   uint64 `json:"in_octets"`
	OutOctets  uint64 `json:"out_octets"`
	Unreadable uint64 `json:"undecryptable"`
	Cleartext  uint64 `json:"cleartext"`
}

// NewTally makes an empty one.
func NewTally() *Tally {
	t := &Tally{held: map[netip.Addr]int{}}
	r := &t.reasons
	for _, m := range []*reasons{&r.refused, &r.unanswered, &r.broken, &r.retried, &r.wrong, &r.cut} {
		*m = reasons{}
	}
	return t
}

func (t *Tally) with(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

func (t *Tally) started() { t.with(func() { t.c.Started++ }) }
func (t *Tally) skipped(n uint64) {
	t.with(func() { t.c.Skipped += n })
}

func (t *Tally) retried(why string) {
	t.with(func() { t.c.Retried++; t.reasons.retried.add(why) })
}

// took notes how long a step took.
func (t *Tally) took(s Step, d time.Duration) { t.with(func() { t.steps[s].Add(d) }) }

// ended notes the outcome of a login.
func (t *Tally) ended(o Outcome, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch o {
	case Accepted:
		t.c.Accepted++
	case Refused:
		t.c.Refused++
		t.reasons.refused.add(why)
	case Unanswered:
		t.c.Unanswered++
		t.reasons.unanswered.add(why)
	case Broken:
		t.c.Broken++
		t.reasons.broken.add(why)
	case Unfinished:
		t.c.Unfinished++
	}
}

func (t *Tally) wrong(w Wrong) {
	t.with(func() { t.c.Wrong++; t.reasons.wrong.add(w.String()) })
}

func (t *Tally) unaccounted() { t.with(func() { t.c.Unaccounted++ }) }

// up notes a live session. Where exclusive is set, nobody else may have its address.
func (t *Tally) up(a netip.Addr, exclusive bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c.Live++
	t.c.Peak = max(t.c.Peak, t.c.Live)
	if !exclusive || !a.IsValid() {
		return
	}
	if t.held[a]++; t.held[a] > 1 {
		t.c.Wrong++
		t.reasons.wrong.add(WrongTwice.String())
	}
}

// down notes its end; cut says whose it was, if not ours.
func (t *Tally) down(a netip.Addr, exclusive bool, cut string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c.Live--
	if exclusive && a.IsValid() {
		if t.held[a]--; t.held[a] == 0 {
			delete(t.held, a)
		}
	}
	if cut != "" {
		t.c.Cut++
		t.reasons.cut.add(cut)
	}
}

func (t *Tally) moved() { t.with(func() { t.c.Moved++ }) }

func (t *Tally) pinged(answered bool, rtt time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.traffic.Sent++
	if answered {
		t.traffic.Answered++
		t.steps[StepPing].Add(rtt)
	}
}

func (t *Tally) carried(x Traffic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.traffic.InOctets += x.InOctets
	t.traffic.OutOctets += x.OutOctets
	t.traffic.Unreadable += x.Unreadable
	t.traffic.Cleartext += x.Cleartext
}

// Counts are the numbers as they are now.
func (t *Tally) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.c
}

// Quantile is how long a step took, as it is now.
func (t *Tally) Quantile(s Step, q float64) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.steps[s].Quantile(q)
}
