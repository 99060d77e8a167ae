package portal

import (
	"net/http"
	"strings"
)

type recoveryData struct {
	Codes    []string
	Enrolled bool // the last step of an enrolment
}

// unsaved are recovery codes that were made just now, nil when they have been seen.
func (v *visitor) unsaved() []string {
	if v.session.Until <= v.s.now().Unix() {
		return nil
	}
	return v.session.Codes
}

// recoveryPage shows the codes until their owner says that they are saved.
func (v *visitor) recoveryPage() {
	codes := v.unsaved()
	if len(codes) == 0 {
		v.redirect(v.afterRecovery())
		return
	}
	v.show(http.StatusOK, "recovery", &page{Title: v.lang.text("recovery.title"), Data: recoveryData{codes, v.session.Done}})
}

// recoveryFile is the same to take away.
func (v *visitor) recoveryFile() {
	codes := v.unsaved()
	if len(codes) == 0 {
		v.problem(http.StatusGone, "recovery.title", "recovery.gone")
		return
	}
	l := v.lang
	lines := []string{
		l.text("recovery.file", "user", v.session.User, "name", v.set.Name),
		l.text("recovery.file_made", "day", l.day(v.s.now().In(v.set.Location))),
		l.text("recovery.file_how"), "",
	}
	lines = append(append(lines, codes...), "")
	v.w.Header().Set("Content-Disposition", `attachment; filename="`+l.text("recovery.file_name")+`.txt"`)
	v.send(http.StatusOK, "text/plain; charset=utf-8", []byte(strings.Join(lines, "\r\n")))
}

// recoverySaved forgets them.
func (v *visitor) recoverySaved() {
	made := len(v.session.Codes) > 0
	v.session.Codes, v.session.Until = nil, 0
	path := v.afterRecovery()
	if made && path == "/security" {
		v.session.Notice = "security.recovery_made"
		if v.session.Done {
			v.session.Notice, v.session.Done = "security.device_added", false
		}
	}
	if err := v.save(); err != nil {
		v.away(err)
		return
	}
	v.redirect(path)
}

func (v *visitor) afterRecovery() string {
	switch {
	case v.session.Level == levelFull:
		return "/security"
	case cookie(v.r, cookieVisit) != "":
		return "/step-up"
	}
	return "/enrol/done"
}

// newRecovery makes codes in the place of the old ones.
func (v *visitor) newRecovery() {
	if !v.fresh() {
		v.redirect("/again?to=security")
		return
	}
	if !v.admitted(v.s.admitUser(v.r.Context(), v.session.User)) {
		return
	}
	codes, err := v.s.backend.NewRecovery(v.r.Context(), v.session.User)
	if err != nil {
		v.away(err)
		return
	}
	v.s.log.Info("recovery codes made", "user", v.session.User, "source", v.from.String())
	v.session.Codes, v.session.Until = codes, v.s.now().Add(unfinished).Unix()
	if err := v.save(); err != nil {
		v.away(err)
		return
	}
	v.redirect("/recovery")
}
