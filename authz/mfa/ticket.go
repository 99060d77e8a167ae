package mfa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"postern/internal/store"
)

// ErrTicket: there is no such ticket, or not any more.
var ErrTicket = errors.New("mfa: no such ticket")

// A ticket is eight characters that name it and sixteen that nobody can guess.
const (
	ticketIDLen   = 8
	ticketLen     = ticketIDLen + 16
	ticketPurpose = "ticket"
	// maxTickets bounds how many of a user are good at once.
	maxTickets = 10
	// MaxTicketLife bounds how long one can be good.
	MaxTicketLife = 30 * 24 * time.Hour
)

// Ticket lets its bearer enrol one token for a user, once.
type Ticket struct {
	ID    string    `json:"id"`
	User  string    `json:"user"`
	Until time.Time `json:"until"`
	Code  string    `json:"-"` // what the bearer shows; known only when it is made
}

// String hides the code from prints, LogValue from logs.
func (t Ticket) String() string       { return "mfa.Ticket(" + t.ID + ")" }
func (t Ticket) GoString() string     { return t.String() }
func (t Ticket) LogValue() slog.Value { return slog.StringValue(t.String()) }

// storedTicket is a ticket as the store keeps it.
type storedTicket struct {
	Ticket
	Digest string `json:"digest"`
}

// NewTicket makes a ticket for a user: ErrTooMany.
func (v *Verifier) NewTicket(ctx context.Context, user string, life time.Duration) (Ticket, error) {
	if life <= 0 || life > MaxTicketLife {
		return Ticket{}, fmt.Errorf("ticket for %q: good for %v, of at most %v", user, life, MaxTicketLife)
	}
	clock := &store.Time{}
	if err := v.store.Do(ctx, store.Seq{clock}); err != nil {
		return Ticket{}, err
	}
	code := drawCode(ticketLen)
	t := storedTicket{Ticket: Ticket{ID: code[:ticketIDLen], User: user, Until: clock.Now.Add(life).UTC().Truncate(time.Second)}}
	var err error
	if t.Digest, err = v.ring.Digest(ticketPurpose, t.ID, []byte(code)); err != nil {
		return Ticket{}, fmt.Errorf("ticket for %q: %w", user, err)
	}
	text, err := json.Marshal(t)
	if err != nil {
		return Ticket{}, fmt.Errorf("ticket for %q: %w", user, err)
	}
	if err := v.store.Do(ctx, store.Known(user)); err != nil {
		return Ticket{}, err
	}
	enter := &store.Enter{Key: store.UserTickets(user), Member: t.ID, For: life, Max: maxTickets}
	if err := v.store.Do(ctx, store.Seq{enter}); err != nil {
		return Ticket{}, err
	}
	if !enter.OK {
		return Ticket{}, ErrTooMany
	}
	if err := v.store.Do(ctx, store.Seq{&store.Once{Key: store.EnrolTicket(t.ID), Value: string(text), TTL: life}}); err != nil {
		return Ticket{}, err
	}
	t.Code = dashed(code)
	return t.Ticket, nil
}

// UseTicket takes a ticket and says whose it is, once of all who show it: ErrTicket.
func (v *Verifier) UseTicket(ctx context.Context, code string) (user string, err error) {
	plain := undashed(code)
	if len(plain) != ticketLen || strings.Trim(plain, alphabet) != "" {
		return "", ErrTicket
	}
	id := plain[:ticketIDLen]
	get := &store.Get{Key: store.EnrolTicket(id)}
	if err := v.store.Do(ctx, store.Seq{get}); err != nil {
		return "", err
	}
	var t storedTicket
	if get.Found {
		_ = json.Unmarshal([]byte(get.Value), &t) // what cannot be read has no digest
	}
	if !v.ring.Matches(ticketPurpose, id, []byte(plain), t.Digest) || t.User == "" {
		return "", ErrTicket
	}
	take := store.Seq{
		&store.Once{Key: store.EnrolTicketUse(id), Value: drawCode(ticketLen), TTL: MaxTicketLife},
		&store.Delete{Key: store.EnrolTicket(id)},
	}
	if err := v.store.Do(ctx, take, store.Seq{&store.Leave{Key: store.UserTickets(t.User), Member: id}}); err != nil {
		return "", err
	}
	if !take.OK() {
		return "", ErrTicket
	}
	return t.User, nil
}

// Tickets lists a user's tickets that are still good, without their codes.
func (v *Verifier) Tickets(ctx context.Context, user string) ([]Ticket, error) {
	members := &store.Members{Key: store.UserTickets(user), Limit: maxTickets}
	if err := v.store.Do(ctx, store.Seq{members}); err != nil {
		return nil, err
	}
	var seqs []store.Seq
	for _, m := range members.List {
		seqs = append(seqs, store.Seq{&store.Get{Key: store.EnrolTicket(m.Name)}})
	}
	if len(seqs) == 0 {
		return nil, nil
	}
	if err := v.store.Do(ctx, seqs...); err != nil {
		return nil, err
	}
	var list []Ticket
	for _, s := range seqs {
		var t storedTicket
		if get := s[0].(*store.Get); get.Found && json.Unmarshal([]byte(get.Value), &t) == nil {
			list = append(list, t.Ticket)
		}
	}
	slices.SortFunc(list, func(a, b Ticket) int { return a.Until.Compare(b.Until) })
	return list, nil
}

// RevokeTicket takes a ticket of a user's back: ErrTicket.
func (v *Verifier) RevokeTicket(ctx context.Context, user, id string) error {
	list, err := v.Tickets(ctx, user)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(t Ticket) bool { return t.ID == id }) {
		return ErrTicket
	}
	return v.store.Do(ctx,
		store.Seq{&store.Delete{Key: store.EnrolTicket(id)}},
		store.Seq{&store.Leave{Key: store.UserTickets(user), Member: id}})
}
