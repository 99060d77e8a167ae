package portal

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"postern/authz/posture/push"
)

// endless is blanks.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// TestPush: who has no token of this place is told so and nothing else, before his body is
// read; the answer to the others says what was taken.
func TestPush(t *testing.T) {
	s := newSite(t)
	to := &noted{}
	ask := func(edit ...func(*http.Request)) (int, string) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, push.Path, strings.NewReader(`{"records": [{"device": "LT-1", "at": "2026-01-01T00:00:00Z"}]}`))
		r.Host, r.RemoteAddr = "portal.example.org", "198.51.100.7:1"
		r.Header.Set("Content-Type", push.ContentType)
		r.Header.Set("Authorization", "Bearer a-secret-of-an-inventory")
		for _, e := range edit {
			e(r)
		}
		w := httptest.NewRecorder()
		s.srv.ServeHTTP(w, r)
		checkHeaders(t, r, w.Result())
		return w.Code, w.Body.String()
	}
	if code, _ := ask(); code != 404 {
		t.Errorf("where nobody may push: %d", code)
	}
	s.srv.pushes = push.New(to, []push.Token{{Source: "intune", Secret: []byte("a-secret-of-an-inventory"), From: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}})
	if code, body := ask(); code != 200 || body != "{\"taken\":1}\n" || len(to.all) != 1 || to.all[0].Source != "intune" {
		t.Errorf("%d %q, %+v", code, body, to.all)
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for what, c := range map[string]struct {
		edit func(*http.Request)
		code int
	}{
		"no token":        {header("Authorization", ""), 401},
		"a wrong token":   {header("Authorization", "Bearer a-secret-of-an-inventorx"), 401},
		"from elsewhere":  {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }, 401},
		"a form":          {header("Content-Type", "application/x-www-form-urlencoded"), 400},
		"a query":         {func(r *http.Request) { r.URL.RawQuery = "token=x" }, 400},
		"too big":         {func(r *http.Request) { r.Body = io.NopCloser(io.LimitReader(endless{}, push.MaxBody+1)) }, 400},
		"another method":  {func(r *http.Request) { r.Method = http.MethodPut }, 405},
		"to another host": {func(r *http.Request) { r.Host = "evil.example" }, 421},
	} {
		if code, body := ask(c.edit); code != c.code || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %q, want %d", what, code, body, c.code)
		}
	}
	if len(to.all) != 1 {
		t.Errorf("taken: %+v", to.all)
	}
}
