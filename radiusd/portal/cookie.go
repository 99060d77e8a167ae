package portal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// The cookies. The prefix makes browsers refuse one that another host of the domain,
// or plain HTTP, tries to plant (RFC 6265bis §4.1.3.2).
const (
	cookieSession  = "__Host-postern"
	cookieForm     = "__Host-postern-form"
	cookieVisit    = "__Host-postern-visit"
	cookieTicket   = "__Host-postern-ticket"
	cookieLanguage = "__Host-postern-lang"
)

// setCookie gives the browser a cookie until it is closed; life 0, and for as long as
// life otherwise. What must be there behind a redirect from elsewhere, or a link in a
// mail, is Lax; who is signed in is Strict.
func setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if name == cookieSession {
		c.SameSite = http.SameSiteStrictMode
	}
	if life > 0 {
		c.MaxAge = int(life / time.Second)
	}
	http.SetCookie(w, c)
}

// dropCookie takes a cookie away.
func dropCookie(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// cookie returns a cookie's value when there is exactly one of the name: of two, one
// was planted.
func cookie(r *http.Request, name string) string {
	all := r.CookiesNamed(name)
	if len(all) != 1 {
		return ""
	}
	return all[0].Value
}

// randomSize is that of names nobody can guess.
const randomSize = 32

// newRandom draws one.
func newRandom() string {
	b := make([]byte, randomSize)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b)
}

// isRandom says whether s can be one of ours.
func isRandom(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == randomSize && !strings.ContainsAny(s, "\r\n")
}

// formToken is what a form with an action must carry for the cookie it belongs to.
func formToken(cookie, action string) string {
	m := hmac.New(sha256.New, []byte(cookie))
	m.Write([]byte("postern form\x00" + action))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// isFormToken compares in constant time.
func isFormToken(token, cookie, action string) bool {
	return cookie != "" && hmac.Equal([]byte(token), []byte(formToken(cookie, action)))
}
