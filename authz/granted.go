package authz

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"postern/authz/session"
	"postern/policy"
)

// noLimit lifts a limit that a session has: RADIUS has no word for that, and this is the
// most that a rule can say.
const noLimit = 366 * 24 * time.Hour

// granted is a digest of the obligations that a session's NAS enforces and can be asked to
// change: filter and bandwidth, and in the clear the limits. Two that are the same need no
// change. A NAS of another make has its own filters, and no bandwidth.
func granted(o *policy.Obligations, node bool) string {
	what := struct {
		Filter    string
		Rules     []string
		Bandwidth policy.Bandwidth
	}{Filter: o.Filter}
	if node {
		what.Rules, what.Bandwidth = o.Rules, o.Bandwidth
	}
	b, err := json.Marshal(what)
	if err != nil { // no field of ours can fail
		return ""
	}
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:9]) + "/" + o.SessionTimeout.String() + "/" + o.IdleTimeout.String()
}

// noLimits is how a digest without limits ends.
const noLimits = "/0s/0s"

// regranted says what differs between two digests.
func regranted(before, now string) string {
	was, is := strings.SplitN(before, "/", 3), strings.SplitN(now, "/", 3)
	if len(was) != 3 || len(is) != 3 {
		return "all of it"
	}
	var all []string
	if was[0] != is[0] {
		all = append(all, "filter or bandwidth")
	}
	for i, name := range []string{"session time-out", "idle time-out"} {
		if a, b := was[i+1], is[i+1]; a != b {
			all = append(all, name+" "+limit(a)+" → "+limit(b))
		}
	}
	return strings.Join(all, ", ")
}

func limit(s string) string {
	if s == "0s" {
		return "none"
	}
	return s
}

// changeTo is all that a NAS is to enforce of a session from now on: whatever was wished
// before and not carried out yet, this can take its place. The session's time counts from
// its start. over: it is over.
func changeTo(o *policy.Obligations, rec *session.Record, now time.Time) (c Change, over bool) {
	c = Change{Filter: &FilterChange{Name: o.Filter, Rules: o.Rules}, Bandwidth: &o.Bandwidth}
	if rec.Settled != "" || !strings.HasSuffix(rec.Granted, noLimits) { // it may have limits
		c.Session, c.Idle = noLimit, noLimit
	}
	if o.IdleTimeout > 0 {
		c.Idle = o.IdleTimeout
	}
	if o.SessionTimeout > 0 {
		c.Session = rec.Opened.Add(o.SessionTimeout).Sub(now)
		over = c.Session <= 0
	}
	if !rec.OurNode { // its filters are its own, and it has no word for none
		c.Bandwidth, c.Filter.Rules = nil, nil
		if o.Filter == "" {
			c.Filter = nil
		}
	}
	return c, over
}

// After is the change when it reaches the NAS so much later than it was decided: what is
// left of the times in it.
func (c Change) After(d time.Duration) Change {
	d = max(d.Truncate(time.Second), 0)
	if c.Session > 0 {
		c.Session = max(c.Session-d, time.Second)
	}
	if c.Quarantine != nil {
		q := *c.Quarantine
		q.For = max(q.For-d, time.Second)
		c.Quarantine = &q
	}
	return c
}
