package portal

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"postern/authz"
	"postern/policy"
)

func TestStepUpByCode(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	v := s.fake.hold("alice", "ref-1", "198.51.100.7")
	b := s.browser()
	b.do(newGet("/s/ref-1"))
	if b.code != http.StatusSeeOther || b.head.Get("Location") != "/step-up" {
		t.Fatalf("%d to %q", b.code, b.head.Get("Location"))
	}
	b.get("/step-up").at("/step-up", 200, "Confirm your connection", "alice", "198.51.100.7", "5 minutes are left").without("ref-1")
	field := input(b, "code")
	if attr(field, "autocomplete") != "one-time-code" || attr(field, "inputmode") != "numeric" {
		t.Errorf("the code's field: %v", field.Attr)
	}
	before := b.cookies[cookieForm]
	b.submit("/step-up", "code", " 123 456 ").at("/done", 200, "The network opens now")
	if len(s.fake.released) != 1 || s.fake.stepUps[0] != (authz.StepUp{Session: "gw1/ref-1", User: "alice", Code: "123456", From: netip.MustParseAddr("198.51.100.7")}) {
		t.Errorf("%+v", s.fake.stepUps)
	}
	if b.cookies[cookieVisit] != "" || b.cookies[cookieForm] != "" || b.cookies[cookieSession] == "" || b.cookies[cookieSession] == before {
		t.Errorf("cookies after a step-up: %v", b.cookies)
	}
	v.Lifting = false
	b.get("/done").at("/done", 200, "The network is open", "My security")
	b.get("/").at("/", 200, "My connections", "Connection from 198.51.100.7")
	// The reference lapses; the session goes on.
	s.sleep(6 * time.Minute)
	b.get("/done").at("/", 200, "My connections")
}

func TestStepUpByRecoveryCode(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("alice")
	s.fake.hold("alice", "ref-1", "198.51.100.7").Lifting = false
	b := s.browser().get("/s/ref-1").submit("/step-up", "recovery", "old-0003-wrong")
	b.at("/step-up", 422, "This recovery code is not right")
	if _, open := hasAttr(b.find("/step-up").Parent, "x"); open || !strings.Contains(b.body, `<details class="more" open>`) {
		t.Error("the field that is wrong is folded away")
	}
	b.submit("/step-up", "recovery", "old-0003-wxyz").at("/done", 200, "You used a recovery code. 9 are left.")
	if len(p.recovery) != 9 {
		t.Errorf("%d codes left", len(p.recovery))
	}
}

func TestStepUpMistakes(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	v := s.fake.hold("alice", "ref-1", "198.51.100.7")
	b := s.browser().get("/s/ref-1")
	b.submit("/step-up").at("/step-up", 422, "That did not work", "Enter the code.")
	if !strings.Contains(text(b.doc.FirstChild.NextSibling), "Error:") || input(b, "code") == nil || attr(input(b, "code"), "aria-invalid") != "true" ||
		!strings.Contains(attr(input(b, "code"), "aria-describedby"), "code-problem") {
		t.Error("the mistake is not tied to its field")
	}
	b.submit("/step-up", "code", "12345").at("/step-up", 422, "6 to 8 digits")
	b.submit("/step-up", "code", "000000").at("/step-up", 422, "This code is not right").without("000000")
	s.fake.people["alice"].used = "111111"
	b.submit("/step-up", "code", "111111").at("/step-up", 422, "used already")
	v.Demands = policy.FactorWebAuthn
	b.submit("/step-up", "code", "123456").at("/step-up", 422, "needs a security key")
	b.get("/step-up").at("/step-up", 200, "This connection needs a security key.")
	if b.find("/step-up") != nil {
		t.Error("a form for a code that cannot be enough")
	}
	v.Demands = policy.FactorCode
	s.fake.people["alice"].wrong = 5
	b.get("/step-up").submit("/step-up", "code", "123456").at("/step-up", 422, "too many wrong codes")
}

func TestStepUpTooLate(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	s.fake.hold("alice", "ref-1", "198.51.100.7")
	b := s.browser().get("/s/ref-1").at("/step-up", 200)
	s.sleep(4*time.Minute + 1*time.Second)
	b.get("/step-up").at("/step-up", 200, "One minute is left")
	s.sleep(time.Minute)
	b.submit("/step-up", "code", "123456").at("/step-up", 410, "Too late", "Dial in again")
	if len(s.fake.stepUps) != 0 || s.fake.people["alice"].code == "" {
		t.Error("a code was burnt for nothing")
	}
	s.browser().get("/s/ref-1").at("/s/ref-1", 404, "This link is not valid")

	// It ends between the page and the form.
	v := s.fake.hold("alice", "ref-2", "198.51.100.7")
	b = s.browser().get("/s/ref-2")
	v.User = ""
	b.submit("/step-up", "code", "123456").at("/step-up", 410, "Too late")
	s.browser().get("/s/ref-2").at("/s/ref-2", 410, "Too late")
}

func TestStepUpSentTwice(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	s.fake.hold("alice", "ref-1", "198.51.100.7")
	one := s.browser().get("/s/ref-1")
	two := one.clone()
	one.submit("/step-up", "code", "123456").at("/done", 200)
	two.submit("/step-up", "code", "123456").at("/done", 200)
	if len(s.fake.released) != 1 {
		t.Errorf("released %v", s.fake.released)
	}
	if two.cookies[cookieSession] != "" {
		t.Error("the second one got a session for nothing")
	}
	two.get("/security").at("/done", 200)
}

func TestSignInAndHome(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	s.fake.hold("alice", "ref-1", "198.51.100.7")
	b := s.browser().get("/").at("/", 200, "Sign in", "it@example.org")
	b.submit("/sign-in", "name", " alice ", "password", "correct horse", "code", "123456")
	b.at("/", 200, "You have one connection.", "Waits for its code", "203.0.113.10", "1.2 kB / 98.8 MB", "MSRAS-0-PC7", "Signed in as alice")
	if s.fake.signIns[0].Name != "alice" || s.fake.signIns[0].From != netip.MustParseAddr("198.51.100.7") {
		t.Errorf("%+v", s.fake.signIns)
	}
	// Somebody who came here by himself opens a session of his own, with another code.
	s.fake.people["alice"].code = "222222"
	b.get("/step-up?session=gw1/ref-1").at("/step-up", 200)
	b.submit("/step-up", "code", "222222").at("/", 200)
	if len(s.fake.released) != 1 {
		t.Errorf("%v", s.fake.stepUps)
	}
	b.submit("/disconnect").at("/", 200, "is being ended", "You have no connection now")
	b.get("/").without("is being ended")
	b.submit("/sign-out").at("/", 200, "Sign in")
	if len(b.cookies) != 1 || b.cookies[cookieForm] == "" {
		t.Errorf("cookies after signing out: %v", b.cookies)
	}
}

func TestSignInByRecoveryCode(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	b := s.browser().get("/").submit("/sign-in", "name", "alice", "password", "correct horse", "recovery", "old-0000-wxyz")
	b.at("/", 200, "My connections")
}

func TestEnrolByTicket(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("bob")
	p.devices, p.recovery = nil, nil
	s.fake.tickets["T1CK-ET"] = "bob"
	b := s.browser().get("/enrol?ticket=T1CK-ET").at("/enrol", 200, "You have a ticket").without("T1CK-ET")
	if len(s.fake.tickets) != 1 {
		t.Fatal("looking at the link has used the ticket up")
	}
	b.submit("/enrol/ticket").at("/enrol", 200, "Set up your second factor", "For bob")
	if len(s.fake.tickets) != 0 || b.cookies[cookieTicket] != "" {
		t.Error("the ticket is still there")
	}
	// It lets its holder enrol, and nothing else.
	for _, path := range []string{"/security", "/", "/again", "/security/remove?id=dev1"} {
		b.get(path).at("/enrol", 200)
	}
	b.submit("/enrol", "label", "Bob’s phone").at("/enrol/device", 200, "Scan this picture", "JBSW Y3DP")
	if !strings.Contains(b.body, "<svg") {
		t.Error("no QR code")
	}
	b.submit("/enrol/device", "code", "000000").at("/enrol/device", 422, "does not match")
	b.submit("/enrol/device", "code", "654321").at("/recovery", 200, "Save your recovery codes", "new-0000-wxyz", "new-0009-wxyz")
	session := b.cookies[cookieSession]
	b.get("/enrol/device").without(fakeSecret, "JBSW").at("/enrol", 200)

	b.do(newGet("/recovery/codes.txt"))
	if b.head.Get("Content-Type") != "text/plain; charset=utf-8" || b.head.Get("Content-Disposition") != `attachment; filename="recovery-codes.txt"` ||
		strings.Count(b.body, "-wxyz\r\n") != 10 || !strings.Contains(b.body, "Recovery codes of bob, Example VPN") {
		t.Errorf("the file: %v\n%s", b.head, b.body)
	}
	b.get("/").at("/recovery", 200).submit("/recovery").at("/enrol/done", 200, "All set", "bob+123456")
	for _, path := range []string{"/recovery", "/recovery/codes.txt"} {
		b.get(path).without("-wxyz")
	}
	b.get("/enrol").at("/enrol", 200, "What you need")
	if len(p.devices) != 1 || len(p.recovery) != 10 {
		t.Errorf("%+v", p)
	}
	b.get("/enrol/done").submit("/sign-out").at("/", 200, "Sign in")
	if session == "" || b.cookies[cookieSession] != "" {
		t.Error("the session did not end")
	}
	s.browser().get("/enrol?ticket=T1CK-ET").submit("/enrol/ticket").at("/enrol/ticket", 422, "This ticket is not valid")
}

func TestEnrolByPasswordFromATrustedNetwork(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("bob")
	p.devices, p.recovery = nil, nil
	b := s.browser()
	b.get("/").submit("/sign-in", "name", "bob", "password", "correct horse").at("/sign-in", 422, "is not right")
	b.from = "10.1.2.3"
	b.get("/").submit("/sign-in", "name", "bob", "password", "wrong").at("/sign-in", 422, "is not right")
	b.submit("/sign-in", "name", "bob", "password", "correct horse").at("/enrol", 200, "For bob")
	b.submit("/enrol").submit("/enrol/device", "code", "654321").at("/recovery", 200)
	b.submit("/recovery").at("/security", 200, "The device was added", "My security")

	// With a factor, a password is not enough any more.
	s.fake.people["bob"].code = "123456"
	c := s.browser()
	c.from = "10.1.2.3"
	c.get("/").submit("/sign-in", "name", "bob", "password", "correct horse").at("/sign-in", 422, "is not right")

	// Behind the VPN's own addresses anybody can be.
	s.fake.add("carol").devices = nil
	s.fake.inside = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}
	c.from = "10.9.0.7"
	c.get("/").submit("/sign-in", "name", "carol", "password", "correct horse").at("/sign-in", 422, "is not right")
}

// A key that is known of nowhere but in the factors still is a factor.
func TestPasswordIsNotEnoughBesideAKey(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("bob")
	p.devices, p.keys = nil, 1
	s.srv.backend = saying{s.fake, authz.NotEnrolled}
	b := s.browser()
	b.from = "10.1.2.3"
	b.get("/").submit("/sign-in", "name", "bob", "password", "correct horse").at("/sign-in", 422, "is not right")
	s.srv.backend = s.fake
	s.fake.hold("bob", "near", "10.4.4.4")
	if b = s.browser().get("/s/near").get("/enrol"); b.find("/enrol") != nil {
		t.Error("an enrolment beside a key")
	}
}

func TestAnswersAreHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.fake.add("alice")
		began := time.Now()
		s.srv.backend = late{s.fake}
		s.browser().get("/").submit("/sign-in", "name", "alice", "password", "x").at("/sign-in", 422)
		if took := time.Since(began); took != 70*time.Millisecond {
			t.Errorf("answered after %v", took)
		}
	})
}

// late has refusals held back.
type late struct{ Backend }

func (late) SignIn(context.Context, authz.SignIn) authz.SignInResult {
	return authz.SignInResult{Reason: authz.LockedOut, Delay: 70 * time.Millisecond}
}

func TestEnrolInQuarantine(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("bob")
	p.devices, p.recovery = nil, nil
	s.fake.hold("bob", "far", "198.51.100.7")
	b := s.browser().get("/s/far").at("/step-up", 200, "Confirm your connection", "Ask your support for a ticket")
	b.get("/enrol").at("/enrol", 200, "What you need")
	if b.find("/enrol") != nil {
		t.Error("an enrolment from anywhere")
	}

	s.fake.hold("bob", "near", "10.4.4.4")
	b = s.browser().get("/s/near").at("/step-up", 200, "You have no second factor yet")
	b.get("/enrol").submit("/enrol", "label", "Phone").at("/enrol/device", 200)
	b.submit("/enrol/device", "code", "654321").at("/recovery", 200)
	b.submit("/recovery").at("/step-up", 200, "Confirm your connection")
	b.submit("/step-up", "code", "123456").at("/done", 200)
	if len(p.devices) != 1 || len(s.fake.released) != 1 {
		t.Errorf("%+v", p)
	}
	// Who has a factor does not get another one by password alone.
	s.fake.hold("bob", "near-2", "10.4.4.4")
	b = s.browser().get("/s/near-2").at("/step-up", 200, "Confirm your connection")
	if b.get("/enrol"); b.find("/enrol") != nil {
		t.Error("a second device without the first")
	}
}

func TestSecondDeviceAndRemoval(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("alice")
	b := s.browser().signIn("alice").get("/security").at("/security", 200, "Phone", "10 codes are left")

	b.get("/security/remove?id=dev1").at("/security/remove", 409, "This is your only second factor")
	b.do(b.request("/security/remove", urlValues("form", formToken(b.cookies[cookieSession], "/security/remove"), "id", "dev1")))
	if b.code != 409 || len(p.devices) != 1 {
		t.Fatal("the last factor is gone")
	}
	b.get("/enrol").submit("/enrol", "label", "Tablet").submit("/enrol/device", "code", "654321").at("/security", 200, "The device was added", "Tablet")

	// A proof is fresh for five minutes.
	s.sleep(6 * time.Minute)
	b.get("/security/remove?id=dev1").at("/again", 200, "Confirm that it is you")
	b.submit("/again", "password", "correct horse").at("/again", 422, "Enter the code.")
	b.submit("/again", "password", "wrong", "code", "123456").at("/again", 422, "is not right")
	p.code = "333333"
	old := b.cookies[cookieSession]
	b.submit("/again", "password", "correct horse", "code", "333333").at("/security/remove", 200, "Remove this device?", "Phone")
	if b.cookies[cookieSession] == old {
		t.Error("the session kept its name")
	}
	b.submit("/security/remove").at("/security", 200, "The device was removed").without("dev1")
	if len(p.devices) != 1 {
		t.Errorf("%+v", p.devices)
	}
	b.get("/security/remove?id=dev1").at("/security", 200, "not there any more")

	s.sleep(6 * time.Minute)
	b.get("/enrol").at("/again", 200)
	b.get("/security").submit("/security/recovery").at("/again", 200)
	if p.recovery[0] != "old-0000-wxyz" {
		t.Error("new recovery codes without a fresh proof")
	}
	p.code = "444444"
	b.submit("/again", "password", "correct horse", "code", "444444").at("/security", 200)
	b.submit("/security/recovery").at("/recovery", 200, "new-0000-wxyz").submit("/recovery").at("/security", 200, "count from now on")

	for len(p.devices) < 5 {
		p.devices = append(p.devices, Device{ID: "more", Label: "more"})
	}
	b.get("/security").at("/security", 200, "as many devices as are possible")
	b.get("/enrol").at("/enrol", 200, "as many devices as are possible")
}

func TestRememberedPlaces(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("alice")
	p.places = []Place{
		{ID: "g1", Prefix: netip.MustParsePrefix("198.51.100.0/24"), Device: "PC7", Since: s.now, Used: s.now, Until: s.now.Add(time.Hour)},
		{ID: "g2", Prefix: netip.MustParsePrefix("192.0.2.9/32"), Since: s.now},
		{ID: "g3", Prefix: netip.MustParsePrefix("192.0.2.10/32"), Since: s.now},
	}
	b := s.browser().signIn("alice").get("/security").at("/security", 200, "198.51.100.0/24 (PC7)", "at the latest", "Forget all")
	b.submit("/security/forget", "id", "g2").at("/security", 200, "The place is forgotten")
	if len(p.places) != 2 {
		t.Errorf("%+v", p.places)
	}
	b.submit("/security/forget", "id", "").at("/security", 200, "There are none")
	if len(p.places) != 0 {
		t.Errorf("%+v", p.places)
	}
}

func TestLanguages(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	b := s.browser()
	b.lang = "fr, de-AT;q=0.7, en;q=0.3"
	b.get("/").at("/", 200, "Anmelden", "Deutsch", "English")
	if b.head.Get("Content-Language") != "de" || !strings.Contains(b.body, `<html lang="de">`) {
		t.Error("the page does not say that it is German")
	}
	b.submit("/language", "lang", "en").at("/", 200, "Sign in")
	b.get("/enrol").at("/enrol", 200, "What you need").submit("/language", "lang", "de").at("/enrol", 200, "Was Sie brauchen")
	b.submit("/language", "lang", "xx", "back", "https://elsewhere.example/").at("/", 200, "Anmelden")
	b.submit("/sign-in", "name", "alice", "password", "correct horse", "code", "123456").at("/", 200, "Meine Verbindungen")
}

func TestUnavailable(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	s.fake.hold("alice", "ref-1", "198.51.100.7")
	b := s.browser().get("/s/ref-1")
	s.fake.down = errDown
	b.submit("/step-up", "code", "123456").at("/step-up", 503, "Not available now").without(errDown.Error())
	b.get("/done").at("/done", 503)
	s.browser().get("/s/ref-1").at("/s/ref-1", 503)
	c := s.browser().get("/").submit("/sign-in", "name", "alice", "password", "correct horse", "code", "123456").at("/sign-in", 503, "Not available now")
	c.get("/health").at("/health", 503, "unavailable")
	s.fake.down = nil
	c.get("/health").at("/health", 503) // asked a moment ago
	s.sleep(time.Second)
	c.get("/health").at("/health", 200, "ok")
}

func TestStoreAway(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	b := s.browser().signIn("alice")
	s.store.Close()
	b.get("/").at("/", 503, "Not available now")
	s.browser().get("/").at("/", 200) // needs no store
	s.browser().get("/").submit("/sign-in", "name", "alice", "password", "correct horse", "code", "123456").at("/sign-in", 503)
	if len(s.fake.signIns) != 1 {
		t.Error("asked without being counted")
	}
}
