package authz

import (
	"net/netip"
	"testing"
	"time"

	"postern/authz/posture"
	"postern/authz/session"
	"postern/internal/store"
	"postern/policy"
)

// atlas knows where one network is.
type atlas struct{}

func (atlas) Lookup(a netip.Addr) (string, uint32) {
	if netip.MustParsePrefix("192.0.2.0/24").Contains(a) {
		return "DE", 64500
	}
	return "", 0
}

// known is the facts of the last decision.
func (w *world) known(t *testing.T) *policy.Facts {
	t.Helper()
	records := w.inputs.take()
	if len(records) == 0 {
		t.Fatal("no facts were kept")
	}
	return &records[len(records)-1].Facts
}

// TestFacts: what a login shows of itself, and what is known of it, is what rules see, in
// no more trips to the store than a login always takes.
func TestFacts(t *testing.T) {
	w := newWorld(t)
	w.cfg.Geo, w.cfg.DeviceSeparator = atlas{}, '%'
	keeper := posture.New(w.broken, posture.Config{})
	clock := &store.Time{}
	must(t, w.broken.Do(t.Context(), store.Seq{clock}))
	_, err := keeper.Put(t.Context(), posture.Record{
		Device: "LT-0231", Source: posture.FromAgent, Confidence: policy.Attested, Owners: []string{"Alice"}, At: clock.Now,
		Facts: posture.Facts{OS: "windows", Encrypted: policy.Yes},
	})
	must(t, err)

	place := netip.MustParseAddr("192.0.2.9")
	wrong := w.request("alice%LT-0231", "a guess")
	wrong.Source = place
	w.login(t, WrongPassword, wrong)

	req := w.request("alice%LT-0231+"+w.code(t, "alice", 0), password("Alice"))
	req.Source, req.Node, req.ClientName, req.ClientVersion = place, true, "PC", "MSRASV5.20"
	w.broken.trips = 0
	w.login(t, Permitted, req)
	if w.broken.trips != 2 {
		t.Errorf("%d trips", w.broken.trips)
	}
	f := w.known(t)
	if f.Country != "DE" || f.ASN != 64500 || !f.Node || f.ClientName != "PC" || f.ClientVersion != "MSRASV5.20" ||
		f.Key != policy.KeyNTLM || f.Given != policy.GivenCode || !f.LastSuccess.IsZero() {
		t.Errorf("%+v", f)
	}
	if f.Risk != (policy.Risk{UserFailures: 1, SourceFailures: 1, SourceUsers: 1}) {
		t.Errorf("risk %+v", f.Risk)
	}
	if d := f.Device; d.ID != "lt-0231" || d.Join != "tag" || d.Owned != policy.Yes || d.Encrypted.Value != policy.Yes {
		t.Errorf("device %+v", d)
	}
	if r := w.last(); r.Typed != "alice" || r.Device != "lt-0231" || r.Join != "tag" || r.Country != "DE" || r.ASN != 64500 {
		t.Errorf("audit %+v", r)
	}

	// The session knows of its login what the policy is asked with again.
	rec := w.record(t, req)
	if rec.Device != "lt-0231" || rec.Join != "tag" || rec.Key != "ntlm" || !rec.OurNode || rec.Version != "MSRASV5.20" {
		t.Errorf("session %+v", rec)
	}
	evidence, err := w.gather(t.Context(), &rec)
	must(t, err)
	again := w.factsOfSession(&rec, w.account(t, "alice"), evidence[0].device, evidence[0].now)
	if !sameFacts(f, &again) || f.Risk != again.Risk {
		t.Errorf("of the session %+v\nof its login %+v", again, f)
	}

	// The next login knows of this one.
	next := w.request("alice", password("Alice"))
	next.Source = place
	w.login(t, CodeMissing, next)
	if f := w.known(t); f.LastSuccess.IsZero() || f.LastSuccess.After(time.Now().Add(time.Hour)) || f.Given != policy.GivenNone {
		t.Errorf("last success %v, given %v", f.LastSuccess, f.Given)
	}
}

func sameFacts(x, y *policy.Facts) bool {
	return x.User == y.User && x.Realm == y.Realm && x.Source == y.Source && x.Country == y.Country && x.ASN == y.ASN && x.NAS == y.NAS &&
		x.NASAddress == y.NASAddress && x.Node == y.Node && x.Tunnel == y.Tunnel && x.ClientName == y.ClientName &&
		x.ClientVersion == y.ClientVersion && x.Key == y.Key && x.Given == y.Given && x.LastSuccess.Equal(y.LastSuccess) &&
		x.Device.ID == y.Device.ID && x.Device.Join == y.Device.Join && x.Device.Encrypted == y.Device.Encrypted
}

// A record of a service of before says less, and is no worse for it.
func TestFactsOfOldSession(t *testing.T) {
	w := newWorld(t)
	rec := &session.Record{User: "Alice", Source: netip.MustParseAddr("192.0.2.9")}
	evidence, err := w.gather(t.Context(), rec)
	must(t, err)
	f := w.factsOfSession(rec, w.account(t, "alice"), evidence[0].device, time.Now())
	if f.Key != policy.KeyNone || f.Device.ID != "" || f.Given != policy.GivenNone {
		t.Errorf("%+v", f)
	}
}
