package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// What is so of a device, is not, or is not known: true, false and none.
//
//	device.compliant: true
//	device.firewall: [false, none]

// question is one of them. Who owns a device is in our own records.
type question func(d *Device) Fact[Tri]

func deviceManaged(d *Device) Fact[Tri]   { return d.Managed }
func deviceCompliant(d *Device) Fact[Tri] { return d.Compliant }
func deviceEncrypted(d *Device) Fact[Tri] { return d.Encrypted }
func deviceFirewall(d *Device) Fact[Tri]  { return d.Firewall }
func deviceAntivirus(d *Device) Fact[Tri] { return d.Antivirus }
func deviceLock(d *Device) Fact[Tri]      { return d.Lock }
func deviceEnabled(d *Device) Fact[Tri]   { return d.Enabled }

// deviceOwned is as certain as it is certain that the device is there at all.
func deviceOwned(d *Device) Fact[Tri] {
	if d.ID == "" {
		return Fact[Tri]{}
	}
	return Fact[Tri]{Value: d.Owned, Confidence: max(d.confidence(), Claimed)}
}

// isSo holds for one of the answers.
type isSo struct {
	of      question
	answers set // by Tri
}

func readTri(of question) func(*reader, ast.Node) matcher {
	return func(r *reader, n ast.Node) matcher { return isSo{of, r.readBools(n)} }
}

func (m isSo) match(e *evaluation) bool {
	return m.answers.has(uint8(believed(m.of(&e.f.Device), e.demand)))
}

func factTri(of question) func(*Facts, time.Time) string {
	return func(f *Facts, now time.Time) string {
		fact := of(&f.Device)
		return sourced(fact.Value.String(), fact, now)
	}
}
