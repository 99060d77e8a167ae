package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"postern/authz"
	"postern/authz/mfa/webauthn"
	"postern/internal/seal"
	"postern/internal/store"
)

// Security keys and passkeys. A page that may be answered with one carries a ceremony
// in its form, sealed by webauthn and bound to what the form is for; the script shows
// the form where the browser can do it, and the answer comes as a form again. Without
// script, or in a portal without a real name, there is nothing to see.

// maxKeyBody is for forms with a key's answer: 5 kB with the longest key ID there is,
// more where signs are escaped.
const maxKeyBody = 32 << 10

// keyUse is what a key is used for. The zero value is nothing.
//
// Handled in: keyUses, keyScope; its names label a metric.
type keyUse uint8

const (
	keyNone   keyUse = iota
	keyStepUp        // to open the network
	keySignIn        // behind the password
	keyAgain         // by who is signed in, before what matters
	keyAdd           // to be known from now on
)

// keyUses says where a form goes and what it asks the browser for: "get" a key's
// signature, or "create" one.
var keyUses = [...]struct{ name, action, ask string }{
	keyNone:   {"none", "", ""},
	keyStepUp: {"step_up", "/step-up/key", "get"},
	keySignIn: {"sign_in", "/sign-in/key", "get"},
	keyAgain:  {"again", "/again/key", "get"},
	keyAdd:    {"add", "/security/key", "create"},
}

func (u keyUse) String() string {
	if int(u) < len(keyUses) {
		return keyUses[u].name
	}
	return keyUses[keyNone].name
}

// openKeys makes the verifier of a portal; nil where its URL has no name for keys.
func openKeys(c Config, st store.Store, ring *seal.Ring, log *slog.Logger) *webauthn.Verifier {
	keys, err := webauthn.New(st, ring, webauthn.Config{URL: c.URL, Name: c.Name})
	if err != nil {
		log.Info("no security keys in the portal", "url", c.URL, "error", err)
		return nil
	}
	return keys
}

// keyed is a Backend that knows of keys, too.
type keyed struct {
	Backend
	keys *webauthn.Verifier
}

func withKeys(b Backend, keys *webauthn.Verifier) Backend {
	if keys == nil {
		return b
	}
	return keyed{b, keys}
}

// Factors adds the keys.
func (k keyed) Factors(ctx context.Context, user string) (Factors, error) {
	f, err := k.Backend.Factors(ctx, user)
	if err != nil {
		return f, err
	}
	list, err := k.keys.Keys(ctx, user)
	f.Keys = max(f.Keys, len(list)) // the other Backend may know
	return f, err
}

// Remove takes a device away, or a key.
func (k keyed) Remove(ctx context.Context, user, id string) error {
	err := k.Backend.Remove(ctx, user, id)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if err = k.keys.Remove(ctx, user, id); errors.Is(err, webauthn.ErrNoKey) {
		return ErrNotFound
	}
	return err
}

// key is a user's key of an ID; nil: there is none.
func (v *visitor) key(user, id string) (*webauthn.Key, error) {
	if v.s.keys == nil {
		return nil, nil
	}
	list, err := v.s.keys.Keys(v.r.Context(), user)
	for i := range list {
		if list[i].ID == id {
			return &list[i], err
		}
	}
	return nil, err
}

// keyScope is what a ceremony belongs to: an answer to one page is none to another,
// and that of one browser none of another's.
func (v *visitor) keyScope(u keyUse, session string) string {
	switch u {
	case keyStepUp:
		return u.String() + " " + session
	case keySignIn, keyAgain, keyAdd:
		return u.String() + " " + v.binding()
	case keyNone:
	}
	return ""
}

// keyForm is for the template "key".
type keyForm struct {
	Page    *page
	Action  string
	Ask     string
	Options string
	Sealed  string
	Session string // of a step-up that is not the visit's
	User    string // of a sign-in
	To, ID  string // of again
	First   bool   // nothing else on the page is more important
}

// MoreKeys says whether there may be another.
func (p *page) MoreKeys(keys []webauthn.Key) bool { return len(keys) < webauthn.MaxKeys }

// beginKey begins a ceremony for a form; nil: there is no key to ask for, or nobody to
// ask. A page is not worth less without.
func (v *visitor) beginKey(p *page, u keyUse, user, session string) *keyForm {
	if v.s.keys == nil || user == "" {
		return nil
	}
	f := &keyForm{Page: p, Action: keyUses[u].action, Ask: keyUses[u].ask}
	v.token(f.Action) // its cookie is part of the scope
	ctx, now, scope := v.r.Context(), v.s.now(), v.keyScope(u, session)
	begin := v.s.keys.BeginAssertion
	if u == keyAdd {
		begin = v.s.keys.BeginRegistration
	}
	c, err := begin(ctx, now, user, scope)
	switch {
	case errors.Is(err, webauthn.ErrNoKey), errors.Is(err, webauthn.ErrTooMany):
		return nil
	case err != nil:
		v.s.log.Warn("no ceremony for a key", "use", u.String(), "user", user, "error", err)
		return nil
	}
	f.Options, f.Sealed = string(c.Options), c.Sealed
	return f
}

// KeyStepUp, KeyAgain and KeyAdd begin ceremonies where a template has a place for one.
func (p *page) KeyStepUp() *keyForm {
	d, ok := p.Data.(stepUpData)
	if !ok || d.Enrol {
		return nil
	}
	f := p.v.beginKey(p, keyStepUp, d.User, d.id)
	if f != nil {
		f.Session, f.First = d.Session, d.KeyOnly
	}
	return f
}

// KeyAgain is for who is signed in.
func (p *page) KeyAgain() *keyForm {
	d, ok := p.Data.(againData)
	if !ok {
		return nil
	}
	f := p.v.beginKey(p, keyAgain, p.User(), "")
	if f != nil {
		f.To, f.ID = d.To, d.ID
	}
	return f
}

// KeyAdd asks for a new key.
func (p *page) KeyAdd() *keyForm { return p.v.beginKey(p, keyAdd, p.User(), "") }

// Keyed says whether the portal can have keys at all.
func (p *page) Keyed() bool { return p.v.s.keys != nil }

// Keys are those of who is signed in.
func (p *page) Keys() ([]webauthn.Key, error) {
	if p.v.s.keys == nil || p.User() == "" {
		return nil, nil
	}
	return p.v.s.keys.Keys(p.v.r.Context(), p.User())
}

// KeyJS is the address of the script.
func (p *page) KeyJS() string { return staticURL("key.js") }

// useKey judges the answer in a form and counts it.
func (v *visitor) useKey(u keyUse, user, session string) error {
	if v.s.keys == nil {
		return webauthn.ErrName
	}
	ctx, now, scope := v.r.Context(), v.s.now(), v.keyScope(u, session)
	sealed, answer := v.field("ceremony"), []byte(v.field("response"))
	var k webauthn.Key
	var err error
	if u == keyAdd {
		k, err = v.s.keys.FinishRegistration(ctx, now, user, scope, sealed, v.field("label"), answer)
	} else {
		k, err = v.s.keys.FinishAssertion(ctx, now, user, scope, sealed, answer)
	}
	outcome := keyOutcome(err)
	v.s.metrics.keys.WithLabelValues(u.String(), outcome).Inc()
	switch outcome {
	case "ok":
		v.s.log.Info("key used", "use", u.String(), "user", user, "key_id", k.ID, "source", v.from.String())
	case "copied", "origin": // somebody has two of a kind; or the portal's url is not what browsers see
		v.s.log.Warn("key refused", "use", u.String(), "user", user, "source", v.from.String(), "error", err)
	default:
		v.s.log.Info("key refused", "use", u.String(), "user", user, "source", v.from.String(), "error", err)
	}
	return err
}

// keyOutcomes label a metric.
var keyOutcomes = []string{"ok", "refused", "late", "unverified", "copied", "origin", "away"}

func keyOutcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, webauthn.ErrExpired), errors.Is(err, webauthn.ErrUsed):
		return "late"
	case errors.Is(err, webauthn.ErrUnverified):
		return "unverified"
	case errors.Is(err, webauthn.ErrClone):
		return "copied"
	case errors.Is(err, webauthn.ErrOrigin):
		return "origin"
	case errors.Is(err, store.ErrUnavailable):
		return "away"
	}
	return "refused"
}

// keyWrong is what is said of a key that was not accepted.
func keyWrong(err error) string {
	switch {
	case errors.Is(err, webauthn.ErrExpired), errors.Is(err, webauthn.ErrUsed):
		return "wrong.key_late"
	case errors.Is(err, webauthn.ErrUnverified):
		return "wrong.key_pin"
	case errors.Is(err, webauthn.ErrClone):
		return "wrong.key_copied"
	case errors.Is(err, webauthn.ErrTooMany):
		return "wrong.key_many"
	case errors.Is(err, webauthn.ErrDuplicate):
		return "wrong.key_known"
	}
	return "wrong.key"
}

// stepUpKey opens the network with a key.
func (v *visitor) stepUpKey() {
	h := v.findHeld(v.field("session"))
	if h == nil || !v.admitted(v.s.admitUser(v.r.Context(), h.user)) {
		return
	}
	switch err := v.useKey(keyStepUp, h.user, h.id); {
	case errors.Is(err, store.ErrUnavailable):
		v.away(err)
	case err != nil:
		v.showStepUp(h, v.wrong("key", keyWrong(err)))
	default:
		res := v.s.backend.StepUp(v.r.Context(), authz.StepUp{Session: h.id, User: h.user, WebAuthn: true, From: v.from})
		v.steppedUp(h, res, "key")
	}
}

type keySignInData struct{ Key *keyForm }

// offerKey asks for a key behind a right password; false: the user has none. The
// ceremony in the form is all that says that the password was right: nobody else gets
// one of that kind.
func (v *visitor) offerKey(user string, wrong ...mistake) bool {
	p := &page{Title: v.lang.text("key.sign_in_title"), Back: "/", Wrong: wrong}
	f := v.beginKey(p, keySignIn, user, "")
	if f == nil {
		return false
	}
	f.User, f.First = user, true
	p.Data = keySignInData{f}
	v.show(statusOf(wrong), "key_sign_in", p)
	return true
}

// signInKey takes the key.
func (v *visitor) signInKey() {
	user := v.field("user")
	if user == "" || len(user) > maxName {
		v.redirect("/")
		return
	}
	if !v.admitted(v.s.admitStranger(v.r.Context(), v.from, user)) {
		return
	}
	err := v.useKey(keySignIn, user, "")
	switch {
	case errors.Is(err, store.ErrUnavailable):
		v.away(err)
		return
	case err != nil:
		// From the password on: the ceremony that proved it is used up.
		v.signInPage(user, v.wrong("name", keyWrong(err)))
		return
	}
	res := v.s.backend.SignIn(v.r.Context(), authz.SignIn{Name: user, WebAuthn: true, From: v.from})
	switch {
	case res.Reason == authz.Permitted && res.User == user:
		v.enter(&session{User: user, Level: levelFull, Proved: v.s.now(), Factor: res.Factor.String()}, "/")
	case isAway(res.Reason):
		v.unanswered()
	default:
		v.signInPage(user, v.wrong("name", "wrong.sign_in"))
	}
}

// againKey proves it again with a key alone: it knows its user by a PIN or a finger.
func (v *visitor) againKey() {
	user, to, id := v.session.User, v.field("to"), v.field("id")
	if !v.admitted(v.s.admitUser(v.r.Context(), user)) {
		return
	}
	err := v.useKey(keyAgain, user, "")
	switch {
	case errors.Is(err, store.ErrUnavailable):
		v.away(err)
		return
	case err != nil:
		v.showAgain(to, id, v.wrong("key", keyWrong(err)))
		return
	}
	res := v.s.backend.SignIn(v.r.Context(), authz.SignIn{Name: user, WebAuthn: true, From: v.from})
	v.provedAgain(res, to, id, "key")
}

// addKeyPage asks for a new key, of who has given a factor just now.
func (v *visitor) addKeyPage() {
	if v.mayAddKey() {
		v.showAddKey()
	}
}

func (v *visitor) mayAddKey() bool {
	switch {
	case v.s.keys == nil:
		v.redirect("/security")
	case !v.fresh():
		v.redirect("/again?to=key")
	default:
		return true
	}
	return false
}

func (v *visitor) showAddKey(wrong ...mistake) {
	v.show(statusOf(wrong), "key_add", &page{Title: v.lang.text("key.add_title"), Wrong: wrong})
}

// addKey takes it.
func (v *visitor) addKey() {
	if !v.mayAddKey() || !v.admitted(v.s.admitUser(v.r.Context(), v.session.User)) {
		return
	}
	err := v.useKey(keyAdd, v.session.User, "")
	switch {
	case errors.Is(err, store.ErrUnavailable):
		v.away(err)
		return
	case err != nil:
		v.showAddKey(v.wrong("key", keyWrong(err)))
		return
	}
	if err := v.notice("key.added"); err != nil {
		v.away(fmt.Errorf("key stored: %w", err))
		return
	}
	v.redirect("/security")
}
