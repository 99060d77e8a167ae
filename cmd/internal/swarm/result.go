package swarm

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is what came of a run, as it is written down.
type Result struct {
	Mode        string    `json:"mode"` // pptp or radius
	Servers     []string  `json:"servers"`
	Users       int       `json:"users"`
	Began       time.Time `json:"began"`
	Seconds     float64   `json:"seconds"`       // all of it, to the last good-bye
	LoginTime   float64   `json:"login_seconds"` // from the first login to the last answer
	Rate        float64   `json:"rate"`          // that was asked for; 0: as fast as it goes
	PerSecond   float64   `json:"accepted_per_second"`
	Interrupted bool      `json:"interrupted"`

	Counts
	RefusedBy    map[string]uint64 `json:"refused_by_reason"`
	UnansweredBy map[string]uint64 `json:"no_answer_by_reason"`
	BrokenBy     map[string]uint64 `json:"broken_by_reason"`
	RetriedBy    map[string]uint64 `json:"retried_by_reason"`
	WrongBy      map[string]uint64 `json:"wrong_by_kind"`
	CutBy        map[string]uint64 `json:"cut_by_reason"`
	Steps        []Timing          `json:"steps"`
	Traffic      *Traffic          `json:"traffic,omitempty"`
	Services     []Service         `json:"services,omitempty"` // radius: whom the client asked
}

// Service is what a RADIUS server was asked.
type Service struct {
	Name        string `json:"name"`
	Requests    uint64 `json:"requests"`
	Retransmits uint64 `json:"retransmits"`
	Silences    uint64 `json:"silences"`
	Dropped     uint64 `json:"replies_not_believed"`
}

// result is the tally in figures.
func (t *Tally) result() *Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &Result{
		Counts: t.c, RefusedBy: maps.Clone(t.reasons.refused), UnansweredBy: maps.Clone(t.reasons.unanswered), BrokenBy: maps.Clone(t.reasons.broken),
		RetriedBy: maps.Clone(t.reasons.retried), WrongBy: maps.Clone(t.reasons.wrong), CutBy: maps.Clone(t.reasons.cut),
		Steps: []Timing{},
	}
	for i := range t.steps {
		if t.steps[i].n > 0 {
			r.Steps = append(r.Steps, t.steps[i].timing(Step(i)))
		}
	}
	if t.traffic != (Traffic{}) {
		x := t.traffic
		r.Traffic = &x
	}
	return r
}

// Verdict says whether a run was as it should be.
//
// Handled in: the status of `postern swarm`.
type Verdict uint8

const (
	VerdictUnknown Verdict = iota
	Right
	Short   // more than tolerated was refused, not answered or cut
	Corrupt // there were wrong results
)

// Verdict judges; tolerated is the share of logins that may come to nothing, and of
// sessions that may be cut.
func (r *Result) Verdict(tolerated float64) Verdict {
	ended := r.Started - min(r.Unfinished, r.Started)
	missed := r.Refused + r.Unanswered + r.Broken
	switch {
	case r.Wrong > 0:
		return Corrupt
	case r.Accepted == 0 && !r.Interrupted, float64(missed) > tolerated*float64(ended), float64(r.Cut) > tolerated*float64(r.Accepted):
		return Short
	}
	return Right
}

// Print writes the result for people.
func (r *Result) Print(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p("%d logins in %.1f s: %d accepted (%.1f/s), %d refused, %d without an answer, %d broken, %d wrong results",
		r.Started, r.LoginTime, r.Accepted, r.PerSecond, r.Refused, r.Unanswered, r.Broken, r.Wrong)
	p("%d sessions at once at most, %d cut, %d attempts repeated", r.Peak, r.Cut, r.Retried)
	if r.Unfinished > 0 {
		p("%d logins were not waited for", r.Unfinished)
	}
	if r.Skipped > 0 {
		p("%d logins fewer than the rate asked for: no user was free (or had a code left), or too many were under way", r.Skipped)
	}
	if r.Unaccounted > 0 {
		p("%d Accounting-Requests without an answer", r.Unaccounted)
	}
	if r.Moved > 0 {
		p("%d clients came back with another address", r.Moved)
	}
	for _, x := range []struct {
		what string
		by   map[string]uint64
	}{
		{"WRONG", r.WrongBy}, {"refused", r.RefusedBy}, {"no answer", r.UnansweredBy}, {"broken", r.BrokenBy}, {"repeated", r.RetriedBy}, {"cut", r.CutBy},
	} {
		for _, why := range slices.Sorted(maps.Keys(x.by)) {
			p("  %-9s %7d  %s", x.what, x.by[why], why)
		}
	}
	if len(r.Steps) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "ms\tcount\tmean\tp50\tp90\tp99\tmax\t")
		for _, s := range r.Steps {
			fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\n", s.Step, s.Count, s.Mean, s.P50, s.P90, s.P99, s.Max)
		}
		_ = t.Flush() // as w's other errors
	}
	if x := r.Traffic; x != nil {
		p("%d of %d pings answered; %d octets in, %d out (%.1f kbit/s together)", x.Answered, x.Sent, x.InOctets, x.OutOctets,
			float64(x.InOctets+x.OutOctets)*8/1000/max(r.Seconds, .001))
		if x.Unreadable+x.Cleartext > 0 {
			p("%d packets could not be decrypted, %d came in the clear", x.Unreadable, x.Cleartext)
		}
	}
	for _, s := range r.Services {
		p("service %s: %d requests, %d repeated, %d without an answer, %d replies not believed", s.Name, s.Requests, s.Retransmits, s.Silences, s.Dropped)
	}
}

// Line is the tally in one line, as it is now.
func (t *Tally) Line(since time.Duration, main Step) string {
	c := t.Counts()
	var b strings.Builder
	fmt.Fprintf(&b, "%4.0fs  started %d  accepted %d (%.1f/s)  live %d  refused %d  no answer %d",
		since.Seconds(), c.Started, c.Accepted, float64(c.Accepted)/max(since.Seconds(), .001), c.Live, c.Refused, c.Unanswered)
	if c.Cut > 0 {
		fmt.Fprintf(&b, "  cut %d", c.Cut)
	}
	if c.Retried > 0 {
		fmt.Fprintf(&b, "  repeated %d", c.Retried)
	}
	fmt.Fprintf(&b, "  wrong %d  %s p50 %.0f p99 %.0f ms", c.Wrong, main, ms(t.Quantile(main, .5)), ms(t.Quantile(main, .99)))
	return b.String()
}
