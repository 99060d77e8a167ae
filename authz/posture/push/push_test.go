package push

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"postern/authz/posture"
	"postern/internal/store/storetest"
	"postern/policy"
)

const secret = "0123456789abcdefghijkl"

var here = netip.MustParseAddr("192.0.2.5")

func desk(records Records) *Desk {
	return New(records, []Token{
		{Source: "intune", Secret: []byte(secret), From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{Source: "fleet", Secret: []byte("another-secret-of-fleet")},
	})
}

func TestEnter(t *testing.T) {
	d := desk(nil)
	for _, c := range []struct {
		header, from, source string
		want                 Outcome
	}{
		{"Bearer " + secret, "192.0.2.5", "intune", Taken},
		{"bearer  " + secret, "::ffff:192.0.2.5", "intune", Taken},
		{"Bearer another-secret-of-fleet", "198.51.100.1", "fleet", Taken},
		{"Bearer " + secret, "198.51.100.1", "", BadToken},
		{"Bearer " + secret[:21], "192.0.2.5", "", BadToken},
		{"Basic " + secret, "192.0.2.5", "", BadToken},
		{secret, "192.0.2.5", "", BadToken},
		{"", "192.0.2.5", "", BadToken},
	} {
		if source, o := d.Enter(c.header, netip.MustParseAddr(c.from)); source != c.source || o != c.want {
			t.Errorf("%q from %s: %q, %v", c.header, c.from, source, o)
		}
	}
	if _, o := New(nil, nil).Enter("Bearer ", here); o != BadToken {
		t.Errorf("without tokens: %v", o)
	}
}

func TestRate(t *testing.T) {
	d := desk(nil)
	now := time.Now()
	d.now = func() time.Time { return now }
	for range perMinute {
		if _, o := d.Enter("Bearer "+secret, here); o != Taken {
			t.Fatal(o)
		}
	}
	if _, o := d.Enter("Bearer "+secret, here); o != Rate {
		t.Errorf("one more: %v", o)
	}
	if _, o := d.Enter("Bearer another-secret-of-fleet", here); o != Taken {
		t.Errorf("another source: %v", o)
	}
	now = now.Add(time.Minute)
	if _, o := d.Enter("Bearer "+secret, here); o != Taken {
		t.Errorf("a minute later: %v", o)
	}
}

func TestPush(t *testing.T) {
	storetest.Each(t, func(t *testing.T, b storetest.Backend) {
		k := posture.New(b, posture.Config{})
		d := desk(k)
		const body = `{"records": [
			{"device": "LT-0231", "owners": ["alice"], "at": "2026-01-02T03:04:05Z", "facts": {"os": "Windows", "compliant": true, "firewall": false, "antivirus": null}},
			{"device": "a b", "at": "2026-01-02T03:04:05Z", "facts": {}},
			{"device": "lt-2", "facts": {"compliant": true}}]}`
		for range 2 { // the second time it changes nothing
			o, a := d.Push(t.Context(), "intune", []byte(body))
			if o != Taken || a.Taken != 1 || len(a.Refused) != 2 || a.Refused[0].Device != "a b" {
				t.Fatalf("%v, %+v", o, a)
			}
		}
		recs, _, err := k.Get(t.Context(), "lt-0231")
		if err != nil || len(recs) != 1 {
			t.Fatalf("%v, %v", recs, err)
		}
		r := recs[0]
		if r.Source != "intune" || r.Confidence != policy.Inventory || r.Facts.OS != "windows" || r.Facts.Compliant != policy.Yes ||
			r.Facts.Firewall != policy.No || r.Facts.Antivirus != policy.Unknown || r.At.Year() != 2026 {
			t.Errorf("%+v", r)
		}
	})
}

// away is a store that does not answer.
type away struct{}

func (away) Put(context.Context, ...posture.Record) ([]string, error) {
	return nil, errors.New("away")
}

func TestBadBodies(t *testing.T) {
	d := desk(away{})
	for body, want := range map[string]string{
		"":                                   "not records",
		"[]":                                 "not records",
		`{"records": []}`:                    "no records",
		`{"records": [{}]} {}`:               "behind",
		`{"records": [{"source": "agent"}]}`: "unknown field",
		`{"records": [{"confidence": "attested"}]}`:                  "unknown field",
		`{"records": [{"facts": {"compliant": "yes"}}]}`:             "not records",
		`{"records": [` + strings.Repeat(`{},`, maxRecords) + `{}]}`: "more than 1000",
	} {
		if o, a := d.Push(t.Context(), "intune", []byte(body)); o != Malformed || !strings.Contains(a.Error, want) {
			t.Errorf("%.60q: %v, %+v", body, o, a)
		}
	}
	if o, a := d.Push(t.Context(), "intune", []byte(`{"records": [{"device": "x"}]}`)); o != Away || a.Taken != 0 {
		t.Errorf("away: %v, %+v", o, a)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"records": [{"device": "LT-0231", "owners": ["alice"], "at": "2026-01-02T03:04:05Z", "facts": {"os": "windows", "compliant": true}}]}`))
	f.Add([]byte(`{"records": [{}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		all, err := parse(body)
		if err != nil {
			return
		}
		for i := range all {
			if r := all[i].record("intune"); r.Source != "intune" || r.Confidence != policy.Inventory || r.From.IsValid() {
				t.Fatal(fmt.Sprint(r))
			}
		}
	})
}
