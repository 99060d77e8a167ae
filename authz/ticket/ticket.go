// Package ticket lets somebody do one thing once: enrol a second factor, or a device. A
// ticket is 24 characters; the store keeps their keyed hash, so that who reads it has
// none. One that was made for one purpose is none for another.
package ticket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"postern/internal/seal"
	"postern/internal/store"
)

// Errors of a Desk.
var (
	ErrNone    = errors.New("no such ticket") // or not any more
	ErrTooMany = errors.New("too many tickets")
)

// A ticket is eight characters that name it and sixteen that nobody can guess.
const (
	idLen  = 8
	length = idLen + 16
	// Max bounds how many of a user are good at once.
	Max = 10
	// MaxLife bounds how long one can be good.
	MaxLife = 30 * 24 * time.Hour
)

// Ticket lets its bearer act for a user, once.
type Ticket struct {
	ID    string    `json:"id"`
	User  string    `json:"user"`
	For   string    `json:"for,omitempty"` // what in particular; "": whatever the purpose is
	Until time.Time `json:"until"`
	Code  string    `json:"-"` // what the bearer shows; known only when it is made
}

// String hides the code from prints, LogValue from logs.
func (t Ticket) String() string       { return "ticket.Ticket(" + t.ID + ")" }
func (t Ticket) GoString() string     { return t.String() }
func (t Ticket) LogValue() slog.Value { return slog.StringValue(t.String()) }

// stored is a ticket as the store keeps it.
type stored struct {
	Ticket
	Digest string `json:"digest"`
}

// Desk makes and takes the tickets of one purpose. It is safe for concurrent use.
type Desk struct {
	store   store.Store
	ring    *seal.Ring
	purpose string
	list    func(user string) store.Key
}

// New makes a desk. List is where the tickets of a user are listed; it is of this
// purpose alone.
func New(st store.Store, ring *seal.Ring, purpose string, list func(user string) store.Key) *Desk {
	return &Desk{st, ring, purpose, list}
}

// Make makes a ticket: ErrTooMany.
func (d *Desk) Make(ctx context.Context, user, what string, life time.Duration) (Ticket, error) {
	if life <= 0 || life > MaxLife {
		return Ticket{}, fmt.Errorf("ticket for %q: good for %v, of at most %v", user, life, MaxLife)
	}
	clock := &store.Time{}
	if err := d.store.Do(ctx, store.Seq{clock}); err != nil {
		return Ticket{}, err
	}
	code := Draw(length)
	t := stored{Ticket: Ticket{ID: code[:idLen], User: user, For: what, Until: clock.Now.Add(life).UTC().Truncate(time.Second)}}
	var err error
	if t.Digest, err = d.ring.Digest(d.purpose, t.ID, []byte(code)); err != nil {
		return Ticket{}, fmt.Errorf("ticket for %q: %w", user, err)
	}
	text, err := json.Marshal(t)
	if err != nil {
		return Ticket{}, fmt.Errorf("ticket for %q: %w", user, err)
	}
	enter := &store.Enter{Key: d.list(user), Member: t.ID, For: life, Max: Max}
	if err := d.store.Do(ctx, store.Seq{enter}); err != nil {
		return Ticket{}, err
	}
	if !enter.OK {
		return Ticket{}, ErrTooMany
	}
	if err := d.store.Do(ctx, store.Seq{&store.Once{Key: store.EnrolTicket(t.ID), Value: string(text), TTL: life}}); err != nil {
		return Ticket{}, err
	}
	t.Code = Dashed(code)
	return t.Ticket, nil
}

// Use takes a ticket, once of all who show it: ErrNone.
func (d *Desk) Use(ctx context.Context, code string) (Ticket, error) {
	plain := Plain(code)
	if len(plain) != length || strings.Trim(plain, alphabet) != "" {
		return Ticket{}, ErrNone
	}
	id := plain[:idLen]
	get := &store.Get{Key: store.EnrolTicket(id)}
	if err := d.store.Do(ctx, store.Seq{get}); err != nil {
		return Ticket{}, err
	}
	var t stored
	if get.Found {
		_ = json.Unmarshal([]byte(get.Value), &t) // what cannot be read has no digest
	}
	if !d.ring.Matches(d.purpose, id, []byte(plain), t.Digest) || t.User == "" {
		return Ticket{}, ErrNone
	}
	take := store.Seq{
		&store.Once{Key: store.EnrolTicketUse(id), Value: Draw(length), TTL: MaxLife},
		&store.Delete{Key: store.EnrolTicket(id)},
	}
	if err := d.store.Do(ctx, take, store.Seq{&store.Leave{Key: d.list(t.User), Member: id}}); err != nil {
		return Ticket{}, err
	}
	if !take.OK() {
		return Ticket{}, ErrNone
	}
	return t.Ticket, nil
}

// List lists a user's tickets that are still good, without their codes.
func (d *Desk) List(ctx context.Context, user string) ([]Ticket, error) {
	members := &store.Members{Key: d.list(user), Limit: Max}
	if err := d.store.Do(ctx, store.Seq{members}); err != nil {
		return nil, err
	}
	var seqs []store.Seq
	for _, m := range members.List {
		seqs = append(seqs, store.Seq{&store.Get{Key: store.EnrolTicket(m.Name)}})
	}
	if len(seqs) == 0 {
		return nil, nil
	}
	if err := d.store.Do(ctx, seqs...); err != nil {
		return nil, err
	}
	var list []Ticket
	for _, s := range seqs {
		var t stored
		if get := s[0].(*store.Get); get.Found && json.Unmarshal([]byte(get.Value), &t) == nil {
			list = append(list, t.Ticket)
		}
	}
	slices.SortFunc(list, func(a, b Ticket) int { return a.Until.Compare(b.Until) })
	return list, nil
}

// Revoke takes a ticket of a user's back: ErrNone.
func (d *Desk) Revoke(ctx context.Context, user, id string) error {
	list, err := d.List(ctx, user)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(t Ticket) bool { return t.ID == id }) {
		return ErrNone
	}
	return d.store.Do(ctx,
		store.Seq{&store.Delete{Key: store.EnrolTicket(id)}},
		store.Seq{&store.Leave{Key: d.list(user), Member: id}})
}
