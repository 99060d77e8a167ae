package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// someFacts draws facts, each of which may be missing.
func someFacts(r *rand.Rand) *Facts {
	pick := func(values ...string) string { return values[r.IntN(len(values))] }
	f := &Facts{
		User: pick("", "alice", "Scanner1", "bob"), Realm: pick("", "partner.example", "corp"),
		NAS: pick("", "gw1", "gw-plant"), Tunnel: pick("", "PPTP", "L2TP"),
	}
	for range r.IntN(4) {
		f.Groups = append(f.Groups, pick("VPN-Users", "Trusted", "führung", "Guests", ""))
	}
	if s := pick("", "192.0.2.1", "203.0.113.7", "198.51.100.7", "2001:db8::1", "8.8.8.8"); s != "" {
		f.Source = netip.MustParseAddr(s)
	}
	if s := pick("", "10.1.0.1", "10.2.0.1"); s != "" {
		f.NASAddress = netip.MustParseAddr(s)
	}
	f.Country, f.ASN = pick("", "DE", "FR", "KP"), uint32(r.IntN(3))*64496
	f.Node, f.Key, f.Given = r.IntN(2) == 0, KeyGrade(r.IntN(3)), Given(r.IntN(4))
	f.ClientName, f.ClientVersion = pick("", "LT-0231"), pick("", "MSRASV5.20")
	ago := func() time.Time {
		if r.IntN(3) == 0 {
			return time.Time{}
		}
		return noon.Add(-time.Duration(r.IntN(100*24)) * time.Hour)
	}
	f.LastSuccess = ago()
	f.Risk = Risk{r.IntN(6), r.IntN(20), r.IntN(6), r.IntN(4)}
	if r.IntN(3) > 0 {
		f.Device = someDevice(r, ago)
	}
	return f
}

func someDevice(r *rand.Rand, ago func() time.Time) (d Device) {
	d = Device{ID: "LT-0231", Join: Joins[r.IntN(len(Joins))], Owned: Tri(r.IntN(3))}
	some := func() Confidence { return Confidence(r.IntN(int(Attested) + 1)) }
	for c := Claimed; c <= Attested; c++ {
		d.Reported[c] = ago()
	}
	d.OS = Fact[string]{Value: []string{"", "windows", "linux"}[r.IntN(3)], Confidence: some()}
	d.OSVersion = Fact[string]{Value: []string{"", "10.0.17763", "10.0.22631.1", "?"}[r.IntN(4)], Confidence: some()}
	for _, f := range []*Fact[Tri]{&d.Managed, &d.Compliant, &d.Encrypted, &d.Firewall, &d.Antivirus, &d.Lock, &d.Enabled} {
		*f = Fact[Tri]{Value: Tri(r.IntN(3)), Confidence: some()}
	}
	for _, f := range []*Fact[time.Time]{&d.Patched, &d.Booted, &d.LastLogon} {
		*f = Fact[time.Time]{Value: ago(), Confidence: some()}
	}
	if r.IntN(2) == 0 {
		d.Groups = []string{"Laptops"}
	}
	return d
}

// somePolicy draws a policy of a few rules with conditions of every kind.
func somePolicy(r *rand.Rand) string {
	all := []string{
		"group: VPN-Users", "group: [Trusted, none]", "user: [alice, none]", "realm: corp", "source: near", "source: none", "country: home", "country: none",
		"asn: [64496, none]", "nas: gw1", "node: true", "tunnel: PPTP", "client: LT-0231", "key: [ntlm, tls]", "factor: code",
		"time: work", "time: {from: \"22:00\", to: \"04:00\", zone: America/New_York}", "time: [work, {days: sun, zone: Asia/Kolkata}]",
		"time: {from: \"02:00\", to: \"03:00\", zone: Europe/Berlin}", "last_success: \"<= 30d\"", "last_success: [\"> 7d\", none]",
		"risk.user_failures: \">= 3\"", "risk.source_users: \"< 4\"", "device: LT-0231", "device.known: true", "device.owned: [true, none]", "device.join: [tag, report]",
		"device.report_age: \"<= 1h\"", "device.report_age: \"> 40d\"", "device.group: Laptops", "device.os: windows", "device.os_version: \">= 10.0.19045\"",
		"device.compliant: true", "device.firewall: [false, none]", "device.patch_age: \"> 45d\"", "device.uptime: [\"< 30d\", none]", "device.last_logon_age: \"< 90d\"",
		"cel: 'device.report_age > duration(\"1000h\") || risk.user_failures > 4'", "cel: 'now.getHours() < 12'", "cel: 'groups[0] == \"Trusted\"'",
	}
	var conditions func(deep int) string
	conditions = func(deep int) string {
		seen, parts := map[string]bool{}, []string{}
		for range 1 + r.IntN(2) {
			c := all[r.IntN(len(all))]
			if deep > 0 {
				switch r.IntN(6) {
				case 0:
					c = "any: [{" + conditions(deep-1) + "}, {" + conditions(deep-1) + "}]"
				case 1:
					c = "not: {" + conditions(deep-1) + "}"
				case 2:
					c = "all: [{" + conditions(deep-1) + "}, {" + conditions(deep-1) + "}]"
				}
			}
			if key, _, _ := strings.Cut(c, ":"); !seen[key] {
				seen[key] = true
				parts = append(parts, c)
			}
		}
		return strings.Join(parts, ", ")
	}
	var b strings.Builder
	b.WriteString("version: 1\nlists:\n  near: [203.0.113.0/24]\n  home: {countries: [DE, AT]}\n  closed: {dates: [2026-11-25, 2026-12-25]}\n" +
		"  work: {times: {days: mon-fri, from: \"07:00\", to: \"19:00\", zone: Europe/Berlin}, holidays: closed}\nrules:\n")
	for i := range 1 + r.IntN(6) {
		fmt.Fprintf(&b, "  - id: r%d\n    when: {%s}\n", i, conditions(2))
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, "    unless: {%s}\n", conditions(1))
		}
		if r.IntN(4) == 0 {
			fmt.Fprintf(&b, "    expires: %s\n", noon.Add(time.Duration(r.IntN(100)-50)*7*time.Hour).Format(time.RFC3339))
		}
		if r.IntN(4) == 0 {
			b.WriteString("    shadow: true\n")
		}
		b.WriteString([]string{"    then: deny\n", "    then: permit\n", "    then: {permit: {factor: none}}\n"}[r.IntN(3)])
	}
	text := b.String()
	if r.IntN(2) == 0 {
		text = strings.Replace(text, "when: {", "when: {device.confidence: inventory, ", 1)
	}
	return text
}

// decided is a decision but for when it was made, and what shadows say.
func decided(d Decision) Decision {
	d.At, d.Shadow, d.Version = time.Time{}, nil, ""
	return d
}

// TestNextChangeIsNeverLate: between now and what NextChange says, nothing changes.
func TestNextChangeIsNeverLate(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	changes, found := 0, 0
	for range 400 {
		src := somePolicy(r)
		p := load(t, src)
		for range 5 {
			f := someFacts(r)
			now := noon.Add(time.Duration(r.Int64N(int64(400*day))) - 250*day)
			next := p.NextChange(now, f)
			if !next.IsZero() && !next.After(now) {
				t.Fatalf("%s at %v: next is %v\n%+v", src, now, next, f)
			}
			before := decided(p.Evaluate(now, f))
			until := next
			if until.IsZero() {
				until = now.Add(500 * day)
			}
			for i := range 60 {
				at := now.Add(time.Duration(r.Int64N(int64(until.Sub(now)))))
				if i == 0 {
					at = until.Add(-1)
				}
				if then := decided(p.Evaluate(at, f)); !reflect.DeepEqual(before, then) {
					t.Fatalf("%s at %v: %+v; at %v: %+v; next was %v\n%+v", src, now, before, at, then, next, f)
				}
			}
			if !next.IsZero() && !strings.Contains(src, "cel:") { // whose clock goes on by itself
				changes++
				if !reflect.DeepEqual(before, decided(p.Evaluate(next, f))) {
					found++
				}
			}
		}
	}
	// It may be early, but is of no use if it always is.
	if changes < 100 || found*2 < changes {
		t.Errorf("%d changes foretold, %d of them came", changes, found)
	}
}

// TestShadowDecidesNothing: with its shadow rules taken out a policy decides the same; with
// them in force it decides what Shadow says.
func TestShadowDecidesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	said := 0
	for range 300 {
		src := somePolicy(r)
		p := load(t, src)
		without, inForce := load(t, src), load(t, strings.ReplaceAll(src, "    shadow: true\n", ""))
		without.rules = slices.DeleteFunc(without.rules, func(rl rule) bool { return rl.shadow })
		for range 20 {
			f := someFacts(r)
			d := p.Evaluate(noon, f)
			if want := without.Evaluate(noon, f); !reflect.DeepEqual(decided(d), decided(want)) {
				t.Fatalf("%s decides %+v, without shadows %+v", src, d, want)
			}
			would := inForce.Evaluate(noon, f)
			if d.Shadow != nil {
				said++
				if d.Shadow.RuleID != would.RuleID || d.Shadow.Verdict != would.Verdict {
					t.Fatalf("%s says %+v in shadow, in force %+v", src, d.Shadow, would)
				}
			} else if would.Verdict != d.Verdict {
				t.Fatalf("%s says nothing in shadow, in force %+v", src, would)
			}
		}
	}
	if said < 100 {
		t.Errorf("%d shadows", said)
	}
}

// TestDenyOnTopOfAnything: the same as below, for policies of every kind.
func TestDenyOnTopOfAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	for range 200 {
		src, top := somePolicy(r), somePolicy(r)
		_, rule, _ := strings.Cut(top, "rules:\n")
		rule, _, _ = strings.Cut(rule, "    expires")
		rule, _, _ = strings.Cut(rule, "    then")
		rule, _, _ = strings.Cut(rule, "    shadow")
		rule = strings.Replace(rule, "r0", "top", 1) + "    then: deny\n"
		p, q := load(t, src), load(t, strings.Replace(src, "rules:\n", "rules:\n"+rule, 1))
		for range 20 {
			f := someFacts(r)
			before, after := p.Evaluate(noon, f), q.Evaluate(noon, f)
			if again := q.Evaluate(noon, f); !reflect.DeepEqual(after, again) {
				t.Fatalf("%s: two decisions about %+v", src, f)
			}
			if after.Verdict == Permit && before.Verdict != Permit || after.RuleID != "top" && after.RuleID != before.RuleID {
				t.Fatalf("%s on top of %s: %+v, before %+v", rule, src, after, before)
			}
		}
	}
}

// TestNoMatchRefuses: whatever the facts, a policy whose rules do not match
// refuses, and so does a policy without rules.
func TestNoMatchRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	none := load(t, "version: 1\nrules: []\n")
	p := load(t, sample)
	ids := map[string]bool{}
	for range 5000 {
		f := someFacts(r)
		if d := none.Evaluate(time.Now(), f); d.Verdict != Deny || d.Reason != NoMatch || d.RuleID != "" {
			t.Fatalf("%+v: %+v", f, d)
		}
		d := p.Evaluate(time.Now(), f)
		if (d.RuleID == "") != (d.Reason == NoMatch) || (d.Verdict == Permit) != (d.Reason == Permitted) {
			t.Fatalf("%+v: %+v", f, d)
		}
		ids[d.RuleID] = true
	}
	if len(ids) != len(p.rules)+1 {
		t.Errorf("facts reach %d of %d outcomes: %v", len(ids), len(p.rules)+1, ids)
	}
}

// TestDenyOnTopNeverPermitsMore: a deny in front takes away and gives nothing.
func TestDenyOnTopNeverPermitsMore(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	p := load(t, sample)
	for _, when := range []string{"{group: Trusted}", "{source: 203.0.113.0/24}", "{user: none}", "{nas: gw1}"} {
		q := load(t, strings.Replace(sample, "rules:\n", "rules:\n  - {id: top, when: "+when+", then: deny}\n", 1))
		for range 2000 {
			f := someFacts(r)
			before, after := p.Evaluate(time.Now(), f), q.Evaluate(time.Now(), f)
			if after.Verdict == Permit && before.Verdict != Permit {
				t.Fatalf("%s permits %+v", when, f)
			}
			if after.RuleID != "top" && after.RuleID != before.RuleID {
				t.Fatalf("%s changes %+v from %q to %q", when, f, before.RuleID, after.RuleID)
			}
		}
	}
}

// TestEvaluateFromManyGoroutines is for the race detector: a policy is shared.
func TestEvaluateFromManyGoroutines(t *testing.T) {
	p := load(t, sample)
	done := make(chan bool)
	for i := range 4 {
		go func() { // waited for below
			r := rand.New(rand.NewPCG(uint64(i), 9))
			same := true
			for range 500 {
				f := someFacts(r)
				a, b := p.Evaluate(time.Time{}, f), p.Evaluate(time.Time{}, f)
				same = same && reflect.DeepEqual(a, b)
			}
			done <- same
		}()
	}
	for range 4 {
		if !<-done {
			t.Error("two decisions about the same facts")
		}
	}
}

func TestNetworks(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var ranges []Range
		var plain []netip.Prefix
		for range r.IntN(8) {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(4)), byte(r.IntN(256))}), 20+r.IntN(13)).Masked()
			ranges, plain = append(ranges, rangeOf(p)), append(plain, p)
		}
		set := makeNetworks(ranges)
		for i := 1; i < len(set); i++ {
			if set[i].From.Compare(set[i-1].To.Next()) <= 0 {
				t.Fatalf("ranges touch: %v", set)
			}
		}
		cut := makeNetworks([]Range{{netip.AddrFrom4([4]byte{10, 0, 1, 10}), netip.AddrFrom4([4]byte{10, 0, 1, 90})}})
		rest := set.without(cut)
		for range 50 {
			a := netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(5)), byte(r.IntN(256))})
			want := false
			for _, p := range plain {
				want = want || p.Contains(a)
			}
			if set.contains(a) != want || rest.contains(a) != (want && !cut.contains(a)) {
				t.Fatalf("%v in %v: want %v", a, set, want)
			}
		}
	}
}

// FuzzLoad: any text is loaded or refused with places inside the text; what is
// loaded decides the same twice and refuses when no rule matches.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(sample))
	r := rand.New(rand.NewPCG(17, 18))
	for range 20 {
		f.Add([]byte(somePolicy(r)))
	}
	_, cases := readBroken(f)
	for _, c := range cases {
		f.Add([]byte(c.src))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 8192 {
			return // the YAML parser's work grows with the square
		}
		p, err := Load("p.yaml", src)
		if err != nil {
			var all Errors
			if p != nil || !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("policy %v, error %v", p, err)
			}
			lines := strings.Count(newlines.Replace(string(src)), "\n") + 1
			for _, e := range all {
				if e.Line < 1 || e.Column < 1 || e.Line > lines || e.Message == "" || e.Error() == "" {
					t.Fatalf("place outside %d lines: %+v", lines, e)
				}
			}
			return
		}
		again, err := Load("p.yaml", src)
		if err != nil {
			t.Fatal(err)
		}
		p.RunTests()
		r := rand.New(rand.NewPCG(7, uint64(len(src))))
		for range 10 {
			facts := someFacts(r)
			now := noon.Add(time.Duration(r.Int64N(int64(400*day))) - 200*day)
			a, b := p.Evaluate(now, facts), again.Evaluate(now, facts)
			if next := p.NextChange(now, facts); !next.IsZero() && !next.After(now) {
				t.Fatalf("at %v something changed at %v", now, next)
			}
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("%+v: %+v and %+v", facts, a, b)
			}
			if a.RuleID == "" && a.Verdict == Permit {
				t.Fatalf("no rule permits %+v", facts)
			}
			for _, name := range a.Obligations.Pools {
				if p.Pool(name) == nil {
					t.Fatalf("unknown pool %q", name)
				}
			}
			if o := &a.Obligations; o.Filter == "" && len(o.Rules) > 0 || len(o.Filter)+textOctets(o.Rules) > maxFilter {
				t.Fatalf("filter %q with %d rules", o.Filter, len(o.Rules))
			}
		}
	})
}
