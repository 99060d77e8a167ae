package pptp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"layeh.com/radius/rfc2865"

	"postern/internal/radius"
	"postern/pptp/captive"
	"postern/pptp/filter"
)

// Filter is a node's packet filter. Its methods and its Places' wait for the kernel and
// may be called from any goroutine.
type Filter interface {
	Set(filter.Client) (Place, error)
}

// Place is what a Filter does about one client. A newer Place of the same address is
// not touched by what is done with an older one.
type Place interface {
	Change(filter.Client) error
	Remove() error
}

// enforcement is what a service wants the packet filter to do about a session. The
// zero value is nothing.
type enforcement struct {
	filter string        // name; "": none
	rules  []filter.Rule // none: the node's own filter of that name
	held   time.Duration // in quarantine for so long at most; 0: not
	url    string        // where the user gets out of it
}

// Why a session cannot have the filter that it needs. It is not opened without it.
var (
	errFilterValue = errors.New("the service sent a filter that cannot be read")
	errFilterParts = errors.New("the service sent a part of a filter or of a quarantine")
	errNoFilter    = errors.New("the service wants a filter, and this node filters nothing")
	errNoPortal    = errors.New("the service wants quarantine, and this node knows no portal")
	errFilterSet   = errors.New("the packet filter")
	errLeasedTwice = errors.New("the service granted an address that another session has")
)

// readEnforcement reads Filter-Id, NAS-Filter-Rule and the attributes of a quarantine,
// of an Access-Accept or a CoA-Request. Given is false where there is none of them.
func readEnforcement(p *radius.Packet) (e enforcement, given bool, err error) {
	names, err := rfc2865.FilterID_GetStrings(p)
	if err != nil {
		return e, true, errFilterValue
	}
	texts, err := radius.GetFilterRules(p)
	if err != nil {
		return e, true, fmt.Errorf("%w: %w", errFilterValue, err)
	}
	held, url, holds := radius.GetQuarantine(p)
	switch {
	case !holds && carries(p, quarantineTimeout, quarantineURL):
		return e, true, errFilterParts
	case len(names) == 0 && len(texts) == 0:
		return e, false, nil
	case len(names) == 0:
		return e, true, errFilterParts
	case len(names) > 1 || names[0] == "":
		return e, true, errFilterValue
	case names[0] == radius.FilterQuarantine && !holds:
		return e, true, errFilterParts
	case names[0] == radius.FilterQuarantine:
		if len(texts) > 0 || held <= 0 || captive.CheckURL(url) != nil {
			return e, true, errFilterValue
		}
		return enforcement{held: held, url: url}, true, nil
	case holds, names[0] == radius.FilterNone && len(texts) > 0:
		return e, true, errFilterValue
	case names[0] == radius.FilterNone:
		return e, true, nil
	}
	e.filter = names[0]
	for _, text := range texts {
		r, err := filter.ParseRule(text)
		if err != nil {
			return enforcement{}, true, fmt.Errorf("%w: %w", errFilterValue, err)
		}
		e.rules = append(e.rules, r)
	}
	return e, true, nil
}

// name is the Filter-Id that says what is in force; "": nothing.
func (e *enforcement) name() string {
	if e.held > 0 {
		return radius.FilterQuarantine
	}
	return e.filter
}

// client is the same in the packet filter's words.
func (e *enforcement) client(addr netip.Addr, dns []netip.Addr) filter.Client {
	dns = slices.DeleteFunc(slices.Clone(dns), func(a netip.Addr) bool { return !a.Is4() || a.IsUnspecified() || a.IsMulticast() })
	return filter.Client{Addr: addr, Filter: e.filter, Rules: e.rules, Quarantine: e.held > 0, DNS: dns}
}

// client is what the packet filter is to know of a session with these networks.
func (g *grant) client(routes []netip.Prefix) filter.Client {
	c := g.enforce.client(g.addr, g.dns)
	c.Routes, c.Turn = routes, g.turn
	return c
}

// enforceable tells whether this node can do it at all.
func (n *Node) enforceable(e *enforcement) error {
	switch {
	case e.name() == "":
		return nil
	case n.fence.filter == nil:
		return errNoFilter
	case e.held > 0 && len(n.settings.Load().filter.Portal) == 0:
		return errNoPortal
	}
	return nil
}

// fence holds the packet filter to the sessions there are. Every session that a service
// has accepted has a post in it, from before its first IP packet until after its last.
// Only release may be called while a shard is held: the rest waits for the kernel.
type fence struct {
	filter Filter // nil: no post stands for anything

	mu    sync.Mutex
	posts map[netip.Addr]*post // the newest of each address
}

// post is a session's place in the packet filter. Nil: there is no filter.
type post struct {
	addr     netip.Addr
	place    Place
	released bool // fence.mu: its session sends and receives no more
}

// reserve finds room for a client. An address whose session is still there is not taken
// from it: the packet filter would obey the newer one.
func (f *fence) reserve(a netip.Addr) (*post, error) {
	if f.filter == nil {
		return nil, nil //nolint:nilnil // no filter needs no post
	}
	p := &post{addr: a}
	f.mu.Lock()
	defer f.mu.Unlock()
	if former := f.posts[a]; former != nil && !former.released {
		return nil, errLeasedTwice
	}
	f.posts[a] = p
	return p, nil
}

// raise puts a client's filter in force. After an error its post is gone.
func (f *fence) raise(p *post, c filter.Client) (err error) {
	if p == nil {
		return nil
	}
	if p.place, err = f.filter.Set(c); err == nil {
		return nil
	}
	f.forget(p)
	return fmt.Errorf("%w: %w", errFilterSet, err)
}

// change puts another filter in force in place of a post's.
func (f *fence) change(p *post, c filter.Client) error {
	if p == nil {
		return nil
	}
	if err := p.place.Change(c); err != nil {
		return fmt.Errorf("%w: %w", errFilterSet, err)
	}
	return nil
}

// release lets the address be used by another session. It waits for nothing.
func (f *fence) release(p *post) {
	if p == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p.released = true
}

// lower takes a post away; what a newer one of the address holds stays.
func (f *fence) lower(p *post) error {
	if p == nil {
		return nil
	}
	f.release(p)
	err := p.place.Remove()
	f.forget(p)
	return err
}

func (f *fence) forget(p *post) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.posts[p.addr] == p {
		delete(f.posts, p.addr)
	}
}

// lowerAll takes away what a node's end has left; no session is there any more.
func (f *fence) lowerAll() error {
	f.mu.Lock()
	var left []*post
	for _, p := range f.posts {
		left = append(left, p)
	}
	f.mu.Unlock()
	var errs []error
	for _, p := range left {
		errs = append(errs, f.lower(p))
	}
	return errors.Join(errs...)
}

// standing is what the captive server asks of a client.
func (n *Node) standing(a netip.Addr) (captive.Standing, string) {
	if !a.Is4() {
		return captive.Stranger, ""
	}
	s := n.owner(a.As4())
	if s == nil {
		return captive.Stranger, ""
	}
	if url := s.portal.Load(); url != nil {
		return captive.Held, *url
	}
	return captive.Free, ""
}
