//go:build integration

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/integration/chromium"
	"postern/integration/netlab"
	wire "postern/internal/radius"
)

const (
	portalHost = "portal.corp.example"
	portalURL  = "https://" + portalHost + ":8443"
	password   = "correct horse"
)

// Two services behind one name: the first answers the NAS, and each has a portal.
const portalService = `node: NAME
RADIUS
clients:
  - {name: gw1, networks: [127.0.0.0/8], secret_file: secret, node: true, coa: "127.0.0.1:3799"}
store: {kind: redis, urls: ["REDIS"], timeout: 3s}
key_ring_file: keys
users_file: users
policy_file: policy.yaml
posture: {self_enrol: true}
portal:
  listen: HOST:8443
  url: ` + portalURL + `
  cert_file: portal.pem
  key_file: portal.key
  name: Corp VPN
  mark: C
  support: help@corp.example, extension 4711
audit: {file: AUDIT}
`

const portalPolicy = `version: 1
pools: {people: [10.99.0.10-10.99.0.250]}
rules:
  - id: admins
    when: {group: admins}
    then: {permit: {factor: webauthn, carriers: [quarantine], quarantine: 10m, pool: people, session_timeout: 1h}}
  - id: staff
    when: {group: staff}
    then: {permit: {carriers: [inline, quarantine], quarantine: 10m, pool: people, session_timeout: 8h}}
`

// portal is two services with their portals, a NAS that does what it is asked, and people:
// alice and bob of the staff, carol of the admins.
type portal struct {
	*domain
	cert string

	mu    sync.Mutex
	asked []*wire.Packet
	calls int
}

func newPortal(t *testing.T) *portal {
	t.Helper()
	p := &portal{domain: &domain{lab: &lab{net: netlab.New(t), dir: t.TempDir()}, radius: "127.0.0.1:1812"}}
	p.certify(t)
	url := redis(t, p.net)
	one := strings.NewReplacer("NAME", "service1", "RADIUS", `radius: {auth_listen: "127.0.0.1:1812", acct_listen: "127.0.0.1:1813"}`,
		"HOST", "127.0.0.1", "AUDIT", "audit.json", "REDIS", url)
	two := strings.NewReplacer("NAME", "service2", "RADIUS", `radius: {auth_listen: "127.0.0.2:1812"}`,
		"HOST", "127.0.0.2", "AUDIT", "audit2.json", "REDIS", url)
	for name, text := range map[string]string{"secret": domainSecret, "policy.yaml": portalPolicy,
		"radiusd.yaml": one.Replace(portalService), "radiusd2.yaml": two.Replace(portalService)} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.tool(t, "", "keyring", "create")
	for user, group := range map[string]string{"alice": "staff", "bob": "staff", "carol": "admins"} {
		p.tool(t, password, "user", "add", user, "--group", group)
	}
	p.serveNAS(t)
	p.service = p.run(t, "postern-radiusd", "radiusd.yaml")
	p.run(t, "postern-radiusd", "radiusd2.yaml")
	return p
}

// certify makes the portal's certificate. Nobody has signed it but itself: browsers are
// told to trust its key.
func (p *portal) certify(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: portalHost}, DNSNames: []string{portalHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.cert = filepath.Join(p.dir, "portal.pem")
	for name, b := range map[string]*pem.Block{"portal.pem": {Type: "CERTIFICATE", Bytes: cert}, "portal.key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(p.dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serveNAS takes CoA-Request and Disconnect-Request, and does as it is told.
func (p *portal) serveNAS(t *testing.T) {
	t.Helper()
	d, err := wire.NewDynamic(wire.DynamicConfig{CarryOut: func(_ context.Context, q *wire.Packet) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked = append(p.asked, q)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	var l *wire.DynamicListener
	p.net.Do(func() {
		l, err = wire.ListenDynamic(netip.MustParseAddrPort("127.0.0.1:3799"), d,
			[]wire.DynamicClient{{Network: netip.MustParsePrefix("127.0.0.0/8"), Secret: wire.NewSecret(domainSecret)}})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
}

// wasAsked waits until the NAS was asked for this and returns the filter that came with
// it.
func (p *portal) wasAsked(t *testing.T, code wire.Code) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		p.mu.Lock()
		i := slices.IndexFunc(p.asked, func(q *wire.Packet) bool { return q.Code == code })
		if i >= 0 {
			q := p.asked[i]
			p.asked = slices.Delete(p.asked, i, i+1)
			p.mu.Unlock()
			return rfc2865.FilterID_GetString(q)
		}
		p.mu.Unlock()
	}
	t.Fatalf("the NAS was not asked for %v", code)
	return ""
}

// dial logs in as a node does and tells that the session has begun.
func (p *portal) dial(t *testing.T, name, source string) answer {
	t.Helper()
	p.calls++
	session := fmt.Sprintf("0000%04x", p.calls)
	x := newChap(name, password)
	nas := []string{signed, quoted("User-Name", name), `NAS-Identifier = "gw1"`, quoted("Calling-Station-Id", source),
		quoted("Tunnel-Client-Endpoint:0", source), quoted("Acct-Session-Id", session), "Tunnel-Type:0 = PPTP"}
	a := p.ask(t, p.radius, "auth", domainSecret, append(nas, x.attrs...)...)
	if a.code == "Access-Accept" {
		start := append(nas[1:], "Acct-Status-Type = Start", "Class = "+a.get("Class"), "Framed-IP-Address = "+a.get("Framed-IP-Address"))
		if got := p.ask(t, "127.0.0.1:1813", "acct", domainSecret, start...); got.code != "Accounting-Response" {
			t.Fatalf("accounting: %s", got.text)
		}
	}
	return a
}

// held dials without a code and returns where the captive redirect would lead.
func (p *portal) held(t *testing.T, name, source string) string {
	t.Helper()
	a := p.dial(t, name, source)
	url := strings.Trim(a.get("WISPr-Redirection-URL"), `"`)
	if a.code != "Access-Accept" || strings.Trim(a.get("Filter-Id"), `"`) != "quarantine" || !strings.HasPrefix(url, portalURL+"/s/") {
		t.Fatalf("%s without a code: %s", name, a.text)
	}
	return url
}

// Where a browser finds the name.
var first, second = map[string]string{portalHost: "127.0.0.1"}, map[string]string{portalHost: "127.0.0.2"}

// browser opens one in the network of the service.
func (p *portal) browser(t *testing.T, o chromium.Options) *chromium.Browser {
	t.Helper()
	o.In, o.Trust = p.net, []string{p.cert}
	if o.Hosts == nil {
		o.Hosts = first
	}
	// Chromium's console has a line for each page that is an error by its status.
	o.Expect = append(o.Expect, "the server responded with a status of 4")
	return chromium.Start(t, o)
}

// ticket is an operator's, for a user's enrolment: to be typed, or to be followed.
func (p *portal) ticket(t *testing.T, user string) (code, link string) {
	t.Helper()
	var made struct{ Code, Link string }
	out := p.tool(t, "", "mfa", "ticket", user, "-o", "json")
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Code == "" || !strings.HasPrefix(made.Link, portalURL) {
		t.Fatalf("ticket: %v\n%s", err, out)
	}
	return made.Code, made.Link
}

// token enrols an app by the operator's tool.
func (p *portal) token(t *testing.T, user string) *token {
	t.Helper()
	var made struct{ URL string }
	out := p.tool(t, "", "mfa", "enroll", user, "-o", "json", "--add")
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.URL == "" {
		t.Fatalf("enroll: %v\n%s", err, out)
	}
	return newToken(t, made.URL)
}

// The forms, by where they go.
func form(action string) string { return `form[action="` + action + `"] ` }

const submit = "button[type=submit]"

// enrol goes from the page behind a ticket to the last one, and returns the app and the
// recovery codes.
func enrol(t *testing.T, b *chromium.Browser, shot func(string)) (*token, []string) {
	t.Helper()
	b.See("For alice")
	shot("enrol-begin")
	b.Type("#label", "Phone")
	b.Follow(form("/enrol") + submit)
	b.See("Scan this picture")
	shot("enrol-device")
	if b.Has("#secret:not(:empty)") && !b.Has("svg.qr") {
		t.Error("no QR code")
	}
	b.Click("details summary")
	b.See("Type this key into the app")
	shot("enrol-device-key")
	secret := strings.ReplaceAll(b.Text("#secret"), " ", "")
	app := newToken(t, "otpauth://totp/x?secret="+secret)
	b.Type("#code", "000000")
	b.Follow(form("/enrol/device") + submit)
	b.See("This code does not match")
	shot("enrol-device-wrong")
	code := app.code(t)
	b.Type("#code", code[:3]+" "+code[3:]) // as apps show it
	b.Follow(form("/enrol/device") + submit)
	b.See("Save your recovery codes")
	shot("enrol-recovery")
	codes := strings.Fields(chromium.Eval[string](b, `[...document.querySelectorAll("ol.codes code")].map((c) => c.textContent).join(" ")`))
	if len(codes) != 10 {
		t.Fatalf("recovery codes %d", len(codes))
	}
	b.Follow(form("/recovery") + submit)
	b.See("All set")
	shot("enrol-done")
	return app, codes
}

// From an operator's ticket to the first login with a code; then everything that
// somebody does who is signed in.
func TestPortalJourney(t *testing.T) {
	t.Log(chromium.Version(t))
	p := newPortal(t)
	if a := p.dial(t, "alice", "192.0.2.9"); strings.Trim(a.get("Filter-Id"), `"`) != "quarantine" {
		t.Fatalf("without a second factor: %s", a.text)
	}
	b := p.browser(t, chromium.Options{})
	b.Open(portalURL + "/")
	b.See("Sign in")
	b.Shot("sign-in")
	b.Follow(form("/sign-in") + submit)
	b.See("Enter your user name")
	b.Shot("sign-in-wrong")
	b.Open(portalURL + "/enrol")
	b.See("Set up your second factor")
	b.Shot("enrol-ticket")
	b.Type("#ticket", "not-a-ticket")
	b.Follow(form("/enrol/ticket") + submit)
	b.See("This ticket is not valid")
	ticket, link := p.ticket(t, "alice")
	b.Type("#ticket", ticket)
	b.Follow(form("/enrol/ticket") + submit)
	app, recovery := enrol(t, b, b.Shot)

	if a := p.dial(t, "alice+"+app.code(t), "192.0.2.9"); a.code != "Access-Accept" || a.get("Filter-Id") != "" {
		t.Fatalf("the first login with a code: %s", a.text)
	}

	// The ticket was for one.
	late := p.browser(t, chromium.Options{Hosts: second})
	late.Open(link)
	late.Follow(form("/enrol/ticket") + submit)
	late.See("This ticket is not valid")

	// Signed in with a recovery code: another of the ten, and the connections.
	b.Follow(form("/sign-out") + submit)
	b.Click("details summary")
	b.Type("#name", "Alice")
	b.Type("#password", password)
	b.Type("#recovery", recovery[3])
	b.Follow(form("/sign-in") + submit)
	b.See("My connections")
	b.See("192.0.2.9")
	b.Shot("home")
	if n := b.Count("li.card"); n != 2 {
		t.Errorf("%d connections, want the quarantined one and the other", n)
	}
	b.Follow(form("/disconnect") + submit)
	b.See("is being ended")
	b.Shot("home-ended")
	p.wasAsked(t, wire.CodeDisconnectRequest)

	b.Follow(`a[href="/security"]`)
	b.See("9 codes are left")
	b.Shot("security")
	b.Follow(`a[href="/computers"]`)
	b.Follow(form("/computers") + submit)
	b.See("postern-agent enrol --server " + portalURL + " --ticket ")
	b.Shot("computers")
	b.Follow(`main a[href="/security"]`)
	b.Follow(`a[href="/enrol"]`)
	b.Type("#label", "Tablet")
	b.Follow(form("/enrol") + submit)
	b.Click("details summary")
	tablet := newToken(t, "otpauth://totp/x?secret="+strings.ReplaceAll(b.Text("#secret"), " ", ""))
	b.Type("#code", tablet.code(t))
	b.Follow(form("/enrol/device") + submit)
	b.See("The device was added")
	b.Shot("security-two")

	// The first is taken away, with a factor given just now; its codes are worth nothing.
	b.Follow(`a[href^="/security/remove"]`)
	b.See("Remove this device?")
	b.Shot("remove")
	b.Follow(form("/security/remove") + submit)
	b.See("The device was removed")
	if text := b.Text("main"); strings.Contains(text, "Phone") || !strings.Contains(text, "Tablet") {
		t.Errorf("my security: %s", text)
	}
	b.Follow(`a[href^="/security/remove"]`)
	b.See("This is your only second factor")
	b.Shot("remove-last")
	if a := p.dial(t, "alice+"+app.code(t), "192.0.2.9"); a.code != "Access-Reject" {
		t.Errorf("a code of the device that was removed: %s", a.text)
	}
	b.Follow(form("/sign-out") + submit)
	b.See("Sign in")
	b.Open(portalURL + "/security")
	b.See("Sign in")
}

// A session in quarantine is opened by a code, in German, and by a wrong one it is not.
func TestPortalStepUp(t *testing.T) {
	p := newPortal(t)
	app := p.token(t, "bob")
	url := p.held(t, "bob", "192.0.2.21")
	b := p.browser(t, chromium.Options{Language: "de"})
	b.Open(url)
	b.See("Verbindung bestätigen")
	if got := b.URL(); got != portalURL+"/step-up" {
		t.Errorf("the reference stays in the address: %s", got)
	}
	b.Shot("step-up")
	b.Type("#code", "000000")
	b.Follow(form("/step-up") + submit)
	b.See("Dieser Code stimmt nicht")
	b.Shot("step-up-wrong")
	b.Type("#code", app.code(t))
	b.Follow(form("/step-up") + submit)
	if filter := p.wasAsked(t, wire.CodeCoARequest); filter != wire.FilterNone {
		t.Errorf("the NAS was told of filter %q", filter)
	}
	b.See("Das Netz ist offen")
	b.Shot("open")
	b.Open(portalURL + "/")
	b.See("Sie haben eine Verbindung")
	b.See("Einmalcode")
	b.Shot("home")
	b.Follow(form("/language") + `button[lang="en"]`)
	b.See("You have one connection")

	// The reference opens nothing any more, here or elsewhere.
	other := p.browser(t, chromium.Options{Hosts: second})
	other.Open(url)
	other.See("The network is open")
	other.Open(portalURL + "/security")
	other.Wait(`!document.body.innerText.includes("Recovery codes")`)
	p.audited(t, `"stepped up"`, `"bob"`, `"permitted"`, `"factor":"code"`)
}

// audited expects a line of the audit log with all of this.
func (p *portal) audited(t *testing.T, parts ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			return
		}
	}
	t.Errorf("no line with %q in the audit log:\n%s", parts, text)
}

// All of it with JavaScript switched off.
func TestPortalWithoutScript(t *testing.T) {
	p := newPortal(t)
	b := p.browser(t, chromium.Options{NoScript: true})
	_, link := p.ticket(t, "alice")
	b.Open(link)
	b.See("You have a ticket")
	if got := b.URL(); got != portalURL+"/enrol" {
		t.Errorf("the ticket stays in the address: %s", got)
	}
	b.Shot("enrol-ticket")
	b.Follow(form("/enrol/ticket") + submit)
	app, recovery := enrol(t, b, func(string) {})
	url := p.held(t, "alice", "192.0.2.33")
	b.Open(url)
	b.See("10 minutes are left")
	b.Shot("step-up")
	b.Type("#code", app.code(t))
	b.Follow(form("/step-up") + submit)
	p.wasAsked(t, wire.CodeCoARequest)
	b.Wait(`(document.querySelector("a.primary[href='/done']") || { click() {} }).click() || document.body.innerText.includes("The network is open")`)
	b.Shot("open")
	b.Open(portalURL + "/security")
	b.See("My security")
	b.Shot("security")
	b.Follow(form("/sign-out") + submit)
	b.Type("#name", "alice")
	b.Type("#password", password)
	b.Click("details summary")
	b.Type("#recovery", recovery[0])
	b.Follow(form("/sign-in") + submit)
	b.See("You have one connection")
	b.Follow(form("/disconnect") + submit)
	p.wasAsked(t, wire.CodeDisconnectRequest)

	// Of keys there is nothing but what it takes.
	b.Open(portalURL + "/security/key")
	b.See("with JavaScript switched on")
	b.Shot("key-without")
	if chromium.Eval[bool](b, `document.querySelector("form[data-ask]").checkVisibility()`) {
		t.Error("a form that cannot be sent")
	}
}

// Security keys: added, for a rule that demands one, behind the password, and gone.
func TestPortalKeys(t *testing.T) {
	p := newPortal(t)
	app := p.token(t, "carol")
	b := p.browser(t, chromium.Options{})
	b.Open(p.held(t, "carol", "192.0.2.43"))
	b.See("You have none yet")
	b.Shot("step-up-none")
	b.Follow(`a[href="/sign-in"]`)
	b.Type("#name", "carol")
	b.Type("#password", password)
	b.Type("#code", app.code(t))
	b.Follow(form("/sign-in") + submit)
	b.Open(portalURL + "/security")
	b.See("Security keys and passkeys")
	b.Follow(`a[href="/security/key"]`)
	b.See("Add a security key")
	b.Shot("key-add")
	key := b.NewKey(false)
	b.Type("#label", "blue key")
	b.Click(form("/security/key") + submit)
	b.See("That did not work, or was cancelled")
	key.Verify(true)
	b.Follow(form("/security/key") + submit)
	b.See("The key was added")
	b.See("blue key")
	b.Shot("security")
	var has struct{ Keys []struct{ ID, Label string } }
	if out := p.tool(t, "", "mfa", "show", "carol", "-o", "json"); json.Unmarshal([]byte(out), &has) != nil || len(has.Keys) != 1 || has.Keys[0].Label != "blue key" {
		t.Errorf("postern mfa show: %s", out)
	}
	if names, _ := key.Held(); !slices.Equal(names, []string{portalHost}) {
		t.Errorf("the key is bound to %v", names)
	}
	b.Open(portalURL + "/security/key")
	b.Click(form("/security/key") + submit)
	b.See("This key is on your list already")

	// The rule of the admins takes nothing less.
	b.Open(p.held(t, "carol", "192.0.2.44"))
	b.See("This connection needs a security key")
	b.Shot("step-up")
	if b.Has("#code") {
		t.Error("a field for a code that cannot be enough")
	}
	key.Verify(false)
	b.Click(form("/step-up/key") + submit)
	b.See("That did not work, or was cancelled")
	b.Shot("step-up-failed")
	key.Verify(true)
	b.Follow(form("/step-up/key") + submit)
	p.wasAsked(t, wire.CodeCoARequest)
	b.See("The network is open")
	p.audited(t, `"stepped up"`, `"carol"`, `"permitted"`, `"factor":"webauthn"`)

	// A key whose counter stands where it stood before: a copy of it.
	_, counts := key.Held()
	url := p.held(t, "carol", "192.0.2.45")
	b.Open(url)
	key.Rewind(counts[0] - 1)
	b.Follow(form("/step-up/key") + submit)
	b.See("There may be a copy of this key")
	b.Shot("step-up-copied")
	key.Rewind(counts[0] + 10)

	// Behind the password, in place of a code.
	b.Open(portalURL + "/")
	b.Follow(form("/sign-out") + submit)
	b.Type("#name", "carol")
	b.Type("#password", password)
	b.Follow(form("/sign-in") + submit)
	b.See("Now your security key")
	b.Shot("sign-in-key")
	b.Follow(form("/sign-in/key") + submit)
	b.See("My connections")
	b.See("security key")
	p.audited(t, `"login"`, `"carol"`, `"permitted"`, `"portal"`, `"factor":"webauthn"`)

	b.Open(portalURL + "/security")
	b.Follow(`section[aria-labelledby="keys"] a[href^="/security/remove"]`)
	b.See("Remove this key?")
	b.Shot("remove")
	b.Follow(form("/security/remove") + submit)
	b.See("The key was removed")
	b.Open(url)
	b.See("This connection needs a security key")
	if b.Has(form("/step-up/key")) {
		t.Error("a key is asked for that is gone")
	}

	// One that an operator takes away.
	b.Open(portalURL + "/security/key")
	b.Follow(form("/security/key") + submit)
	b.See("Key without a name")
	if out := p.tool(t, "", "mfa", "show", "carol", "-o", "json"); json.Unmarshal([]byte(out), &has) != nil || len(has.Keys) != 1 {
		t.Fatalf("postern mfa show: %s", out)
	}
	if out := p.tool(t, "", "mfa", "remove", "carol", has.Keys[0].ID); !strings.Contains(out, "key "+has.Keys[0].ID+" of carol removed") {
		t.Errorf("postern mfa remove: %s", out)
	}
	b.Reload()
	b.Open(portalURL + "/security")
	b.See("You have none.")
}
