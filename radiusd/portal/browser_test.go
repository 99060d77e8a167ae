package portal

import (
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/html"

	"postern/internal/seal"
	"postern/internal/store/storetest"
)

const portalURL = "https://portal.example.org"

// site is a portal over the fake, on a clock of its own.
type site struct {
	t     testing.TB
	now   time.Time
	store storetest.Backend
	fake  *fake
	srv   *Server
	logs  *strings.Builder
	reg   *prometheus.Registry
}

func newSite(t testing.TB, edit ...func(*Config)) *site {
	t.Helper()
	s := &site{t: t, now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), store: storetest.Embedded(t), logs: new(strings.Builder), reg: prometheus.NewRegistry()}
	clock := func() time.Time { return s.now }
	s.fake = newFake(clock)
	ring, err := seal.CreateFile(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		URL: portalURL, EnrolFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Name: "Example VPN", Support: "it@example.org",
		Location: time.UTC, Now: clock,
	}
	for _, e := range edit {
		e(&c)
	}
	log := slog.New(slog.NewTextHandler(s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if s.srv, err = New(c, s.fake, s.store, ring, log, s.reg); err != nil {
		t.Fatal(err)
	}
	return s
}

// sleep lets time pass, here and in the store.
func (s *site) sleep(d time.Duration) {
	s.now = s.now.Add(d)
	s.store.Sleep(d)
}

// browser is one person's browser without scripts: it keeps cookies as RFC 6265bis says
// of the __Host- prefix, sends forms as they stand in the page, and follows redirects.
type browser struct {
	s       *site
	from    string
	lang    string
	cookies map[string]string

	path string // of the page that is shown
	code int
	head http.Header
	body string
	doc  *html.Node
}

func (s *site) browser() *browser {
	return &browser{s: s, from: "198.51.100.7", lang: "en", cookies: map[string]string{}}
}

// clone is the same browser, once more: another tab.
func (b *browser) clone() *browser {
	c := *b
	c.cookies = maps.Clone(b.cookies)
	return &c
}

// do sends one request and looks at what every answer must have.
func (b *browser) do(r *http.Request) {
	b.s.t.Helper()
	r.Host, r.RemoteAddr = "portal.example.org", b.from+":50000"
	if b.lang != "" {
		r.Header.Set("Accept-Language", b.lang)
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.s.srv.ServeHTTP(w, r)
	res := w.Result()
	defer res.Body.Close()
	checkHeaders(b.s.t, r, res)
	for _, c := range res.Cookies() {
		if !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || !strings.HasPrefix(c.Name, "__Host-") {
			b.s.t.Errorf("cookie %+v", c)
		}
		if want := c.Name == cookieSession; c.MaxAge >= 0 && (c.SameSite == http.SameSiteStrictMode) != want {
			b.s.t.Errorf("cookie %s: SameSite %v", c.Name, c.SameSite)
		}
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	b.path, b.code, b.head, b.body = r.URL.Path, res.StatusCode, res.Header, w.Body.String()
	b.doc = nil
	if strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") && r.Method != http.MethodHead {
		b.doc = checkPage(b.s.t, r.Method+" "+r.URL.Path, b.body)
	}
}

// get opens an address and follows where it leads.
func (b *browser) get(path string) *browser {
	b.s.t.Helper()
	b.do(newGet(path))
	for range 5 {
		if b.code != http.StatusSeeOther {
			break
		}
		to := b.head.Get("Location")
		if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
			b.s.t.Fatalf("redirect to %q", to)
		}
		b.do(newGet(to))
	}
	return b
}

// form is a form of the page that is shown, as a browser would send it.
func (b *browser) form(action string, set ...string) url.Values {
	b.s.t.Helper()
	f := b.find(action)
	if f == nil {
		b.s.t.Fatalf("%s has no form for %s:\n%s", b.path, action, b.text())
	}
	v := url.Values{}
	for n := range f.Descendants() {
		if n.Data == "input" && attr(n, "name") != "" {
			v.Set(attr(n, "name"), attr(n, "value"))
		}
	}
	for i := 0; i+1 < len(set); i += 2 {
		v.Set(set[i], set[i+1])
	}
	return v
}

func (b *browser) find(action string) *html.Node {
	if b.doc == nil {
		return nil
	}
	for n := range b.doc.Descendants() {
		if n.Data == "form" && attr(n, "action") == action {
			return n
		}
	}
	return nil
}

// request is a form on its way.
func (b *browser) request(action string, v url.Values) *http.Request {
	r := httptest.NewRequest(http.MethodPost, action, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", "null")
	return r
}

// submit sends a form of the page that is shown, and follows where it leads.
func (b *browser) submit(action string, set ...string) *browser {
	b.s.t.Helper()
	b.do(b.request(action, b.form(action, set...)))
	if b.code == http.StatusSeeOther {
		return b.get(b.head.Get("Location"))
	}
	return b
}

// at expects the page that is shown.
func (b *browser) at(path string, code int, texts ...string) *browser {
	b.s.t.Helper()
	if b.path != path || b.code != code {
		b.s.t.Fatalf("%s %d, want %s %d:\n%s", b.path, b.code, path, code, b.text())
	}
	for _, want := range texts {
		if !strings.Contains(b.text(), want) {
			b.s.t.Fatalf("%s does not say %q:\n%s", path, want, b.text())
		}
	}
	return b
}

// text is what a reader sees.
func (b *browser) text() string {
	if b.doc == nil {
		return b.body
	}
	var out strings.Builder
	for n := range b.doc.Descendants() {
		if n.Type == html.TextNode {
			if t := strings.TrimSpace(n.Data); t != "" {
				out.WriteString(t + " ")
			}
		}
	}
	return out.String()
}

// without expects that something is not in the page's source.
func (b *browser) without(texts ...string) *browser {
	b.s.t.Helper()
	for _, t := range texts {
		if strings.Contains(b.body, t) {
			b.s.t.Fatalf("%s has %q in it", b.path, t)
		}
	}
	return b
}

func attr(n *html.Node, name string) string {
	v, _ := hasAttr(n, name)
	return v
}

func hasAttr(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// signIn is the shortest way to a session.
func (b *browser) signIn(user string) *browser {
	b.s.t.Helper()
	b.s.fake.people[user].code = "123456"
	return b.get("/").submit("/sign-in", "name", user, "password", "correct horse", "code", "123456").at("/", http.StatusOK, "My connections")
}
