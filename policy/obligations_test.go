package policy

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// granted is what a permit of these obligations comes with.
func granted(t testing.TB, permit string) Obligations {
	t.Helper()
	d := load(t, "version: 1\nrules:\n  - {id: a, then: {permit: "+permit+"}}\n").Evaluate(time.Now(), &Facts{})
	if d.Verdict != Permit {
		t.Fatalf("%+v", d)
	}
	return d.Obligations
}

func TestCarriers(t *testing.T) {
	for _, c := range []struct {
		permit  string
		want    []Carrier
		carries []Carrier
		says    string
	}{
		{"{}", nil, []Carrier{Inline}, "inline"},
		{"{carriers: quarantine}", []Carrier{Quarantine}, []Carrier{Quarantine}, "quarantine"},
		{"{carriers: [remembered, inline, quarantine], remember: {for: 12h}}", []Carrier{Remembered, Inline, Quarantine},
			[]Carrier{Inline, Remembered, Quarantine}, "remembered, inline, quarantine"},
		{"{carriers: [inline, password, retry, challenge]}", []Carrier{Inline, Password, Retry, Challenge},
			[]Carrier{Inline, Password, Retry, Challenge}, "inline, password, retry, challenge"},
		{"{factor: webauthn, carriers: [remembered, quarantine], remember: {for: 8h}}", []Carrier{Remembered, Quarantine},
			[]Carrier{Remembered, Quarantine}, "remembered, quarantine"},
	} {
		o := granted(t, c.permit)
		if !slices.Equal(o.Carriers, c.want) || sayCarriers(&o) != c.says {
			t.Errorf("%s: %v, %q", c.permit, o.Carriers, sayCarriers(&o))
		}
		for i := range carrierNames {
			if o.Carries(Carrier(i)) != slices.Contains(c.carries, Carrier(i)) {
				t.Errorf("%s: carries %v is %v", c.permit, Carrier(i), o.Carries(Carrier(i)))
			}
		}
	}
}

func TestRememberAndQuarantine(t *testing.T) {
	for _, c := range []struct {
		permit string
		want   Remember
		says   string
	}{
		{"{carriers: [inline, remembered], remember: {for: 12h}}", Remember{For: 12 * time.Hour}, "for 12h"},
		{"{carriers: [inline, remembered], remember: {for: 90d, idle: 1d12h, prefix: 24, device: true}}",
			Remember{For: 90 * day, Idle: 36 * time.Hour, Prefix: 24, Device: true}, "for 90d, idle 36h, prefix 24, device"},
		{"{carriers: [inline, remembered], remember: {for: 1m, idle: 1m, prefix: 32, device: false}}",
			Remember{For: time.Minute, Idle: time.Minute, Prefix: 32}, "for 1m, idle 1m"},
	} {
		if o := granted(t, c.permit); o.Remember != c.want || sayRemember(&o) != c.says {
			t.Errorf("%s: %+v, %q", c.permit, o.Remember, sayRemember(&o))
		}
	}
	if o := granted(t, "{carriers: quarantine, quarantine: 5m}"); o.Quarantine != 5*time.Minute {
		t.Errorf("%v", o.Quarantine)
	}
}

func TestBandwidth(t *testing.T) {
	for permit, want := range map[string]Bandwidth{
		"{}":                                  {},
		"{bandwidth: {up: 2M, down: 10M}}":    {2_000_000, 10_000_000},
		"{bandwidth: {up: 512k}}":             {Up: 512_000},
		"{bandwidth: {down: 1.5M}}":           {Down: 1_500_000},
		"{bandwidth: {down: 64000}}":          {Down: 64_000},
		"{bandwidth: {up: 8K, down: 4.29G}}":  {8_000, 4_290_000_000},
		"{bandwidth: {up: 4294967295}}":       {Up: 4_294_967_295},
		"{bandwidth: {up: '2M', down: 0.1M}}": {2_000_000, 100_000},
	} {
		if o := granted(t, permit); o.Bandwidth != want {
			t.Errorf("%s: %+v, want %+v", permit, o.Bandwidth, want)
		}
	}
}

func TestSessions(t *testing.T) {
	for permit, want := range map[string]string{
		"{}": "0", "{sessions: 2}": "2", "{sessions: {max: 2}}": "2", "{sessions: {max: 3, on_limit: refuse}}": "3",
		"{sessions: {max: 1000, on_limit: replace}}": "1000, the oldest is replaced",
	} {
		o := granted(t, permit)
		if got := saySessions(&o); got != want {
			t.Errorf("%s: %s, want %s", permit, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "90m": 90 * time.Minute, "7d": 7 * day, "1d12h": 36 * time.Hour, "0d": 0, "2d0s": 2 * day,
	} {
		if d, err := parseDuration(s); err != nil || d != want {
			t.Errorf("%s: %v, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "d", "-1d", "1.5d", "1d-1h", "12hd", "1d1d", "99999999999d", "7 d", "7D"} {
		if d, err := parseDuration(s); err == nil {
			t.Errorf("%s: %v", s, d)
		}
	}
	for d, want := range map[time.Duration]string{time.Minute: "1m", 90 * time.Second: "1m30s", 24 * time.Hour: "24h", 90 * day: "90d", 36 * time.Hour: "36h", 90 * time.Minute: "1h30m"} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// A test in the file may expect any obligation, and says what is other.
func TestExpectObligations(t *testing.T) {
	const permit = "{carriers: [remembered, inline, quarantine], remember: {for: 12h, idle: 2h, prefix: 24}, quarantine: 5m, bandwidth: {up: 2M}, filter: f}"
	const src = "version: 1\nfilters: {f: [{deny: {to: any}}]}\nrules:\n  - {id: a, then: {permit: " + permit + "}}\ntests:\n  - {name: t, user: x, expect: "
	load(t, src+permit+"}\n", Tested())
	load(t, src+"{bandwidth: {up: 2000k}, remember: {for: 720m, idle: 120m, prefix: 24}}}\n", Tested())
	for expect, want := range map[string]string{
		"{carriers: [inline, remembered, quarantine]}": "carriers remembered, inline, quarantine, not inline, remembered, quarantine",
		"{carriers: inline}":                           "carriers remembered, inline, quarantine, not inline",
		"{remember: {for: 12h}}":                       "remember for 12h, idle 2h, prefix 24, not for 12h",
		"{quarantine: 10m}":                            "quarantine 5m0s, not 10m0s",
		"{bandwidth: {up: 2M, down: 2M}}":              "bandwidth up 2000000 bit/s, not up 2000000 bit/s, down 2000000 bit/s",
		"{filter: g}":                                  "filter f, not g",
	} {
		_, err := Load("p.yaml", []byte(src+expect+"}\n"), Tested())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", expect, err)
		}
	}
}
