package report

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func key(fill byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{fill}, ed25519.SeedSize))
}

func sample() *Report {
	return &Report{
		V: Version, Device: "LT-0231-k7qmw3", Time: time.Date(2026, 3, 9, 14, 5, 0, 0, time.UTC), Nonce: Nonce{1, 2, 3}, Seq: 1773065100000,
		Facts: Facts{
			OS: "windows", OSVersion: "10.0.19045.3570", Encrypted: Yes, Firewall: Yes, Antivirus: No,
			Patched: time.Date(2026, 2, 20, 0, 0, 0, 0, time.UTC), Booted: time.Date(2026, 3, 9, 6, 0, 0, 0, time.UTC),
		},
	}
}

const spelled = `{"v":1,"device":"LT-0231-k7qmw3","time":"2026-03-09T14:05:00Z","nonce":"AQIDAAAAAAAAAAAAAAAAAA","seq":1773065100000,` +
	`"facts":{"os":"windows","os_version":"10.0.19045.3570","disk_encrypted":true,"firewall":true,"antivirus":false,` +
	`"patched":"2026-02-20T00:00:00Z","booted":"2026-03-09T06:00:00Z"}}`

func TestReport(t *testing.T) {
	if got := string(sample().Append(nil)); got != spelled {
		t.Errorf("got  %s\nwant %s", got, spelled)
	}
	r, err := Parse([]byte(spelled))
	if err != nil || !reflect.DeepEqual(r, sample()) {
		t.Errorf("%+v, %v", r, err)
	}
	if r.Facts.Lock != Unknown {
		t.Errorf("lock %v", r.Facts.Lock)
	}
	bare, err := Parse([]byte(`{"v":1,"device":"a","time":"2026-03-09T14:05:00Z","nonce":"AQIDAAAAAAAAAAAAAAAAAA","seq":1,"facts":{}}`))
	if err != nil || bare.Facts != (Facts{}) {
		t.Errorf("nothing known: %+v, %v", bare, err)
	}
}

// Each row is a report with one thing wrong.
func TestReportIsStrict(t *testing.T) {
	for _, c := range []struct{ old, now string }{
		{`"v":1`, `"v":0`},
		{`"v":1`, `"v":"1"`},
		{`{"v":1`, `{"V":1`},
		{`{"v":1,`, `{ "v":1,`},
		{`{"v":1,`, `{`},
		{`"seq":1773065100000`, `"seq":0`},
		{`"seq":1773065100000`, `"seq":-1`},
		{`"seq":1773065100000`, `"seq":1e3`},
		{`"seq":1773065100000`, `"seq":9007199254740993`},
		{`"seq":1773065100000`, `"seq":1773065100000,"seq":1773065100001`},
		{`LT-0231-k7qmw3`, ``},
		{`LT-0231-k7qmw3`, `{user:root}`},
		{`LT-0231-k7qmw3`, `-x`},
		{`LT-0231-k7qmw3`, strings.Repeat("x", MaxID+1)},
		{`LT-0231`, `\u004cT-0231`},
		{`14:05:00Z`, `14:05:00+00:00`},
		{`14:05:00Z`, `14:05:00+01:00`},
		{`14:05:00Z`, `14:05:00.5Z`},
		{`2026-03-09T14`, `1969-03-09T14`},
		{`AQIDAAAAAAAAAAAAAAAAAA`, `AAAAAAAAAAAAAAAAAAAAAA`},
		{`AQIDAAAAAAAAAAAAAAAAAA`, `AQIDAAAAAAAAAAAAAAAAAB`},
		{`AQIDAAAAAAAAAAAAAAAAAA`, `AQID`},
		{`"disk_encrypted":true`, `"disk_encrypted":null`},
		{`"disk_encrypted":true`, `"disk_encrypted":"true"`},
		{`"disk_encrypted":true`, `"disk_encrypted":1`},
		{`"disk_encrypted":true`, `"managed":true`},
		{`"os":"windows"`, `"os":"Windows 10"`},
		{`"os":"windows"`, `"os":""`},
		{`10.0.19045.3570`, `10.0..1`},
		{`10.0.19045.3570`, `10.0.19045-rc1`},
		{`10.0.19045.3570`, `10.0.1904519045`},
		{`"patched":"2026-02-20T00:00:00Z"`, `"patched":""`},
		{`"facts":{`, `"user":"root","facts":{`},
		{`06:00:00Z"}}`, `06:00:00Z"}} `},
		{`06:00:00Z"}}`, `06:00:00Z"}}{}`},
		{`06:00:00Z"}}`, `06:00:00Z"}`},
		{`06:00:00Z"}}`, `06:00:00Z"}` + strings.Repeat(" ", MaxReport) + `}`},
	} {
		if !strings.Contains(spelled, c.old) {
			t.Fatalf("no %q", c.old)
		}
		text := strings.Replace(spelled, c.old, c.now, 1)
		if r, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s instead of %s: taken as %+v", c.now, c.old, r)
		}
	}
	if _, err := Parse([]byte(`{"v":2,"device":{"id":"x"}}`)); !errors.Is(err, ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
}

func TestSignature(t *testing.T) {
	mine, other := key(1), key(2)
	e, err := Seal(sample(), mine)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseEnvelope(e.Append(nil))
	if err != nil || !reflect.DeepEqual(back, e) || !back.Signed(mine.Public().(ed25519.PublicKey)) {
		t.Fatalf("%+v, %v", back, err)
	}
	if back.Key != KeyID(mine.Public().(ed25519.PublicKey)) || back.Key == KeyID(other.Public().(ed25519.PublicKey)) {
		t.Errorf("key %s", back.Key)
	}
	if back.Signed(other.Public().(ed25519.PublicKey)) || back.Signed(nil) || back.Signed([]byte("short")) {
		t.Error("signed with another key")
	}
	for i := range back.Report {
		back.Report[i] ^= 1
		if back.Signed(mine.Public().(ed25519.PublicKey)) {
			t.Fatalf("octet %d may be changed", i)
		}
		back.Report[i] ^= 1
	}
	// What is signed to enrol is no report, whatever it says.
	enrol := &Envelope{Report: e.Report, Signature: sign(mine, enrolContext, e.Report), Key: e.Key}
	if enrol.Signed(mine.Public().(ed25519.PublicKey)) {
		t.Error("a proof passes for a report's signature")
	}
	wrong := sample()
	wrong.Seq = 0
	if _, err := Seal(wrong, mine); err == nil {
		t.Error("a wrong report was signed")
	}
	for _, edit := range []func(*Envelope){
		func(e *Envelope) { e.Report = nil },
		func(e *Envelope) { e.Report = make([]byte, MaxReport+1) },
		func(e *Envelope) { e.Signature = e.Signature[1:] },
		func(e *Envelope) { e.Key = "" },
		func(e *Envelope) { e.Key = "!" + e.Key[1:] },
	} {
		bad := *e
		edit(&bad)
		if _, err := ParseEnvelope(bad.Append(nil)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := ParseEnvelope(append(e.Append(nil), ' ')); !errors.Is(err, ErrMalformed) {
		t.Errorf("spelled in another way: %v", err)
	}
}

func TestEnrolment(t *testing.T) {
	e := Enrol("ABCD-EFGH", "LT-0231", key(1))
	back, err := ParseEnrolment(e.Append(nil))
	if err != nil || !back.Proved() {
		t.Fatalf("%+v, %v", back, err)
	}
	for name, edit := range map[string]func(*Enrolment){
		"ticket": func(e *Enrolment) { e.Ticket = "WXYZ-EFGH" },
		"name":   func(e *Enrolment) { e.Name = "LT-0232" },
		"key":    func(e *Enrolment) { e.Key = key(2).Public().(ed25519.PublicKey) },
		"proof":  func(e *Enrolment) { e.Proof = Enrol("ABCD-EFGH", "LT-0231", key(2)).Proof },
	} {
		bad := *e
		edit(&bad)
		if bad.Proved() {
			t.Errorf("another %s is proved", name)
		}
	}
	for name, edit := range map[string]func(*Enrolment){
		"no ticket":   func(e *Enrolment) { e.Ticket = "" },
		"two tickets": func(e *Enrolment) { e.Ticket = "A\nB" },
		"long ticket": func(e *Enrolment) { e.Ticket = strings.Repeat("A", maxTicket+1) },
		"name":        func(e *Enrolment) { e.Name = "a b" },
		"key":         func(e *Enrolment) { e.Key = e.Key[1:] },
		"proof":       func(e *Enrolment) { e.Proof = nil },
	} {
		bad := *e
		edit(&bad)
		if _, err := ParseEnrolment(bad.Append(nil)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"LT-0231": "LT-0231", "lt0231.corp.example": "lt0231", "Büro 3": "B-ro-3", "": "computer", "---": "computer", "日本": "computer",
		strings.Repeat("x", 100): strings.Repeat("x", maxHostName), "a_b": "a_b",
	} {
		if got := HostName(in); got != want || !ValidID(got) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestReply(t *testing.T) {
	at := time.Date(2026, 3, 9, 14, 5, 0, 0, time.UTC)
	for _, r := range []Reply{{Device: "a", User: "alice", Time: at}, {Refused: Clock, Time: at}} {
		back, err := ParseReply(r.Append(nil))
		if err != nil || *back != r {
			t.Errorf("%+v, %v", back, err)
		}
	}
	for _, text := range []string{"", "{}", `{"device":"a","refused":"clock"}`, `{"refused":"taken"}`, `{"device":"a b"}`, "[]", strings.Repeat(" ", MaxReply+1)} {
		if r, err := ParseReply([]byte(text)); err == nil && r.Refused != other {
			t.Errorf("%q: %+v", text, r)
		}
	}
	if r, err := ParseReply([]byte(`{"refused":"tomorrow","why":"x"}`)); err != nil || r.Refused == Taken || r.Refused.Text() == "" {
		t.Errorf("a newer service's: %+v, %v", r, err)
	}
}

func TestRefusals(t *testing.T) {
	if len(refusalNames) != len(texts) || len(Refusals()) != int(other)-1 {
		t.Errorf("%d names, %d texts, %d refusals", len(refusalNames), len(texts), len(Refusals()))
	}
	seen := map[string]bool{}
	for _, r := range append(Refusals(), other, other+1) {
		if r != other+1 && (seen[r.String()] || r.String() == "") || r.Text() == "" {
			t.Errorf("%d is %q: %q", r, r, r.Text())
		}
		seen[r.String()] = true
		b, _ := json.Marshal(r)
		var back Refusal
		if err := json.Unmarshal(b, &back); err != nil || back != min(r, other) {
			t.Errorf("%v comes back as %v, %v", r, back, err)
		}
	}
	if Signature.Told() != UnknownKey || Revoked.Told() != Revoked || !Order.Again() || Clock.Again() {
		t.Error("what a device learns")
	}
	if Answer(7).String() != "unknown" || Yes.String() != "yes" || AnswerOf(true) != Yes || AnswerOf(false) != No {
		t.Error("answers")
	}
}
