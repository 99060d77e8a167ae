//go:build integration

package chromium

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"postern/integration/netlab"
)

const good = `<!doctype html><html lang="en"><head><title>A page</title><meta name="viewport" content="width=device-width">
<style>body{color:#111;background:#fff}button,input{min-height:44px}</style></head>
<body><h1>A page</h1><form method="post"><label for="n">Name</label> <input id="n" name="n"> <button id="go">Send</button></form>
<p id="s">no script</p><script>document.getElementById("s").textContent = "script, " + navigator.languages[0]</script></body></html>`

// site serves good over TLS, and greets whoever posts a name.
func site(t *testing.T, l net.Listener) (url, cert string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprintf(w, "<!doctype html><html lang=en><title>x</title><h1>Hello %s</h1><p>%s", r.FormValue("n"), r.Header.Get("Accept-Language"))
			return
		}
		fmt.Fprint(w, good)
	}))
	if l != nil {
		s.Listener.Close()
		s.Listener = l
	}
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	cert = filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return "https://portal.corp.example:" + port + "/", cert
}

func TestBrowser(t *testing.T) {
	t.Log(Version(t))
	url, cert := site(t, nil)
	b := Start(t, Options{Trust: []string{cert}, Hosts: map[string]string{"portal.corp.example": "127.0.0.1"}, Language: "de"})
	if got := b.Open(url); got != 200 {
		t.Fatalf("status %d", got)
	}
	b.See("script, de")
	if n := Eval[int](b, "innerWidth"); n != phoneWidth {
		t.Errorf("%d px wide", n)
	}
	b.Shot("page")
	b.Type("#n", "Zoë")
	if got := b.Follow("#go"); got != http.StatusAccepted {
		t.Errorf("status %d", got)
	}
	if got := b.Text("h1"); got != "Hello Zoë" {
		t.Errorf("%q", got)
	}
	if !strings.HasPrefix(b.Text("p"), "de") || b.URL() != url {
		t.Errorf("%q at %s", b.Text("p"), b.URL())
	}
}

func TestNoScript(t *testing.T) {
	url, cert := site(t, nil)
	b := Start(t, Options{Trust: []string{cert}, Hosts: map[string]string{"portal.corp.example": "127.0.0.1"}, NoScript: true, Desk: true})
	b.Open(url)
	b.See("no script")
	b.Type("#n", "x")
	b.Follow("#go")
	b.See("Hello x")
	if n := Eval[int](b, "innerWidth"); n != deskWidth {
		t.Errorf("%d px wide", n)
	}
}

func TestNamespace(t *testing.T) {
	ns := netlab.New(t)
	var l net.Listener
	var err error
	ns.Do(func() { l, err = net.Listen("tcp", "127.0.0.1:0") })
	if err != nil {
		t.Fatal(err)
	}
	url, cert := site(t, l)
	b := Start(t, Options{Trust: []string{cert}, Hosts: map[string]string{"portal.corp.example": "127.0.0.1"}, In: ns})
	b.Open(url)
	b.See("A page")
}

// A key for the page's name, made and used by the page itself.
func TestKey(t *testing.T) {
	url, cert := site(t, nil)
	b := Start(t, Options{Trust: []string{cert}, Hosts: map[string]string{"portal.corp.example": "127.0.0.1"}})
	b.Open(url)
	k := b.NewKey(true)
	const make = `navigator.credentials.create({publicKey: {challenge: new Uint8Array(32), rp: {name: "x"}, user: {id: new Uint8Array(8), name: "a", displayName: "a"},
		pubKeyCredParams: [{type: "public-key", alg: -7}], authenticatorSelection: {userVerification: "required"}}}).then(() => "made", (e) => e.name)`
	if got := Eval[string](b, make); got != "made" {
		t.Fatal(got)
	}
	k.Verify(false)
	if got := Eval[string](b, make); got != "NotAllowedError" {
		t.Errorf("without the PIN: %s", got)
	}
	names, counts := k.Held()
	if !slices.Equal(names, []string{"portal.corp.example"}) || len(counts) != 1 || counts[0] < 1 {
		t.Errorf("%v, %v", names, counts)
	}
	for _, n := range []int{0, 7} {
		k.Rewind(n)
		if _, counts := k.Held(); len(counts) != 1 || counts[0] != n {
			t.Errorf("%v, want %d", counts, n)
		}
	}
	k.Unplug()
}

// Each fault is found, and a page without any has none.
func TestAudit(t *testing.T) {
	b := Start(t, Options{})
	b.Open("data:text/html," + strings.ReplaceAll(good, "#", "%23"))
	if faults := b.Audit(); len(faults) != 0 {
		t.Errorf("a good page: %q", faults)
	}
	for _, row := range []struct{ old, new, want string }{
		{`lang="en"`, ``, "no lang"},
		{`<title>A page</title>`, ``, "no title"},
		{`<h1>A page</h1>`, `<h2>x</h2>`, "0 h1"},
		{`<label for="n">`, `<label>`, "has no label"},
		{`<button id="go">Send`, `<button style="min-height:0;height:12px;font-size:8px">x</button><button style="min-height:0;height:12px;font-size:8px">y`, "px small"},
		{`color:#111`, `color:#999`, "contrast of 2.8"},
		{`<p id="s">`, `<p id="n">`, "twice"},
		{`<p id="s">`, `<p id="s" style="width:2000px">`, "px wide"},
		{`<p id="s">`, `<p id="s"><span style="display:block;overflow:hidden;width:20px;white-space:nowrap">long text in it</span>`, "cut off"},
		{`<p id="s">`, `<p id="s"><img src="x.png">`, "no alt"},
		{`<p id="s">`, `<button></button><p id="s">`, "has no name"},
		{`<meta name="viewport" content="width=device-width">`, ``, "viewport"},
	} {
		page := strings.Replace(good, row.old, row.new, 1)
		if i := strings.Index(page, "<script>"); strings.HasPrefix(row.old, "<p") {
			page = page[:i] // it changes the paragraph
		}
		b.Open("data:text/html," + strings.ReplaceAll(page, "#", "%23"))
		if faults := b.Audit(); !slices.ContainsFunc(faults, func(s string) bool { return strings.Contains(s, row.want) }) {
			t.Errorf("%s for %s: %q, want %s", row.new, row.old, faults, row.want)
		}
	}
}

// A certificate that nobody vouched for stops the browser.
func TestNoTrust(t *testing.T) {
	url, _ := site(t, nil)
	b := Start(t, Options{Hosts: map[string]string{"portal.corp.example": "127.0.0.1"}})
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err == nil || !strings.Contains(err.Error(), "ERR_CERT_AUTHORITY_INVALID") {
		t.Errorf("%v", err)
	}
}

// What a page's own policy forbids comes to the test's ears.
func TestConsole(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		fmt.Fprint(w, good)
	}))
	defer s.Close()
	const breach = "violates the following Content Security Policy"
	b := Start(t, Options{Expect: []string{breach, "favicon"}})
	b.Open(s.URL)
	heard := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return strings.Count(strings.Join(b.console, "\n"), breach)
	}
	for end := time.Now().Add(patience); heard() < 2; time.Sleep(10 * time.Millisecond) { // style and script
		if time.Now().After(end) {
			t.Fatalf("the console: %q", b.console)
		}
	}
}
