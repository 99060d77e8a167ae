package service

import (
	"bytes"
	"crypto/tls"
	"encoding/base32"
	"errors"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"layeh.com/radius/rfc2865"

	"postern/authz/directory"
	"postern/authz/grant"
	"postern/authz/session"
	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/pki"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/policy"
	"postern/radiusd/portal"
)

const portalPolicy = `version: 1
pools: {staff: [203.0.113.10-203.0.113.99]}
rules:
  - id: staff
    when: {group: Plant-Devices}
    then: {permit: {pool: staff, carriers: [inline, remembered, quarantine], remember: {for: 12h}, quarantine: 5m}}
`

// withPortal is a site with a portal on a port of its own, and a user ruth beside plant.
func withPortal(t *testing.T) *config.Service {
	t.Helper()
	cfg := site(t)
	dir := filepath.Dir(string(cfg.Policy))
	write(t, string(cfg.Policy), portalPolicy)
	ring, err := seal.ReadFile(string(cfg.KeyRing))
	if err != nil {
		t.Fatal(err)
	}
	users := &directory.Users{Path: string(cfg.Users), Ring: ring}
	if err := users.Add(directory.User{Name: "ruth", Groups: []string{"Plant-Devices"}}, cmdtest.Password); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.Open(filepath.Join(dir, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue("portal", pki.ForServer, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	address := cmdtest.FreeTCP(t)
	cfg.Portal = config.Portal{
		Listen: config.Listen(address), URL: config.PortalURL("https://" + address), Cert: id.Cert, Key: id.Key, Default: "en", Name: "Test VPN",
		EnrolFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Idle: 10 * time.Minute, Lifetime: time.Hour,
		Limits: config.PortalLimits{PerSource: 60, PerUser: 20, Connections: 100, PerAddress: 100},
	}
	return cfg
}

// visitor is somebody with a browser.
type visitor struct {
	t      *testing.T
	client *http.Client
	origin string
	path   string
	code   int
	page   string
}

func visit(t *testing.T, cfg *config.Service) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // that it has one is another test's
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t: t, client: &http.Client{Jar: jar, Transport: transport, Timeout: 20 * time.Second}, origin: string(cfg.Portal.URL)}
}

func (v *visitor) take(res *http.Response, err error) *visitor {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	v.path, v.code, v.page = res.Request.URL.Path, res.StatusCode, html.UnescapeString(string(b))
	return v
}

func (v *visitor) get(path string) *visitor {
	v.t.Helper()
	return v.take(v.client.Get(v.origin + path))
}

// submit sends the first form for an action that the page has, with what is set.
func (v *visitor) submit(action string, set ...string) *visitor {
	v.t.Helper()
	_, form, found := strings.Cut(v.page, ` action="`+action+`"`)
	if !found {
		v.t.Fatalf("%s has no form for %s:\n%s", v.path, action, v.page)
	}
	form, _, _ = strings.Cut(form, "</form>")
	values := url.Values{}
	for _, m := range regexp.MustCompile(`type="hidden" name="([a-z]+)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		values.Set(m[1], m[2])
	}
	for i := 0; i+1 < len(set); i += 2 {
		values.Set(set[i], set[i+1])
	}
	return v.take(v.client.PostForm(v.origin+action, values))
}

func (v *visitor) at(path string, code int, texts ...string) *visitor {
	v.t.Helper()
	for _, want := range texts {
		if !strings.Contains(v.page, want) {
			code = -1
		}
	}
	if v.path != path || v.code != code {
		v.t.Fatalf("%s %d, want %s %d and %q:\n%s", v.path, v.code, path, code, texts, v.page)
	}
	return v
}

// now is the store's time, which codes go by.
func now(t *testing.T, s *Service) time.Time {
	t.Helper()
	clock := &store.Time{}
	if err := s.Store().Do(t.Context(), store.Seq{clock}); err != nil {
		t.Fatal(err)
	}
	return clock.Now
}

func codeOf(t *testing.T, s *Service, secret string, ahead time.Duration) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, now(t, s).Add(ahead))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// A session in quarantine, from the redirect to the next call that needs no code.
func TestPortalStepUp(t *testing.T) {
	cfg := withPortal(t)
	var audit lines
	s, c := start(t, cfg, Options{Audit: &audit})
	e, err := s.MFA().Enroll(t.Context(), now(t, s), "plant", "phone")
	if err != nil {
		t.Fatal(err)
	}
	accept := cmdtest.Expect(t, tunnelled{c}, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
	_, where, held := radius.GetQuarantine(accept)
	path, ours := strings.CutPrefix(where, string(cfg.Portal.URL))
	if !held || !ours {
		t.Fatalf("quarantine %v at %q", held, where)
	}
	b := visit(t, cfg).get(path).at("/step-up", 200, "You are connected as plant")
	b.submit("/step-up", "code", "000000").at("/step-up", 422, "This code is not right")
	code := codeOf(t, s, e.Secret, 0)
	other := visit(t, cfg).get(path).at("/step-up", 200)
	b.submit("/step-up", "code", code).at("/done", 200)
	other.submit("/step-up", "code", code).at("/done", 200)
	if got := strings.Join(audit.of(t, rfc2865.Class_GetString(accept)), "; "); !strings.HasPrefix(got, "login quarantined none; step-up refused code wrong none; stepped up permitted code") ||
		strings.Count(got, "stepped up permitted") != 1 {
		t.Errorf("audit %q", got)
	}
	cmdtest.Expect(t, tunnelled{c}, "plant", cmdtest.Password, "s2", radius.CodeAccessAccept)
	recs, err := s.Sessions().ByUser(t.Context(), "plant")
	if err != nil || len(recs) != 2 || slices.ContainsFunc(recs, func(r session.Record) bool { return !r.Quarantine.IsZero() }) {
		t.Fatalf("%+v, %v", recs, err)
	}
	b.get("/").at("/", 200, "You have 2 connections.", "remembered place")
	b.get("/security").at("/security", 200, "Remembered places", "phone").submit("/security/forget").at("/security", 200, "The place is forgotten", "There are none")
	again := cmdtest.Expect(t, tunnelled{c}, "plant", cmdtest.Password, "s3", radius.CodeAccessAccept)
	if _, _, held := radius.GetQuarantine(again); !held {
		t.Error("no code was asked for after the place was forgotten")
	}
	b.get("/").submit("/disconnect").at("/", 200, "is being ended")
	wishes, err := s.Sessions().Wishes(t.Context())
	if err != nil || len(wishes) == 0 {
		t.Errorf("wishes %v, %v", wishes, err)
	}
}

// From a ticket to a second factor that works; what is in the store's file meanwhile
// is of no use to whoever has a copy.
func TestPortalEnrolment(t *testing.T) {
	cfg := withPortal(t)
	s, _ := start(t, cfg, Options{})
	ticket, err := s.MFA().NewTicket(t.Context(), "ruth", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	b := visit(t, cfg).get("/enrol?ticket="+ticket.Code).at("/enrol", 200, "You have a ticket")
	b.submit("/enrol/ticket").at("/enrol", 200, "For ruth").submit("/enrol", "label", "Phone").at("/enrol/device", 200, "Scan this picture")
	m := regexp.MustCompile(`id="secret">([A-Z2-7 ]+)<`).FindStringSubmatch(b.page)
	if m == nil {
		t.Fatalf("no secret:\n%s", b.page)
	}
	secret := strings.ReplaceAll(m[1], " ", "")
	first := codeOf(t, s, secret, -30*time.Second)
	b.submit("/enrol/device", "code", first).at("/recovery", 200, "Save your recovery codes")
	codes := regexp.MustCompile(`<code>([0-9A-Z-]{19})</code>`).FindAllStringSubmatch(b.page, -1)
	if len(codes) != 10 {
		t.Fatalf("%d recovery codes", len(codes))
	}
	found := secretsIn(t, cfg, secret, codes[0][1], ticket.Code, first, cmdtest.Password, b.cookie())
	if found != "" {
		t.Errorf("%s is in the store's file", found)
	}
	b.submit("/recovery").at("/enrol/done", 200, "ruth+123456")
	visit(t, cfg).get("/enrol?ticket="+ticket.Code).submit("/enrol/ticket").at("/enrol/ticket", 422, "This ticket is not valid")

	// Once with the code, the second time with a recovery code, and each of them once.
	sign := func(field, code string) *visitor {
		return visit(t, cfg).get("/").submit("/sign-in", "name", "ruth", "password", cmdtest.Password, field, code)
	}
	sign("code", first).at("/sign-in", 422)
	code := codeOf(t, s, secret, 0)
	b = sign("code", code).at("/", 200, "You have no connection now")
	sign("code", code).at("/sign-in", 422)
	sign("recovery", strings.ToLower(codes[3][1])).at("/", 200)
	sign("recovery", codes[3][1]).at("/sign-in", 422)
	b.get("/security").at("/security", 200, "9 codes are left", "Phone")
	b.submit("/security/recovery").at("/recovery", 200)
	b.submit("/recovery")
	sign("recovery", codes[4][1]).at("/sign-in", 422)

	// The only device stays; a second one may go.
	id := regexp.MustCompile(`/security/remove\?id=([a-z0-9]+)`).FindStringSubmatch(b.get("/security").page)
	b.get("/security/remove?id="+id[1]).at("/security/remove", 409)
	b.get("/enrol").submit("/enrol", "label", "Tablet")
	second := strings.ReplaceAll(regexp.MustCompile(`id="secret">([A-Z2-7 ]+)<`).FindStringSubmatch(b.page)[1], " ", "")
	b.submit("/enrol/device", "code", codeOf(t, s, second, 0)).at("/security", 200, "Tablet")
	b.get("/security/remove?id="+id[1]).submit("/security/remove").at("/security", 200, "The device was removed")
	if tokens, err := s.MFA().Tokens(t.Context(), "ruth"); err != nil || len(tokens) != 1 || tokens[0].Label != "Tablet" {
		t.Errorf("%+v, %v", tokens, err)
	}
}

// cookie is the browser's proof of its session.
func (v *visitor) cookie() string {
	u, err := url.Parse(v.origin)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range v.client.Jar.Cookies(u) {
		if c.Name == "__Host-postern" {
			return c.Value
		}
	}
	v.t.Fatal("no session")
	return ""
}

// secretsIn looks for secrets in the store's file, in the ways they could lie there.
func secretsIn(t *testing.T, cfg *config.Service, secrets ...string) string {
	t.Helper()
	b, err := os.ReadFile(string(cfg.Store.Path))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte("user:ruth")) {
		t.Fatal("this is not the store's file")
	}
	for _, s := range secrets {
		ways := [][]byte{[]byte(s), []byte(strings.ReplaceAll(s, "-", ""))}
		// Three octets that six digits stand for are in any file.
		if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s); err == nil && len(raw) > 8 {
			ways = append(ways, raw)
		}
		for _, w := range ways {
			for at, rest := 0, b; ; {
				i := bytes.Index(rest, w)
				if i < 0 {
					break
				}
				// Six digits of a longer number or behind its point, an instant most likely, are no code.
				at += i
				if len(w) > 8 || !digit(b, at-1) && !digit(b, at+len(w)) {
					return s
				}
				at++
				rest = b[at:]
			}
		}
	}
	return ""
}

func digit(b []byte, at int) bool {
	return at >= 0 && at < len(b) && (b[at] >= '0' && b[at] <= '9' || b[at] == '.')
}

// A password is enough in a trusted network, for who has no factor; the shield counts
// here and in logins together.
func TestPortalSignIn(t *testing.T) {
	cfg := withPortal(t)
	cfg.Lockout.User = config.Threshold{Failures: 3, Window: time.Hour, Lock: time.Hour, MaxLock: time.Hour}
	cfg.Lockout.GoodFor = time.Hour
	s, c := start(t, cfg, Options{})
	b := visit(t, cfg).get("/")
	b.submit("/sign-in", "name", "ruth", "password", "wrong").at("/sign-in", 422, "is not right")
	b.submit("/sign-in", "name", "ruth", "password", cmdtest.Password).at("/enrol", 200, "For ruth")
	for range 2 {
		visit(t, cfg).get("/").submit("/sign-in", "name", "plant", "password", "wrong").at("/sign-in", 422)
	}
	cmdtest.Expect(t, c, "plant", "wrong", "s1", radius.CodeAccessReject)
	visit(t, cfg).get("/").submit("/sign-in", "name", "plant", "password", cmdtest.Password).at("/sign-in", 422, "is not right")
	cmdtest.Expect(t, c, "plant", cmdtest.Password, "s2", radius.CodeAccessReject)
	if !s.Portal().Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort().IsValid() {
		t.Error("no address")
	}
}

// The same code at two services in the same moment lets one in.
func TestPortalsTogether(t *testing.T) {
	cfg := withPortal(t)
	st, err := OpenStore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	a, _ := start(t, cfg, Options{Store: shared{st}})
	second := *cfg
	address := cmdtest.FreeTCP(t)
	second.Portal.Listen, second.Portal.URL = config.Listen(address), config.PortalURL("https://"+address)
	start(t, &second, Options{Store: shared{st}})
	e, err := a.MFA().Enroll(t.Context(), now(t, a), "ruth", "phone")
	if err != nil {
		t.Fatal(err)
	}
	code := codeOf(t, a, e.Secret, 0)
	const tries = 8
	visitors := make([]*visitor, tries)
	for i := range tries {
		at := cfg
		if i%2 == 1 {
			at = &second
		}
		visitors[i] = visit(t, at).get("/")
	}
	var all sync.WaitGroup
	for _, v := range visitors {
		all.Go(func() { v.submit("/sign-in", "name", "ruth", "password", cmdtest.Password, "code", code) })
	}
	all.Wait()
	in := 0
	for _, v := range visitors {
		if v.path == "/" && v.code == 200 {
			in++
		}
	}
	if in != 1 {
		t.Errorf("one code let %d in", in)
	}
}

func TestPortalReload(t *testing.T) {
	cfg := withPortal(t)
	s, _ := start(t, cfg, Options{})
	b := visit(t, cfg).get("/").at("/", 200, "Test VPN")
	next := *cfg
	next.Portal.Name, next.Portal.URL = "Renamed VPN", "https://elsewhere.example"
	if err := s.Reload(&next); err != nil {
		t.Fatal(err)
	}
	b.get("/").at("/", 200, "Renamed VPN")
	bad := next
	bad.Portal.Cert = "nowhere"
	if err := s.Reload(&bad); err == nil {
		t.Error("a certificate of nowhere")
	}
	gone := next
	gone.Portal = config.Portal{}
	if err := s.Reload(&gone); err != nil {
		t.Fatal(err)
	}
	b.get("/").at("/", 200)
	if err := Check(cfg); err != nil {
		t.Error(err)
	}
	if err := Check(&bad); err == nil {
		t.Error("checked without a certificate")
	}
	if err := s.Healthy(t.Context()); err != nil {
		t.Error(err)
	}
	s.Stop()
	if c, err := net.Dial("tcp", string(cfg.Portal.Listen)); err == nil {
		c.Close()
		t.Error("listens after its end")
	}
}

// Whoever comes from the VPN itself is not in a trusted network.
func TestVPNAddresses(t *testing.T) {
	cfg := withPortal(t)
	s, _ := start(t, cfg, Options{})
	s.cfg.Clients = []config.NASClient{
		{Name: "gw", Node: true, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{Name: "switches", Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
	}
	d := &desk{decider: s.decider, service: s}
	for a, want := range map[string]bool{
		"203.0.113.10": true, "203.0.113.99": true, "203.0.113.100": false, "192.0.2.7": true, "198.51.100.7": false, "10.0.0.1": false, "2001:db8::1": false,
	} {
		if got := d.VPN(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v", a, got)
		}
	}
	for _, a := range localAddrs() {
		if !d.VPN(a) {
			t.Errorf("this host's %v", a)
		}
	}
}

// What is remembered must not outlive the device that it may have been given with.
func TestRemovedDeviceIsForgotten(t *testing.T) {
	s, _ := start(t, withPortal(t), Options{})
	d := &desk{decider: s.decider, tokens: s.verifier, sessions: s.sessions, grants: grant.New(s.store), service: s}
	e, err := s.verifier.Enroll(t.Context(), now(t, s), "plant", "phone")
	if err != nil {
		t.Fatal(err)
	}
	give := func() {
		t.Helper()
		q := grant.Ask("plant")
		if err := s.store.Do(t.Context(), q.Seqs()...); err != nil {
			t.Fatal(err)
		}
		w, err := q.Give(now(t, s), &grant.Place{Source: netip.MustParseAddr("192.0.2.7"), Remember: policy.Remember{For: time.Hour}}, "code", "D1")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.store.Do(t.Context(), w.Seqs()...); err != nil || !w.OK() {
			t.Fatal(err, w.OK())
		}
	}
	give()
	if places, err := d.Places(t.Context(), "plant"); err != nil || len(places) != 1 {
		t.Fatalf("%v, %v", places, err)
	}
	if err := d.Remove(t.Context(), "plant", e.Token.ID); err != nil {
		t.Fatal(err)
	}
	if places, err := d.Places(t.Context(), "plant"); err != nil || len(places) != 0 {
		t.Errorf("%v, %v", places, err)
	}
	if err := d.Remove(t.Context(), "plant", "none"); !errors.Is(err, portal.ErrNotFound) {
		t.Errorf("a device that is not there: %v", err)
	}
}
