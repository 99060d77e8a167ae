package posture

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"postern/internal/store"
	"postern/internal/store/storetest"
	"postern/policy"
)

var (
	home  = netip.MustParseAddr("192.0.2.5")
	hotel = netip.MustParseAddr("198.51.100.7")
)

const fresh = 15 * time.Minute

// at is a record of a laptop that was made so long ago.
func at(now time.Time, age time.Duration, device, source string, c policy.Confidence, amend ...func(*Record)) Record {
	r := Record{Device: device, Source: source, Confidence: c, At: now.Add(-age), Owners: []string{"alice"}}
	for _, f := range amend {
		f(&r)
	}
	return r
}

func from(a netip.Addr) func(*Record)         { return func(r *Record) { r.From = a } }
func named(name string) func(*Record)         { return func(r *Record) { r.Name = name } }
func owners(names ...string) func(*Record)    { return func(r *Record) { r.Owners = names } }
func with(amend func(f *Facts)) func(*Record) { return func(r *Record) { amend(&r.Facts) } }
func agent(now time.Time, age time.Duration, device string, amend ...func(*Record)) Record {
	return at(now, age, device, FromAgent, policy.Attested, amend...)
}

// find asks as a login does.
func find(t *testing.T, b store.Store, q *Query, source netip.Addr) policy.Device {
	t.Helper()
	clock := &store.Time{}
	if err := b.Do(t.Context(), append(q.Seqs(), store.Seq{clock})...); err != nil {
		t.Fatal(err)
	}
	return q.Device(clock.Now, source, fresh)
}

func TestJoin(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC) // of storetest.Embedded
	for _, c := range []struct {
		name     string
		recs     []Record
		tag      string
		client   string
		from     netip.Addr
		device   string
		join     string
		owned    policy.Tri
		believed policy.Confidence // of the last report
	}{
		{name: "nothing is known", from: home},
		{"a tag", []Record{agent(now, 0, "lt-1"), agent(now, 0, "lt-2")}, "LT-1", "", home, "lt-1", "tag", policy.Yes, policy.Attested},
		{"somebody else's tag", []Record{agent(now, 0, "lt-1", owners("bob"))}, "lt-1", "", home, "lt-1", "tag", policy.No, policy.Attested},
		{"nobody's tag", []Record{at(now, 0, "lt-1", "intune", policy.Inventory, owners())}, "lt-1", "", home, "lt-1", "tag", policy.Unknown, policy.Inventory},
		{"a tag of nothing is no other device", []Record{agent(now, 0, "lt-1", from(home))}, "lt-9", "", home, "", "", policy.Unknown, 0},
		{"a fresh report from here", []Record{agent(now, time.Minute, "lt-1", from(home)), agent(now, 0, "lt-2", from(hotel))}, "", "", home, "lt-1", "report", policy.Yes, policy.Attested},
		{"two fresh reports from here", []Record{agent(now, time.Minute, "lt-1", from(home)), agent(now, 0, "lt-2", from(home))}, "", "", home, "", "", policy.Unknown, 0},
		{"an old report from here, of two devices", []Record{agent(now, time.Hour, "lt-1", from(home)), agent(now, 0, "lt-2", from(hotel))}, "", "", home, "", "", policy.Unknown, 0},
		{"the one device that reports", []Record{agent(now, 9*time.Hour, "lt-1", from(hotel)), at(now, 0, "pc-7", "intune", policy.Inventory)}, "", "", home, "lt-1", "enrolled", policy.Yes, policy.Attested},
		{"an inventory's device alone says nothing", []Record{at(now, 0, "pc-7", "intune", policy.Inventory)}, "", "", home, "", "", policy.Unknown, 0},
		{"a report of somebody else's from here", []Record{agent(now, 0, "lt-1", from(home), owners("bob"))}, "", "", home, "", "", policy.Unknown, 0},
		{"no address", []Record{agent(now, 0, "lt-1"), agent(now, 0, "lt-2")}, "", "", netip.Addr{}, "", "", policy.Unknown, 0},
		{"the client's name", []Record{at(now, 0, "sid-1", FromAD, policy.Directory, named("LT-0231.corp.example"), owners())}, "", "MSRAS-0-LT-0231", home, "sid-1", "client", policy.Unknown, policy.Directory},
		{"a name that only an inventory knows", []Record{at(now, 0, "sid-1", "intune", policy.Inventory, named("LT-0231"), owners())}, "", "LT-0231", home, "", "", policy.Unknown, 0},
		{"what reports goes before the name", []Record{agent(now, 0, "lt-1"), at(now, 0, "sid-1", FromAD, policy.Directory, named("LT-0231"), owners())}, "", "LT-0231", home, "lt-1", "enrolled", policy.Yes, policy.Attested},
		{"a name is believed as the directory is", []Record{agent(now, 0, "lt-1", named("LT-0231"), owners("bob")), at(now, 0, "lt-1", FromAD, policy.Directory, named("LT-0231"), owners())}, "", "LT-0231", home, "lt-1", "client", policy.Unknown, policy.Directory},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := storetest.Embedded(t)
			k := New(st, Config{})
			if _, err := k.Put(t.Context(), c.recs...); err != nil {
				t.Fatal(err)
			}
			d := find(t, st, Ask("Alice", c.tag, c.client), c.from)
			if d.ID != c.device || d.Join != c.join || d.Owned != c.owned {
				t.Errorf("device %q by %q, owned %v", d.ID, d.Join, d.Owned)
			}
			believed := policy.NoConfidence
			for i, when := range d.Reported {
				if !when.IsZero() {
					believed = policy.Confidence(i)
				}
			}
			if believed != c.believed {
				t.Errorf("believed %v, not %v", believed, c.believed)
			}
			if d.ID == "" {
				return
			}
			if again := find(t, st, AskDevice("alice", d.ID, d.Join), c.from); !reflect.DeepEqual(again, d) {
				t.Errorf("of the session: %+v, of its login: %+v", again, d)
			}
		})
	}
}

// Of each fact the most believable word counts, and of two the newer; the order in which
// they came changes nothing.
func TestMerge(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	recs := []Record{
		at(now, time.Hour, "lt-1", "intune", policy.Inventory, with(func(f *Facts) { f.Compliant, f.Encrypted, f.OS = policy.Yes, policy.No, "windows" })),
		at(now, time.Minute, "lt-1", "sccm", policy.Inventory, with(func(f *Facts) { f.OS, f.OSVersion, f.Compliant = "windows", "10.0.19045", policy.No })),
		at(now, 2*time.Hour, "lt-1", FromAgent, policy.Attested, with(func(f *Facts) { f.Encrypted, f.Patched = policy.Yes, now.Add(-48*time.Hour) })),
		at(now, 0, "lt-1", FromAD, policy.Directory, with(func(f *Facts) { f.Encrypted, f.Enabled, f.Groups = policy.No, policy.Yes, []string{"Laptops"} })),
	}
	var first policy.Device
	for i := range 6 {
		st := storetest.Embedded(t)
		k := New(st, Config{})
		rand.Shuffle(len(recs), func(i, j int) { recs[i], recs[j] = recs[j], recs[i] })
		for _, r := range recs {
			if _, err := k.Put(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		d := find(t, st, Ask("alice", "lt-1", ""), home)
		if i == 0 {
			first = d
		} else if !reflect.DeepEqual(d, first) {
			t.Fatalf("%+v\n%+v", d, first)
		}
	}
	for _, c := range []struct {
		fact       string
		value      any
		confidence policy.Confidence
		source     string
	}{
		{"encrypted", first.Encrypted, policy.Attested, FromAgent},
		{"compliant", first.Compliant, policy.Inventory, "sccm"},
		{"enabled", first.Enabled, policy.Directory, FromAD},
	} {
		f := c.value.(policy.Fact[policy.Tri])
		if f.Confidence != c.confidence || f.Source != c.source {
			t.Errorf("%s: %+v", c.fact, f)
		}
	}
	if first.Encrypted.Value != policy.Yes || first.Compliant.Value != policy.No || first.OSVersion.Value != "10.0.19045" ||
		!slices.Equal(first.Groups, []string{"Laptops"}) || !first.Patched.Value.Equal(now.Add(-48*time.Hour)) {
		t.Errorf("%+v", first)
	}
	if first.Firewall != (policy.Fact[policy.Tri]{}) {
		t.Error("a fact that nobody knows")
	}
}

func TestHostOf(t *testing.T) {
	for client, want := range map[string]string{
		"MSRAS-0-LT-0231": "lt-0231", "MSRASV5.20": "msrasv5", "LT-0231.corp.example": "lt-0231", "": "", "MSRAS-0-": "", "a b": "",
	} {
		if got := hostOf(client); got != want {
			t.Errorf("%q: %q, want %q", client, got, want)
		}
	}
}
