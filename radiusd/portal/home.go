package portal

import (
	"errors"
	"net/http"
)

type homeData struct{ Connections []Connection }

// home is where somebody is connected, or the sign-in.
func (v *visitor) home() {
	switch {
	case v.session != nil && v.session.Level == levelFull:
		all, err := v.s.backend.Connections(v.r.Context(), v.session.User)
		if err != nil {
			v.away(err)
			return
		}
		v.show(http.StatusOK, "home", &page{Title: v.lang.text("home.title"), Wide: true, Data: homeData{all}})
	case v.session != nil && len(v.unsaved()) > 0:
		v.redirect("/recovery")
	case v.session != nil && v.session.Done:
		v.redirect(v.afterRecovery())
	case v.session != nil:
		v.redirect("/enrol")
	case cookie(v.r, cookieVisit) != "":
		v.redirect("/step-up")
	default:
		v.signInPage("")
	}
}

// disconnect ends a session of the visitor's own.
func (v *visitor) disconnect() {
	if !v.admitted(v.s.admitUser(v.r.Context(), v.session.User)) {
		return
	}
	id := v.field("id")
	err := v.s.backend.Disconnect(v.r.Context(), v.session.User, id, v.from)
	if err != nil && !errors.Is(err, ErrNotFound) {
		v.away(err)
		return
	}
	if err == nil {
		v.s.log.Info("session ended by its user", "user", v.session.User, "session", id, "source", v.from.String())
		if err := v.notice("home.ended"); err != nil {
			v.s.log.Debug("no notice", "error", err)
		}
	}
	v.redirect("/")
}
