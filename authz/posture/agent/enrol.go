package agent

import (
	"context"
	"errors"
	"strings"

	"postern/authz/lockout"
	"postern/authz/ticket"
	"postern/internal/report"
	"postern/internal/store"
)

// suffixLen makes it futile to guess what another's device will be called, and to be
// called so first.
const suffixLen = 6

// Enrol makes a device known. An error means that it cannot be told now; a ticket may be
// spent then.
//
// Who has a ticket for any device cannot choose its name: a name of the inventory would
// lend the device what the inventory says of another. An operator's ticket may name it.
func (d *Desk) Enrol(ctx context.Context, body []byte, from Origin) (Outcome, error) {
	var out Outcome
	e, err := report.ParseEnrolment(body)
	if err != nil {
		out.Refused, out.Detail = report.Malformed, err.Error()
	}
	clock := &store.Time{}
	ok, err := d.admit(ctx, from, clock)
	out.Time = clock.Now
	switch {
	case err != nil:
		return out, err
	case !ok:
		out.Refused = report.Rate
	case out.Refused == report.Taken && !e.Proved():
		out.Refused = report.Proof
	}
	if out.Refused != report.Taken {
		return out, nil
	}
	t, err := d.tickets.Use(ctx, e.Ticket)
	switch {
	case errors.Is(err, ticket.ErrNone):
		out.Refused = report.Ticket
		return out, nil
	case err != nil:
		return out, err
	}
	x := Device{ID: t.For, User: t.User, Name: e.Name, Key: e.Key, Enrolled: clock.Now.UTC(), From: from.Addr}
	if x.ID == "" {
		x.ID = e.Name + "-" + strings.ToLower(ticket.Draw(suffixLen))
	}
	if from.Inside {
		x.From = Origin{}.Addr
	}
	out.Device, out.User = x.ID, x.User
	enter := &store.Enter{Key: store.UserAgents(x.User), Member: x.ID, For: keyLife, Max: MaxDevices}
	before := &store.Get{Key: store.DeviceKey(x.ID)}
	if err := d.store.Do(ctx, store.Seq{enter}, store.Seq{before}); err != nil {
		return out, err
	}
	if !enter.OK {
		out.Refused = report.Full
		return out, nil
	}
	seqs := []store.Seq{{&store.Put{Key: store.DeviceKey(x.ID), Value: x.text(), TTL: keyLife}}}
	if old, _, ok := kept(before); ok && old.User != x.User {
		seqs = append(seqs, store.Seq{&store.Leave{Key: store.UserAgents(old.User), Member: old.ID}})
	}
	return out, d.store.Do(ctx, seqs...)
}

// admit counts what came from a source, and reads the clock and what else is asked.
func (d *Desk) admit(ctx context.Context, from Origin, clock *store.Time, more ...store.Seq) (bool, error) {
	seqs := append([]store.Seq{{clock}}, more...)
	p := lockout.Source(from.Addr)
	if !p.IsValid() {
		return true, d.store.Do(ctx, seqs...)
	}
	count := &store.Count{Key: store.AgentSource(p), ID: ticket.Draw(16), Window: window, Max: perSource}
	err := d.store.Do(ctx, append(seqs, store.Seq{count})...)
	return count.OK, err
}
