package portal

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/authz"
)

// Each row is a way to send the step-up's form that must not reach the Backend.
func TestForgedForms(t *testing.T) {
	const path = "/step-up"
	for _, c := range []struct {
		name string
		edit func(b *browser, v url.Values, r **http.Request)
		code int
		why  string
	}{
		{"no token", func(b *browser, v url.Values, r **http.Request) { v.Del("form"); *r = b.request(path, v) }, 403, "form_token"},
		{"empty token", func(b *browser, v url.Values, r **http.Request) { v.Set("form", ""); *r = b.request(path, v) }, 403, "form_token"},
		{"wrong token", func(b *browser, v url.Values, r **http.Request) {
			v.Set("form", strings.Repeat("A", 43))
			*r = b.request(path, v)
		}, 403, "form_token"},
		{"the token twice", func(b *browser, v url.Values, r **http.Request) {
			v["form"] = []string{v["form"][0], v["form"][0]}
			*r = b.request(path, v)
		}, 403, "form_token"},
		{"another form's token", func(b *browser, v url.Values, r **http.Request) {
			v.Set("form", b.form("/language").Get("form"))
			*r = b.request(path, v)
		}, 403, "form_token"},
		{"another browser's token", func(b *browser, v url.Values, r **http.Request) {
			v.Set("form", b.s.browser().get("/s/ref-1").form(path).Get("form"))
			*r = b.request(path, v)
		}, 403, "form_token"},
		{"another browser's cookie", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			b.cookies[cookieForm] = newRandom()
		}, 403, "form_token"},
		{"no cookie", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			delete(b.cookies, cookieForm)
		}, 403, "form_token"},
		{"a short cookie and its token", func(b *browser, v url.Values, r **http.Request) {
			b.cookies[cookieForm] = "x"
			v.Set("form", formToken("x", path))
			*r = b.request(path, v)
		}, 403, "form_token"},
		{"the cookie planted a second time", func(b *browser, v url.Values, r **http.Request) {
			planted := newRandom()
			v.Set("form", formToken(planted, path))
			*r = b.request(path, v)
			(*r).Header.Set("Cookie", cookieForm+"="+planted)
		}, 403, "form_token"},
		{"another site", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			(*r).Header.Set("Sec-Fetch-Site", "cross-site")
		}, 403, "cross_site"},
		{"another host of the domain", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			(*r).Header.Set("Sec-Fetch-Site", "same-site")
		}, 403, "cross_site"},
		{"another origin, of an old browser", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			(*r).Header.Del("Sec-Fetch-Site")
			(*r).Header.Set("Origin", "https://portal.example.org.evil.example")
		}, 403, "cross_site"},
		{"plain HTTP's origin", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			(*r).Header.Del("Sec-Fetch-Site")
			(*r).Header.Set("Origin", "http://portal.example.org")
		}, 403, "cross_site"},
		{"in the address", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path+"?"+v.Encode(), url.Values{})
		}, 400, "form"},
		{"as JSON", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			(*r).Header.Set("Content-Type", "application/json")
		}, 400, "form"},
		{"as text", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			(*r).Header.Set("Content-Type", "text/plain")
		}, 400, "form"},
		{"without a type", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			(*r).Header.Del("Content-Type")
		}, 400, "form"},
		{"not encoded", func(b *browser, v url.Values, r **http.Request) {
			*r = httptest.NewRequest(http.MethodPost, path, strings.NewReader("form=%zz&"+v.Encode()))
			(*r).Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}, 400, "form"},
		{"too much", func(b *browser, v url.Values, r **http.Request) {
			v.Set("more", strings.Repeat("x", maxBody))
			*r = b.request(path, v)
		}, 413, "body"},
		{"by PUT", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			(*r).Method = http.MethodPut
		}, 405, "method"},
		{"by a method of its own", func(b *browser, v url.Values, r **http.Request) { *r = b.request(path, v); (*r).Method = "post" }, 405, "method"},
		{"by TRACE", func(b *browser, v url.Values, r **http.Request) {
			*r = b.request(path, v)
			(*r).Method = http.MethodTrace
		}, 405, "method"},
		{"to a page without a form", func(b *browser, v url.Values, r **http.Request) { *r = b.request("/done", v) }, 405, "method"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.fake.add("alice")
			s.fake.hold("alice", "ref-1", "198.51.100.7")
			b := s.browser().get("/s/ref-1").at("/step-up", 200)
			var r *http.Request
			c.edit(b, b.form(path, "code", "123456"), &r)
			b.do(r)
			if b.code != c.code || counter(t, s, "postern_portal_refused_total", "reason", c.why) != 1 {
				t.Errorf("%d, want %d and %s counted:\n%s", b.code, c.code, c.why, b.text())
			}
			if len(s.fake.stepUps) != 0 || s.fake.people["alice"].code == "" {
				t.Error("it reached the Backend")
			}
		})
	}
}

// What old browsers send is enough: a token, and no more headers than they have.
func TestOldBrowsers(t *testing.T) {
	for _, origin := range []string{"", "null", portalURL} {
		s := newSite(t)
		s.fake.add("alice")
		s.fake.hold("alice", "ref-1", "198.51.100.7")
		b := s.browser().get("/s/ref-1")
		r := b.request("/step-up", b.form("/step-up", "code", "123456"))
		r.Header.Del("Sec-Fetch-Site")
		r.Header.Del("Origin")
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		r.Header.Set("Content-Type", "Application/x-www-form-urlencoded; charset=UTF-8")
		if b.do(r); b.code != http.StatusSeeOther || len(s.fake.released) != 1 {
			t.Errorf("origin %q: %d", origin, b.code)
		}
	}
}

func TestReplayedForm(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	b := s.browser().get("/")
	tab := b.clone()
	sent := b.form("/sign-in", "name", "alice", "password", "correct horse", "code", "123456")
	b.submit("/sign-in", "name", "alice", "password", "correct horse", "code", "123456").at("/", 200)
	// By who recorded all of it, cookies included.
	if tab.do(tab.request("/sign-in", sent)); tab.code != 422 || tab.cookies[cookieSession] != "" {
		t.Errorf("a replayed sign-in: %d", tab.code)
	}
	// In the same browser, whose session has another name now.
	if b.do(b.request("/sign-in", sent)); b.code != 403 {
		t.Errorf("a form of before the sign-in: %d", b.code)
	}
}

func TestSessionEnds(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	b := s.browser().signIn("alice").get("/security").at("/security", 200)
	form := b.form("/security/recovery")
	tab := b.clone()

	// By itself, when nobody uses it.
	s.sleep(11 * time.Minute)
	tab.get("/security").at("/security", 403, "You were signed out")
	b.do(b.request("/security/recovery", form))
	if b.code != 403 || !strings.Contains(b.text(), "You were signed out") || b.cookies[cookieSession] != "" {
		t.Errorf("a form of an idle session: %d %s", b.code, b.text())
	}
	// Whether it is used or not.
	b = s.browser().signIn("alice")
	for range 13 {
		s.sleep(9 * time.Minute)
		b.get("/").at("/", 200, "My connections")
	}
	s.sleep(9 * time.Minute)
	b.get("/").at("/", 200, "Sign in")
	// By signing out, for whoever has copied the cookie, too.
	b = s.browser().signIn("alice")
	tab = b.clone()
	b.submit("/sign-out")
	tab.get("/security").at("/security", 403, "You were signed out")
	if s.fake.people["alice"].recovery[0] != "old-0000-wxyz" {
		t.Error("a dead session made recovery codes")
	}
}

func TestForeignSessions(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	s.fake.add("mallory").devices[0].ID = "mine"
	s.fake.hold("alice", "ref-1", "198.51.100.7")
	alice, mallory := s.browser().signIn("alice"), s.browser().signIn("mallory")

	// Alice's token in Mallory's session.
	alice.get("/security")
	v := alice.form("/security/recovery")
	if mallory.do(mallory.request("/security/recovery", v)); mallory.code != 403 {
		t.Errorf("a foreign token: %d", mallory.code)
	}
	// Alice's things by name.
	for path, id := range map[string]string{"/disconnect": "gw1/ref-1", "/security/remove": "dev1", "/security/forget": "g1"} {
		mallory.do(mallory.request(path, urlValues("form", formToken(mallory.cookies[cookieSession], path), "id", id)))
		if mallory.code >= 500 {
			t.Errorf("%s: %d", path, mallory.code)
		}
	}
	mallory.get("/step-up?session=gw1/ref-1").at("/", 200, "You have no connection now")
	mallory.do(mallory.request("/step-up", urlValues("form", formToken(mallory.cookies[cookieSession], "/step-up"), "session", "gw1/ref-1", "code", "123456")))
	if p := s.fake.people["alice"]; len(p.conns) != 1 || len(p.devices) != 1 || len(s.fake.stepUps) != 0 || len(p.recovery) != 10 {
		t.Errorf("%+v", p)
	}
	// Signing in again as somebody else is no proof.
	s.sleep(6 * time.Minute)
	s.fake.people["alice"].code = "999999"
	mallory.get("/again").at("/again", 200)
	r := mallory.request("/again", mallory.form("/again", "password", "correct horse", "code", "999999", "name", "alice", "username", "alice"))
	if mallory.do(r); mallory.code != 422 {
		t.Errorf("signed in again as another: %d", mallory.code)
	}
	if last := s.fake.signIns[len(s.fake.signIns)-1]; last.Name != "mallory" {
		t.Errorf("asked for %s", last.Name)
	}
}

// A stored session belongs to its cookie, and only what the ring has sealed is one.
func TestForgedSessions(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	s.fake.add("mallory")
	alice, mallory := s.browser().signIn("alice"), s.browser().signIn("mallory")
	_, raw, err := s.srv.load(t.Context(), alice.cookies[cookieSession])
	if err != nil || raw == "" {
		t.Fatal(err)
	}
	for _, forged := range []string{raw, "", "v1.x.y", `{"user":"alice","level":2}`, strings.Repeat("x", maxRecord+1)} {
		put(t, s, keyOf(mallory.cookies[cookieSession]), forged)
		mallory.clone().get("/security").at("/security", 403, "You were signed out")
	}
	if strings.Contains(raw, "alice") || strings.Contains(keyOf(alice.cookies[cookieSession]).String(), alice.cookies[cookieSession]) {
		t.Error("the store could be read")
	}
	for _, c := range []string{"", "x", strings.Repeat("A", 42), strings.Repeat("A", 43) + "=", strings.Repeat("A", 43) + "\r\n", "../" + strings.Repeat("A", 40)} {
		if x, _, err := s.srv.load(t.Context(), c); x != nil || err != nil {
			t.Errorf("cookie %q: %v, %v", c, x, err)
		}
	}
}

func TestPathTricks(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	b := s.browser().signIn("alice")
	for _, path := range []string{
		"//", "//evil.example", "//evil.example/..", "/./", "/../", "/security/", "/security/.", "/Security", "/security%2f", "/%73ecurity", "/security;x=1",
		"/security%00", "/sign-in/../security", "/static/", "/static/../portal.css", "/static/portal.css", "/static/%2e%2e/texts/en.yaml", "/static//portal.css",
		"/s", "/s/", "/s/a/b", "/s/a%2fb", "/s/%0d%0aSet-Cookie:x=y", "/s/" + strings.Repeat("a", maxReference+1), "/texts/en.yaml", "/.git/config",
		"/recovery/codes.txt/", "/enrol/ticket/x", "/wp-login.php",
	} {
		if b.do(newGet(path)); b.code != http.StatusNotFound {
			t.Errorf("%s: %d", path, b.code)
		}
		if b.head.Get("Location") != "" || len(b.head["Set-Cookie"]) > 1 {
			t.Errorf("%s: %v", path, b.head)
		}
	}
	long := newGet("/?" + strings.Repeat("x", maxPath))
	if b.do(long); b.code != http.StatusNotFound {
		t.Errorf("a long address: %d", b.code)
	}
}

func TestOtherHosts(t *testing.T) {
	s := newSite(t)
	for _, host := range []string{"", "evil.example", "portal.example.org:8443", "portal.example.org.evil.example", "192.0.2.1"} {
		r := newGet("/")
		w := httptest.NewRecorder()
		r.Host = host
		s.srv.ServeHTTP(w, r)
		if w.Code != http.StatusMisdirectedRequest || strings.Contains(w.Body.String(), "Example VPN") || len(w.Header()["Set-Cookie"]) > 0 {
			t.Errorf("host %q: %d %s", host, w.Code, w.Body)
		}
		r = newGet("/health")
		w = httptest.NewRecorder()
		r.Host = host
		if s.srv.ServeHTTP(w, r); w.Code != 200 || w.Body.String() != "ok\n" {
			t.Errorf("health under %q: %d", host, w.Code)
		}
	}
	r := newGet("/")
	r.Host, r.URL.Host = "portal.example.org", "evil.example" // an absolute request target
	w := httptest.NewRecorder()
	if s.srv.ServeHTTP(w, r); w.Code != http.StatusNotFound {
		t.Errorf("a proxy's request: %d", w.Code)
	}
}

// Nothing that a visitor sends becomes a header, markup, or a line of the log.
func TestInjection(t *testing.T) {
	const evil = "\r\nSet-Cookie: x=y\r\n\r\n<script>alert(1)</script>\" onfocus=\"x"
	s := newSite(t)
	p := s.fake.add("alice")
	p.conns = []Connection{{ID: evil, Node: evil, Client: evil, Factor: evil, Since: s.now}}
	p.places = []Place{{ID: "x", Device: evil}}
	p.devices[0].Label = evil
	b := s.browser()
	b.get("/").submit("/sign-in", "name", evil, "password", evil, "recovery", evil)
	b.get("/enrol?ticket=" + url.QueryEscape(evil))
	b.submit("/enrol/ticket", "ticket", evil)
	b.get("/").submit("/language", "lang", evil, "back", evil)
	b.get("/").submit("/language", "lang", "de", "back", "//evil.example").at("/", 200)
	b.signInGerman("alice").get("/security").get("/security/remove?id="+url.QueryEscape(evil)).at("/security", 200)
	b.get("/again?to=" + url.QueryEscape(evil) + "&id=" + url.QueryEscape(evil))
	b.get("/enrol").submit("/enrol", "label", evil).at("/enrol", 422)
	b.get("/enrol").submit("/enrol", "label", "<b>&\"'").at("/enrol/device", 200)
	b.lang = strings.Repeat("x", 10000)
	b.get("/").at("/", 200)
	for line := range strings.Lines(s.logs.String()) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line of somebody else's: %q", line)
		}
	}
}

func (b *browser) signInGerman(user string) *browser {
	b.s.t.Helper()
	return b.get("/").submit("/sign-in", "name", user, "password", "correct horse", "code", "123456").at("/", 200, "Meine Verbindungen")
}

// Who is refused cannot tell why: all answers are one, octet for octet, but for the
// name that was typed and the tokens of forms.
func TestNoEnumeration(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	s.fake.add("dora").disabled = true
	s.fake.add("nobody1").devices = nil // not enrolled
	s.fake.add("locked1").wrong = 5
	s.fake.add("replay1").used = "123456"
	s.fake.people["replay1"].code = ""
	var first []byte
	var head http.Header
	for _, c := range [][3]string{
		{"unknown", "correct horse", "123456"}, {"unknown", "correct horse", ""}, {"alice", "wrong", "123456"}, {"alice", "wrong", ""},
		{"alice", "correct horse", "000000"}, {"alice", "correct horse", ""}, {"dora", "correct horse", "123456"}, {"nobody1", "correct horse", ""},
		{"nobody1", "correct horse", "123456"}, {"locked1", "correct horse", "123456"}, {"replay1", "correct horse", "123456"},
	} {
		b := s.browser()
		b.get("/").submit("/sign-in", "name", c[0], "password", c[1], "code", c[2]).at("/sign-in", 422, "User name, password or code is not right.")
		body := bytes.ReplaceAll([]byte(b.body), []byte(`value="`+c[0]+`"`), []byte(`value="NAME"`))
		for _, token := range []string{b.form("/sign-in").Get("form"), b.form("/language").Get("form")} {
			body = bytes.ReplaceAll(body, []byte(token), []byte("TOKEN"))
		}
		if first == nil {
			first, head = body, b.head
			continue
		}
		if !bytes.Equal(body, first) {
			t.Errorf("%v: another answer:\n%s\n%s", c, body, first)
		}
		if !maps.EqualFunc(b.head, head, slices.Equal) {
			t.Errorf("%v: %v, %v", c, b.head, head)
		}
	}
}

// The same with tickets: one that never was, one that was used.
func TestRepeatedTicket(t *testing.T) {
	s := newSite(t)
	s.fake.add("bob").devices = nil
	s.fake.tickets["TICKET"] = "bob"
	one, two := s.browser().get("/enrol?ticket=TICKET"), s.browser().get("/enrol?ticket=TICKET")
	one.submit("/enrol/ticket").at("/enrol", 200, "For bob")
	two.submit("/enrol/ticket").at("/enrol/ticket", 422, "This ticket is not valid")
	if two.cookies[cookieSession] != "" || two.cookies[cookieTicket] != "" {
		t.Errorf("cookies %v", two.cookies)
	}
	three := s.browser().get("/enrol").submit("/enrol/ticket", "ticket", "NEVER").at("/enrol/ticket", 422)
	if strip(two) != strip(three) {
		t.Error("a used ticket is answered in another way than one that never was")
	}
	s.browser().get("/enrol").submit("/enrol/ticket").at("/enrol/ticket", 422, "Enter the ticket.")
	s.browser().get("/enrol").submit("/enrol/ticket", "ticket", strings.Repeat("T", maxTicket+1)).at("/enrol/ticket", 422)
}

// strip is a page without its tokens.
func strip(b *browser) string {
	s := b.body
	for _, action := range []string{"/enrol/ticket", "/language"} {
		s = strings.ReplaceAll(s, b.form(action).Get("form"), "TOKEN")
	}
	return s
}

func TestParallelStepUps(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	s.fake.hold("alice", "ref-1", "198.51.100.7")
	first := s.browser().get("/s/ref-1")
	form := first.form("/step-up", "code", "123456")
	const tries = 15 // below the limit of a user
	codes := make([]int, tries)
	sessions := make([]string, tries)
	var all sync.WaitGroup
	for i := range tries {
		r := first.request("/step-up", form)
		r.Host, r.RemoteAddr = "portal.example.org", "198.51.100.7:1"
		for name, value := range first.cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		all.Go(func() {
			w := httptest.NewRecorder()
			s.srv.ServeHTTP(w, r)
			codes[i] = w.Code
			for _, line := range w.Header()["Set-Cookie"] {
				if c, err := http.ParseSetCookie(line); err == nil && c.Name == cookieSession {
					sessions[i] = c.Value
				}
			}
		})
	}
	all.Wait()
	opened := 0
	for i := range tries {
		if codes[i] != http.StatusSeeOther {
			t.Errorf("answer %d", codes[i])
		}
		if sessions[i] != "" {
			opened++
		}
	}
	if opened != 1 || len(s.fake.released) != 1 {
		t.Errorf("%d sessions, released %v", opened, s.fake.released)
	}
}

func TestParallelConfirmations(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("alice")
	b := s.browser().signIn("alice").get("/enrol").submit("/enrol", "label", "Tablet").at("/enrol/device", 200)
	form := b.form("/enrol/device", "code", "654321")
	var all sync.WaitGroup
	for range 10 {
		r := b.request("/enrol/device", form)
		r.Host, r.RemoteAddr = "portal.example.org", "198.51.100.7:1"
		r.AddCookie(&http.Cookie{Name: cookieSession, Value: b.cookies[cookieSession]})
		all.Go(func() { s.srv.ServeHTTP(httptest.NewRecorder(), r) })
	}
	all.Wait()
	if len(p.devices) != 2 {
		t.Errorf("%d devices of one enrolment", len(p.devices)-1)
	}
}

func TestLimits(t *testing.T) {
	s := newSite(t, func(c *Config) { c.PerSource, c.PerUser = 12, 5 })
	s.fake.add("alice")
	s.fake.add("bob")
	s.fake.hold("alice", "ref-1", "198.51.100.7")
	try := func(b *browser, name string) *browser {
		return b.get("/").submit("/sign-in", "name", name, "password", "wrong")
	}
	b := s.browser()
	for range 5 {
		try(b, "alice").at("/sign-in", 422)
	}
	// A name, in any spelling of its letters, from anywhere.
	c := s.browser()
	c.from = "192.0.2.77"
	try(c, "ALICE").at("/sign-in", 429, "Too many attempts")
	if c.head.Get("Retry-After") != "60" || len(s.fake.signIns) != 5 {
		t.Errorf("%v, asked %d times", c.head, len(s.fake.signIns))
	}
	// That is no way to keep Alice from her step-up.
	a := s.browser().get("/s/ref-1")
	for range 5 {
		a.submit("/step-up", "code", "000000").at("/step-up", 422)
	}
	a.submit("/step-up", "code", "000000").at("/step-up", 429)
	// An address, whatever the name.
	for i := range 7 {
		try(b, string(rune('k'+i))).at("/sign-in", 422)
	}
	try(b, "bob").at("/sign-in", 429)
	b.get("/enrol").submit("/enrol/ticket", "ticket", "GUESS").at("/enrol/ticket", 429)
	b.get("/s/guess").at("/s/guess", 429)
	b.get("/s/ref-1").at("/step-up", 200) // a right one is not a guess
	// One household of IPv6 is one source.
	v6 := s.browser()
	for i := range 12 {
		v6.from = "[2001:db8::" + string(rune('1'+i%9)) + "]"
		try(v6, string(rune('A'+i))).at("/sign-in", 422)
	}
	v6.from = "[2001:db8::abcd]"
	try(v6, "z").at("/sign-in", 429)
	s.sleep(time.Minute)
	try(s.browser(), "alice").at("/sign-in", 422)
	if counter(t, s, "postern_portal_refused_total", "reason", "rate") != 6 {
		t.Error("not counted")
	}
}

// Passwords, codes, secrets, tickets, references and cookies are in no line of the log.
func TestNothingSecretIsLogged(t *testing.T) {
	s := newSite(t)
	p := s.fake.add("alice")
	s.fake.add("bob").devices = nil
	s.fake.people["bob"].recovery = nil
	s.fake.tickets["TICKET-9"] = "bob"
	s.fake.hold("alice", "reference-9", "198.51.100.7")
	b := s.browser().get("/s/reference-9").submit("/step-up", "code", "777777").submit("/step-up", "code", "123456")
	cookies := slices.Collect(maps.Values(b.cookies))
	b = s.browser().get("/enrol?ticket=TICKET-9").submit("/enrol/ticket").submit("/enrol").submit("/enrol/device", "code", "654321")
	cookies = append(cookies, slices.Collect(maps.Values(b.cookies))...)
	b.get("/recovery/codes.txt")
	b.get("/recovery").submit("/recovery")
	p.code = "123456"
	s.browser().get("/").submit("/sign-in", "name", "alice", "password", "correct horse", "code", "123456")
	s.fake.down = errDown
	s.browser().get("/").submit("/sign-in", "name", "alice", "password", "correct horse", "code", "123456")
	s.browser().get("/s/reference-9")
	log := s.logs.String()
	for _, secret := range append(cookies, "correct horse", "777777", "123456", "654321", "TICKET-9", "reference-9", fakeSecret, "new-0001") {
		if secret != "" && strings.Contains(log, secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	for _, want := range []string{"route=step_up method=POST status=303", "user=alice", "route=visit", "source=198.51.100.7", `msg="device enrolled"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}

func TestPanics(t *testing.T) {
	s := newSite(t)
	s.fake.add("alice")
	b := s.browser().signIn("alice")
	delete(s.fake.people, "alice") // the fake falls over
	b.get("/").at("/", 500, "This is our fault").without("nil pointer", "goroutine")
	if !strings.Contains(s.logs.String(), "page failed") {
		t.Error("not logged")
	}
	s.browser().get("/").at("/", 200)
	if n := counter(t, s, "postern_portal_requests_total", "route", "home", "class", "5xx"); n != 1 {
		t.Errorf("counted %v", n)
	}
}

func TestBusy(t *testing.T) {
	s := newSite(t)
	for range maxRequests {
		s.srv.working <- struct{}{}
	}
	b := s.browser()
	if b.do(newGet("/")); b.code != http.StatusServiceUnavailable || b.head.Get("Retry-After") != "1" {
		t.Errorf("%d", b.code)
	}
	<-s.srv.working
	b.get("/").at("/", 200)
	if len(s.srv.working) != maxRequests-1 {
		t.Error("a place was not given back")
	}
}

// What the Backend refuses, whatever it is, opens nothing.
func TestEveryReasonRefuses(t *testing.T) {
	for _, reason := range authz.Reasons() {
		s := newSite(t)
		s.fake.add("alice")
		s.fake.hold("alice", "ref-1", "10.0.0.1")
		s.srv.backend = saying{s.srv.backend, reason}
		b := s.browser()
		b.from = "10.0.0.1"
		b.get("/").submit("/sign-in", "name", "alice", "password", "x", "code", "123456")
		if b.cookies[cookieSession] != "" && reason != authz.NotEnrolled {
			t.Errorf("%v lets in", reason)
		}
		if b.code != 422 && b.code != 503 && reason != authz.NotEnrolled {
			t.Errorf("sign-in, %v: %d", reason, b.code)
		}
		if reason == authz.Permitted {
			continue // a permission without a factor, above
		}
		b = s.browser().get("/s/ref-1").submit("/step-up", "code", "123456")
		if b.cookies[cookieSession] != "" {
			t.Errorf("step-up, %v lets in", reason)
		}
	}
}

// saying has one answer to everything.
type saying struct {
	Backend
	reason authz.Reason
}
