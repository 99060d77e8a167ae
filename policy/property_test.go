package policy

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
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
	return f
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
			a, b := p.Evaluate(time.Time{}, facts), again.Evaluate(time.Time{}, facts)
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("%+v: %+v and %+v", facts, a, b)
			}
			if a.RuleID == "" && a.Verdict == Permit {
				t.Fatalf("no rule permits %+v", facts)
			}
			if name := a.Obligations.Pool; name != "" && p.Pool(name) == nil {
				t.Fatalf("unknown pool %q", name)
			}
			if o := &a.Obligations; o.Filter == "" && len(o.Rules) > 0 || len(o.Filter)+textOctets(o.Rules) > maxFilter {
				t.Fatalf("filter %q with %d rules", o.Filter, len(o.Rules))
			}
		}
	})
}
