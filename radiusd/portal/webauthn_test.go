package portal

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"postern/authz"
	"postern/authz/mfa/webauthn"
	"postern/authz/mfa/webauthn/webauthntest"
	"postern/policy"
)

// keySubmit lets a key answer the form that is shown, as the script does.
func (b *browser) keySubmit(action string, d *webauthntest.Device, set ...string) *browser {
	b.s.t.Helper()
	return b.submit(action, append([]string{"response", b.keyAnswer(action, d)}, set...)...)
}

func (b *browser) keyAnswer(action string, d *webauthntest.Device) string {
	b.s.t.Helper()
	f := b.find(action)
	if f == nil {
		b.s.t.Fatalf("%s has no form for %s:\n%s", b.path, action, b.text())
	}
	if _, hidden := hasAttr(f, "hidden"); !hidden || !strings.Contains(b.body, "with JavaScript switched on") {
		b.s.t.Error("without the script a form for keys is seen, or nothing in its place")
	}
	options := []byte(attr(f, "data-options"))
	if attr(f, "data-ask") == "create" {
		return string(d.Create(b.s.t, options))
	}
	return string(d.Get(b.s.t, options))
}

// addKey gives somebody who is signed in a key.
func (b *browser) addKey(label string) *webauthntest.Device {
	b.s.t.Helper()
	d := webauthntest.New(b.s.t, portalURL)
	b.get("/security/key").at("/security/key", 200, "Add a security key").keySubmit("/security/key", d, "label", label)
	b.at("/security", 200, "The key was added", label)
	return d
}

func (s *site) keyCount(use, outcome string) float64 {
	var m dto.Metric
	if err := s.srv.metrics.keys.WithLabelValues(use, outcome).Write(&m); err != nil {
		s.t.Fatal(err)
	}
	return m.Counter.GetValue()
}

func TestKeyStepUp(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	b := s.browser().get("/").signIn("alice")
	b.get("/security").at("/security", 200, "Security keys and passkeys", "You have none.")
	d := b.addKey("blue key")
	b.get("/security").at("/security", 200, "blue key", "Added 1 Mar 2026")
	if !strings.Contains(s.logs.String(), "key used") {
		t.Error("the log says nothing")
	}

	v := s.fake.hold("alice", "ref-1", "198.51.100.7")
	v.Demands = policy.FactorWebAuthn
	b = s.browser().get("/s/ref-1").at("/step-up", 200, "This connection needs a security key.", "Use a security key")
	two := b.clone()
	answer := b.keyAnswer("/step-up/key", d)
	b.submit("/step-up/key", "response", answer).at("/done", 200, "The network opens now")
	if len(s.fake.released) != 1 || !s.fake.stepUps[0].WebAuthn || s.fake.stepUps[0].Session != "gw1/ref-1" || s.fake.stepUps[0].User != "alice" {
		t.Errorf("%+v", s.fake.stepUps)
	}
	two.submit("/step-up/key", "response", answer).at("/done", 200) // an impatient finger
	if len(s.fake.stepUps) != 1 {
		t.Errorf("%+v", s.fake.stepUps)
	}
	v.Lifting = false
	b.get("/done").get("/").at("/", 200, "My connections")
	if s.keyCount("step_up", "ok") != 1 || s.keyCount("add", "ok") != 1 {
		t.Error("not counted")
	}
}

// What a key says on one page is nothing on another, to another session or person.
func TestKeyRefused(t *testing.T) {
	s := newSite(t)
	for _, name := range []string{"alice", "mallory"} {
		s.fake.add(name)
	}
	d := s.browser().get("/").signIn("alice").addKey("a")
	other := s.browser().get("/").signIn("mallory").addKey("m")
	s.fake.hold("alice", "ref-1", "198.51.100.7")
	s.fake.hold("alice", "ref-2", "198.51.100.7")

	b := s.browser().get("/s/ref-1")
	b.keySubmit("/step-up/key", other).at("/step-up/key", 422, "The key was not accepted")
	b.submit("/step-up/key", "response", "{}").at("/step-up/key", 422, "The key was not accepted")
	b.submit("/step-up/key", "response", strings.Repeat("x", maxKeyBody+1)).at("/step-up/key", http.StatusRequestEntityTooLarge)
	b.get("/step-up")
	wrong := *d
	wrong.Origin = "https://portal.example.org.evil.example"
	b.keySubmit("/step-up/key", &wrong).at("/step-up/key", 422, "The key was not accepted")
	wrong = *d
	wrong.Unverified = true
	b.keySubmit("/step-up/key", &wrong).at("/step-up/key", 422, "has to ask for its PIN")
	s.sleep(10 * time.Second)
	b.keySubmit("/step-up/key", d).at("/done", 200)
	d.Count -= 2
	c := s.browser().get("/s/ref-2").at("/step-up", 200)
	c.keySubmit("/step-up/key", d).at("/step-up/key", 422, "There may be a copy of this key")
	// The ceremony of one session's page at another's.
	d.Count += 10
	s.fake.hold("alice", "ref-3", "198.51.100.7")
	far := s.browser().get("/s/ref-3")
	answer, ceremony := far.keyAnswer("/step-up/key", d), far.form("/step-up/key").Get("ceremony")
	c.submit("/step-up/key", "response", answer, "ceremony", ceremony).at("/step-up/key", 422, "The key was not accepted")
	s.sleep(5*time.Minute - time.Second)
	late := s.fake.hold("alice", "ref-4", "198.51.100.7")
	late.Until = s.now.Add(time.Hour)
	slow := s.browser().get("/s/ref-4")
	answer = slow.keyAnswer("/step-up/key", d)
	s.sleep(6 * time.Minute)
	slow.submit("/step-up/key", "response", answer).at("/step-up/key", 422, "That took too long")
	if len(s.fake.stepUps) != 1 {
		t.Errorf("%+v", s.fake.stepUps)
	}
	for outcome, want := range map[string]float64{"refused": 4 - 1, "unverified": 1, "copied": 1, "origin": 1, "late": 1, "ok": 1} {
		if got := s.keyCount("step_up", outcome); got != want {
			t.Errorf("%s: %v, want %v", outcome, got, want)
		}
	}
	if n := strings.Count(s.logs.String(), "level=WARN msg=\"key refused\""); n != 2 { // copied, origin
		t.Errorf("%d warnings", n)
	}
}

// A key in place of a code, behind the password; and instead of both by who is signed
// in.
func TestKeySignIn(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("alice")
	s.fake.add("bob")
	d := s.browser().get("/").signIn("alice").addKey("a")

	b := s.browser().get("/").at("/", 200, "If you have a security key")
	b.submit("/sign-in", "name", "alice", "password", "wrong").at("/sign-in", 422, "User name, password or code is not right")
	b.submit("/sign-in", "name", "bob", "password", "correct horse").at("/sign-in", 422, "User name, password or code is not right") // has none
	b.submit("/sign-in", "name", "alice", "password", "correct horse").at("/sign-in", 200, "Now your security key", "Use a code instead").without("correct horse")
	stolen := b.clone()
	answer := b.keyAnswer("/sign-in/key", d)
	b.submit("/sign-in/key", "response", answer).at("/", 200, "My connections", "Signed in as alice")
	last := s.fake.signIns[len(s.fake.signIns)-1]
	if !last.WebAuthn || last.Name != "alice" || last.From.String() != "198.51.100.7" {
		t.Errorf("%+v", last)
	}
	// Once; and in the browser that gave the password.
	stolen.submit("/sign-in/key", "response", answer).at("/sign-in/key", 422, "That took too long")
	b2 := s.browser().get("/").submit("/sign-in", "name", "alice", "password", "correct horse")
	v := b2.form("/sign-in/key", "response", b2.keyAnswer("/sign-in/key", d))
	far := s.browser().get("/").submit("/sign-in", "name", "alice", "password", "correct horse")
	own := far.form("/sign-in/key")
	v.Set("form", own.Get("form"))
	far.do(far.request("/sign-in/key", v))
	far.at("/sign-in/key", 422, "The key was not accepted")
	// Another name than the password's.
	far = s.browser().get("/").submit("/sign-in", "name", "alice", "password", "correct horse")
	far.keySubmit("/sign-in/key", d, "user", "bob").at("/sign-in/key", 422, "The key was not accepted")
	if n := len(s.fake.signIns); s.fake.signIns[n-1].WebAuthn {
		t.Error("somebody got in")
	}
	p.disabled = true
	p.keys = 0
	b3 := far.get("/").submit("/sign-in", "name", "alice", "password", "correct horse")
	b3.at("/sign-in", 422, "User name, password or code is not right")
	p.disabled = false

	// Who has nothing but a key cannot enrol a device with a password alone, wherever he is.
	p.devices = nil
	inside := s.browser()
	inside.from = "10.1.2.3"
	inside.get("/").submit("/sign-in", "name", "alice", "password", "correct horse").at("/sign-in", 200, "Now your security key")
	inside.get("/enrol").at("/enrol", 200, "Ticket")

	// Proof again, by the key alone.
	s.sleep(fresh + time.Second)
	b.get("/security/key").at("/again", 200, "Confirm that it is you", "Use a security key")
	wrong := *d
	wrong.Unverified = true
	b.keySubmit("/again/key", &wrong).at("/again/key", 422, "has to ask for its PIN")
	b.keySubmit("/again/key", d).at("/security/key", 200, "Add a security key")
}

func TestKeyRemove(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("alice")
	b := s.browser().get("/").signIn("alice")
	d := b.addKey("a")
	again := b.get("/security/key")
	again.keySubmit("/security/key", d).at("/security/key", 422, "This key is on your list already")
	b.addKey("")
	keys, err := s.srv.keys.Keys(context.Background(), "alice")
	if err != nil || len(keys) != 2 {
		t.Fatalf("%v, %v", keys, err)
	}
	b.get("/security").at("/security", 200, "Key without a name")
	s.sleep(fresh + time.Second)
	remove := "/security/remove?id=" + keys[0].ID
	b.get(remove).at("/again", 200).keySubmit("/again/key", d).at("/security/remove", 200, "Remove this key?", "“a” will not be accepted any more")
	b.submit("/security/remove").at("/security", 200, "The key was removed")
	b.get(remove).at("/security", 200, "not there any more")
	// The last factor stays, be it a key or a device.
	p.devices = nil
	b.get("/security/remove?id="+keys[1].ID).at("/security/remove", http.StatusConflict, "This is your only second factor")
	for range webauthn.MaxKeys - 1 {
		b.addKey("x")
	}
	b.get("/security").at("/security", 200, "You have as many keys as are possible")
	b.get("/security/key").at("/security/key", 200, "as many keys as are possible")
}

// A portal that has no name for keys shows nothing of them.
func TestNoKeys(t *testing.T) {
	s := newSite(t, func(c *Config) { c.URL = "https://192.0.2.1" })
	if s.srv.keys != nil {
		t.Fatal("keys of an address")
	}
	s.fake.add("alice").keys = 1
	h := s.fake.hold("alice", "ref-1", "198.51.100.7")
	v := &visitor{s: s.srv, set: s.srv.settings.Load(), lang: languages["en"]}
	p := &page{v: v, Data: stepUpData{User: "alice", id: h.Session.ID}}
	if p.Keyed() || p.KeyStepUp() != nil || p.KeyAgain() != nil || v.offerKey("alice") {
		t.Error("something of keys")
	}
	if err := v.useKey(keyStepUp, "alice", h.Session.ID); err == nil {
		t.Error("used")
	}
}

// While the store is away nobody is let in, and pages have no key on them.
func TestKeyStoreAway(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	d := s.browser().get("/").signIn("alice").addKey("a")
	s.fake.hold("alice", "ref-1", "198.51.100.7")
	b := s.browser().get("/s/ref-1")
	v := b.form("/step-up/key", "response", b.keyAnswer("/step-up/key", d))
	s.store.Close()
	b.do(b.request("/step-up/key", v))
	b.at("/step-up/key", http.StatusServiceUnavailable, "Not available now")
	if len(s.fake.stepUps) != 0 {
		t.Errorf("%+v", s.fake.stepUps)
	}
	if r := keyOutcome(context.Canceled); r != "refused" || keyUse(9).String() != "none" || authz.FactorWebAuthn.String() != "webauthn" {
		t.Error(r)
	}
}

// Who has no key where only a key will do finds the way to one, from within.
func TestKeyFirst(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	s.fake.hold("alice", "ref-1", "198.51.100.7").Demands = policy.FactorWebAuthn
	b := s.browser().get("/s/ref-1").at("/step-up", 200, "This connection needs a security key.", "You have none yet")
	b.get("/").at("/step-up", 200)
	b.get("/sign-in").at("/sign-in", 200, "Sign in")
	b.submit("/sign-in", "name", "alice", "password", "correct horse", "code", "123456").at("/", 200, "Waits for its code")
	b.get("/sign-in").at("/", 200, "My connections")
	b.get("/step-up").at("/step-up", 200, "You have none yet", "Add a security key")
	d := b.addKey("a")
	b.get("/step-up").at("/step-up", 200).without("You have none yet")
	b.keySubmit("/step-up/key", d).at("/done", 200)
}
