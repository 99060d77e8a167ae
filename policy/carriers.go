package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// What a permit says of the second factor, besides which: how it may come, whether it
// is remembered, how long a quarantined session waits for it.

func carrierWords() []string { return carrierNames[CarrierUnknown+1:] }

// readCarriers reads one carrier or a list of them in the order in which they are
// tried.
func readCarriers(r *reader, n ast.Node, o *Obligations) {
	expected := "one of: " + strings.Join(carrierWords(), ", ")
	for _, el := range r.values(n, expected) {
		s, ok := r.text(el, expected)
		if !ok {
			continue
		}
		i := slices.Index(carrierWords(), s)
		c := CarrierUnknown + 1 + Carrier(i)
		switch {
		case i < 0:
			r.fail(position(el), expected, "unknown carrier %q%s", s, didYouMean(s, carrierWords()))
		case slices.Contains(o.Carriers, c):
			r.fail(position(el), "each carrier once", "%q a second time", s)
		default:
			o.Carriers = append(o.Carriers, c)
		}
	}
}

func sayCarriers(o *Obligations) string {
	if len(o.Carriers) == 0 {
		return Inline.String()
	}
	words := make([]string, len(o.Carriers))
	for i, c := range o.Carriers {
		words[i] = c.String()
	}
	return strings.Join(words, ", ")
}

// Bounds of a remembered factor, ours: below eight bits a prefix is no place any more.
const (
	minRemember = time.Minute
	maxRemember = 90 * 24 * time.Hour
	minPrefix   = 8
	maxPrefix   = 32 // of an IPv4 address
)

// readRemember reads for how long and for what place a factor is remembered.
func readRemember(r *reader, n ast.Node, o *Obligations) {
	entries, clean := r.mapping(n, "{for: 12h}, with idle, prefix and device as you like", "for", "idle", "prefix", "device")
	if clean && find(entries, "for") == nil {
		r.fail(position(n), "for: a duration such as 12h or 7d", "remembered for no time")
	}
	m := &o.Remember
	for _, e := range entries {
		switch e.key {
		case "for":
			m.For, _ = r.duration(e.val, minRemember, maxRemember)
		case "idle":
			m.Idle, _ = r.duration(e.val, minRemember, maxRemember)
		case "prefix":
			m.Prefix, _ = r.number(e.val, minPrefix, maxPrefix)
		case "device":
			m.Device, _ = r.yesOrNo(e.val)
		}
	}
	if m.For > 0 && m.Idle > m.For {
		r.fail(position(find(entries, "idle").val), "at most "+short(m.For)+", which for says", "%s without use is never reached", short(m.Idle))
	}
}

func sayRemember(o *Obligations) string {
	m := o.Remember
	if m.For == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("for " + short(m.For))
	if m.Idle > 0 {
		b.WriteString(", idle " + short(m.Idle))
	}
	if m.Prefix > 0 && m.Prefix < maxPrefix {
		b.WriteString(", prefix " + strconv.Itoa(m.Prefix))
	}
	if m.Device {
		b.WriteString(", device")
	}
	return b.String()
}

// checkCarriers refuses what can never let anybody in, and what would have no effect. A
// session that is isolated is in quarantine with any factor, and with none.
func (r *reader) checkCarriers(entries []entry, o *Obligations) {
	carriers, remember, quarantine := find(entries, "carriers"), find(entries, "remember"), find(entries, "quarantine")
	if o.Factor == FactorNone {
		for _, e := range []*entry{carriers, remember, quarantine} {
			if e != nil && (e != quarantine || !o.Isolate) {
				r.fail(e.pos, "factor: code, or factor: webauthn", "without a second factor %s means nothing", e.key)
			}
		}
		return
	}
	if carriers != nil && len(o.Carriers) == 0 {
		return // what is wrong there has been said
	}
	if remember != nil && !o.Carries(Remembered) {
		r.fail(remember.pos, "remembered among the carriers", "remember has no effect")
	}
	if quarantine != nil && !o.Carries(Quarantine) && !o.Isolate {
		r.fail(quarantine.pos, "quarantine among the carriers, or isolate: true", "quarantine has no effect")
	}
	switch {
	case o.Factor == FactorWebAuthn && !o.Carries(Quarantine):
		e := carriers
		if e == nil {
			e = find(entries, "factor")
		}
		r.fail(e.pos, "carriers: quarantine", "webauthn is asked for by the portal, and only a quarantine leads there")
	case carriers == nil:
		return
	case o.Factor == FactorWebAuthn:
		for _, c := range o.Carriers {
			if c != Quarantine && c != Remembered {
				r.fail(position(carriers.val), "remembered and quarantine alone, or factor: code, which a key meets as well", "%v carries codes, and webauthn is none", c)
			}
		}
	case len(o.Carriers) == 1 && o.Carries(Remembered):
		r.fail(position(carriers.val), "another carrier besides, by which the factor comes the first time", "there is nothing to remember")
	}
	if o.Carries(Remembered) && remember == nil {
		r.fail(position(carriers.val), "remember: {for: 12h} beside it", "remembered, but for no time")
	}
}
