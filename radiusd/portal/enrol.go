package portal

import (
	"errors"
	"html/template"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"postern/authz"
)

// maxLabel is in characters; maxTicket in octets.
const (
	maxLabel  = 40
	maxTicket = 128
	// ticketLife is how long a ticket may lie in a cookie: its holder reads one page.
	ticketLife   = 15 * time.Minute
	languageLife = 365 * 24 * time.Hour
)

// mayEnrol says what lets the visitor set up a device, and for whom; leaveNone: nothing.
//
//	a ticket, a password from a trusted network    a session at levelEnrol
//	a factor, given just now                       a session at levelFull
//	a session in quarantine from a trusted         the visit; only who has no factor
//	network
func (v *visitor) mayEnrol() (l leave, user string, err error) {
	switch {
	case v.session != nil && v.session.Level == levelEnrol && v.session.Leave != leaveNone:
		return v.session.Leave, v.session.User, nil
	case v.session != nil && v.session.Level == levelFull:
		return leaveFactor, v.session.User, nil
	case v.session != nil:
		return leaveNone, v.session.User, nil
	}
	visit, err := v.visit()
	if err != nil || visit == nil || !visit.Held || !v.trusted(visit.Session.Source) {
		return leaveNone, "", err
	}
	f, err := v.s.backend.Factors(v.r.Context(), visit.User)
	if err != nil || f.Enrolled() {
		return leaveNone, "", err
	}
	return leaveNetwork, visit.User, nil
}

// enrolPage begins an enrolment, or says what it takes.
func (v *visitor) enrolPage() {
	if t := v.query("ticket"); t != "" {
		v.keepTicket(t)
		return
	}
	v.showEnrol()
}

// keepTicket takes the ticket out of the address. It is not used up yet: whatever looks
// at links in mails on the way must not spend it.
func (v *visitor) keepTicket(t string) {
	if isTicket(t) {
		setCookie(v.w, cookieTicket, t, ticketLife)
	}
	v.redirect("/enrol")
}

// isTicket says whether s can be a ticket.
func isTicket(s string) bool { return len(s) <= maxTicket && s != "" && isReference(s) }

type enrolData struct {
	User   string
	Label  string
	Full   bool // no more devices
	Ticket bool // there is one in a cookie
}

func (v *visitor) showEnrol(wrong ...mistake) {
	l, user, err := v.mayEnrol()
	if err != nil {
		v.away(err)
		return
	}
	if l == leaveNone {
		v.showTicket(isTicket(cookie(v.r, cookieTicket)))
		return
	}
	if l == leaveFactor && !v.fresh() {
		v.redirect("/again?to=enrol")
		return
	}
	f, err := v.s.backend.Factors(v.r.Context(), user)
	if err != nil {
		v.away(err)
		return
	}
	d := enrolData{User: user, Label: v.field("label"), Full: f.More < 1}
	v.show(statusOf(wrong), "enrol", &page{Title: v.lang.text("enrol.title"), Back: "/enrol", Wrong: wrong, Data: d})
}

// showTicket says what it takes to enrol; have: the browser has a ticket.
func (v *visitor) showTicket(have bool, wrong ...mistake) {
	v.show(statusOf(wrong), "ticket", &page{Title: v.lang.text("enrol.title"), Back: "/enrol", Wrong: wrong, Data: enrolData{Ticket: have}})
}

// enrolTicket uses a ticket up.
func (v *visitor) enrolTicket() {
	t := strings.TrimSpace(v.field("ticket"))
	if t == "" {
		t = cookie(v.r, cookieTicket)
	}
	if !isTicket(t) {
		v.showTicket(false, v.wrong("ticket", "wrong.ticket_missing"))
		return
	}
	if !v.admitted(v.s.admitStranger(v.r.Context(), v.from, "")) {
		return
	}
	user, err := v.s.backend.Ticket(v.r.Context(), t)
	switch {
	case errors.Is(err, ErrTicket):
		dropCookie(v.w, cookieTicket)
		v.showTicket(false, v.wrong("ticket", "wrong.ticket"))
	case err != nil:
		v.away(err)
	default:
		dropCookie(v.w, cookieTicket)
		v.enter(&session{User: user, Level: levelEnrol, Leave: leaveTicket}, "/enrol")
	}
}

// enrolBegin begins a device.
func (v *visitor) enrolBegin() {
	l, user, err := v.mayEnrol()
	switch {
	case err != nil:
		v.away(err)
		return
	case l == leaveNone:
		v.redirect("/enrol")
		return
	case l == leaveFactor && !v.fresh():
		v.redirect("/again?to=enrol")
		return
	}
	label := strings.TrimSpace(v.field("label"))
	if utf8.RuneCountInString(label) > maxLabel || !utf8.ValidString(label) || strings.ContainsFunc(label, func(r rune) bool { return !unicode.IsPrint(r) }) {
		v.showEnrol(v.wrong("label", "wrong.label"))
		return
	}
	if !v.admitted(v.s.admitUser(v.r.Context(), user)) {
		return
	}
	e, err := v.s.backend.Begin(v.r.Context(), user, label)
	switch {
	case errors.Is(err, ErrTooMany):
		v.showEnrol(v.wrong("label", "wrong.too_many"))
		return
	case err != nil:
		v.away(err)
		return
	}
	p := &pending{Enrolment: *e, Label: label, Until: v.s.now().Add(unfinished).Unix()}
	if v.session == nil { // inside a session in quarantine
		v.enter(&session{User: user, Level: levelEnrol, Leave: l, Visit: v.reference(), Pending: p}, "/enrol/device")
		return
	}
	v.session.Pending = p
	if err := v.save(); err != nil {
		v.away(err)
		return
	}
	v.redirect("/enrol/device")
}

// begun is the device in the middle of its enrolment, nil when there is none any more.
func (v *visitor) begun() *pending {
	p := v.session.Pending
	if p == nil || p.Until <= v.s.now().Unix() {
		return nil
	}
	return p
}

type deviceData struct {
	QR              template.HTML
	Secret          string // in groups
	Account, Issuer string
	Digits, Period  int
}

// devicePage shows the secret to who has begun the device, until it is confirmed.
func (v *visitor) devicePage() {
	if v.begun() == nil {
		v.redirect("/enrol")
		return
	}
	v.showDevice()
}

func (v *visitor) showDevice(wrong ...mistake) {
	p := v.begun()
	code, err := drawQR(p.URL)
	if err != nil {
		v.away(err)
		return
	}
	v.show(statusOf(wrong), "device", &page{Title: v.lang.text("device.title"), Wrong: wrong, Data: deviceData{
		QR: code, Secret: grouped(p.Secret), Account: p.Account, Issuer: p.Issuer, Digits: p.Digits, Period: p.Period,
	}})
}

// grouped writes a secret as people can copy it by hand.
func grouped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// deviceConfirm stores the device when its first code is right.
func (v *visitor) deviceConfirm() {
	p := v.begun()
	if p == nil {
		v.problem(http.StatusGone, "error.form_title", "enrol.expired")
		return
	}
	code := squeeze(v.field("code"))
	switch {
	case code == "":
		v.showDevice(v.wrong("code", "wrong.code_missing"))
		return
	case !isCode(code):
		v.showDevice(v.wrong("code", "wrong.code_form"))
		return
	}
	if !v.admitted(v.s.admitUser(v.r.Context(), v.session.User)) {
		return
	}
	// A session that is used twice at once stores one device: who loses here has none.
	x := v.session
	x.Pending = nil
	if err := v.save(); err != nil {
		v.away(err)
		return
	}
	err := v.s.backend.Confirm(v.r.Context(), x.User, p.Pending, code)
	switch {
	case errors.Is(err, ErrCode):
		x.Pending = p
		if err := v.save(); err != nil {
			v.away(err)
			return
		}
		v.showDevice(v.wrong("code", "wrong.first_code"))
	case errors.Is(err, ErrTooMany):
		v.showEnrol(v.wrong("label", "wrong.too_many"))
	case errors.Is(err, ErrLapsed):
		v.problem(http.StatusGone, "error.form_title", "enrol.expired")
	case err != nil:
		v.away(err)
	default:
		v.enrolled()
	}
}

// enrolled goes on behind a device that was stored: to recovery codes if there are none.
func (v *visitor) enrolled() {
	x := v.session
	l := x.Leave
	if x.Level == levelFull {
		l = leaveFactor
	}
	v.s.metrics.enrolments.WithLabelValues(l.String()).Inc()
	v.s.log.Info("device enrolled", "user", x.User, "leave", l.String(), "source", v.from.String())
	next := *x
	next.Leave, next.Done = leaveNone, true // a leave is for one device
	if l == leaveNetwork && next.Visit == "" {
		// A password here, and now a code: as much as a sign-in takes.
		next.Level, next.Proved, next.Factor = levelFull, v.s.now(), authz.FactorCode.String()
	}
	f, err := v.s.backend.Factors(v.r.Context(), x.User)
	if err == nil && f.Recovery == 0 {
		next.Codes, err = v.s.backend.NewRecovery(v.r.Context(), x.User)
		next.Until = v.s.now().Add(unfinished).Unix()
	}
	if err != nil {
		// The device counts. Recovery codes can be made later.
		v.s.log.Warn("no recovery codes after an enrolment", "user", x.User, "error", err)
	}
	path := "/recovery"
	if len(next.Codes) == 0 {
		path = v.after(&next)
	}
	v.enter(&next, path)
}

// after is where an enrolment leads to.
func (v *visitor) after(x *session) string {
	switch {
	case x.Level == levelFull:
		x.Notice, x.Done = "security.device_added", false
		return "/security"
	case cookie(v.r, cookieVisit) != "":
		return "/step-up"
	}
	return "/enrol/done"
}

// enrolCancel forgets a device that was begun.
func (v *visitor) enrolCancel() {
	v.session.Pending = nil
	if err := v.save(); err != nil {
		v.away(err)
		return
	}
	if v.session.Level == levelFull {
		v.redirect("/security")
		return
	}
	v.redirect("/enrol")
}

type finishData struct{ User, Example string }

// finishPage says how to dial in from now on.
func (v *visitor) finishPage() {
	if !v.session.Done {
		v.redirect("/enrol")
		return
	}
	v.show(http.StatusOK, "finish", &page{Title: v.lang.text("finish.title"), Data: finishData{
		User: v.session.User, Example: v.session.User + string(rune(v.set.Separator)) + "123456",
	}})
}
