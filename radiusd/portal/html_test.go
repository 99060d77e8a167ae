package portal

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// checkHeaders looks at what every answer must say.
func checkHeaders(t testing.TB, r *http.Request, res *http.Response) {
	t.Helper()
	h := res.Header
	for name, want := range map[string]string{
		"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
		"Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		if h.Get(name) != want {
			t.Errorf("%s %s: %s is %q", r.Method, r.URL.Path, name, h.Get(name))
		}
	}
	csp := h.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s: policy %q has no %s", r.URL.Path, csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") || strings.Contains(csp, "http") {
		t.Errorf("%s: policy %q", r.URL.Path, csp)
	}
	if cache := h.Get("Cache-Control"); cache != "no-store" && (!strings.HasPrefix(r.URL.Path, staticPath) || res.StatusCode != 200) {
		t.Errorf("%s: Cache-Control %q", r.URL.Path, cache)
	}
	if s := h.Get("Server"); s != "" {
		t.Errorf("%s: Server %q", r.URL.Path, s)
	}
}

// Elements that the pages are made of; another one is a decision.
var elements = strings.Fields(`html head meta title link script body a header div span nav form input button main p h1 h2 ul ol li footer
	label strong details summary dl dt dd time code section svg path`)

var (
	void     = regexp.MustCompile(`<(?:meta|link|input)\b[^>]*>`)
	tag      = regexp.MustCompile(`<(/?)([a-z0-9]+)\b[^>]*?(/?)>`)
	localURL = regexp.MustCompile(`^(/[A-Za-z0-9._~/?=&-]*|#[a-z-]+)$`)
)

// checkPage reads a page as strictly as it can be: every element is closed where it
// must be, IDs are unique and what points to them finds them, inputs are labelled,
// buttons and links have names, nothing is inline and nothing comes from elsewhere.
func checkPage(t testing.TB, what, body string) *html.Node {
	t.Helper()
	bad := func(format string, args ...any) {
		t.Helper()
		t.Errorf(what+": "+format, args...)
	}
	if !strings.HasPrefix(body, "<!DOCTYPE html>\n") {
		bad("no doctype")
	}
	var open []string
	for _, m := range tag.FindAllStringSubmatch(void.ReplaceAllString(strings.TrimPrefix(body, "<!DOCTYPE html>"), ""), -1) {
		switch {
		case m[3] == "/" && m[2] == "path":
		case m[1] == "":
			open = append(open, m[2])
		case len(open) == 0 || open[len(open)-1] != m[2]:
			bad("</%s> closes %v", m[2], open)
		default:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		bad("%v not closed", open)
	}
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		bad("%v", err)
		return nil
	}
	ids, labels := map[string]bool{}, map[string]bool{}
	count := map[string]int{}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		count[n.Data]++
		if id, ok := hasAttr(n, "id"); ok {
			if ids[id] || id == "" {
				bad("id %q twice", id)
			}
			ids[id] = true
		}
		if n.Data == "label" {
			labels[attr(n, "for")] = true
		}
	}
	if count["h1"] != 1 || count["main"] != 1 || count["title"] != 1 || count["html"] != 1 {
		bad("%d h1, %d main, %d title", count["h1"], count["main"], count["title"])
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		checkElement(bad, n, ids, labels)
	}
	return doc
}

func checkElement(bad func(string, ...any), n *html.Node, ids, labels map[string]bool) {
	known := false
	for _, e := range elements {
		known = known || e == n.Data
	}
	if !known {
		bad("element %s", n.Data)
	}
	for _, a := range n.Attr {
		switch {
		case strings.HasPrefix(a.Key, "on"), a.Key == "style":
			bad("inline %s in %s", a.Key, n.Data)
		case a.Key == "href" || a.Key == "src" || a.Key == "action":
			if !localURL.MatchString(a.Val) || strings.HasPrefix(a.Val, "//") {
				bad("%s=%q leads elsewhere", a.Key, a.Val)
			}
			if id, ok := strings.CutPrefix(a.Val, "#"); ok && !ids[id] {
				bad("%q leads nowhere", a.Val)
			}
		case a.Key == "aria-describedby" || a.Key == "aria-labelledby":
			for id := range strings.FieldsSeq(a.Val) {
				if !ids[id] {
					bad("%s=%q points nowhere", a.Key, a.Val)
				}
			}
		}
	}
	named := text(n) != "" || attr(n, "aria-label") != ""
	switch n.Data {
	case "html":
		if attr(n, "lang") == "" {
			bad("no language")
		}
	case "style":
		bad("inline style")
	case "script":
		if attr(n, "src") == "" || text(n) != "" {
			bad("inline script")
		}
	case "input":
		if attr(n, "type") == "hidden" {
			break
		}
		if !labels[attr(n, "id")] {
			bad("input %q without a label", attr(n, "name"))
		}
		if attr(n, "autocomplete") == "" {
			bad("input %q does not say what it is", attr(n, "name"))
		}
	case "button", "a", "summary", "h1", "h2", "title", "label", "nav":
		if !named {
			bad("%s without a name", n.Data)
		}
		if n.Data == "button" && attr(n, "type") == "" {
			bad("button without a type")
		}
	case "form":
		if attr(n, "method") == "post" && attr(n, "action") == "" {
			bad("a form that goes nowhere")
		}
		checkForm(bad, n)
	case "svg":
		if attr(n, "role") != "img" || attr(n, "aria-labelledby") == "" {
			bad("a picture without a name")
		}
	}
}

// checkForm expects that what changes something carries a token.
func checkForm(bad func(string, ...any), f *html.Node) {
	tokens := 0
	for n := range f.Descendants() {
		if n.Data == "input" && attr(n, "name") == "form" && len(attr(n, "value")) == 43 {
			tokens++
		}
	}
	if want := attr(f, "method") == "post"; want != (tokens == 1) {
		bad("form for %s: %d tokens", attr(f, "action"), tokens)
	}
	if u, err := url.Parse(attr(f, "action")); err != nil || u.RawQuery != "" {
		bad("form for %s", attr(f, "action"))
	}
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(strings.TrimSpace(d.Data))
		}
	}
	return b.String()
}

// The checks can fail.
type complaints struct {
	testing.TB
	n int
}

func (c *complaints) Helper()               {}
func (c *complaints) Errorf(string, ...any) { c.n++ }

func TestPageChecksCanFail(t *testing.T) {
	const head, tail = "<!DOCTYPE html>\n<html lang=\"en\"><head><title>t</title></head><body><main><h1>h</h1>", "</main></body></html>"
	good := &complaints{TB: t}
	checkPage(good, "good", head+`<p id="a"><a href="#a">x</a></p>`+tail)
	if good.n > 0 {
		t.Fatal("a good page is not good enough")
	}
	for _, bad := range []string{
		`<p id="a"></p><p id="a"></p>`, `<script>alert(1)</script>`, `<p style="color:red">x</p>`, `<a href="https://elsewhere.example/">x</a>`,
		`<a href="//elsewhere.example/">x</a>`, `<a href="/"></a>`, `<input name="x" type="text" autocomplete="off">`, `<form method="post" action="/x"></form>`,
		`<p onclick="x()">x</p>`, `<style>p{}</style>`, `<iframe></iframe>`, `<p>`, `<a href="#b">x</a>`, `<h1>second</h1>`, `<button>x</button>`,
	} {
		c := &complaints{TB: t}
		checkPage(c, "bad", head+bad+tail)
		if c.n == 0 {
			t.Errorf("%s is accepted", bad)
		}
	}
}
