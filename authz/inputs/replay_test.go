package inputs

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/internal/seal"
	"postern/policy"
)

// sitePolicy is a policy of fifty rules, most of which most logins pass by.
func sitePolicy(t testing.TB, change ...string) *policy.Policy {
	t.Helper()
	var b strings.Builder
	b.WriteString("version: 1\nlists:\n  offices: [203.0.113.0/24, 198.51.100.0/24]\npools:\n  staff: [10.20.0.10-10.20.0.250]\n  plant: [10.30.0.10-10.30.0.250]\nrules:\n")
	for i := range 46 {
		fmt.Fprintf(&b, "  - {id: department-%d, when: {group: Department-%d, source: offices}, unless: {user: user%d}, then: {permit: {pool: staff, sessions: %d}}}\n", i, i, i, 1+i%3)
	}
	b.WriteString(`  - {id: banned, when: {group: Banned}, then: deny}
  - {id: plant, when: {group: Plant, source: [offices, 192.0.2.0/24]}, then: {permit: {factor: none, pool: plant}}}
  - {id: contractors, when: {group: Contractors}, then: {permit: {pool: staff, session_timeout: 8h}}}
  - {id: staff, when: {group: VPN-Users}, then: {permit: {pool: staff}}}
`)
	text := b.String()
	if len(change) > 0 {
		changed := strings.NewReplacer(change...).Replace(text)
		if changed == text {
			t.Fatal("nothing is changed")
		}
		text = changed
	}
	p, err := policy.Load("policy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// logins is a fortnight of logins as a service would have written them, decided by p.
// each sees them, too; k is whom to ask for pseudonyms.
func logins(t testing.TB, dir string, p *policy.Policy, n int, k *Pseudonyms, each func(*Record)) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w := &Keeper{cfg: Config{Dir: dir, Clock: time.Now, Keep: time.Hour}}
	for i := range n {
		user := random.IntN(2000)
		r := Record{
			Decision: fmt.Sprintf("%024d", i), At: noon.Add(time.Duration(i) * 14 * 24 * time.Hour / time.Duration(n)), Kind: Login,
			Asked: true, Verdict: "accept", Reason: "permitted", Factor: "code",
			Facts: policy.Facts{
				User: fmt.Sprint("user", user), Realm: "CORP", NAS: fmt.Sprint("gw", user%4), NASAddress: netip.AddrFrom4([4]byte{192, 0, 2, byte(user % 4)}),
				Node: true, Tunnel: "PPTP", Source: netip.AddrFrom4([4]byte{203, 0, 113, byte(random.IntN(256))}),
				Groups:     []string{"Domain Users", fmt.Sprint("Department-", user%60), "VPN-Users", "Printers-" + fmt.Sprint(user%9)},
				ClientName: fmt.Sprint("LT-", user), ClientVersion: "MSRASV5.20", Key: policy.KeyNTLM,
				Device: policy.Device{
					ID: fmt.Sprint("LT-", user), Name: fmt.Sprint("lt-", user), Join: "enrolled", Owned: policy.Yes,
					OS:        policy.Fact[string]{Value: "windows", Confidence: policy.Attested, Source: "agent", At: noon},
					Encrypted: policy.Fact[policy.Tri]{Value: policy.Yes, Confidence: policy.Attested, Source: "agent", At: noon},
				},
			},
			Provenance: Provenance{Realm: "CORP", SID: fmt.Sprint("S-1-5-21-1-2-3-", user)},
		}
		f := &r.Facts
		switch user % 10 {
		case 0:
			f.Source = netip.AddrFrom4([4]byte{100, 64, byte(random.IntN(4)), byte(random.IntN(256))})
		case 1:
			f.Groups[2] = "Contractors"
		case 2:
			f.Groups[1] = "Plant"
		case 3:
			if user%100 == 3 {
				f.Groups = append(f.Groups, "Banned")
			}
		}
		if i%20 == 19 { // a password mistyped
			r = Record{Decision: r.Decision, At: r.At, Kind: Login, Verdict: "reject", Reason: "wrong password", Facts: policy.Facts{User: f.User, Source: f.Source}}
		} else {
			d := p.Evaluate(r.At, f)
			r.Outcome, r.Rule, r.Policy = d.Verdict, d.RuleID, d.Version
			r.Terms = termsOf(&d)
		}
		if each != nil {
			each(&r)
		}
		w.names = k
		w.add2(t, &r)
	}
	w.close2(t)
}

// add2 and close2 write without counting.
func (k *Keeper) add2(t testing.TB, r *Record) {
	t.Helper()
	day := dayOf(r.At)
	if day != k.day || len(k.buf) > 1<<20 {
		k.close2(t)
		if day != k.day {
			k.day, k.told = day, make(map[[2]string]bool)
		}
	}
	c := *r
	if k.names != nil {
		k.names.hide(&c)
	}
	if rule := [2]string{c.Policy, c.Rule}; k.told[rule] {
		c.Terms = nil
	} else {
		k.told[rule] = true
	}
	k.buf, k.room = appendRecord(k.buf, k.room, &c)
}

func (k *Keeper) close2(t testing.TB) {
	t.Helper()
	if k.day == "" {
		return
	}
	if err := k.put(); err != nil {
		t.Fatal(err)
	}
	if err := k.file.Close(); err != nil {
		t.Fatal(err)
	}
	k.file, k.buf = nil, k.buf[:0]
}

func replayed(t testing.TB, candidate *policy.Policy, o Options, dirs ...string) *Report {
	t.Helper()
	r, err := Open(time.Time{}, time.Time{}, dirs...)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rep, err := Replay(r, candidate, o)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

// ids of all logins that a report has, sorted.
func met(rep *Report) (list []string) {
	for _, d := range rep.Differences {
		for _, l := range d.Logins {
			list = append(list, l.Decision)
		}
	}
	slices.Sort(list)
	return list
}

// What was decided is decided the same by the same policy, with pseudonyms and without;
// a seeded change is found: each login that it meets, and no other.
func TestReplay(t *testing.T) {
	n := 50_000
	if testing.Short() {
		n = 5_000
	}
	p := sitePolicy(t)
	candidate := sitePolicy(t, "when: {group: Contractors}", "when: {group: Contractors}, unless: {source: 203.0.113.128/25}",
		"{user: user7}", "{user: [user7, user607]}")
	seeded := netip.MustParsePrefix("203.0.113.128/25")
	ring, err := seal.ParseRing([]byte("k1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		t.Fatal(err)
	}
	pseudonyms, err := NewPseudonyms(ring, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, hidden := range map[string]*Pseudonyms{"names": nil, "pseudonyms": pseudonyms} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "inputs")
			var refused, moved []string
			asked := 0
			logins(t, dir, p, n, hidden, func(r *Record) {
				switch {
				case !r.Asked:
					return
				case r.Rule == "contractors" && seeded.Contains(r.Facts.Source):
					refused = append(refused, r.Decision) // no other rule takes them
				case r.Facts.User == "user607" && r.Rule == "department-7":
					moved = append(moved, r.Decision) // to staff, where sessions are not counted
				}
				asked++
			})
			if len(refused) < n/200 || len(moved) == 0 {
				t.Fatalf("%d and %d logins are to be found", len(refused), len(moved))
			}
			calls := 0
			rep := replayed(t, p, Options{Ring: ring, Progress: func(int64, int64) { calls++ }}, dir)
			if rep.Changed != 0 || rep.OtherRule != 0 || rep.Unknown != 0 || len(rep.Differences) != 0 || rep.Decided != asked || rep.NotAsked != n-asked {
				t.Errorf("under the same policy: %+v", rep)
			}
			if calls < n/progressEvery {
				t.Errorf("told %d times how far it is", calls)
			}

			rep = replayed(t, candidate, Options{Ring: ring}, dir)
			want := slices.Sorted(slices.Values(slices.Concat(refused, moved)))
			if got := met(rep); !slices.Equal(got, want) || rep.Changed != len(want) {
				t.Errorf("%d logins found, want %d", len(got), len(want))
			}
			if len(rep.Differences) != 2 {
				t.Fatalf("%+v", rep.Differences)
			}
			d, e := rep.Differences[0], rep.Differences[1]
			if d.Was.Rule != "contractors" || d.Was.Verdict != "permit" || d.Now.Verdict != "deny" || d.Now.Rule != "" || len(d.Logins) != len(refused) ||
				d.Groups[0].Group != "Contractors" && d.Groups[0].Group != "Domain Users" || d.Groups[0].Logins != len(refused) {
				t.Errorf("%+v", d)
			}
			if e.Was.Rule != "department-7" || e.Now.Rule != "staff" || e.Users != 1 || len(e.Details) != 1 || e.Details[0] != (policy.Detail{Key: "sessions", Old: "2"}) {
				t.Errorf("%+v", e)
			}

			// Only who would be refused; and against the policy itself in the place of what
			// was decided.
			if got := met(replayed(t, candidate, Options{Ring: ring, NewOnly: true}, dir)); !slices.Equal(got, refused) {
				t.Errorf("%d newly refused, want %d", len(got), len(refused))
			}
			if rep := replayed(t, candidate, Options{Ring: ring, Against: p}, dir); rep.Changed != len(want) || rep.Against != p.Version() {
				t.Errorf("against the policy: %+v", rep)
			}
			if rep := replayed(t, candidate, Options{Ring: ring, Against: candidate}, dir); rep.Changed != 0 {
				t.Errorf("against itself: %+v", rep)
			}
			if hidden == nil {
				return
			}
			r, err := Open(time.Time{}, time.Time{}, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := Replay(r, p, Options{}); err == nil {
				t.Error("pseudonyms are compared without the ring")
			}
		})
	}
}

// Step-ups and reviews are decided again when that is asked for; what a permit obliged to
// may be lost.
func TestReplayKinds(t *testing.T) {
	p := sitePolicy(t)
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, dayOf(noon)+suffix))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, k := range []Kind{Login, StepUp, Review} {
		r := permitted(fmt.Sprint("D", i), noon)
		r.Kind, r.Rule, r.Policy = k, "staff", p.Version()
		if r.Terms = []policy.Term{{Key: "factor", Value: "code"}, {Key: "pool", Value: "staff"}}; i == 0 {
			r.Terms = nil
		}
		if _, err := f.Write(AppendRecord(nil, r)); err != nil {
			t.Fatal(err)
		}
	}
	if rep := replayed(t, p, Options{}, dir); rep.Decided != 1 || rep.Unknown != 1 || rep.Changed != 0 {
		t.Errorf("%+v", rep)
	}
	if rep := replayed(t, p, Options{All: true}, dir); rep.Decided != 3 || rep.Changed != 0 {
		t.Errorf("%+v", rep)
	}
	// The rule has another name: nobody would notice.
	if rep := replayed(t, sitePolicy(t, "id: staff", "id: everybody"), Options{All: true}, dir); rep.OtherRule != 3 || rep.Changed != 0 {
		t.Errorf("%+v", rep)
	}
	longer := sitePolicy(t, "{permit: {pool: staff}}", "{permit: {pool: staff, session_timeout: 8h}}")
	if rep := replayed(t, longer, Options{All: true}, dir); rep.Changed != 2 || len(rep.Differences) != 1 || rep.Differences[0].Details[0].New != "8h0m0s" {
		t.Errorf("%+v", rep)
	}
}

// BenchmarkReplay is a million logins under a candidate of fifty rules, from the disk.
func BenchmarkReplay(b *testing.B) {
	const n = 1_000_000
	p := sitePolicy(b)
	dir := filepath.Join(b.TempDir(), "inputs")
	want := 0
	seeded := netip.MustParsePrefix("203.0.113.128/25")
	logins(b, dir, p, n, nil, func(r *Record) {
		if r.Rule == "contractors" && seeded.Contains(r.Facts.Source) {
			want++
		}
	})
	candidate := sitePolicy(b, "when: {group: Contractors}", "when: {group: Contractors}, unless: {source: 203.0.113.128/25}")
	b.ReportAllocs()
	for b.Loop() {
		if rep := replayed(b, candidate, Options{}, dir); rep.Changed != want || rep.Decided+rep.NotAsked != n {
			b.Fatalf("%d found, want %d", rep.Changed, want)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
}
