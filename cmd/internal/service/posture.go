package service

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz/posture"
	"postern/authz/posture/agent"
	"postern/authz/posture/computers"
	"postern/authz/posture/push"
	"postern/authz/session"
	"postern/internal/config"
	"postern/internal/seal"
	"postern/internal/store"
)

// NewPosture makes the keeper of what is known of devices. Whose devices it is told of,
// or who uses them, has his sessions looked at again.
func NewPosture(st store.Store, sessions *session.Registry) *posture.Keeper {
	return posture.New(st, posture.Config{Review: sessions.AskReview, Using: using(sessions)})
}

// using finds the users of sessions that come from a device.
func using(sessions *session.Registry) func(ctx context.Context, device string) ([]string, error) {
	return func(ctx context.Context, device string) ([]string, error) {
		recs, err := sessions.ByDevice(ctx, device)
		var users []string
		for i := range recs {
			users = append(users, recs[i].User)
		}
		return users, err
	}
}

// pushes makes the desk at which inventories send what they know; nil where none may.
func pushes(cfg *config.Service, keeper *posture.Keeper) (*push.Desk, error) {
	var tokens []push.Token
	for _, t := range cfg.Posture.Tokens {
		secret, err := t.Read()
		switch {
		case err != nil:
			return nil, fmt.Errorf("token of %s: %w", t.Source, err)
		case len(secret) < push.MinToken:
			return nil, fmt.Errorf("token of %s: %d octets; %d or more, drawn at random", t.Source, len(secret), push.MinToken)
		}
		defer clear(secret)
		tokens = append(tokens, push.Token{Source: string(t.Source), Secret: secret, From: t.From})
	}
	if len(tokens) == 0 {
		return nil, nil //nolint:nilnil // nobody may, which is no error
	}
	return push.New(keeper, tokens), nil
}

// openComputers makes what reads a domain's computers; nil where none are to be.
func openComputers(cfg *config.Service, d *Directory, st store.Store, sessions *session.Registry, log *slog.Logger, reg prometheus.Registerer) (*computers.Poller, error) {
	realm := string(cfg.Posture.AD.Realm)
	if realm == "" {
		return nil, nil //nolint:nilnil // see above
	}
	domain := d.domains[realm]
	if domain == nil {
		return nil, fmt.Errorf("computers of realm %s: it is no Active Directory", realm)
	}
	return computers.New(computers.Config{
		Directory: domain, Owner: func(own string) string { return d.Qualified(realm, own) }, Store: st, Review: sessions.AskReview, Using: using(sessions),
		Interval: cfg.Posture.AD.Interval, Log: log, Metrics: reg,
	})
}

// NewAgents makes the desk at which devices enrol and report.
func NewAgents(st store.Store, ring *seal.Ring, keeper *posture.Keeper) *agent.Desk {
	return agent.New(st, ring, keeper)
}
