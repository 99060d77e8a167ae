//go:build integration

package integration

import (
	"context"
	"crypto/tls"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// visitor is somebody with a browser that shows no pictures and runs no scripts: what
// is wanted of him is that he uses the portal, not that he sees it.
type visitor struct {
	t      *testing.T
	client *http.Client
	page   string
}

// visitor visits the portal from the service's own host.
func (l *lab) visitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the browsers of other tests look at it
		DialContext: func(context.Context, string, string) (c net.Conn, err error) {
			l.net.Do(func() { c, err = net.Dial("tcp", "127.0.0.1:8443") })
			return c, err
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t: t, client: &http.Client{Jar: jar, Transport: transport, Timeout: 20 * time.Second}}
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
	v.page = html.UnescapeString(string(b))
	return v
}

func (v *visitor) get(path string) *visitor {
	v.t.Helper()
	return v.take(v.client.Get(portalURL + path))
}

// submit sends the page's first form for an action, with what is set.
func (v *visitor) submit(action string, set ...string) {
	v.t.Helper()
	_, form, found := strings.Cut(v.page, ` action="`+action+`"`)
	if !found {
		v.t.Fatalf("no form for %s:\n%s", action, v.page)
	}
	form, _, _ = strings.Cut(form, "</form>")
	values := url.Values{}
	for _, m := range regexp.MustCompile(`type="hidden" name="([a-z]+)" value="([^"]*)"`).FindAllStringSubmatch(form, -1) {
		values.Set(m[1], m[2])
	}
	for i := 0; i+1 < len(set); i += 2 {
		values.Set(set[i], set[i+1])
	}
	v.take(v.client.PostForm(portalURL+action, values))
}

func (v *visitor) want(text string) *visitor {
	v.t.Helper()
	if !strings.Contains(v.page, text) {
		v.t.Fatalf("no %q:\n%s", text, v.page)
	}
	return v
}

// find returns what the parentheses of a pattern stand for, each time.
func (v *visitor) find(pattern string) (all []string) {
	v.t.Helper()
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(v.page, -1) {
		all = append(all, m[1])
	}
	if all == nil {
		v.t.Fatalf("no %s:\n%s", pattern, v.page)
	}
	return all
}

// cookie is the browser's proof of its session.
func (v *visitor) cookie() string {
	v.t.Helper()
	u, err := url.Parse(portalURL)
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
