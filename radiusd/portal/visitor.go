package portal

import (
	"errors"
	"net/http"
	"net/netip"
	"time"

	"postern/authz"
)

// visitor is one request and whose it is.
type visitor struct {
	s     *Server
	set   *settings // in force when the request came
	w     *answer
	r     *http.Request
	from  netip.Addr
	lang  *language
	route *route

	// The session; nil: has proved nothing. lapsed: had one.
	cookie  string
	session *session
	raw     string // as it is stored
	lapsed  bool

	form string // the cookie of somebody without a session
}

// language is the one that was chosen, or the one the browser likes best.
func (v *visitor) language() *language {
	if tag := cookie(v.r, cookieLanguage); tag != "" {
		for _, l := range v.set.choice.offered {
			if l.tag == tag {
				return l
			}
		}
	}
	return v.set.choice.negotiate(v.r.Header.Get("Accept-Language"))
}

// identify finds the session of the request, and keeps it from falling idle.
func (v *visitor) identify() error {
	name := cookie(v.r, cookieSession)
	if name == "" {
		return nil
	}
	x, raw, err := v.s.load(v.r.Context(), name)
	if err != nil {
		return err
	}
	if x == nil {
		v.lapsed = true
		return nil
	}
	v.cookie, v.session, v.raw = name, x, raw
	if v.s.now().Sub(x.Seen) > seenEvery {
		if err := v.save(); err != nil && !errors.Is(err, errConflict) {
			return err
		}
	}
	return nil
}

// save stores the session as it is now.
func (v *visitor) save() error {
	raw, err := v.s.save(v.r.Context(), v.cookie, v.raw, v.session)
	if err != nil {
		return err
	}
	v.raw = raw
	return nil
}

// become gives the browser another session, under a new name: what was known of the
// old one before the proof is worth nothing after it.
func (v *visitor) become(x *session) error {
	name, raw, err := v.s.create(v.r.Context(), x, v.cookie)
	if err != nil {
		return err
	}
	v.cookie, v.session, v.raw = name, x, raw
	setCookie(v.w, cookieSession, name, 0)
	dropCookie(v.w, cookieForm)
	return nil
}

// leave ends the session.
func (v *visitor) leave() error {
	if v.session == nil {
		return nil
	}
	if err := v.s.drop(v.r.Context(), v.cookie); err != nil {
		return err
	}
	v.cookie, v.session, v.raw = "", nil, ""
	dropCookie(v.w, cookieSession)
	return nil
}

// binding is the cookie that forms belong to: the session's, or else the form cookie.
func (v *visitor) binding() string {
	if v.session != nil {
		return v.cookie
	}
	if v.form == "" {
		if c := cookie(v.r, cookieForm); isRandom(c) {
			v.form = c
		}
	}
	return v.form
}

// token is for a form that is about to be shown.
func (v *visitor) token(action string) string {
	if v.binding() == "" {
		v.form = newRandom()
		setCookie(v.w, cookieForm, v.form, 0)
	}
	return formToken(v.binding(), action)
}

// fresh says whether a second factor was given just now.
func (v *visitor) fresh() bool {
	return v.session != nil && v.session.Level == levelFull && v.s.now().Sub(v.session.Proved) < fresh
}

// notice is shown on the next page, once.
func (v *visitor) notice(key string) error {
	v.session.Notice = key
	return v.save()
}

// redirect leads on to another page of ours by GET. Its address is never made of what
// the visitor sent.
func (v *visitor) redirect(path string) {
	v.w.Header().Set("Location", path)
	v.w.WriteHeader(http.StatusSeeOther)
}

func (v *visitor) toHome()      { v.redirect("/") }
func (v *visitor) toEnrol()     { v.redirect("/enrol") }
func (v *visitor) toSecurity()  { v.redirect("/security") }
func (v *visitor) toComputers() { v.redirect("/computers") }

// reference is that of the session in quarantine that the browser was led here for.
func (v *visitor) reference() string {
	if c := cookie(v.r, cookieVisit); c != "" {
		return c
	}
	if v.session != nil {
		return v.session.Visit
	}
	return ""
}

// visit is what the reference stands for; nil: nothing, any more.
func (v *visitor) visit() (*authz.Visit, error) {
	ref := v.reference()
	if ref == "" {
		return nil, nil
	}
	visit, err := v.s.backend.Visit(v.r.Context(), ref)
	if errors.Is(err, authz.ErrReference) || errors.Is(err, authz.ErrNoSession) {
		return nil, nil
	}
	return visit, err
}

// minutes is a time left as people say it: 59 s are a minute.
func minutes(d time.Duration) int {
	return int((d + time.Minute - 1) / time.Minute)
}
