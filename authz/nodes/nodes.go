// Package nodes keeps what is known of the nodes, and what is wished of them.
//
// A node is known from its first Accounting-On or Status-Server on (RFC 2866 §5.1, RFC
// 5997). With each Status-Server it says how it is, and is told its duty in the answer:
// to serve, or to drain. So a wish reaches a node within Interval, through whichever
// service it asks, also one that was away when it was wished. What a node says of itself
// is shown to operators and decides nothing.
package nodes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"postern/internal/radius"
	"postern/internal/store"
)

const (
	// Interval is how often nodes report.
	Interval = 10 * time.Second
	// away is when a node that says nothing is taken for gone: three reports, and the
	// time in which a service that died is found out.
	away = 3*Interval + 15*time.Second
	// life is how long a node is remembered after its last word.
	life = 30 * 24 * time.Hour
	// most bounds a list.
	most = 10000
	page = 500
)

// Errors.
var (
	ErrUnknown = errors.New("no such node is known: it registers when it starts, and reports every 10s")
	ErrTaken   = errors.New("another client's node has this name")
)

// Node is what is known of a node.
type Node struct {
	Name   string    `json:"node"`
	Client string    `json:"client"`         // as the services' configuration calls it
	Heard  time.Time `json:"heard"`          // its last word, by the store's clock
	Began  time.Time `json:"began,omitzero"` // Accounting-On
	Ended  time.Time `json:"ended,omitzero"` // Accounting-Off
	Health *Health   `json:"health,omitempty"`
	Drain  *Drain    `json:"drain,omitempty"` // what is wished; nil: nothing
	Clock  *Clock    `json:"clock,omitempty"`
	State  string    `json:"state"` // of those in states
	now    time.Time // the store's, when it was looked at
}

// Health is what a node says of itself.
type Health struct {
	Boot     string  `json:"boot,omitempty"`
	Version  string  `json:"version,omitempty"`
	State    string  `json:"state"`
	Sessions int     `json:"sessions"`
	Calls    int     `json:"calls"`
	Starting int     `json:"starting"`
	Spooled  int     `json:"accounting_spooled"`
	Load     float64 `json:"load"`
	CPUs     int     `json:"cpus,omitempty"`
	Dropped  uint64  `json:"packets_dropped"`
	Stray    uint64  `json:"packets_wrong_node"`
}

// Clock is how far a node's clock is from the store's.
type Clock struct {
	Offset time.Duration `json:"offset_ns"` // positive: it is ahead
}

// Drain is the wish that a node drains.
type Drain struct {
	Asked time.Time     `json:"asked"`
	By    string        `json:"by,omitempty"`
	Rate  int           `json:"rate_per_minute"`
	Wait  time.Duration `json:"wait_ns"`
}

// Registry is what all services know. It is safe for concurrent use.
type Registry struct{ store store.Store }

// New makes a Registry.
func New(s store.Store) *Registry { return &Registry{s} }

// Heard notes what a node has said of itself, and says what is wished of it. A name that
// another client's node has at this time is ErrTaken: no client speaks for another's.
func (r *Registry) Heard(ctx context.Context, client, name string, h *radius.NodeHealth) (radius.Duty, error) {
	was, err := r.look(ctx, name)
	if err != nil {
		return radius.Duty{}, err
	}
	if err := was.claimed(client); err != nil {
		return radius.Duty{}, err
	}
	n := Node{
		Client: client, Heard: was.now, Began: was.Began, Ended: was.Ended,
		Health: &Health{
			Boot: h.Boot, Version: h.Version, State: h.State.String(), Sessions: h.Sessions, Calls: h.Calls, Starting: h.Starting,
			Spooled: h.Spooled, Load: h.Load, CPUs: h.CPUs, Dropped: h.Dropped, Stray: h.Stray,
		},
		Clock: &Clock{h.At.Sub(was.now)},
	}
	if n.Ended.Before(was.now.Add(-Interval)) { // a report that the end has overtaken is none
		n.Ended = time.Time{}
	}
	return was.duty(), r.keep(ctx, name, &n)
}

// Began notes that a NAS has started. Of those that are no nodes of ours (ours is false)
// only who reports is known.
func (r *Registry) Began(ctx context.Context, client, name string, ours bool) error {
	return r.note(ctx, client, name, ours, func(n *Node, now time.Time) { n.Began, n.Ended = now, time.Time{} })
}

// Ended notes that it is about to stop.
func (r *Registry) Ended(ctx context.Context, client, name string) error {
	return r.note(ctx, client, name, false, func(n *Node, now time.Time) { n.Ended = now })
}

func (r *Registry) note(ctx context.Context, client, name string, first bool, change func(n *Node, now time.Time)) error {
	n, err := r.look(ctx, name)
	if err != nil || !n.Known() && !first {
		return err
	}
	if err := n.claimed(client); err != nil {
		return err
	}
	n.Client, n.Heard = client, n.now
	change(n, n.now)
	return r.keep(ctx, name, n)
}

// keep writes a node down, and that it is known.
func (r *Registry) keep(ctx context.Context, name string, n *Node) error {
	kept := *n
	kept.Name, kept.State, kept.Drain = "", "", nil // these are elsewhere
	b, err := json.Marshal(&kept)
	if err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	return r.store.Do(ctx,
		store.Seq{&store.Put{Key: store.NodeStatus(name), Value: string(b), TTL: life}},
		store.Seq{&store.Enter{Key: store.KnownNodes(), Member: name, For: life}})
}

// look reads one node; one that is not known has no Heard.
func (r *Registry) look(ctx context.Context, name string) (*Node, error) {
	all, err := r.read(ctx, name)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

func (r *Registry) read(ctx context.Context, names ...string) ([]*Node, error) {
	clock := &store.Time{}
	seqs := []store.Seq{{clock}}
	status, drain := make([]*store.Get, len(names)), make([]*store.Get, len(names))
	for i, name := range names {
		status[i], drain[i] = &store.Get{Key: store.NodeStatus(name)}, &store.Get{Key: store.NodeDrain(name)}
		seqs = append(seqs, store.Seq{status[i], drain[i]})
	}
	if err := r.store.Do(ctx, seqs...); err != nil {
		return nil, err
	}
	all := make([]*Node, len(names))
	for i, name := range names {
		n := new(Node)
		if status[i].Found { // what is no JSON is nothing that we wrote
			if err := json.Unmarshal([]byte(status[i].Value), n); err != nil {
				n = new(Node)
			}
		}
		if d := new(Drain); drain[i].Found && json.Unmarshal([]byte(drain[i].Value), d) == nil {
			n.Drain = d
		}
		n.Name, n.now = name, clock.Now
		n.State = n.state()
		all[i] = n
	}
	return all, nil
}

// claimed tells whether the name is another client's.
func (n *Node) claimed(client string) error {
	if n.Client != "" && n.Client != client && n.Ended.IsZero() && n.now.Sub(n.Heard) < away {
		return fmt.Errorf("node %s of client %s: %w", n.Name, n.Client, ErrTaken)
	}
	return nil
}

// duty is what the node is to do.
func (n *Node) duty() radius.Duty {
	if n.Drain == nil {
		return radius.Duty{State: radius.NodeServing}
	}
	return radius.Duty{State: radius.NodeDraining, Rate: n.Drain.Rate, Wait: n.Drain.Wait}
}

// state is what an operator wants to know first: serving, draining, drained, stopped (it
// has said so), away (it says nothing), unknown (it has said nothing of itself yet).
func (n *Node) state() string {
	switch {
	case !n.Ended.IsZero():
		return "stopped"
	case n.Heard.IsZero() || n.now.Sub(n.Heard) >= away:
		return "away"
	case n.Health == nil:
		return radius.NodeUnknown.String()
	}
	return n.Health.State
}

// Known says whether the node has ever been heard.
func (n *Node) Known() bool { return !n.Heard.IsZero() }

// Age is how long ago the node was heard.
func (n *Node) Age() time.Duration { return n.now.Sub(n.Heard) }

// Look returns what is known of a node.
func (r *Registry) Look(ctx context.Context, name string) (*Node, error) {
	n, err := r.look(ctx, name)
	if err == nil && !n.Known() {
		return nil, fmt.Errorf("%s: %w", name, ErrUnknown)
	}
	return n, err
}

// List returns all nodes that have been heard within a month, by name.
func (r *Registry) List(ctx context.Context) ([]*Node, error) {
	known := &store.Members{Key: store.KnownNodes(), Limit: most}
	if err := r.store.Do(ctx, store.Seq{known}); err != nil {
		return nil, err
	}
	all := make([]*Node, 0, len(known.List))
	for some := range slices.Chunk(known.List, page) {
		names := make([]string, len(some))
		for i, m := range some {
			names[i] = m.Name
		}
		read, err := r.read(ctx, names...)
		if err != nil {
			return nil, err
		}
		all = append(all, slices.DeleteFunc(read, func(n *Node) bool { return !n.Known() })...)
	}
	slices.SortFunc(all, func(a, b *Node) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Drain wishes that a node drains, until Undrain. A node that is away is told when it
// comes back.
func (r *Registry) Drain(ctx context.Context, name string, d Drain) error {
	n, err := r.Look(ctx, name)
	if err != nil {
		return err
	}
	d.Asked = n.now
	b, err := json.Marshal(&d)
	if err != nil {
		return fmt.Errorf("drain %s: %w", name, err)
	}
	return r.store.Do(ctx, store.Seq{&store.Put{Key: store.NodeDrain(name), Value: string(b), TTL: life}})
}

// Undrain takes the wish back.
func (r *Registry) Undrain(ctx context.Context, name string) error {
	if _, err := r.Look(ctx, name); err != nil {
		return err
	}
	return r.store.Do(ctx, store.Seq{&store.Delete{Key: store.NodeDrain(name)}})
}
