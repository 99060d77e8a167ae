package policy

import (
	"strings"
	"testing"
	"time"
)

func TestParseAge(t *testing.T) {
	for s, want := range map[string]string{"> 45d": "> 45d", "<=12h": "<= 12h", " >= 1d12h ": ">= 36h", "<0s": "< 0s"} {
		if b, err := parseAge(s); err != nil || b.String() != want {
			t.Errorf("%q: %v, %v", s, b, err)
		}
	}
	for _, s := range []string{"", ">", "45d", "= 45d", "!= 45d", "> -1d", "> 4000d", "> 1500ms", "> > 1d", "1d <", "≥ 1d"} {
		if b, err := parseAge(s); err == nil {
			t.Errorf("%q: %v", s, b)
		}
	}
}

// TestUnknownSatisfiesNoComparison but none, and what is not known makes `not` hold.
func TestUnknownSatisfiesNoComparison(t *testing.T) {
	for _, c := range []struct {
		when        string
		known, none bool // of something three days old
	}{
		{`"< 4d"`, true, false}, {`"> 4d"`, false, false}, {`"<= 3d"`, true, false}, {`"< 3d"`, false, false}, {`">= 3d"`, true, false},
		{`none`, false, true}, {`["> 4d", none]`, false, true}, {`["> 4d", "< 1d", ">= 3d"]`, true, false}, {`">= 0s"`, true, false},
	} {
		for _, key := range []string{"last_success", "device.report_age", "device.patch_age", "device.uptime", "device.last_logon_age"} {
			rule := "  - {id: a, when: {" + key + ": " + c.when + "}, then: permit}\n"
			not := "  - {id: a, when: {not: {" + key + ": " + c.when + "}}, then: permit}\n"
			ago := noon.Add(-3 * day)
			f := &Facts{LastSuccess: ago}
			f.Device.Reported[Claimed] = ago
			for _, to := range []*Fact[time.Time]{&f.Device.Patched, &f.Device.Booted, &f.Device.LastLogon} {
				*to = Fact[time.Time]{Value: ago, Confidence: Claimed}
			}
			for _, x := range []struct {
				f    *Facts
				want bool
			}{{f, c.known}, {&Facts{}, c.none}} {
				if got := ruled(t, rule, x.f).Verdict == Permit; got != x.want {
					t.Errorf("%s: %s is %v", key, c.when, got)
				}
				if got := ruled(t, not, x.f).Verdict == Permit; got == x.want {
					t.Errorf("not %s: %s is %v", key, c.when, got)
				}
			}
		}
	}
	ahead := &Facts{LastSuccess: noon.Add(time.Hour)}
	if ruled(t, "  - {id: a, when: {last_success: \"<= 0s\"}, then: permit}\n", ahead).Verdict != Permit {
		t.Error("what is yet to come has not just been")
	}
}

func TestCounts(t *testing.T) {
	f := &Facts{Risk: Risk{UserFailures: 3, SourceFailures: 1, SourceUsers: 2, CodeFailures: 0}}
	for when, want := range map[string]bool{
		`risk.user_failures: ">= 3"`: true, `risk.user_failures: "> 3"`: false, `risk.user_failures: 3`: true, `risk.user_failures: "== 3"`: true,
		`risk.user_failures: "!= 3"`: false, `risk.user_failures: ["< 2", "= 3"]`: true, `risk.source_failures: "< 2"`: true,
		`risk.source_users: "<= 1"`: false, `risk.code_failures: 0`: true, `risk.code_failures: ">0"`: false,
	} {
		if got := ruled(t, "  - {id: a, when: {"+when+"}, then: permit}\n", f).Verdict == Permit; got != want {
			t.Errorf("%s: %v", when, got)
		}
	}
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		when, yes, no string
	}{
		{">= 10.0.19045", "10.0.19045 10.0.19045.3570 10.0.22631 10.1 11", "10.0.19044 10 9.9.9 10.0"},
		{"> 10", "11 11.0.1", "10 10.9 9"},
		{"<= 10", "10 10.0.19045 9.9", "11"},
		{"= 22.04", "22.04 22.4.3 22.04.1-LTS", "22.5 22 23.04"},
		{"14", "14 14.2", "13 15"},
		{"!= 14", "13 15.1", "14 14.1"},
		{"< 10.0.19045", "10.0.9 10", "10.0.19045 10.0.100000"},
	} {
		p := load(t, "version: 1\nrules:\n  - {id: a, when: {device.os_version: \""+c.when+"\"}, then: permit}\n")
		for _, want := range []struct {
			versions string
			verdict  Verdict
		}{{c.yes, Permit}, {c.no, Deny}, {"x 4294967299999999999999 v10", Deny}} {
			for _, v := range strings.Fields(want.versions) {
				f := &Facts{}
				f.Device.OSVersion = Fact[string]{Value: v, Confidence: Claimed}
				if d := p.Evaluate(noon, f); d.Verdict != want.verdict {
					t.Errorf("%s of %s: %v", c.when, v, d.Verdict)
				}
			}
		}
	}
}

// FuzzComparison: a comparison that is read says the same when it is written again.
func FuzzComparison(f *testing.F) {
	for _, s := range []string{"> 45d", "<=1d12h", ">= 3", "!=7", ">= 10.0.19045", "14", "< 90m", "=1.2.3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if b, err := parseAge(s); err == nil {
			if again, err := parseAge(b.String()); err != nil || again != b || b.bound < 0 {
				t.Fatalf("%q: %v, again %v, %v", s, b, again, err)
			}
		}
		if b, err := parseCount(s); err == nil {
			if again, err := parseCount(b.String()); err != nil || again != b || b.bound < 0 {
				t.Fatalf("%q: %v, again %v, %v", s, b, again, err)
			}
		}
		if n, err := parseASN(s); err == nil && n == 0 {
			t.Fatalf("%q is nobody's", s)
		}
	})
}

// FuzzVersion: of any two versions one is less, or neither, and the numbers of a bound are
// compared with themselves.
func FuzzVersion(f *testing.F) {
	f.Add("10.0.19045.3570", ">= 10.0.19045")
	f.Add("22.04 LTS", "= 22.4")
	f.Add("x", "< 0")
	f.Fuzz(func(t *testing.T, have, bound string) {
		b, err := parseVersionBound(bound)
		if err != nil {
			return
		}
		if again, err := parseVersionBound(b.String()); err != nil || again.String() != b.String() {
			t.Fatalf("%q: %v, again %v, %v", bound, b, again, err)
		}
		order, ok := compareVersion(have, b.bound)
		if order < -1 || order > 1 || !ok && order != 0 {
			t.Fatalf("%q to %v: %d, %v", have, b, order, ok)
		}
		_, own, _ := strings.Cut(b.String(), " ")
		if order, ok := compareVersion(own, b.bound); !ok || order != 0 {
			t.Fatalf("%q is not itself: %d, %v", own, order, ok)
		}
		if less.holds(order) && atLeast.holds(order) {
			t.Fatal("less and at least")
		}
	})
}
