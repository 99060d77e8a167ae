package pptp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"postern/pptp/filter"
)

// FakeFilter is a packet filter that only remembers what it was told.
type FakeFilter struct {
	Known []string      // the node's own filters
	Takes time.Duration // every call

	mu   sync.Mutex
	now  map[netip.Addr]*fakePlace
	said []string
	fail map[string]error // by verb
}

type fakePlace struct {
	filter *FakeFilter
	client filter.Client
	over   bool
}

var errStale = errors.New("the place is over")

// Fail makes the verb (set, change or remove) fail from now on; nil: no more.
func (f *FakeFilter) Fail(verb string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		f.fail = make(map[string]error)
	}
	f.fail[verb] = err
}

// Said is what was done, in order, and forgets it.
func (f *FakeFilter) Said() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	said := f.said
	f.said = nil
	return said
}

// At is what is in force for an address.
func (f *FakeFilter) At(a netip.Addr) (filter.Client, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.now[a]
	if !ok {
		return filter.Client{}, false
	}
	return p.client, true
}

// Places is how many addresses there are.
func (f *FakeFilter) Places() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.now)
}

func describe(c filter.Client) string {
	switch {
	case c.Quarantine:
		return "quarantine"
	case c.Filter == "":
		return "none"
	}
	return fmt.Sprintf("%s/%d", c.Filter, len(c.Rules))
}

func (f *FakeFilter) check(verb string, c filter.Client) error {
	if err := f.fail[verb]; err != nil {
		return err
	}
	if c.Filter != "" && len(c.Rules) == 0 && !slices.Contains(f.Known, c.Filter) {
		return filter.ErrUnknownFilter
	}
	return nil
}

func (f *FakeFilter) Set(c filter.Client) (Place, error) {
	time.Sleep(f.Takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check("set", c); err != nil {
		return nil, err
	}
	f.said = append(f.said, fmt.Sprintf("set %v %s", c.Addr, describe(c)))
	if f.now == nil {
		f.now = make(map[netip.Addr]*fakePlace)
	}
	if former := f.now[c.Addr]; former != nil {
		former.over = true
	}
	p := &fakePlace{filter: f, client: c}
	f.now[c.Addr] = p
	return p, nil
}

func (p *fakePlace) Change(c filter.Client) error {
	f := p.filter
	time.Sleep(f.Takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.over {
		return errStale
	}
	if err := f.check("change", c); err != nil {
		return err
	}
	f.said = append(f.said, fmt.Sprintf("change %v %s", c.Addr, describe(c)))
	p.client = c
	return nil
}

func (p *fakePlace) Remove() error {
	f := p.filter
	time.Sleep(f.Takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail["remove"]; err != nil {
		return err
	}
	if p.over {
		return nil
	}
	p.over = true
	f.said = append(f.said, fmt.Sprintf("remove %v", p.client.Addr))
	delete(f.now, p.client.Addr)
	return nil
}

// Networks is how many networks behind clients sessions have.
func (n *Node) Networks() int { return int(n.routed.count.Load()) }
