package activation

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"postern/internal/store"
	"postern/policy"
)

// Topic is where it is published that the State has changed.
const Topic = "policy"

const (
	// historyMax bounds the history; it has no other end.
	historyMax = 1000
	// serviceLife is how long a service that says nothing counts as there; it says
	// something every serviceEvery.
	serviceLife  = 10 * time.Second
	serviceEvery = 2 * time.Second
	maxServices  = 1000
)

// Errors of a Desk.
var (
	// ErrChanged: somebody else has changed the state since it was read.
	ErrChanged = errors.New("another activation came first")
	// ErrNotKept: there is no such version, or not any more.
	ErrNotKept = errors.New("no such version of the policy is kept")
)

// Desk is where policies are activated. Its methods may be called from any goroutine.
type Desk struct{ store store.Store }

// NewDesk makes a Desk.
func NewDesk(st store.Store) *Desk { return &Desk{st} }

// By says who wants something, and where he had it from.
type By struct{ Who, From, Comment string }

// State reads what is in force.
func (d *Desk) State(ctx context.Context) (State, error) {
	get := &store.Get{Key: store.PolicyState()}
	if err := d.store.Do(ctx, store.Seq{get}); err != nil {
		return State{}, err
	}
	if !get.Found {
		return State{}, nil
	}
	return parseState(get.Value)
}

// Activate puts a bundle in force. base is the state that whoever wants it has seen:
// ErrChanged when it is another one by now. The bundle and the policy it makes are the
// caller's to look at before, see Gate.
func (d *Desk) Activate(ctx context.Context, base State, b Bundle, p *policy.Policy, by By) (State, error) {
	return d.put(ctx, base, b, p, by, Activated, "")
}

// Propose has a bundle asked beside what is in force.
func (d *Desk) Propose(ctx context.Context, base State, b Bundle, p *policy.Policy, by By) (State, error) {
	return d.put(ctx, base, b, p, by, Shadowed, "")
}

// put writes a bundle down and pins it.
func (d *Desk) put(ctx context.Context, base State, b Bundle, p *policy.Policy, by By, a Action, source string) (State, error) {
	if err := b.check(); err != nil {
		return base, err
	}
	k := kept{Version: p.Version(), Sum: b.Sum(), Before: base.Active.Version}
	return d.change(ctx, base, by, a, &k, &b, source)
}

// Withdraw ends the candidate.
func (d *Desk) Withdraw(ctx context.Context, base State, by By) (State, error) {
	return d.change(ctx, base, by, Withdrawn, nil, nil, "")
}

// Rollback puts a version in force that was before: the one that was before the active
// one where none is named. Some digits name a version when no other begins with them.
func (d *Desk) Rollback(ctx context.Context, base State, version string, by By) (State, error) {
	k, err := d.target(ctx, base, version)
	if err != nil {
		return base, err
	}
	return d.change(ctx, base, by, RolledBack, &k, nil, "")
}

// Target is the version that Rollback would put in force.
func (d *Desk) Target(ctx context.Context, base State, version string) (string, error) {
	k, err := d.target(ctx, base, version)
	return k.Version, err
}

func (d *Desk) target(ctx context.Context, base State, version string) (kept, error) {
	list, err := d.list(ctx)
	if err != nil {
		return kept{}, err
	}
	if version = cmp.Or(version, before(list, base.Active.Version)); version == "" {
		return kept{}, fmt.Errorf("%w: nothing was in force before", ErrNotKept)
	}
	k, err := find(list, version)
	if err == nil && k.Version == base.Active.Version {
		err = fmt.Errorf("version %s is in force", k.Version)
	}
	return k, err
}

// before is what to go back to from a version.
func before(list []kept, version string) string {
	for _, k := range list {
		if k.Version == version {
			return k.Before
		}
	}
	return ""
}

// find finds a version by its first digits.
func find(list []kept, version string) (found kept, err error) {
	for _, k := range list {
		switch {
		case version == "" || !strings.HasPrefix(k.Version, version):
		case found.Version != "":
			return kept{}, fmt.Errorf("%s is short for more than one version", version)
		default:
			found = k
		}
	}
	if found.Version == "" {
		return kept{}, fmt.Errorf("%w: %q", ErrNotKept, version)
	}
	return found, nil
}

// change changes the state, with all that belongs to it, in one sequence.
func (d *Desk) change(ctx context.Context, base State, by By, a Action, k *kept, b *Bundle, source string) (State, error) {
	clock, lists := &store.Time{}, &store.Get{Key: store.PolicyKept()}
	if err := d.store.Do(ctx, store.Seq{clock, lists}); err != nil {
		return base, err
	}
	list, err := parseKept(lists.Value)
	if err != nil {
		return base, err
	}
	if b != nil && (a == Shadowed || k.Version == base.Active.Version) {
		// What to go back to changes only when something else comes into force.
		k.Before = cmp.Or(before(list, k.Version), k.Before)
		if k.Before == k.Version {
			k.Before = ""
		}
	}
	next := base
	next.Serial, next.Change, next.Source = base.Serial+1, rand.Text(), cmp.Or(source, base.Source)
	pin := Pin{
		Serial: next.Serial, Action: a, At: clock.Now,
		Who: bounded(by.Who, maxSaid), From: bounded(by.From, maxSaid), Comment: bounded(by.Comment, maxSaid),
	}
	if k != nil {
		pin.Version, pin.Sum = k.Version, k.Sum
	}
	switch a {
	case Activated, RolledBack:
		pin.Before = base.Active.Version
		next.Active = pin
	case Shadowed:
		pin.Before = base.Candidate.Version
		next.Candidate = pin
	case Withdrawn:
		pin.Before = base.Candidate.Version
		next.Candidate = Pin{}
	case Refused, InForce, ActionUnknown:
		return base, fmt.Errorf("change the state of policies: %v", a)
	}
	next.raw = next.encode()
	event := pin.event()
	seq := store.Seq{&store.Swap{Key: store.PolicyState(), Absent: base.raw == "", Old: base.raw, New: next.raw}}
	if b != nil {
		seq = append(seq, &store.Put{Key: store.PolicyVersion(k.Version), Value: b.encode()})
	}
	if k != nil {
		list, dropped := keep(list, *k, next.Active.Version, next.Candidate.Version)
		seq = append(seq, &store.Put{Key: store.PolicyKept(), Value: encodeKept(list)})
		for _, version := range dropped {
			seq = append(seq, &store.Delete{Key: store.PolicyVersion(version)})
		}
	}
	seq = append(seq, appendEvent(&event), &store.Publish{Topic: Topic, Message: next.Change})
	if err := d.store.Do(ctx, seq); err != nil {
		return base, err
	}
	if !seq.OK() {
		return base, ErrChanged
	}
	return next, nil
}

// note writes down what was found where services look, without anything in force.
func (d *Desk) note(ctx context.Context, base State, source string, e *Event) error {
	next := base
	next.Serial, next.Change, next.Source = base.Serial+1, rand.Text(), source
	seq := store.Seq{&store.Swap{Key: store.PolicyState(), Absent: base.raw == "", Old: base.raw, New: next.encode()}}
	if e != nil {
		seq = append(seq, appendEvent(e))
	}
	if err := d.store.Do(ctx, seq); err != nil {
		return err
	}
	if !seq.OK() {
		return ErrChanged
	}
	return nil
}

// Refuse writes into the history that something was refused.
func (d *Desk) Refuse(ctx context.Context, e *Event) error {
	return d.store.Do(ctx, store.Seq{appendEvent(e)})
}

func appendEvent(e *Event) *store.Append {
	b := e.bounded()
	text, _ := json.Marshal(b) // strings and a time of this age
	return &store.Append{Key: store.PolicyHistory(), Event: string(text), Max: historyMax}
}

// History lists the last n events, oldest first.
func (d *Desk) History(ctx context.Context, n int) ([]Event, error) {
	read := &store.Read{Key: store.PolicyHistory(), Newest: true, Limit: n}
	if err := d.store.Do(ctx, store.Seq{read}); err != nil {
		return nil, err
	}
	events := make([]Event, 0, len(read.Events))
	for _, e := range read.Events {
		var event Event
		if err := json.Unmarshal([]byte(e.Data), &event); err != nil {
			return nil, fmt.Errorf("read the history of policies: %w", err)
		}
		event.At = e.ID.At()
		events = append(events, event)
	}
	return events, nil
}

func (d *Desk) list(ctx context.Context) ([]kept, error) {
	get := &store.Get{Key: store.PolicyKept()}
	if err := d.store.Do(ctx, store.Seq{get}); err != nil {
		return nil, err
	}
	return parseKept(get.Value)
}

// Versions lists the versions that are kept, the one that was activated last first.
func (d *Desk) Versions(ctx context.Context) ([]string, error) {
	list, err := d.list(ctx)
	versions := make([]string, len(list))
	for i, k := range list {
		versions[i] = k.Version
	}
	return versions, err
}

// Bundle reads a version that is kept; its first digits are enough.
func (d *Desk) Bundle(ctx context.Context, version string) (string, Bundle, error) {
	list, err := d.list(ctx)
	if err != nil {
		return "", Bundle{}, err
	}
	k, err := find(list, version)
	if err != nil {
		return "", Bundle{}, err
	}
	b, err := d.bundle(ctx, k.Version, k.Sum)
	return k.Version, b, err
}

// bundle reads the bundle of a version and sees that it is the one that was meant.
func (d *Desk) bundle(ctx context.Context, version, sum string) (Bundle, error) {
	get := &store.Get{Key: store.PolicyVersion(version)}
	if err := d.store.Do(ctx, store.Seq{get}); err != nil {
		return Bundle{}, err
	}
	if !get.Found {
		return Bundle{}, fmt.Errorf("%w: %s", ErrNotKept, version)
	}
	b, err := parseBundle(get.Value)
	if err == nil && b.Sum() != sum {
		err = fmt.Errorf("policy bundle %s: its content is not what was activated", version)
	}
	return b, err
}

// Service is what a service says of itself.
type Service struct {
	ID        string    `json:"id"`        // of the process: names need not be different
	Name      string    `json:"name"`      // from its configuration
	Version   string    `json:"version"`   // in force there; "": none
	Candidate string    `json:"candidate"` // asked beside; "": none
	Serial    uint64    `json:"serial"`    // of the state that it has seen and dealt with
	Since     time.Time `json:"since"`     // when that version came into force there
	Error     string    `json:"error"`     // why it has not what the state says; "": it has
}

// Services lists the services that are there, by name.
func (d *Desk) Services(ctx context.Context) ([]Service, error) {
	members := &store.Members{Key: store.PolicyServices(), Limit: maxServices}
	if err := d.store.Do(ctx, store.Seq{members}); err != nil {
		return nil, err
	}
	var all []Service
	for some := range slices.Chunk(members.List, 50) { // a sequence has a limit
		var seq store.Seq
		for _, m := range some {
			seq = append(seq, &store.Get{Key: store.PolicyService(m.Name)})
		}
		if err := d.store.Do(ctx, seq); err != nil {
			return nil, err
		}
		for _, op := range seq {
			var s Service
			if get := op.(*store.Get); get.Found && json.Unmarshal([]byte(get.Value), &s) == nil {
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
