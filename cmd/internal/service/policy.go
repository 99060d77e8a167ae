package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"postern/authz"
	"postern/authz/activation"
	"postern/internal/config"
	"postern/internal/store"
	"postern/policy"
)

// firstLook is how long a service that starts waits for the store to say which policy is
// activated. Without an answer it starts all the same, and is silent until it knows.
const firstLook = 5 * time.Second

// OpenGate reads who may sign policies: what every policy must pass on this host. local
// are networks that pools must not overlap; nil: those this host is in.
func OpenGate(cfg *config.Service, local []netip.Prefix) (*activation.Gate, error) {
	if local == nil {
		local = localNetworks()
	}
	g := &activation.Gate{Here: func(p *policy.Policy) error { return apart(p, local) }}
	if name := string(cfg.PolicySource.Signers); name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read signers of policies: %w", err)
		}
		if g.Signers, err = activation.ParseSigners(name, text); err != nil {
			return nil, fmt.Errorf("signers of policies: %w", err)
		}
	}
	return g, nil
}

// LoadPolicy reads the policy; its tests must pass, its pools must have no address that
// is routed elsewhere, and who signed it must be one of those who may.
func LoadPolicy(cfg *config.Service, local []netip.Prefix) (*policy.Policy, error) {
	g, err := OpenGate(cfg, local)
	if err != nil {
		return nil, err
	}
	p, _, err := openFile(g, activation.Look(string(cfg.Policy)))
	return p, err
}

// checkCandidate is LoadPolicy for the candidate, if there is one.
func checkCandidate(cfg *config.Service) error {
	if cfg.PolicySource.Shadow == "" {
		return nil
	}
	beside := *cfg
	beside.Policy = cfg.PolicySource.Shadow
	_, err := LoadPolicy(&beside, nil)
	return err
}

// openFile makes the policy of what lies in a file, and says who signed it.
func openFile(g *activation.Gate, f activation.Found) (*policy.Policy, string, error) {
	if f.Err != nil {
		return nil, "", &activation.Refusal{Why: activation.WhySource, Err: f.Err}
	}
	return g.Open(&f.Bundle, time.Now())
}

// policies sees to it that the policy in force is the one that should be: the file's, or
// what is activated in the store.
type policies struct {
	from    config.PolicyFrom
	node    string
	watch   time.Duration
	local   []netip.Prefix
	store   store.Store
	log     *slog.Logger
	board   *activation.Board
	decider *authz.Decider
	changed func() // sessions are to be looked at again

	cfg      atomic.Pointer[config.Service] // as of the last reload
	gate     atomic.Pointer[activation.Gate]
	follower *activation.Follower // nil: from the file

	mu     sync.Mutex // of what is put in force from files
	known  string     // content of the file that was dealt with
	beside string     // the same of the candidate's
}

// newPolicies makes them. changed is called for each policy after the first.
func newPolicies(cfg *config.Service, local []netip.Prefix, st store.Store, audit authz.Audit, log *slog.Logger, reg prometheus.Registerer) (*policies, error) {
	ps := &policies{
		from: cfg.PolicySource.From, node: string(cfg.Node), watch: cfg.PolicySource.Watch, local: local, store: st, log: log,
		changed: func() {},
	}
	ps.cfg.Store(cfg)
	g, err := OpenGate(cfg, local)
	if err != nil {
		return nil, err
	}
	ps.gate.Store(g)
	ps.board, err = activation.NewBoard(ps.node, audit.PolicyChanged, log, reg)
	return ps, err
}

// strict is the gate for whoever activates.
func (ps *policies) strict() activation.Gate {
	g := *ps.gate.Load()
	g.Strict = true
	return g
}

// begin puts the first policy in force, if it is known.
func (ps *policies) begin(ctx context.Context, d *authz.Decider) error {
	ps.decider = d
	if ps.from != config.PolicyFromStore {
		if err := ps.fromFile("started"); err != nil {
			return err
		}
		ps.candidate()
		return nil
	}
	ps.follower = activation.NewFollower(activation.FollowerConfig{
		Store: ps.store, Name: ps.node, Board: ps.board, Log: ps.log,
		Gate:  func() activation.Gate { return *ps.gate.Load() },
		Force: ps.force, Shadow: d.SetShadow,
		Fallback: func() (*policy.Policy, string, error) {
			name := string(ps.cfg.Load().Policy)
			p, _, err := openFile(ps.gate.Load(), activation.Look(name))
			return p, activation.Origin(name), err
		},
	})
	ctx, cancel := context.WithTimeout(ctx, firstLook)
	defer cancel()
	return ps.follower.First(ctx)
}

// force puts a policy in force.
func (ps *policies) force(p *policy.Policy) error {
	before, _ := ps.decider.Policy()
	if err := ps.decider.SetPolicy(p); err != nil {
		return err
	}
	if before != nil && before.Version() != p.Version() {
		ps.changed()
	}
	return nil
}

// run runs until ctx ends.
func (ps *policies) run(ctx context.Context) {
	var wg sync.WaitGroup
	if ps.follower != nil {
		wg.Go(func() { ps.follower.Run(ctx) }) // waited for below
	}
	if ps.watch > 0 {
		ps.mu.Lock()
		w := &activation.Watcher{Every: ps.watch, Look: ps.look, Known: ps.known, Act: ps.reread}
		beside := &activation.Watcher{Every: ps.watch, Look: ps.lookBeside, Known: ps.beside, Act: ps.rereadCandidate}
		ps.mu.Unlock()
		if ps.follower != nil {
			w.Act = (&activation.Source{
				Store: ps.store, Node: ps.node, Every: ps.watch, Gate: ps.strict, Board: ps.board, Log: ps.log,
				From: func() string { return activation.Origin(string(ps.cfg.Load().Policy)) },
			}).Act
		}
		wg.Go(func() { w.Run(ctx) }) // waited for below
		if ps.follower == nil {
			wg.Go(func() { beside.Run(ctx) }) // waited for below
		}
	}
	wg.Wait()
}

func (ps *policies) look() activation.Found { return activation.Look(string(ps.cfg.Load().Policy)) }

func (ps *policies) lookBeside() activation.Found {
	if name := string(ps.cfg.Load().PolicySource.Shadow); name != "" {
		return activation.Look(name)
	}
	return activation.Found{} // none, and none is known
}

// reread is for the watcher of the file: what is refused is told once for each content.
func (ps *policies) reread(_ context.Context, f activation.Found) bool {
	ps.mu.Lock()
	done := ps.known == f.ID // by a reload meanwhile
	ps.mu.Unlock()
	if !done {
		_ = ps.fromFile("found by policy.watch") // the board has told
	}
	return true
}

func (ps *policies) rereadCandidate(context.Context, activation.Found) bool {
	ps.candidate()
	return true
}

// fromFile puts the file's policy in force; after an error the one before stays.
func (ps *policies) fromFile(comment string) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	f := ps.look()
	ps.known = f.ID
	e := activation.Event{At: time.Now(), Action: activation.InForce, Who: ps.node, From: activation.Origin(string(ps.cfg.Load().Policy)), Comment: comment}
	before, _ := ps.decider.Policy()
	if before != nil {
		e.Before = before.Version()
	}
	p, signer, err := openFile(ps.gate.Load(), f)
	if err == nil {
		if err = ps.force(p); err != nil {
			err = &activation.Refusal{Why: activation.WhyHere, Err: err}
		}
	}
	if err != nil {
		ps.board.Refused(activation.AlarmFile, e, err)
		return err
	}
	ps.board.Clear(activation.AlarmFile)
	if before == nil || before.Version() != p.Version() {
		e.After, e.Signer = p.Version(), signer
		ps.board.InForce(e)
	}
	return nil
}

// candidate has the candidate's file asked beside. One that cannot be is an alarm and
// nothing else: it decides nothing.
func (ps *policies) candidate() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	name, f := string(ps.cfg.Load().PolicySource.Shadow), ps.lookBeside()
	if f.ID == ps.beside {
		return
	}
	ps.beside = f.ID
	e := activation.Event{At: time.Now(), Action: activation.Withdrawn, Who: ps.node}
	before := ps.decider.Shadow()
	if before != nil {
		e.Before = before.Version()
	}
	if name == "" {
		ps.decider.SetShadow(nil)
		ps.board.Beside(e)
		ps.board.Clear(activation.AlarmCandidate)
		return
	}
	e.Action, e.From = activation.Shadowed, activation.Origin(name)
	p, signer, err := openFile(ps.gate.Load(), f)
	if err != nil {
		ps.board.Refused(activation.AlarmCandidate, e, err)
		return
	}
	ps.decider.SetShadow(p)
	e.After, e.Signer = p.Version(), signer
	ps.board.Beside(e)
	ps.board.Clear(activation.AlarmCandidate)
}

// reload reads signers and files again; each of them stays as it was if it is broken.
func (ps *policies) reload(cfg *config.Service) error {
	now := *cfg
	now.PolicySource.From, now.PolicySource.Watch = ps.from, ps.watch // these need a restart
	g, err := OpenGate(&now, ps.local)
	if err != nil {
		now.PolicySource.Signers = ps.cfg.Load().PolicySource.Signers
	} else {
		ps.gate.Store(g)
	}
	ps.cfg.Store(&now)
	if ps.follower != nil {
		ps.follower.Again()
		return err
	}
	err = errors.Join(err, ps.fromFile("reloaded"))
	ps.candidate()
	return err
}
