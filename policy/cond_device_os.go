package policy

import (
	"time"

	"github.com/goccy/go-yaml/ast"
)

// isOS holds for a device with one of the operating systems, as the sources name them:
// windows, macos, linux, ios, android and others.
type isOS struct{ names }

func readOS(r *reader, n ast.Node) matcher {
	return isOS{r.readNames(n, "the name of an operating system such as windows, or none")}
}

func (m isOS) match(e *evaluation) bool {
	if believed(e.f.Device.OS, e.demand) == "" {
		return m.has(nil)
	}
	return m.has(e.os)
}

func factOS(f *Facts, now time.Time) string { return sourced(f.Device.OS.Value, f.Device.OS, now) }

// hasVersion holds for an operating system of a version that one of the comparisons is
// true of, or of one that is not known.
type hasVersion struct {
	bounds []versionBound
	none   bool
}

func readVersion(r *reader, n ast.Node) matcher {
	m := hasVersion{}
	for _, el := range r.values(n, expectVersion) {
		s, ok := r.scalar(el, expectVersion)
		if !ok {
			continue
		}
		if s == missing {
			m.none = true
			continue
		}
		b, err := parseVersionBound(s)
		if err != nil {
			r.fail(position(el), expectVersion, "%q: %v", s, err)
			continue
		}
		m.bounds = append(m.bounds, b)
	}
	return m
}

func (m hasVersion) match(e *evaluation) bool {
	v := believed(e.f.Device.OSVersion, e.demand)
	if _, ok := compareVersion(v, []uint64{0}); !ok {
		return m.none
	}
	for _, b := range m.bounds {
		if order, _ := compareVersion(v, b.bound); b.holds(order) {
			return true
		}
	}
	return false
}

func factVersion(f *Facts, now time.Time) string {
	return sourced(f.Device.OSVersion.Value, f.Device.OSVersion, now)
}
