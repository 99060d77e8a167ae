package portal

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers one request. Its order: what costs nothing first.
//
//	place → headers → name → path → method → who → form → page
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := s.now()
	ctx, cancel := context.WithTimeout(r.Context(), answerTime)
	defer cancel()
	set := s.settings.Load()
	v := &visitor{s: s, set: set, w: &answer{ResponseWriter: w}, r: r.WithContext(ctx), from: remote(r.RemoteAddr), route: &noRoute}
	v.lang = v.language()
	defer v.log(began)
	defer v.recover()
	headers(w.Header())
	select {
	case s.working <- struct{}{}:
		defer func() { <-s.working }()
	default:
		v.refuse(refusedBusy)
		return
	}
	v.serve()
}

func (v *visitor) serve() {
	v.route = v.find()
	if r := v.reached(); r != refusedNone {
		v.refuse(r)
		return
	}
	if v.route == &staticRoute || v.route.name == "health" || v.route.name == "robots" || v.route.name == "icon" {
		v.route.get(v)
		return
	}
	if v.route.agent && v.r.Method == http.MethodPost {
		v.route.post(v)
		return
	}
	if err := v.identify(); err != nil {
		v.away(err)
		return
	}
	if v.r.Method == http.MethodPost {
		if r := v.readForm(); r != refusedNone {
			if r == refusedToken && v.lapsed {
				v.signedOut()
				return
			}
			v.refuse(r)
			return
		}
	}
	if !v.mayEnter() {
		return
	}
	if v.r.Method == http.MethodPost {
		v.route.post(v)
		return
	}
	v.route.get(v)
}

// headers are those of every answer, errors included.
func headers(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "+
		"frame-ancestors 'none'; base-uri 'none'")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY") // for who does not know frame-ancestors
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=(), publickey-credentials-get=(self), publickey-credentials-create=(self)")
}

// find is the route of a path. A path that could be written in two ways is none.
func (v *visitor) find() *route {
	u := v.r.URL
	if len(v.r.RequestURI) > maxPath || u.EscapedPath() != u.Path || u.RawPath != "" || u.Host != "" && u.Host != v.r.Host {
		return &noRoute
	}
	for i := range routes {
		if routes[i].path == u.Path {
			return &routes[i]
		}
	}
	switch {
	case strings.HasPrefix(u.Path, visitPath):
		return &visitRoute
	case strings.HasPrefix(u.Path, staticPath):
		return &staticRoute
	}
	return &noRoute
}

// reached says what is wrong with the way a request came.
func (v *visitor) reached() refusal {
	if v.r.Host != v.set.host && v.route.name != "health" { // a balancer knows an address only
		return refusedHost
	}
	if v.route == &noRoute {
		return refusedPath
	}
	switch v.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		if v.route.post == nil {
			return refusedMethod
		}
	default:
		return refusedMethod
	}
	return refusedNone
}

// readForm reads a form that comes from a page of ours.
func (v *visitor) readForm() refusal {
	if !v.sameOrigin() {
		return refusedOrigin
	}
	kind, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || v.r.URL.RawQuery != "" {
		return refusedForm
	}
	limit := v.route.body
	if limit == 0 {
		limit = maxBody
	}
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, limit)
	if err := v.r.ParseForm(); err != nil {
		if tooBig := new(http.MaxBytesError); errors.As(err, &tooBig) {
			return refusedBody
		}
		return refusedForm
	}
	if !isFormToken(v.field("form"), v.binding(), v.route.path) {
		return refusedToken
	}
	return refusedNone
}

// sameOrigin is what the browser says about where a form was. Sec-Fetch-Site cannot be
// forged by a page (Fetch Metadata §2.4). An older browser sends Origin, which is
// "null" under our own Referrer-Policy; the form's token decides then.
func (v *visitor) sameOrigin() bool {
	switch v.r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none": // none: sent again by the browser itself
		return true
	case "":
	default:
		return false
	}
	switch v.r.Header.Get("Origin") {
	case "", "null", v.set.URL:
		return true
	}
	return false
}

// field is a form's field, once.
func (v *visitor) field(name string) string {
	if all := v.r.PostForm[name]; len(all) == 1 {
		return all[0]
	}
	return ""
}

// query is a parameter of the address, once.
func (v *visitor) query(name string) string {
	q, err := url.ParseQuery(v.r.URL.RawQuery)
	if err != nil || len(q[name]) != 1 {
		return ""
	}
	return q[name][0]
}

// mayEnter sends away who may not see a page.
func (v *visitor) mayEnter() bool {
	switch {
	case v.route.access == anybody,
		v.route.access == enrolling && v.session != nil,
		v.session != nil && v.session.Level == levelFull:
		return true
	case v.session == nil && v.lapsed:
		v.signedOut()
	default:
		v.redirect("/")
	}
	return false
}

// admitted counts a try to prove something.
func (v *visitor) admitted(ok bool, err error) bool {
	switch {
	case err != nil:
		v.away(err)
	case !ok:
		v.refuse(refusedRate)
	default:
		return true
	}
	return false
}

// refuse answers a request that gets no page.
func (v *visitor) refuse(r refusal) {
	v.s.metrics.refuse(r)
	h := v.w.Header()
	switch r {
	case refusedBusy:
		h.Set("Retry-After", "1")
		v.problem(http.StatusServiceUnavailable, "error.away_title", "error.away")
	case refusedHost:
		v.send(http.StatusMisdirectedRequest, "text/plain; charset=utf-8", []byte(v.lang.text("error.host", "url", v.set.URL)+"\n"))
	case refusedMethod:
		allow := "GET, HEAD"
		if v.route.post != nil {
			allow += ", POST"
		}
		h.Set("Allow", allow)
		v.problem(http.StatusMethodNotAllowed, "error.method_title", "error.method")
	case refusedForm:
		v.problem(http.StatusBadRequest, "error.form_title", "error.form")
	case refusedOrigin, refusedToken:
		v.problem(http.StatusForbidden, "error.form_title", "error.form")
	case refusedBody:
		h.Set("Connection", "close")
		v.problem(http.StatusRequestEntityTooLarge, "error.big_title", "error.big")
	case refusedRate:
		h.Set("Retry-After", strconv.Itoa(int(window/time.Second)))
		v.problem(http.StatusTooManyRequests, "error.busy_title", "error.busy")
	case refusedNone, refusedConnection, refusedPath:
		v.problem(http.StatusNotFound, "error.not_found_title", "error.not_found")
	}
}

// away answers when somebody we need does not.
func (v *visitor) away(err error) {
	if errors.Is(err, errConflict) { // the same browser, twice at once: the other one has the page
		v.redirect("/")
		return
	}
	v.s.log.Warn("page not served", "route", v.route.name, "error", err)
	v.w.Header().Set("Retry-After", "5")
	v.problem(http.StatusServiceUnavailable, "error.away_title", "error.away")
}

// signedOut answers who was away for too long.
func (v *visitor) signedOut() {
	dropCookie(v.w, cookieSession)
	v.problem(http.StatusForbidden, "error.expired_title", "error.expired")
}

// recover answers when a handler panics: one page must not end the service.
func (v *visitor) recover() {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // a panic's value
		panic(p)
	}
	v.s.log.Error("page failed", "route", v.route.name, "panic", p, "stack", string(debug.Stack()))
	if !v.w.sent {
		v.problem(http.StatusInternalServerError, "error.title", "error.internal")
	}
}

// log writes the line of a request: nothing of its path, its query or its form, in which
// are references, tickets and codes.
func (v *visitor) log(began time.Time) {
	took := v.s.now().Sub(began)
	v.s.metrics.answered(v.route.name, v.w.code(), took.Seconds())
	if v.route == &staticRoute || v.route.name == "health" {
		return
	}
	user := ""
	if v.session != nil {
		user = v.session.User
	}
	v.s.log.Info("portal request", "route", v.route.name, "method", v.method(), "status", v.w.code(), "took", took,
		"source", v.from.String(), "user", user, "language", v.lang.tag)
}

// method is the request's, if it is one of HTTP's own.
func (v *visitor) method() string {
	switch m := v.r.Method; m {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return m
	}
	return "other"
}

// answer notes what was sent.
type answer struct {
	http.ResponseWriter
	status int
	sent   bool
}

func (a *answer) WriteHeader(status int) {
	if !a.sent {
		a.status, a.sent = status, true
		a.ResponseWriter.WriteHeader(status)
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}

// trusted says whether a password is enough to enrol from an address.
func (v *visitor) trusted(from netip.Addr) bool {
	if !from.IsValid() || v.s.backend.VPN(from) {
		return false
	}
	for _, n := range v.set.EnrolFrom {
		if n.Contains(from) {
			return true
		}
	}
	return false
}
