package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/html"

	"postern/authz/grant"
	"postern/pptp/client"
)

// The desk is where somebody sits whose client has no place for a code, with a browser
// beside it; the hotel is where she is the day after.
var (
	sourceDesk  = netip.MustParseAddr("127.0.0.4")
	sourceHotel = netip.MustParseAddr("127.0.0.5")
)

// opensWithin is how soon the network opens once the code is given.
const opensWithin = 2 * time.Second

// desk shows a login without a code: quarantine, the portal, and what it remembers.
func (l *lab) desk(ctx context.Context) {
	n := l.say
	n.step("The right password, no code, and a browser beside the client")
	r, err := newRemote(os.Getpid())
	if err != nil {
		n.check(false, "%v", err)
		return
	}
	defer r.close()
	forgotten, err := grant.New(l.service.Store()).RevokeAll(ctx, userDesk)
	switch {
	case err != nil:
		n.check(false, "%v", err)
		return
	case forgotten > 0:
		n.note("what an earlier tour left remembered is forgotten: postern mfa revoke %s --all", userDesk)
	}
	s := l.deskSession(ctx, r, sourceDesk, "quarantined")
	if s == nil {
		return
	}
	b, err := r.browser(l.state.path("tls", "ca.pem"), l.files.Plan)
	if err != nil {
		n.check(false, "%v", err)
		return
	}
	if page, ok := l.redirected(ctx, b); ok {
		l.stepUp(ctx, b, page, s)
	}
	n.check(s.Close() == nil, "hung up")

	n.step("The same client again, from the same place")
	if s := l.deskSession(ctx, r, sourceDesk, "permitted"); s != nil {
		n.note("the second factor is remembered for this address, for an hour")
		l.pings(ctx, s)
		n.check(s.Close() == nil, "hung up")
	}
	n.step("The same client from another place")
	if s := l.deskSession(ctx, r, sourceHotel, "quarantined"); s != nil {
		n.check(s.Close() == nil, "hung up")
	}
}

// deskSession dials in without a code and gives the session to the client's computer.
func (l *lab) deskSession(ctx context.Context, r *remote, from netip.Addr, reason string) *client.Session {
	n := l.say
	n.note("%s dials in from %v", userDesk, from)
	s, err := l.dial(ctx, from, userDesk, l.state.secrets.DeskPassword)
	d := l.lastDecision()
	switch {
	case err != nil:
		n.check(false, "no session: %v (audit log: %s)", err, d.Reason)
		return nil
	case d.Reason != reason:
		n.check(false, "the audit log says %q, not %q", d.Reason, reason)
		_ = s.Close()
		return nil
	}
	if err := r.attach(s); err != nil {
		n.check(false, "her computer does not take the tunnel: %v", err)
		_ = s.Close()
		return nil
	}
	n.check(true, "session up, address %v; the audit log says: %s", s.Local(), d.Reason)
	return s
}

// redirected shows what the quarantine lets through, and returns the portal's page.
func (l *lab) redirected(ctx context.Context, b *http.Client) (string, bool) {
	n := l.say
	resp, err := get(ctx, b, "https://"+netip.AddrPortFrom(l.files.Plan.host, 443).String())
	if err == nil {
		resp.Body.Close()
	}
	n.check(err != nil, "HTTPS to the host behind the node is refused: %v", errors.Unwrap(err))
	if resp, err = get(ctx, b, "http://anything.example/"); err != nil {
		return "", n.check(false, "http://anything.example/: %v", err)
	}
	resp.Body.Close()
	to := resp.Header.Get("Location")
	page, _, _ := strings.Cut(strings.TrimPrefix(to, l.files.PortalURL), "/s/")
	ok := resp.StatusCode == http.StatusFound && strings.HasPrefix(to, l.files.PortalURL+"/s/") && page == ""
	return to, n.check(ok, "http://anything.example/ leads to %s/s/…", l.files.PortalURL)
}

func get(ctx context.Context, b *http.Client, page string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return nil, err
	}
	return b.Do(req)
}

// stepUp gives the code in the portal, as a browser without JavaScript does.
func (l *lab) stepUp(ctx context.Context, b *http.Client, page string, s *client.Session) {
	n := l.say
	code, err := l.code(ctx, &l.state.secrets.DeskToken)
	if err != nil {
		n.check(false, "no code: %v", err)
		return
	}
	said, err := fill(ctx, b, page, map[string]string{"code": code})
	if err != nil {
		n.check(false, "the portal: %v", err)
		return
	}
	given := time.Now()
	n.check(true, "she enters the code; the portal says: %s", said)
	for {
		pctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		_, err := s.Ping(pctx, l.files.Plan.host, 56)
		cancel()
		took := time.Since(given)
		if err == nil {
			n.check(took <= opensWithin, "the host behind the node answers %v later", took.Round(time.Millisecond))
			return
		}
		if took > opensWithin || ctx.Err() != nil {
			n.check(false, "the host behind the node does not answer: %v", err)
			return
		}
	}
}

// maxPage bounds what is read of a page.
const maxPage = 1 << 20

// fill follows a link to the first form that asks for one of these, sends it with the
// form's own hidden fields, and returns the next page's heading.
func fill(ctx context.Context, b *http.Client, page string, answers map[string]string) (string, error) {
	doc, at, err := open(ctx, b, http.MethodGet, page, nil)
	if err != nil {
		return "", err
	}
	form := find(doc, func(n *html.Node) bool {
		return n.Data == "form" && find(n, func(n *html.Node) bool { _, ok := answers[attr(n, "name")]; return ok }) != nil
	})
	if form == nil {
		return "", fmt.Errorf("%s asks for nothing", at.Path)
	}
	values := make(url.Values)
	for n := range form.Descendants() {
		if name := attr(n, "name"); n.Type == html.ElementNode && name != "" {
			values.Set(name, attr(n, "value"))
			if a, ok := answers[name]; ok {
				values.Set(name, a)
			}
		}
	}
	action, err := at.Parse(attr(form, "action"))
	if err != nil {
		return "", err
	}
	doc, _, err = open(ctx, b, http.MethodPost, action.String(), values)
	if err != nil {
		return "", err
	}
	return heading(doc), nil
}

// maxRedirects is more than the portal needs.
const maxRedirects = 5

// open fetches a page, redirections followed.
func open(ctx context.Context, b *http.Client, method, page string, values url.Values) (*html.Node, *url.URL, error) {
	for range maxRedirects {
		req, err := http.NewRequestWithContext(ctx, method, page, strings.NewReader(values.Encode()))
		if err != nil {
			return nil, nil, err
		}
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
		}
		resp, err := b.Do(req)
		if err != nil {
			return nil, nil, err
		}
		if to, err := resp.Location(); err == nil {
			resp.Body.Close()
			method, page, values = http.MethodGet, to.String(), nil
			continue
		}
		doc, err := html.Parse(io.LimitReader(resp.Body, maxPage))
		resp.Body.Close()
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s: %s", resp.Status, heading(doc))
		}
		return doc, req.URL, err
	}
	return nil, nil, errors.New("too many redirections")
}

func find(n *html.Node, is func(*html.Node) bool) *html.Node {
	for d := range n.Descendants() {
		if d.Type == html.ElementNode && is(d) {
			return d
		}
	}
	return nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// heading is a page's first.
func heading(doc *html.Node) string {
	h := find(doc, func(n *html.Node) bool { return n.Data == "h1" })
	if h == nil {
		return "nothing"
	}
	var text strings.Builder
	for n := range h.Descendants() {
		if n.Type == html.TextNode {
			text.WriteString(n.Data)
		}
	}
	return strings.Join(strings.Fields(text.String()), " ")
}
