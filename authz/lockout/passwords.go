package lockout

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"
)

// OnePassword is what many users are tried with.
const OnePassword = "one password"

const (
	// maxPasswords bounds how many passwords are told apart at a time.
	maxPasswords = 4096
	// passwordBits is how much is kept of a password's keyed hash. A few thousand wrong
	// passwords an hour do not meet by chance, and who had the key as well would still
	// find hundreds of words of a list behind each value.
	passwordBits = 22
)

// Passwords notices a password that is tried with many users, whatever they come from.
// It can do so only where the password itself comes to us, and only with what comes to
// this process.
//
// Nothing of it can be used to find a password: of each there is a keyed hash of few
// bits, under a key that is drawn for each window and, as all of it, nowhere but in
// memory. It is safe for concurrent use.
type Passwords struct {
	limit Limit

	mu    sync.Mutex
	key   [32]byte
	until time.Time // of key and all under it
	users map[uint32]map[string]bool
}

// NewPasswords makes one with the shield's limit; nil where that is none.
func (s *Shield) NewPasswords() *Passwords {
	if s.cfg.Disabled || s.cfg.Password.Failures <= 0 {
		return nil
	}
	return &Passwords{limit: s.cfg.Password}
}

// Wrong notes that a password was wrong for a user, and returns an event when it was so
// for too many, once in a window.
func (p *Passwords) Wrong(now time.Time, user string, password []byte) (Event, bool) {
	if p == nil {
		return Event{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.until) {
		_, _ = rand.Read(p.key[:]) // it never fails
		p.until, p.users = now.Add(p.limit.Window), make(map[uint32]map[string]bool)
	}
	h := hmac.New(sha256.New, p.key[:])
	h.Write(password)
	tag := binary.BigEndian.Uint32(h.Sum(nil)) >> (32 - passwordBits)
	users := p.users[tag]
	switch who := member(user); {
	case users == nil && len(p.users) >= maxPasswords, len(users) >= p.limit.Failures, users[who]:
		return Event{}, false
	case users == nil:
		p.users[tag] = map[string]bool{who: true}
		users = p.users[tag]
	default:
		users[who] = true
	}
	if len(users) < p.limit.Failures {
		return Event{}, false
	}
	return Event{At: now, Kind: KindSpraying, Scope: ScopeSpray, Subject: OnePassword, Failures: len(users), Until: p.until}, true
}
