package filter

import (
	"fmt"
	"net/netip"
)

// content is a filter that has chains in the kernel: one of the configuration, or one
// that logins brought, for as long as one of them is there.
type content struct {
	key     string // in Table.contents
	id      string // in chains' names
	counter string // in counters' names
	rules   []Rule
	// configured filters have chains without a session, too. One that the configuration
	// does not name any more goes with its last session.
	configured bool
	users      int
}

func (c *content) chains() []chain { return filterChains(c.id, c.counter, c.rules) }

func configuredKey(name string) string { return "c " + name }

// entry is a session's client and what it has in the kernel.
type entry struct {
	client  Client
	content *content // nil: open, or in quarantine
	lease   uint64
	dns     []netip.Addr // servers it may ask by the set of them
}

func (e *entry) in() string {
	switch {
	case e.client.Quarantine:
		return chainQuarantineIn
	case e.content == nil:
		return chainOpenIn
	}
	return filterIn + e.content.id
}

func (e *entry) out() string {
	switch {
	case e.client.Quarantine:
		return chainQuarantineOut
	case e.content == nil:
		return chainOpenOut
	}
	return filterOut + e.content.id
}

// acquire finds a client's filter, or makes its chains.
func (t *Table) acquire(x *txn, c *Client) (*content, error) {
	if c.Quarantine || len(c.Rules) == 0 && (c.Filter == "" || c.Filter == None) {
		return nil, nil
	}
	if len(c.Rules) == 0 {
		found, ok := t.contents[configuredKey(c.Filter)]
		if !ok || !found.configured {
			return nil, fmt.Errorf("%w: %q", ErrUnknownFilter, c.Filter)
		}
		return x.use(found), nil
	}
	id := contentID(c.Filter, c.Rules)
	if found, ok := t.contents[id]; ok {
		return x.use(found), nil
	}
	if len(t.contents) >= maxFilters {
		return nil, fmt.Errorf("filter: more than %d filters with different rules", maxFilters)
	}
	made := &content{key: id, id: id, counter: t.counterFor(x, c.Filter), rules: c.Rules}
	t.contents[id] = made
	x.undo = append(x.undo, func() { delete(t.contents, id) })
	x.addChains(made.chains())
	return x.use(made), nil
}

func (x *txn) use(c *content) *content {
	c.users++
	x.undo = append(x.undo, func() { c.users-- })
	return c
}

// release is acquire's opposite. The client must not be in the sets any more.
func (t *Table) release(x *txn, c *content) {
	if c == nil {
		return
	}
	c.users--
	x.undo = append(x.undo, func() { c.users++ })
	if c.users > 0 || c.configured {
		return
	}
	delete(t.contents, c.key)
	x.undo = append(x.undo, func() { t.contents[c.key] = c })
	x.delChains(c.chains())
}

// addChains adds chains that name one another: first all, then what is in them.
func (x *txn) addChains(chains []chain) {
	for _, c := range chains {
		x.addChain(c)
	}
	for _, c := range chains {
		x.addRules(c)
	}
}

// delChains empties all before it takes away any: the kernel keeps a chain that
// another one names.
func (x *txn) delChains(chains []chain) {
	for _, c := range chains {
		x.flushChain(c.name)
	}
	for _, c := range chains {
		x.delChain(c.name)
	}
}
