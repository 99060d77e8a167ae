package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// What is known of the device that a login comes from. A rule that demands a confidence
// (device.confidence) sees the device as if there were only the sources of that
// confidence or more: what others say is unknown to it, and where they alone know the
// device, it is.

// isDevice holds for a device with one of the identifiers in our records or one of the
// host names, or for one that is not known.
type isDevice struct {
	names
	none bool
}

func readDevice(r *reader, n ast.Node) matcher {
	const expected = "the identifier or name of a device, a list of devices, or none"
	m := isDevice{}
	for _, el := range r.values(n, expected) {
		s, ok := r.name(el, expected)
		if !ok {
			continue
		}
		if foldString(s) == missing {
			m.none = true
			continue
		}
		switch l, ok := r.named(el, s, devicesList); {
		case !ok:
		case l != nil:
			m.names = append(m.names, l.names...)
		default:
			m.names = append(m.names, foldString(s))
		}
	}
	return m
}

func (m isDevice) match(e *evaluation) bool {
	if !e.deviceKnown() {
		return m.none
	}
	return len(e.device) > 0 && m.has(e.device) || len(e.deviceName) > 0 && m.has(e.deviceName)
}

func factDevice(f *Facts, _ time.Time) string {
	d := &f.Device
	switch {
	case d.ID == "":
		return missing
	case d.Name == "" || foldString(d.Name) == foldString(d.ID):
		return d.ID
	}
	return d.ID + " (" + d.Name + ")"
}

// isKnown holds for a device that our records know, or for one that they do not.
type isKnown bool

func readKnown(r *reader, n ast.Node) matcher {
	v, ok := r.yesOrNo(n)
	if !ok {
		return nil
	}
	return isKnown(v)
}

func (m isKnown) match(e *evaluation) bool { return e.deviceKnown() == bool(m) }

func factKnown(f *Facts, _ time.Time) string { return tri(f.Device.ID != "").String() }

// deviceKnown says whether a source that the rule believes knows the device.
func (e *evaluation) deviceKnown() bool {
	return e.f.Device.ID != "" && (e.demand == NoConfidence || e.confidence >= e.demand)
}

// isJoin holds for a device that was found in one of the ways: by the tag in the user's
// name, by a fresh report from the same address, because it is the one device the user has
// enrolled, or by the name the client gives itself.
type isJoin struct {
	ways []string
	none bool
}

func readJoin(r *reader, n ast.Node) matcher {
	words := append(slices.Clone(Joins[:]), missing)
	s := r.readSet(n, words)
	m := isJoin{}
	for i, w := range words {
		switch {
		case !s.has(uint8(i)): //nolint:gosec // five words
		case w == missing:
			m.none = true
		default:
			m.ways = append(m.ways, w)
		}
	}
	return m
}

func (m isJoin) match(e *evaluation) bool {
	if e.f.Device.Join == "" || !e.deviceKnown() {
		return m.none
	}
	return slices.Contains(m.ways, e.f.Device.Join)
}

func factJoin(f *Facts, _ time.Time) string { return inWords(f.Device.Join) }

// confidence is the most that can be believed of what is said of a device.
func (d *Device) confidence() (most Confidence) {
	for c := Attested; c > NoConfidence; c-- {
		if !d.Reported[c].IsZero() {
			most = c
			break
		}
	}
	for _, c := range [...]Confidence{
		d.OS.Confidence, d.OSVersion.Confidence, d.Managed.Confidence, d.Compliant.Confidence, d.Encrypted.Confidence,
		d.Firewall.Confidence, d.Antivirus.Confidence, d.Lock.Confidence, d.Enabled.Confidence,
		d.Patched.Confidence, d.Booted.Confidence, d.LastLogon.Confidence,
	} {
		most = max(most, c)
	}
	if len(d.Groups) > 0 {
		most = max(most, Directory)
	}
	return min(most, Attested)
}

// believed is the fact's value if it can be believed enough, or the zero value, which is
// not known. demand is NoConfidence where none is demanded.
func believed[T comparable](f Fact[T], demand Confidence) (v T) {
	if f.Confidence == NoConfidence || f.Confidence < demand {
		return v
	}
	return f.Value
}

// sourced is a fact of a device as explanations say it: with who says so, and since when.
func sourced[T comparable](value string, f Fact[T], now time.Time) string {
	var unknown T
	if f.Value == unknown || f.Confidence == NoConfidence {
		return missing
	}
	parts := []string{f.Confidence.String()}
	if f.Source != "" {
		parts[0] += " by " + f.Source
	}
	if !f.At.IsZero() {
		parts = append(parts, aged(f.At, now))
	}
	return value + " (" + strings.Join(parts, ", ") + ")"
}
