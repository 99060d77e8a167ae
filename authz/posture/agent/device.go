package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/authz/ticket"
	"postern/internal/report"
	"postern/internal/store"
)

// NewTicket makes a ticket with which a user's device can be enrolled. Device is what it
// will be called, as an inventory knows it; "": what its host name and chance give.
// ErrTooMany.
func (d *Desk) NewTicket(ctx context.Context, user, device string, life time.Duration) (ticket.Ticket, error) {
	if device != "" && !report.ValidID(device) {
		return ticket.Ticket{}, fmt.Errorf("agent: %q cannot be the name of a device", device)
	}
	t, err := d.tickets.Make(ctx, user, device, life)
	return t, ticketError(err)
}

// Tickets lists a user's tickets that are still good, without their codes.
func (d *Desk) Tickets(ctx context.Context, user string) ([]ticket.Ticket, error) {
	return d.tickets.List(ctx, user)
}

// RevokeTicket takes a ticket of a user's back: ErrTicket.
func (d *Desk) RevokeTicket(ctx context.Context, user, id string) error {
	return ticketError(d.tickets.Revoke(ctx, user, id))
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

// Devices are a user's that have a key, by name.
func (d *Desk) Devices(ctx context.Context, user string) ([]Device, error) {
	members := &store.Members{Key: store.UserAgents(user), Limit: MaxDevices}
	if err := d.store.Do(ctx, store.Seq{members}); err != nil || len(members.List) == 0 {
		return nil, err
	}
	var seqs []store.Seq
	for _, m := range members.List {
		seqs = append(seqs, store.Seq{&store.Get{Key: store.DeviceKey(m.Name)}, &store.Marks{Key: store.DeviceSeq(m.Name)}})
	}
	if err := d.store.Do(ctx, seqs...); err != nil {
		return nil, err
	}
	var all []Device
	for _, seq := range seqs {
		if x, _, ok := kept(seq[0].(*store.Get)); ok && x.User == user && x.Revoked.IsZero() {
			x.Seen = seen(seq[1].(*store.Marks))
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b Device) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// Revoke takes a device's key, and what it reported: ErrNoDevice. With user it must be
// his.
func (d *Desk) Revoke(ctx context.Context, id, user string) (Device, error) {
	get, clock := &store.Get{Key: store.DeviceKey(id)}, &store.Time{}
	if err := d.store.Do(ctx, store.Seq{get, clock}); err != nil {
		return Device{}, err
	}
	x, raw, ok := kept(get)
	if !ok || user != "" && x.User != user || !x.Revoked.IsZero() {
		return Device{}, ErrNoDevice
	}
	x.Revoked = clock.Now.UTC()
	swap := &store.Swap{Key: store.DeviceKey(id), Old: raw, New: x.text(), TTL: keyLife}
	leave := &store.Leave{Key: store.UserAgents(x.User), Member: x.ID}
	if err := d.store.Do(ctx, store.Seq{swap}, store.Seq{leave}); err != nil {
		return Device{}, err
	}
	if !swap.OK {
		return Device{}, fmt.Errorf("revoke %s: it was enrolled anew meanwhile", x.ID)
	}
	if err := d.records.Remove(ctx, x.ID, Source); err != nil {
		return Device{}, fmt.Errorf("revoke %s: its key is taken, its last report is not: %w", x.ID, err)
	}
	return x, nil
}

// kept is the device in a record.
func kept(get *store.Get) (x Device, raw string, ok bool) {
	if !get.Found || json.Unmarshal([]byte(get.Value), &x) != nil || !report.ValidID(x.ID) || x.User == "" {
		return Device{}, "", false
	}
	return x, get.Value, true
}

func (x *Device) text() string {
	b, err := json.Marshal(x)
	if err != nil {
		panic(err) // strings, octets and the store's times
	}
	return string(b)
}

// last is the field of DeviceSeq.
const last = "report"

func seen(m *store.Marks) time.Time {
	if note := m.Note[last]; note > 0 {
		return time.UnixMilli(note).UTC()
	}
	return time.Time{}
}
