package portal

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"postern/internal/store"
)

// level is what somebody may do. The zero value is nothing.
type level uint8

const (
	levelNone  level = iota
	levelEnrol       // set up one device, and nothing else
	levelFull        // gave a password (here or at the login) and a second factor
)

// session is what one browser has proved, and what it is in the middle of. It lies in
// the store sealed, bound to the cookie that names it: whoever reads the store finds
// neither a name to present nor what is begun, and whoever writes to it cannot make
// one.
type session struct {
	User   string    `json:"user"`
	Level  level     `json:"level"`
	Opened time.Time `json:"opened"`
	Seen   time.Time `json:"seen"`
	Proved time.Time `json:"proved,omitzero"` // when a second factor was given last
	Factor string    `json:"factor,omitempty"`

	Leave leave `json:"leave,omitempty"` // to enrol, at levelEnrol
	Done  bool  `json:"done,omitempty"`  // a device was set up

	Visit   string   `json:"visit,omitempty"` // reference of the session that was stepped up
	Pending *pending `json:"pending,omitempty"`
	Codes   []string `json:"codes,omitempty"` // recovery codes until they are saved
	Until   int64    `json:"until,omitempty"` // of Codes, in seconds
	Notice  string   `json:"notice,omitempty"`

	Ticket      string `json:"ticket,omitempty"` // for a computer, until TicketUntil
	TicketUntil int64  `json:"ticket_until,omitempty"`
}

// pending is a device that was begun.
type pending struct {
	Enrolment
	Label string `json:"label"`
	Until int64  `json:"until"`
}

// leave is what lets somebody enrol. The zero value is nothing.
//
// Handled in: leaveNames, mayEnrol; its names label a metric.
type leave uint8

const (
	leaveNone    leave = iota
	leaveTicket        // an operator's
	leaveNetwork       // a password, from a trusted network
	leaveFactor        // another factor
)

var leaveNames = [...]string{leaveNone: "none", leaveTicket: "ticket", leaveNetwork: "network", leaveFactor: "factor"}

func (l leave) String() string {
	if int(l) < len(leaveNames) {
		return leaveNames[l]
	}
	return leaveNames[leaveNone]
}

// sealPurpose binds the envelopes.
const sealPurpose = "portal session"

// maxRecord bounds what is read; a session in the middle of everything has 2 kB.
const maxRecord = 16 << 10

var errConflict = errors.New("portal: the session was changed meanwhile")

// keyOf is where the session of a cookie lies.
func keyOf(cookie string) store.Key {
	sum := sha256.Sum256([]byte(cookie))
	return store.PortalSession(base64.RawURLEncoding.EncodeToString(sum[:]))
}

// life is how much longer a session may live.
func (s *Server) life(x *session, now time.Time) time.Duration {
	set := s.settings.Load()
	return min(set.Idle, x.Opened.Add(set.Lifetime).Sub(now))
}

// load returns the session of a cookie and how it is stored; nil: there is none.
func (s *Server) load(ctx context.Context, cookie string) (*session, string, error) {
	if !isRandom(cookie) {
		return nil, "", nil
	}
	get := &store.Get{Key: keyOf(cookie)}
	if err := s.store.Do(ctx, store.Seq{get}); err != nil {
		return nil, "", err
	}
	if !get.Found || len(get.Value) > maxRecord {
		return nil, "", nil
	}
	x, err := s.open(cookie, get.Value)
	if err != nil {
		return nil, "", nil //nolint:nilerr // another key ring, or somebody wrote into the store: no session
	}
	now := s.now()
	if x.Level == levelNone || x.User == "" || s.life(x, now) <= 0 || now.Sub(x.Seen) > s.settings.Load().Idle {
		return nil, "", nil
	}
	return x, get.Value, nil
}

func (s *Server) open(cookie, sealed string) (*session, error) {
	plain, err := s.ring.Open(sealPurpose, cookie, sealed)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	x := new(session)
	if err := json.Unmarshal(plain, x); err != nil {
		return nil, fmt.Errorf("parse session: %w", err)
	}
	return x, nil
}

func (s *Server) sealed(cookie string, x *session) (string, error) {
	plain, err := json.Marshal(x)
	if err != nil {
		return "", fmt.Errorf("portal session: %w", err)
	}
	defer clear(plain)
	return s.ring.Seal(sealPurpose, cookie, plain)
}

// create stores a session under a new cookie, and takes the one of before away.
func (s *Server) create(ctx context.Context, x *session, before string) (cookie, raw string, err error) {
	now := s.now()
	x.Opened, x.Seen = now, now
	cookie = newRandom()
	if raw, err = s.sealed(cookie, x); err != nil {
		return "", "", err
	}
	put := &store.Once{Key: keyOf(cookie), Value: raw, TTL: s.life(x, now)}
	seqs := []store.Seq{{put}}
	if before != "" {
		seqs = append(seqs, store.Seq{&store.Delete{Key: keyOf(before)}})
	}
	if err := s.store.Do(ctx, seqs...); err != nil {
		return "", "", err
	}
	if !put.OK {
		return "", "", errConflict
	}
	return cookie, raw, nil
}

// save stores a session that was loaded as raw, if nobody else has since.
func (s *Server) save(ctx context.Context, cookie, raw string, x *session) (string, error) {
	now := s.now()
	x.Seen = now
	next, err := s.sealed(cookie, x)
	if err != nil {
		return "", err
	}
	swap := &store.Swap{Key: keyOf(cookie), Old: raw, New: next, TTL: max(s.life(x, now), time.Second)}
	if err := s.store.Do(ctx, store.Seq{swap}); err != nil {
		return "", err
	}
	if !swap.OK {
		return "", errConflict
	}
	return next, nil
}

// drop ends a session.
func (s *Server) drop(ctx context.Context, cookie string) error {
	return s.store.Do(ctx, store.Seq{&store.Delete{Key: keyOf(cookie)}})
}
