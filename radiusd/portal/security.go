package portal

import (
	"cmp"
	"errors"
	"net/http"
)

// lowRecovery is how few codes are too few.
const lowRecovery = 3

type securityData struct {
	Factors
	Low    bool
	Places []Place
}

// securityPage lists what the visitor can prove himself with, and where he need not.
func (v *visitor) securityPage() {
	ctx, user := v.r.Context(), v.session.User
	f, err := v.s.backend.Factors(ctx, user)
	if err != nil {
		v.away(err)
		return
	}
	places, err := v.s.backend.Places(ctx, user)
	if err != nil {
		v.away(err)
		return
	}
	v.show(http.StatusOK, "security", &page{
		Title: v.lang.text("security.title"), Wide: true,
		Data: securityData{Factors: f, Low: f.Recovery <= lowRecovery, Places: places},
	})
}

type removeData struct {
	ID, Label string
	Key       bool // not a device
	Last      bool
}

// removable returns the device of an ID, nil when it has answered: it is gone, or the
// proof is not fresh. The last factor stays: without it nobody could come back here.
func (v *visitor) removable(id string) *removeData {
	if !isID(id) || id == "" {
		v.redirect("/security")
		return nil
	}
	if !v.fresh() {
		v.redirect("/again?to=remove&id=" + id)
		return nil
	}
	f, err := v.s.backend.Factors(v.r.Context(), v.session.User)
	if err != nil {
		v.away(err)
		return nil
	}
	for _, d := range f.Devices {
		if d.ID == id {
			return &removeData{ID: id, Label: v.label(d.Label), Last: len(f.Devices)+f.Keys+f.Elsewhere == 1}
		}
	}
	k, err := v.key(v.session.User, id)
	switch {
	case err != nil:
		v.away(err)
		return nil
	case k != nil:
		return &removeData{ID: id, Label: cmp.Or(k.Label, v.lang.text("key.unnamed")), Key: true, Last: len(f.Devices)+f.Keys+f.Elsewhere == 1}
	}
	if err := v.notice("remove.gone"); err != nil {
		v.away(err)
		return nil
	}
	v.redirect("/security")
	return nil
}

// label is a device's name, or what stands for one.
func (v *visitor) label(s string) string {
	if s == "" {
		return v.lang.text("security.unnamed")
	}
	return s
}

func (v *visitor) removePage() {
	if d := v.removable(v.query("id")); d != nil {
		v.showRemove(d)
	}
}

func (v *visitor) showRemove(d *removeData) {
	title, status := "remove.title", http.StatusOK
	if d.Key {
		title = "key.remove_title"
	}
	if d.Last {
		title, status = "remove.last_title", http.StatusConflict
	}
	v.show(status, "remove", &page{Title: v.lang.text(title), Back: "/security", Data: *d})
}

// remove takes a device away.
func (v *visitor) remove() {
	d := v.removable(v.field("id"))
	if d == nil {
		return
	}
	if d.Last {
		v.showRemove(d)
		return
	}
	err := v.s.backend.Remove(v.r.Context(), v.session.User, d.ID)
	notice := "security.removed"
	if d.Key {
		notice = "key.removed"
	}
	if errors.Is(err, ErrNotFound) {
		notice, err = "remove.gone", nil
	}
	if err == nil {
		v.s.log.Info("device removed", "user", v.session.User, "device", d.ID, "source", v.from.String())
		err = v.notice(notice)
	}
	if err != nil {
		v.away(err)
		return
	}
	v.redirect("/security")
}

// forget ends the remembrance of one place, or of all.
func (v *visitor) forget() {
	ctx, user := v.r.Context(), v.session.User
	ids := []string{v.field("id")}
	if ids[0] == "" {
		places, err := v.s.backend.Places(ctx, user)
		if err != nil {
			v.away(err)
			return
		}
		ids = nil
		for _, p := range places {
			ids = append(ids, p.ID)
		}
	}
	for _, id := range ids {
		if err := v.s.backend.Forget(ctx, user, id); err != nil && !errors.Is(err, ErrNotFound) {
			v.away(err)
			return
		}
	}
	v.s.log.Info("remembered places forgotten", "user", user, "places", len(ids), "source", v.from.String())
	if err := v.notice("security.forgotten"); err != nil {
		v.away(err)
		return
	}
	v.redirect("/security")
}
