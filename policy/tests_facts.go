package policy

import (
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// testFact is what tests say of a login.
type testFact struct {
	key  string
	read func(r *reader, n ast.Node, t *test)
}

// testFacts is in the order of Facts.
var testFacts = []testFact{
	{"user", testName("the name of a user", func(f *Facts) *string { return &f.User })},
	{"realm", testName("the name of a realm", func(f *Facts) *string { return &f.Realm })},
	{"groups", func(r *reader, n ast.Node, t *test) { t.facts.Groups = r.readTestGroups(n) }},
	{"source", func(r *reader, n ast.Node, t *test) { t.facts.Source = r.readAddr(n) }},
	{"country", readTestCountry},
	{"asn", func(r *reader, n ast.Node, t *test) { t.facts.ASN, _ = r.asn(n, expectASN) }},
	{"nas", testName("a NAS-Identifier", func(f *Facts) *string { return &f.NAS })},
	{"nas_address", func(r *reader, n ast.Node, t *test) { t.facts.NASAddress = r.readAddr(n) }},
	{"node", func(r *reader, n ast.Node, t *test) { t.facts.Node, _ = r.yesOrNo(n) }},
	{"tunnel", testName("a tunnel type such as PPTP", func(f *Facts) *string { return &f.Tunnel })},
	{"client", testName("the name of a client", func(f *Facts) *string { return &f.ClientName })},
	{"client_version", testName("the version of a client such as MSRASV5.20", func(f *Facts) *string { return &f.ClientVersion })},
	{"key", func(r *reader, n ast.Node, t *test) { t.facts.Key = KeyGrade(r.readWord(n, keyGradeNames[:])) }},
	{"factor", func(r *reader, n ast.Node, t *test) { t.facts.Given = Given(r.readWord(n, givenNames[:])) }},
	{"last_success", func(r *reader, n ast.Node, t *test) { t.facts.LastSuccess = r.readAgo(n, t) }},
	{"risk", readTestRisk},
	{"device", readTestDevice},
}

func testName(expected string, field func(*Facts) *string) func(*reader, ast.Node, *test) {
	return func(r *reader, n ast.Node, t *test) {
		if s, ok := r.name(n, expected); ok && s != missing {
			*field(&t.facts) = s
		}
	}
}

func readTestCountry(r *reader, n ast.Node, t *test) {
	const expected = "the code of a country such as DE (ISO 3166-1 alpha-2), or none"
	s, ok := r.country(n, expected)
	switch {
	case !ok || s == missing:
	case !isCountry(s):
		r.failCountry(n, s)
	default:
		t.facts.Country = strings.ToUpper(s)
	}
}

// readWord reads one of the words, as its index.
func (r *reader) readWord(n ast.Node, words []string) uint8 {
	if _, several := n.(*ast.SequenceNode); several {
		r.wrongType(n, "one of: "+strings.Join(words, ", "))
		return 0
	}
	s := r.readSet(n, words)
	for i := range uint8(len(words)) { //nolint:gosec // five at most
		if s.has(i) {
			return i
		}
	}
	return 0
}

// readAgo reads how long before the test's moment something was; none is that it is not
// known. Before a moment that is not known, it is counted from the zero time.
func (r *reader) readAgo(n ast.Node, t *test) time.Time {
	const expected = "how long ago, such as 3d or 90m, or none"
	s, ok := r.text(n, expected)
	if !ok || s == missing {
		return time.Time{}
	}
	d, err := parseDuration(s)
	if err != nil || d < 0 || d > maxAge {
		r.fail(position(n), expected, "%q is no age", s)
		return time.Time{}
	}
	if t.at.IsZero() {
		d = max(d, 1) // the zero time itself is that nothing is known
	}
	return t.at.Add(-d)
}

func readTestRisk(r *reader, n ast.Node, t *test) {
	counters := []struct {
		key string
		to  *int
	}{
		{"user_failures", &t.facts.Risk.UserFailures}, {"source_failures", &t.facts.Risk.SourceFailures},
		{"source_users", &t.facts.Risk.SourceUsers}, {"code_failures", &t.facts.Risk.CodeFailures},
	}
	keys := make([]string, len(counters))
	for i, c := range counters {
		keys[i] = c.key
	}
	entries, _ := r.mapping(n, "counters such as {user_failures: 3}", keys...)
	for _, e := range entries {
		for _, c := range counters {
			if c.key == e.key {
				*c.to, _ = r.number(e.val, 0, maxCount)
			}
		}
	}
}

// testDeviceFact is what tests say of the device; the one that is not known has none.
type testDeviceFact struct {
	key  string
	read func(r *reader, n ast.Node, t *test, c Confidence)
}

func testTri(field func(*Device) *Fact[Tri]) func(*reader, ast.Node, *test, Confidence) {
	return func(r *reader, n ast.Node, t *test, c Confidence) {
		*field(&t.facts.Device) = Fact[Tri]{Value: r.readAnswer(n), Confidence: c}
	}
}

func testText(expected string, field func(*Device) *Fact[string]) func(*reader, ast.Node, *test, Confidence) {
	return func(r *reader, n ast.Node, t *test, c Confidence) {
		if s, ok := r.scalar(n, expected); ok && s != missing {
			*field(&t.facts.Device) = Fact[string]{Value: s, Confidence: c}
		}
	}
}

func testAge(field func(*Device) *Fact[time.Time]) func(*reader, ast.Node, *test, Confidence) {
	return func(r *reader, n ast.Node, t *test, c Confidence) {
		*field(&t.facts.Device) = Fact[time.Time]{Value: r.readAgo(n, t), Confidence: c}
	}
}

var testDeviceFacts = []testDeviceFact{
	{"id", func(r *reader, n ast.Node, t *test, _ Confidence) {
		t.facts.Device.ID, _ = r.name(n, "the identifier of a device")
	}},
	{"name", func(r *reader, n ast.Node, t *test, _ Confidence) {
		t.facts.Device.Name, _ = r.name(n, "the name of a device")
	}},
	{"owned", func(r *reader, n ast.Node, t *test, _ Confidence) { t.facts.Device.Owned = r.readAnswer(n) }},
	{"join", func(r *reader, n ast.Node, t *test, _ Confidence) {
		t.facts.Device.Join = Joins[r.readWord(n, Joins[:])]
	}},
	{"report_age", func(r *reader, n ast.Node, t *test, c Confidence) { t.facts.Device.Reported[c] = r.readAgo(n, t) }},
	{"groups", func(r *reader, n ast.Node, t *test, _ Confidence) { t.facts.Device.Groups = r.readTestGroups(n) }},
	{"os", testText("the name of an operating system such as windows, or none", func(d *Device) *Fact[string] { return &d.OS })},
	{"os_version", testText("a version such as 10.0.22631, or none", func(d *Device) *Fact[string] { return &d.OSVersion })},
	{"managed", testTri(func(d *Device) *Fact[Tri] { return &d.Managed })},
	{"compliant", testTri(func(d *Device) *Fact[Tri] { return &d.Compliant })},
	{"disk_encrypted", testTri(func(d *Device) *Fact[Tri] { return &d.Encrypted })},
	{"firewall", testTri(func(d *Device) *Fact[Tri] { return &d.Firewall })},
	{"antivirus", testTri(func(d *Device) *Fact[Tri] { return &d.Antivirus })},
	{"screen_lock", testTri(func(d *Device) *Fact[Tri] { return &d.Lock })},
	{"enabled", testTri(func(d *Device) *Fact[Tri] { return &d.Enabled })},
	{"patch_age", testAge(func(d *Device) *Fact[time.Time] { return &d.Patched })},
	{"uptime", testAge(func(d *Device) *Fact[time.Time] { return &d.Booted })},
	{"last_logon_age", testAge(func(d *Device) *Fact[time.Time] { return &d.LastLogon })},
}

// readTestDevice reads a device. All that is said of it is of one confidence: claimed,
// where the test does not say which.
func readTestDevice(r *reader, n ast.Node, t *test) {
	keys := []string{"known", "confidence"}
	for _, f := range testDeviceFacts {
		keys = append(keys, f.key)
	}
	const expected = "{known: true, confidence: inventory, compliant: true}"
	entries, clean := r.mapping(n, expected, keys...)
	if clean && len(entries) == 0 {
		r.fail(position(n), expected, "a device of which nothing is said")
	}
	if e := find(entries, "known"); e != nil {
		if known, ok := r.yesOrNo(e.val); ok && !known {
			if len(entries) > 1 {
				r.fail(e.pos, "known: false alone, or known: true", "facts about a device that is not known")
			}
			return
		}
	}
	d, c := &t.facts.Device, Claimed
	d.ID = "unnamed"
	if e := find(entries, "confidence"); e != nil {
		c = Claimed + Confidence(r.readWord(e.val, confidenceNames[Claimed:]))
	}
	d.Managed.Confidence = c // something is said, if not what
	for _, e := range entries {
		for _, f := range testDeviceFacts {
			if f.key == e.key {
				f.read(r, e.val, t, c)
			}
		}
	}
}

// readAnswer reads true, false or none.
func (r *reader) readAnswer(n ast.Node) Tri {
	if _, several := n.(*ast.SequenceNode); several {
		r.wrongType(n, "true, false or none")
		return Unknown
	}
	s := r.readBools(n)
	for _, t := range []Tri{No, Yes} {
		if s.has(uint8(t)) {
			return t
		}
	}
	return Unknown
}

const expectMoment = "an instant such as 2026-11-24T14:00:00+01:00, or a time with its zone such as 2026-11-24 14:00 Europe/Berlin"

// readMoment reads the moment of a test.
func (r *reader) readMoment(n ast.Node) time.Time {
	s, ok := r.text(n, expectMoment)
	if !ok {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err == nil {
		return t.UTC()
	}
	parts := strings.Fields(s)
	if len(parts) != 3 {
		r.fail(position(n), expectMoment, "%q is no moment", s)
		return time.Time{}
	}
	day, err := parseDate(parts[0])
	second, ok := parseClock(parts[1])
	if err != nil || !ok || second == wholeDay {
		r.fail(position(n), expectMoment, "%q is no moment", s)
		return time.Time{}
	}
	zone, err := time.LoadLocation(parts[2])
	if err != nil || parts[2] == "Local" {
		r.fail(position(n), expectZone, "unknown zone %q%s", parts[2], didYouMean(parts[2], someZones))
		return time.Time{}
	}
	shown := instants(day.Add(time.Duration(second)*time.Second), zone)
	switch len(shown) {
	case 0:
		r.fail(position(n), "a time that is there", "clocks in %s skip %s", parts[2], parts[1])
	case 1:
		return shown[0].UTC()
	default:
		r.fail(position(n), "an instant such as "+shown[0].Format(time.RFC3339), "clocks in %s show %s twice", parts[2], parts[1])
	}
	return time.Time{}
}

// instants are those at which the zone's clock shows what one in UTC shows at t: one, or
// where clocks are changed, none or two.
func instants(t time.Time, zone *time.Location) (all []time.Time) {
	_, before := t.Add(-day).In(zone).Zone()
	_, after := t.Add(day).In(zone).Zone()
	for i, offset := range []int{before, after} {
		at := t.Add(-time.Duration(offset) * time.Second).In(zone)
		if _, o := at.Zone(); o == offset && (i == 0 || before != after) {
			all = append(all, at)
		}
	}
	return all
}
