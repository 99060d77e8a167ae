package portal

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"postern/authz"
	"postern/policy"
)

// visitPath is before the reference in a quarantined session's URL.
const visitPath = "/s/"

// maxReference bounds a reference; browsers keep 4,096 octets of a cookie.
const maxReference = 2048

// arrive takes the reference out of the address, where it would stay in histories and
// over shoulders, and leads on. It is not used up: it says which session is meant and
// opens nothing by itself.
func (v *visitor) arrive() {
	ref := strings.TrimPrefix(v.r.URL.Path, visitPath)
	if !isReference(ref) {
		v.problem(http.StatusNotFound, "error.link_title", "error.link")
		return
	}
	visit, err := v.s.backend.Visit(v.r.Context(), ref)
	switch {
	case err == nil:
		setCookie(v.w, cookieVisit, ref, max(visit.Until.Sub(v.s.now()), time.Second))
		v.redirect("/step-up")
	case errors.Is(err, authz.ErrNoSession):
		v.late()
	case errors.Is(err, authz.ErrReference):
		// A right one is not counted: behind one address many sit, and their machines
		// come here by themselves to see whether they are on the Internet.
		if v.admitted(v.s.admitStranger(v.r.Context(), v.from, "")) {
			v.problem(http.StatusNotFound, "error.link_title", "error.link")
		}
	default:
		v.away(err)
	}
}

// isReference says whether s can stand in a cookie and in a path as it is.
func isReference(s string) bool {
	if len(s) == 0 || len(s) > maxReference {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~') {
			return false
		}
	}
	return true
}

// held is the session that a step-up is for: the one that the browser was led here for
// or, of who is signed in, one of his own.
type held struct {
	id, user string
	source   string
	since    time.Time
	until    time.Time
	demands  policy.Factor
	may      bool // enrol now: see trusted
	visit    bool
	device   bool   // it must report before the network opens, whatever the factor
	given    bool   // the factor, and only the device is waited for
	banner   string // the rule's text for its user
}

// findHeld returns the session to be stepped up. When there is none, it has answered.
func (v *visitor) findHeld(id string) *held {
	if id != "" && v.session != nil && v.session.Level == levelFull {
		return v.findOwn(id)
	}
	if v.reference() == "" {
		v.redirect("/")
		return nil
	}
	visit, err := v.visit()
	switch {
	case err != nil:
		v.away(err)
	case visit == nil || visit.Held && !visit.Until.After(v.s.now()):
		v.late()
	case !visit.Held:
		v.redirect("/done")
	default:
		return &held{
			id: visit.Session.ID, user: visit.User, source: addrText(visit.Session.Source), since: visit.Session.Opened,
			until: visit.Until, demands: visit.Demands, may: v.trusted(visit.Session.Source), visit: true,
			device: visit.Isolated, given: visit.Isolated && !visit.Waits, banner: visit.Session.Banner,
		}
	}
	return nil
}

// addrText is an address in a page; "": unknown.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (v *visitor) findOwn(id string) *held {
	all, err := v.s.backend.Connections(v.r.Context(), v.session.User)
	if err != nil {
		v.away(err)
		return nil
	}
	for _, c := range all {
		if c.ID != id {
			continue
		}
		if !c.Held {
			break
		}
		return &held{
			id: id, user: v.session.User, source: addrText(c.Source), since: c.Since, until: c.Until, demands: policy.FactorCode,
			device: c.Isolated, given: c.Isolated && !c.Waits, banner: c.Banner,
		}
	}
	v.redirect("/")
	return nil
}

// late says that nothing can be opened any more.
func (v *visitor) late() {
	dropCookie(v.w, cookieVisit)
	v.show(http.StatusGone, "late", &page{Title: v.lang.text("late.title"), Back: "/"})
}

type stepUpData struct {
	User     string
	Source   string
	Since    time.Time
	Until    time.Time
	Minutes  int
	Session  string // its ID, when it is not the visit's
	KeyOnly  bool   // no code will do
	Enrol    bool   // nothing to step up with, and leave to enrol
	Recovery bool
	Keys     bool
	Device   bool   // it must report as well
	Banner   string // of the rule

	id string // the session's, whichever
}

func (v *visitor) stepUpPage() {
	if h := v.findHeld(v.query("session")); h != nil {
		v.showStepUp(h)
	}
}

func (v *visitor) showStepUp(h *held, wrong ...mistake) {
	if h.given {
		v.show(http.StatusOK, "isolated", &page{Title: v.lang.text("isolated.title"), Data: stepUpData{
			User: h.user, Source: h.source, Since: h.since, Until: h.until, Minutes: minutes(h.until.Sub(v.s.now())), Banner: h.banner,
		}})
		return
	}
	f, err := v.s.backend.Factors(v.r.Context(), h.user)
	if err != nil {
		v.away(err)
		return
	}
	d := stepUpData{
		User: h.user, Source: h.source, Since: h.since, Until: h.until, Minutes: minutes(h.until.Sub(v.s.now())),
		KeyOnly: h.demands == policy.FactorWebAuthn, Enrol: h.may && !f.Enrolled(),
		Recovery: v.field("recovery") != "", Keys: f.Keys > 0, Device: h.device, Banner: h.banner, id: h.id,
	}
	if !h.visit {
		d.Session = h.id
	}
	if d.KeyOnly || d.Enrol {
		for i := range wrong {
			wrong[i].Field = "" // there is none
		}
	}
	v.show(statusOf(wrong), "stepup", &page{Title: v.lang.text("stepup.title"), Wrong: wrong, Data: d})
}

// stepUp judges the factor. The password was proved at the login, so what is wrong may
// be said.
func (v *visitor) stepUp() {
	h := v.findHeld(v.field("session"))
	if h == nil {
		return
	}
	if h.given {
		v.showStepUp(h)
		return
	}
	code, recovery := v.typedCode()
	if wrong := v.wrongCode(code, recovery); len(wrong) > 0 {
		v.showStepUp(h, wrong...)
		return
	}
	if !v.admitted(v.s.admitUser(v.r.Context(), h.user)) {
		return
	}
	res := v.s.backend.StepUp(v.r.Context(), authz.StepUp{Session: h.id, User: h.user, Code: code, From: v.from})
	field := "code"
	if recovery {
		field = "recovery"
	}
	v.steppedUp(h, res, field)
}

// steppedUp goes on behind a step-up by whatever factor; field is where a mistake
// belongs.
func (v *visitor) steppedUp(h *held, res authz.StepUpResult, field string) {
	switch res.Reason {
	case authz.Permitted, authz.NotQuarantined:
	case authz.Isolated:
		if res.Factor == authz.FactorNone { // nothing was proved
			v.showStepUp(h, v.wrong(field, "wrong.refused"))
			return
		}
	case authz.StepUpExpired, authz.SessionGone:
		v.late()
		return
	case authz.DirectoryDown, authz.StoreDown, authz.InternalError:
		v.unanswered()
		return
	default:
		// The same form, sent twice by an impatient finger: the first has won.
		if visit, err := v.visit(); h.visit && err == nil && visit != nil && !visit.Held {
			v.redirect("/done")
			return
		}
		v.showStepUp(h, v.wrong(field, stepUpWrong(res.Reason, field)))
		return
	}
	if res.Reason == authz.NotQuarantined { // nothing was proved
		v.redirect("/done")
		return
	}
	x := &session{User: h.user, Level: levelFull, Proved: v.s.now(), Factor: res.Factor.String()}
	if h.visit {
		x.Visit = v.reference()
	}
	if err := v.become(x); err != nil {
		// The network opens all the same; only the rest of the portal needs a session.
		v.s.log.Warn("no session after a step-up", "error", err)
		v.redirect("/done")
		return
	}
	if !h.visit {
		v.redirect("/")
		return
	}
	dropCookie(v.w, cookieVisit)
	v.redirect("/done") // which leads on to what else it waits for
}

// stepUpWrong is what is said of a refusal.
func stepUpWrong(r authz.Reason, field string) string {
	switch r {
	case authz.CodeReplayed:
		return "wrong.replayed"
	case authz.CodeLocked, authz.LockedOut:
		return "wrong.locked"
	case authz.FactorTooWeak:
		return "wrong.weak"
	case authz.CodeWrong, authz.CodeMissing, authz.NotEnrolled:
		return "wrong." + field
	default: // the policy, the account
		return "wrong.refused"
	}
}

type doneData struct {
	Open     bool
	Banner   string // of the rule
	Recovery bool   // a recovery code was used
	Left     int
	Member   bool
}

// donePage says that the network opens, and when it has.
func (v *visitor) donePage() {
	if v.reference() == "" {
		v.redirect("/")
		return
	}
	visit, err := v.visit()
	switch {
	case err != nil:
		v.away(err)
		return
	case visit == nil && v.session != nil && v.session.Visit != "":
		v.redirect("/") // opened, and the reference has lapsed since
		return
	case visit == nil:
		v.late()
		return
	case visit.Held:
		v.redirect("/step-up")
		return
	}
	d := doneData{Open: !visit.Lifting, Banner: visit.Session.Banner, Member: v.session != nil && v.session.Level == levelFull}
	if d.Member && v.session.Factor == authz.FactorRecovery.String() {
		f, err := v.s.backend.Factors(v.r.Context(), v.session.User)
		if err != nil {
			v.away(err)
			return
		}
		d.Recovery, d.Left = true, f.Recovery
	}
	title := "done.title"
	if visit.Lifting {
		title = "done.opening_title"
	}
	v.show(http.StatusOK, "done", &page{Title: v.lang.text(title), Data: d})
}
