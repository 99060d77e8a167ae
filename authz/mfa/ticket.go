package mfa

import (
	"context"
	"errors"
	"time"

	"postern/authz/ticket"
	"postern/internal/store"
)

// ErrTicket: there is no such ticket, or not any more.
var ErrTicket = errors.New("mfa: no such ticket")

// Ticket lets its bearer enrol one token for a user, once.
type Ticket = ticket.Ticket

// ticketPurpose keeps tickets for other things from being taken here.
const ticketPurpose = "ticket"

func (v *Verifier) tickets() *ticket.Desk {
	return ticket.New(v.store, v.ring, ticketPurpose, store.UserTickets)
}

// NewTicket makes a ticket for a user: ErrTooMany.
func (v *Verifier) NewTicket(ctx context.Context, user string, life time.Duration) (Ticket, error) {
	if err := v.store.Do(ctx, store.Known(user)); err != nil {
		return Ticket{}, err
	}
	t, err := v.tickets().Make(ctx, user, "", life)
	return t, ticketError(err)
}

// UseTicket takes a ticket and says whose it is, once of all who show it: ErrTicket.
func (v *Verifier) UseTicket(ctx context.Context, code string) (user string, err error) {
	t, err := v.tickets().Use(ctx, code)
	return t.User, ticketError(err)
}

// Tickets lists a user's tickets that are still good, without their codes.
func (v *Verifier) Tickets(ctx context.Context, user string) ([]Ticket, error) {
	return v.tickets().List(ctx, user)
}

// RevokeTicket takes a ticket of a user's back: ErrTicket.
func (v *Verifier) RevokeTicket(ctx context.Context, user, id string) error {
	return ticketError(v.tickets().Revoke(ctx, user, id))
}

func ticketError(err error) error {
	switch {
	case errors.Is(err, ticket.ErrNone):
		return ErrTicket
	case errors.Is(err, ticket.ErrTooMany):
		return ErrTooMany
	}
	return err
}
