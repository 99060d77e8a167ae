package portal

import (
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"postern/authz"
)

// Lengths of what is typed, ours: longer is refused unread. Names are bounded as
// User-Name is (RFC 2865 §5.1), passwords as those of MS-CHAPv2 (RFC 2759 §8.10).
const (
	maxName     = 253
	maxPassword = 256 * 4
	maxCode     = 64
	// maxHold is how long an answer is held back at most, of the time there is for one.
	maxHold = answerTime / 2
)

// credentials are a form's: a name and a password with one code of either kind.
type credentials struct {
	name     string
	password []byte
	code     string
}

// wipe forgets the password. The form's own copy is the garbage collector's.
func (c *credentials) wipe() { clear(c.password) }

// typedCode is the code of a form, in whichever field it stands. Apps show codes in
// groups, and people type what they see.
func (v *visitor) typedCode() (code string, recovery bool) {
	if code = squeeze(v.field("code")); code != "" {
		return code, false
	}
	code = squeeze(v.field("recovery"))
	return code, code != ""
}

// squeeze takes the blanks out of a code.
func squeeze(s string) string {
	if len(s) > maxCode {
		return s
	}
	return strings.Join(strings.Fields(s), "")
}

// isCode says whether s looks like a one-time code.
func isCode(s string) bool { return len(s) >= 6 && len(s) <= 8 && strings.Trim(s, "0123456789") == "" }

// wrongCode says what is wrong with a code as it stands; a recovery code is judged by
// whoever made it.
func (v *visitor) wrongCode(code string, recovery bool) []mistake {
	switch {
	case code == "":
		return []mistake{v.wrong("code", "wrong.code_missing")}
	case recovery && len(code) > maxCode:
		return []mistake{v.wrong("recovery", "wrong.recovery")}
	case !recovery && !isCode(code):
		return []mistake{v.wrong("code", "wrong.code_form")}
	}
	return nil
}

// readCredentials reads the form, and what is wrong with it as it stands. The code may
// be missing: that is for who has none.
func (v *visitor) readCredentials(name string) (*credentials, []mistake) {
	c := &credentials{name: name, password: []byte(v.field("password"))}
	if name == "" {
		c.name = strings.TrimSpace(v.field("name"))
	}
	var recovery bool
	c.code, recovery = v.typedCode()
	var wrong []mistake
	switch {
	case c.name == "" || len(c.name) > maxName || !utf8.ValidString(c.name):
		wrong = append(wrong, v.wrong("name", "wrong.name"))
	case len(c.password) == 0 || len(c.password) > maxPassword:
		wrong = append(wrong, v.wrong("password", "wrong.password"))
	}
	if c.code != "" {
		wrong = append(wrong, v.wrongCode(c.code, recovery)...)
	}
	return c, wrong
}

type signInData struct {
	Name     string
	Recovery bool // the field for it was used
}

// signInPage is the first page of who has proved nothing.
func (v *visitor) signInPage(name string, wrong ...mistake) {
	v.show(statusOf(wrong), "signin", &page{
		Title: v.lang.text("signin.title"), Back: "/", Wrong: wrong,
		Data: signInData{Name: name, Recovery: v.field("recovery") != ""},
	})
}

// signInForm is for who is led to the step-up by the first page and has nothing that it
// takes.
func (v *visitor) signInForm() {
	if v.session != nil {
		v.toHome()
		return
	}
	v.signInPage("")
}

// signIn judges password and code. There is one answer to everything that is wrong:
// which of them it was, whether there is such a user, whether he has a second factor,
// is locked or not permitted, is for the audit log. Only who has a key learns that the
// password was right: he is asked for the key.
func (v *visitor) signIn() {
	c, wrong := v.readCredentials("")
	defer c.wipe()
	if len(wrong) > 0 {
		v.signInPage(c.name, wrong...)
		return
	}
	if !v.admitted(v.s.admitStranger(v.r.Context(), v.from, c.name)) {
		return
	}
	res := v.s.backend.SignIn(v.r.Context(), authz.SignIn{Name: c.name, Password: c.password, Code: c.code, From: v.from})
	v.hold(res.Delay)
	switch {
	case res.Reason == authz.Permitted && res.User != "" && res.Factor != authz.FactorNone:
		v.enter(&session{User: res.User, Level: levelFull, Proved: v.s.now(), Factor: res.Factor.String()}, "/")
	case isAway(res.Reason):
		v.unanswered()
	// Before the next: who has a key must not enrol with a password alone.
	case (res.Reason == authz.CodeMissing || res.Reason == authz.NotEnrolled) && res.User != "" && v.offerKey(res.User):
	case res.Reason == authz.NotEnrolled && res.User != "" && v.trusted(v.from):
		v.enrolByPassword(c.name, res.User)
	default:
		v.signInPage(c.name, v.wrong("name", "wrong.sign_in"))
	}
}

// enrolByPassword lets somebody without any factor set up one. That he has none is
// looked up again, of all kinds: a password must never do where a factor was possible.
func (v *visitor) enrolByPassword(typed, user string) {
	f, err := v.s.backend.Factors(v.r.Context(), user)
	switch {
	case err != nil:
		v.away(err)
	case f.Enrolled():
		v.signInPage(typed, v.wrong("name", "wrong.sign_in"))
	default:
		v.enter(&session{User: user, Level: levelEnrol, Leave: leaveNetwork}, "/enrol")
	}
}

// hold keeps an answer back for as long as another would have taken.
func (v *visitor) hold(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(min(d, maxHold))
	defer t.Stop()
	select {
	case <-t.C:
	case <-v.r.Context().Done():
	}
}

// enter opens a session and leads on.
func (v *visitor) enter(x *session, path string) {
	if err := v.become(x); err != nil {
		v.away(err)
		return
	}
	v.redirect(path)
}

// isAway says that nobody could judge.
func isAway(r authz.Reason) bool {
	return r == authz.DirectoryDown || r == authz.StoreDown || r == authz.InternalError
}

// unanswered is for who could not be judged; the audit log says why.
func (v *visitor) unanswered() {
	v.w.Header().Set("Retry-After", "5")
	v.problem(http.StatusServiceUnavailable, "error.away_title", "error.away")
}

// signOut ends the session.
func (v *visitor) signOut() {
	if err := v.leave(); err != nil {
		v.away(err)
		return
	}
	dropCookie(v.w, cookieVisit)
	dropCookie(v.w, cookieTicket)
	v.redirect("/")
}

// The places that signing in again leads to.
var againTo = map[string]string{
	"enrol": "/enrol", "security": "/security", "remove": "/security/remove?id=", "key": "/security/key", "computers": "/computers",
}

type againData struct {
	To, ID   string
	Recovery bool
}

func (v *visitor) showAgain(to, id string, wrong ...mistake) {
	if againTo[to] == "" || !isID(id) {
		to, id = "security", ""
	}
	v.show(statusOf(wrong), "again", &page{
		Title: v.lang.text("again.title"), Back: "/security", Wrong: wrong,
		Data: againData{to, id, v.field("recovery") != ""},
	})
}

// againPage asks for a fresh proof before what matters.
func (v *visitor) againPage() { v.showAgain(v.query("to"), v.query("id")) }

// again takes it: the same proof as at the first page, of the same person.
func (v *visitor) again() {
	to, id := v.field("to"), v.field("id")
	c, wrong := v.readCredentials(v.session.User)
	defer c.wipe()
	if c.code == "" && len(wrong) == 0 {
		wrong = append(wrong, v.wrong("code", "wrong.code_missing"))
	}
	if len(wrong) > 0 {
		v.showAgain(to, id, wrong...)
		return
	}
	if !v.admitted(v.s.admitUser(v.r.Context(), v.session.User)) {
		return
	}
	res := v.s.backend.SignIn(v.r.Context(), authz.SignIn{Name: c.name, Password: c.password, Code: c.code, From: v.from})
	v.provedAgain(res, to, id, "password")
}

// provedAgain goes on behind a proof by whatever factor; field is where a mistake
// belongs.
func (v *visitor) provedAgain(res authz.SignInResult, to, id, field string) {
	switch {
	case res.Reason == authz.Permitted && res.User == v.session.User && res.Factor != authz.FactorNone:
		x := *v.session
		x.Proved, x.Factor = v.s.now(), res.Factor.String()
		path := againTo[to]
		if path == "" || !isID(id) {
			path, id = againTo["security"], ""
		}
		if to == "remove" {
			path += id
		}
		v.enter(&x, path)
	case isAway(res.Reason):
		v.unanswered()
	default:
		v.showAgain(to, id, v.wrong(field, "wrong.sign_in"))
	}
}

// isID says whether s can be the ID of a device; "" can.
func isID(s string) bool {
	if len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// setLanguage remembers a choice and leads back to where it was made.
func (v *visitor) setLanguage() {
	for _, l := range v.set.choice.offered {
		if l.tag == v.field("lang") {
			setCookie(v.w, cookieLanguage, l.tag, languageLife)
		}
	}
	for i := range routes {
		if r := &routes[i]; r.path == v.field("back") && r.get != nil {
			v.redirect(r.path)
			return
		}
	}
	v.redirect("/")
}
