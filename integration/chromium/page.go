//go:build integration

package chromium

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Open goes to a URL and returns the answer's status.
func (b *Browser) Open(url string) int {
	b.t.Helper()
	return b.load("open "+url, chromedp.Navigate(url))
}

// Follow clicks what a selector names, waits for the page that comes of it and
// returns its status.
func (b *Browser) Follow(selector string) int {
	b.t.Helper()
	return b.load("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// Reload loads the page again.
func (b *Browser) Reload() int {
	b.t.Helper()
	return b.load("reload", chromedp.Reload())
}

func (b *Browser) load(what string, a chromedp.Action[chromedp.Void]) int {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	r, err := chromedp.RunResponse(ctx, a)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return status(r)
}

func status(r *network.Response) int {
	if r == nil {
		return 0
	}
	return int(r.Status)
}

// Click clicks what a selector names; what comes of it is for the test to wait for.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	run(b, "click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// Type empties a field and types into it, key by key.
func (b *Browser) Type(selector, text string) {
	b.t.Helper()
	field := chromedp.CSS(selector)
	run(b, "type into "+selector, chromedp.Steps(chromedp.Clear(field), chromedp.SendKeys(field, text)))
}

// Select chooses an option by its value.
func (b *Browser) Select(selector, value string) {
	b.t.Helper()
	run(b, "choose in "+selector, chromedp.SetValue(chromedp.CSS(selector), value))
}

// Eval evaluates an expression, also where the page's own scripts are switched off.
func Eval[T any](b *Browser, expression string) T {
	b.t.Helper()
	return run(b, "evaluate", chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// Has says whether the page has what a selector names.
func (b *Browser) Has(selector string) bool {
	b.t.Helper()
	return b.Count(selector) > 0
}

// Count is how many there are on the page of what a selector names.
func (b *Browser) Count(selector string) int {
	b.t.Helper()
	return Eval[int](b, fmt.Sprintf("document.querySelectorAll(%s).length", quote(selector)))
}

// Text is the text of what a selector names, as it is shown.
func (b *Browser) Text(selector string) string {
	b.t.Helper()
	return strings.TrimSpace(run(b, "text of "+selector, chromedp.Text(chromedp.CSS(selector))))
}

// Attr is an attribute of what a selector names; "" without.
func (b *Browser) Attr(selector, name string) string {
	b.t.Helper()
	return run(b, name+" of "+selector, chromedp.AttributeValue(chromedp.CSS(selector), name)).Value
}

// URL is where the page is.
func (b *Browser) URL() string {
	b.t.Helper()
	return run(b, "location", chromedp.Location())
}

// Wait waits until an expression is true, over any number of pages.
func (b *Browser) Wait(expression string) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		cancel()
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("never true: %s (%v)", expression, err)
		}
		time.Sleep(20 * time.Millisecond) // a page may be changing
	}
}

// See waits until the page shows a text.
func (b *Browser) See(text string) {
	b.t.Helper()
	b.Wait(fmt.Sprintf("document.body && document.body.innerText.includes(%s)", quote(text)))
}

//go:embed audit.js
var audit string

// Shot takes pictures of the whole page at both widths and fails the test for what
// audit.js finds on them.
func (b *Browser) Shot(name string) {
	b.t.Helper()
	for _, desk := range []bool{!b.o.Desk, b.o.Desk} { // ends at the browser's own
		b.size(desk)
		width := phoneWidth
		if desk {
			width = deskWidth
		}
		for _, fault := range b.Audit() {
			b.t.Errorf("%s at %d px: %s", name, width, fault)
		}
		png := run(b, "take a picture", chromedp.FullScreenshot(100))
		b.t.Logf("picture: %s", b.keep(fmt.Sprintf("%s-%d", name, width), png))
	}
}

// Audit is what audit.js finds wrong with the page.
func (b *Browser) Audit() []string {
	b.t.Helper()
	return Eval[[]string](b, audit)
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
