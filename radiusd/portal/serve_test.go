package portal

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Whatever a request looks like, it is answered: never by our own fault, never with a
// session, and never by sending the browser anywhere else.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][5]string{
		{"GET", "/", "", "", ""},
		{"GET", "/s/ref-1", "", "", ""},
		{"GET", "/s/%2e%2e%2f", "x=%zz&x", "__Host-postern=x", ""},
		{"GET", "/enrol", "ticket=T", "__Host-postern-lang=de", ""},
		{"GET", "/again", "to=remove&id=x", "__Host-postern-visit=ref-1; __Host-postern-visit=ref-2", ""},
		{"POST", "/sign-in", "", "__Host-postern-form=" + strings.Repeat("A", 43), "form=x&name=alice&password=y"},
		{"POST", "/step-up", "", "__Host-postern-visit=ref-1", "form=%00&code=123456&code=1"},
		{"POST", "/language", "", "", "lang=de&back=//x"},
		{"HEAD", "/static/x.css", "", "", ""},
		{"OPTIONS", "*", "", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	s := newSite(f)
	s.fake.add("alice")
	visit := s.fake.hold("alice", "ref-1", "198.51.100.7")
	f.Fuzz(func(t *testing.T, method, path, query, cookies, body string) {
		s.sleep(time.Second) // for the limits
		s.logs.Reset()
		visit.Until = s.now.Add(time.Minute)
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Host, r.RemoteAddr, r.Method = "portal.example.org", "198.51.100.7:1", method
		u, err := url.ParseRequestURI(path)
		if err != nil {
			u = &url.URL{Path: path}
		}
		u.RawQuery, r.URL, r.RequestURI = query, u, path+"?"+query
		r.Header.Set("Cookie", cookies)
		r.Header.Set("Accept-Language", body)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		// With a token that fits, so that what is behind it is reached, too.
		if c, err := http.ParseCookie(cookies); err == nil && len(c) > 0 && c[0].Name == cookieForm && len(body) < maxBody/2 {
			r.Body = http.NoBody
			r = r.Clone(t.Context())
			r.Body = readCloser{strings.NewReader("form=" + formToken(c[0].Value, u.Path) + "&" + body)}
		}
		w := httptest.NewRecorder()
		s.srv.ServeHTTP(w, r)
		if w.Code >= 500 || w.Code < 200 {
			t.Fatalf("%s %q: %d", method, path, w.Code)
		}
		if to := w.Header().Get("Location"); to != "" && (to[0] != '/' || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\r\n\\")) {
			t.Fatalf("%s %q leads to %q", method, path, to)
		}
		for _, line := range w.Header()["Set-Cookie"] {
			if strings.HasPrefix(line, cookieSession+"=") && !strings.Contains(line, "Max-Age=0") {
				t.Fatalf("%s %q opens a session", method, path)
			}
		}
		if w.Header().Get("Content-Security-Policy") == "" || w.Header().Get("Cache-Control") == "" {
			t.Fatal("headers are missing")
		}
	})
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// Each page is there for its methods, and for nobody whom it does not concern.
func TestRoutes(t *testing.T) {
	s := newSite(t)
	names := map[string]bool{}
	for _, r := range routes {
		if names[r.name] || r.get == nil || r.path[0] != '/' {
			t.Errorf("route %+v", r)
		}
		names[r.name] = true
		b := s.browser()
		if b.do(newGet(r.path)); b.code >= 400 {
			t.Errorf("%s: %d", r.path, b.code)
		}
		if r.access != anybody && (b.code != http.StatusSeeOther || b.head.Get("Location") != "/") {
			t.Errorf("%s is open to anybody: %d", r.path, b.code)
		}
		b.do(httptest.NewRequest(http.MethodHead, r.path, nil))
		if b.body != "" {
			t.Errorf("HEAD %s has a body", r.path)
		}
	}
	if len(routeNames()) != len(routes)+3 {
		t.Errorf("%v", routeNames())
	}
	b := s.browser()
	b.get("/favicon.ico")
	if b.head.Get("Content-Type") != "image/svg+xml" || b.head.Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("%v", b.head)
	}
	if b.get("/robots.txt"); !strings.Contains(b.body, "Disallow: /") {
		t.Error(b.body)
	}
}
