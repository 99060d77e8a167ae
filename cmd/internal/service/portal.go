package service

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"postern/authz"
	"postern/authz/grant"
	"postern/authz/mfa"
	"postern/authz/session"
	"postern/internal/config"
	"postern/radiusd/portal"
)

// portalConfig turns a configuration into the portal's.
func portalConfig(cfg *config.Service) portal.Config {
	p := &cfg.Portal
	c := portal.Config{
		Listen: string(p.Listen), URL: string(p.URL), Cert: string(p.Cert), Key: string(p.Key), EnrolFrom: p.EnrolFrom,
		Default: string(p.Default), Name: string(p.Name), Mark: string(p.Mark), Support: string(p.Support), Separator: byte(cfg.MFA.Separator),
		Idle: p.Idle, Lifetime: p.Lifetime, PerSource: p.Limits.PerSource, PerUser: p.Limits.PerUser,
		Connections: p.Limits.Connections, PerAddress: p.Limits.PerAddress, SelfEnrol: cfg.Posture.SelfEnrol,
	}
	for _, l := range p.Languages {
		c.Languages = append(c.Languages, string(l))
	}
	return c
}

// desk is what decides for the portal: the same parts that decide logins.
type desk struct {
	decider  *authz.Decider
	tokens   *mfa.Verifier
	sessions *session.Registry
	grants   *grant.Keeper
	service  *Service
	issuer   string
	seeds    bool // the directories may have some
}

// Visit implements portal.Backend.
func (d *desk) Visit(ctx context.Context, reference string) (*authz.Visit, error) {
	return d.decider.Visit(ctx, reference)
}

// StepUp implements portal.Backend.
func (d *desk) StepUp(ctx context.Context, s authz.StepUp) authz.StepUpResult {
	return d.decider.StepUp(ctx, s)
}

// SignIn implements portal.Backend.
func (d *desk) SignIn(ctx context.Context, s authz.SignIn) authz.SignInResult {
	return d.decider.SignIn(ctx, s)
}

// Ticket implements portal.Backend.
func (d *desk) Ticket(ctx context.Context, ticket string) (string, error) {
	user, err := d.tokens.UseTicket(ctx, ticket)
	return user, portalError(err)
}

// portalError is err as the portal knows it.
func portalError(err error) error {
	for theirs, ours := range map[error]error{
		mfa.ErrTicket: portal.ErrTicket, mfa.ErrTooMany: portal.ErrTooMany, mfa.ErrCode: portal.ErrCode,
		mfa.ErrLapsed: portal.ErrLapsed, mfa.ErrNoToken: portal.ErrNotFound,
	} {
		if errors.Is(err, theirs) {
			return ours
		}
	}
	return err
}

// Factors implements portal.Backend.
func (d *desk) Factors(ctx context.Context, user string) (portal.Factors, error) {
	var f portal.Factors
	tokens, err := d.tokens.Tokens(ctx, user)
	if err != nil {
		return f, err
	}
	for _, t := range tokens {
		f.Devices = append(f.Devices, portal.Device{ID: t.ID, Label: t.Label, Added: t.Created})
	}
	f.More = max(mfa.MaxTokens-len(tokens), 0)
	if d.seeds {
		// Who has a token there must not pass for somebody who may enrol without one.
		if f.Elsewhere, err = d.decider.Seeds(ctx, user); err != nil {
			return f, err
		}
	}
	f.Recovery, err = d.tokens.RecoveryLeft(ctx, user)
	return f, err
}

// Begin implements portal.Backend.
func (d *desk) Begin(ctx context.Context, user, label string) (*portal.Enrolment, error) {
	e, pending, err := d.tokens.Begin(ctx, time.Now(), user, label)
	if err != nil {
		return nil, portalError(err)
	}
	return &portal.Enrolment{
		Pending: pending, Secret: e.Secret, URL: e.URL, Account: user, Issuer: d.issuer,
		Digits: e.Token.Digits, Period: int(e.Token.Period),
	}, nil
}

// Confirm implements portal.Backend.
func (d *desk) Confirm(ctx context.Context, user, pending, code string) error {
	_, err := d.tokens.Confirm(ctx, time.Now(), user, pending, code)
	return portalError(err)
}

// Remove implements portal.Backend. What is remembered goes first: it must not outlive
// the device it may have been given with. The portal asks here for keys, too.
func (d *desk) Remove(ctx context.Context, user, id string) error {
	if _, err := d.grants.RevokeAll(ctx, user); err != nil {
		return err
	}
	// A session that lives on what was remembered is to give its factor again.
	if err := d.sessions.AskReview(ctx, "second factor removed", user); err != nil {
		return err
	}
	return portalError(d.tokens.Remove(ctx, user, id))
}

// NewRecovery implements portal.Backend.
func (d *desk) NewRecovery(ctx context.Context, user string) ([]string, error) {
	return d.tokens.NewRecovery(ctx, user)
}

// Connections implements portal.Backend.
func (d *desk) Connections(ctx context.Context, user string) ([]portal.Connection, error) {
	records, err := d.sessions.ByUser(ctx, user)
	if err != nil {
		return nil, err
	}
	var all []portal.Connection
	for _, r := range records {
		all = append(all, portal.Connection{
			ID: r.ID, Source: r.Source, Address: r.Addr, Node: r.Node, Client: r.Client, Since: r.Opened,
			Held: !r.Quarantine.IsZero(), Until: r.Quarantine, Factor: r.Factor, In: r.Usage.InOctets, Out: r.Usage.OutOctets,
			Isolated: r.Isolated, Waits: r.Demands != "", Banner: r.Banner,
		})
	}
	slices.SortFunc(all, func(a, b portal.Connection) int { return b.Since.Compare(a.Since) })
	return all, nil
}

// Disconnect implements portal.Backend. The wish is carried out by whichever service
// reaches the node.
func (d *desk) Disconnect(ctx context.Context, user, id string, from netip.Addr) error {
	rec, found, err := d.sessions.Get(ctx, id)
	if err != nil {
		return err
	}
	if !found || rec.User != user {
		return portal.ErrNotFound
	}
	_, err = d.sessions.AskEnd(ctx, session.Wish{
		Session: rec.ID, Opened: rec.Opened, Reason: authz.EndedByUser.String(), Detail: "in the portal, from " + from.String(),
		Text: d.decider.Parting(authz.EndedByUser), Asked: time.Now().UTC(),
	})
	return err
}

// Places implements portal.Backend.
func (d *desk) Places(ctx context.Context, user string) ([]portal.Place, error) {
	grants, err := d.grants.List(ctx, user)
	if err != nil {
		return nil, err
	}
	var all []portal.Place
	for _, g := range grants {
		all = append(all, portal.Place{ID: g.ID, Prefix: g.Network(), Device: g.Device, Since: g.Given, Used: g.Used, Until: g.Until()})
	}
	return all, nil
}

// Forget implements portal.Backend.
func (d *desk) Forget(ctx context.Context, user, id string) error {
	found, err := d.grants.Revoke(ctx, user, id)
	switch {
	case err != nil:
		return err
	case !found:
		return portal.ErrNotFound
	}
	return d.sessions.AskReview(ctx, "remembered factor taken back", user)
}

// VPN implements portal.Backend: addresses of the policy's pools; of nodes that are
// connected, or are configured as such; and of this host, where a node may run, too.
func (d *desk) VPN(a netip.Addr) bool {
	_, pools := d.decider.Policy()
	if _, inside := pools.Contains(a); inside || d.service.server.Peer(a) {
		return true
	}
	for _, c := range d.service.cfg.Clients {
		if c.Node && slices.ContainsFunc(c.Networks, func(n netip.Prefix) bool { return n.Contains(a) }) {
			return true
		}
	}
	return slices.Contains(localAddrs(), a)
}

// Healthy implements portal.Backend.
func (d *desk) Healthy(ctx context.Context) error { return d.service.Healthy(ctx) }
