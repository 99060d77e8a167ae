package policy

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// evaluation holds the facts in the form conditions compare. It is reused, so
// that a decision allocates nothing.
type evaluation struct {
	now time.Time
	f   *Facts

	user, realm, nas, tunnel []byte // folded; empty is none
	client, clientVersion    []byte
	device, deviceName, os   []byte
	source, nasAddress       netip.Addr
	groups                   bitset
	inAny                    bool

	deviceGroups bitset
	confidence   Confidence // of what is said of the device, at most
	demand       Confidence // of the rule that is looked at
	fault        string     // why that failed; "" it did not

	zones []*time.Location
	walls [maxZones + 1]wall // by zone

	buf [9 * maxName]byte // what the names point into
	tmp [maxName]byte
}

var evaluations = sync.Pool{New: func() any { return new(evaluation) }}

// Evaluate decides. It is pure: the decision follows from the policy, now and
// the facts alone; its work is bounded by the policy's size and the number of
// the user's groups. When no rule matches, it refuses.
func (p *Policy) Evaluate(now time.Time, f *Facts) Decision {
	e := p.evaluation(now, f)
	defer e.done()
	deciding, shadow := p.first(e)
	d := Decision{Verdict: Deny, Reason: NoMatch, Version: p.version}
	if deciding.rule != nil {
		d = *deciding.decision()
		d.Fault = deciding.fault
	}
	if shadow.rule != nil && shadow.outcome() != deciding.outcome() {
		d.Shadow = shadow.decision()
	}
	d.At = now
	return d
}

// found is a rule that matches, or that failed, which refuses; nil: none.
type found struct {
	rule  *rule
	fault string
}

func (f found) decision() *Decision {
	if f.fault != "" {
		return &f.rule.failed
	}
	return &f.rule.decision
}

func (f found) outcome() int {
	if f.rule == nil || f.fault != "" {
		return refusal
	}
	return f.rule.outcome
}

// first is the rule that decides, and the first in shadow that would have before.
func (p *Policy) first(e *evaluation) (deciding, shadow found) {
	for i := range p.rules {
		r := &p.rules[i]
		if r.shadow && shadow.rule != nil || !r.match(e) && e.fault == "" {
			continue
		}
		if !r.shadow {
			return found{r, e.fault}, shadow
		}
		shadow = found{r, e.fault}
	}
	return found{}, shadow
}

// evaluation begins one, which is to be done with.
func (p *Policy) evaluation(now time.Time, f *Facts) *evaluation {
	e := evaluations.Get().(*evaluation)
	e.set(p, now, f)
	return e
}

func (e *evaluation) done() {
	e.f, e.zones = nil, nil
	evaluations.Put(e)
}

func (e *evaluation) set(p *Policy, now time.Time, f *Facts) {
	e.now, e.f, e.demand = now, f, NoConfidence
	for i, name := range [...]struct {
		to *[]byte
		s  string
	}{
		{&e.user, f.User}, {&e.realm, f.Realm}, {&e.nas, f.NAS}, {&e.tunnel, f.Tunnel}, {&e.client, f.ClientName},
		{&e.clientVersion, f.ClientVersion}, {&e.device, f.Device.ID}, {&e.deviceName, f.Device.Name}, {&e.os, f.Device.OS.Value},
	} {
		*name.to = foldInto(e.buf[i*maxName:i*maxName:(i+1)*maxName], name.s)
	}
	e.source, e.nasAddress = f.Source.Unmap().WithZone(""), f.NASAddress.Unmap().WithZone("")
	e.inAny = len(f.Groups) > 0
	e.number(p, f.Groups, &e.groups)
	e.number(p, f.Device.Groups, &e.deviceGroups)
	e.confidence = f.Device.confidence()
	e.zones = p.zones
	for i := range p.zones {
		e.walls[i].read = false
	}
}

// number finds the groups that the policy names.
func (e *evaluation) number(p *Policy, groups []string, bits *bitset) {
	clear(bits[:])
	for _, g := range groups {
		if i, ok := p.groups[string(foldInto(e.tmp[:0], g))]; ok {
			bits[i/64] |= 1 << (i % 64)
		}
	}
}

// tooLong is no name: it has a character no policy can write into one.
var tooLong = []byte{0xff}

// foldInto folds s. A fact that is longer than any name in a policy equals none
// of them, and is not missing either.
func foldInto(dst []byte, s string) []byte {
	if len(s) > maxName {
		return tooLong
	}
	if dst = appendFold(dst, s); len(dst) > maxName {
		return tooLong
	}
	return dst
}

// refusal is the outcome of all that refuse.
const refusal = 0

// numberOutcomes numbers what rules say.
func (p *Policy) numberOutcomes() {
	numbers := make(map[string]int)
	for i := range p.rules {
		r := &p.rules[i]
		if r.decision.Verdict != Permit {
			continue
		}
		said := fmt.Sprint(r.decision.Obligations.Terms(), r.decision.Obligations.Rules)
		if numbers[said] == 0 {
			numbers[said] = len(numbers) + 1
		}
		r.outcome = numbers[said]
	}
}
