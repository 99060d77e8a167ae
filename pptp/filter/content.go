package filter

import (
	"fmt"
	"net/netip"
	"strconv"
)

// content is a filter that has chains in the kernel: one of the configuration, or one
// that logins brought, for as long as one of them is there.
type content struct {
	key     string // in Table.contents
	name    string
	id      string // in chains' names
	counter string // in counters' names
	rules   []Rule
	users   int
	// Filters of the configuration have doors, and in the names of other chains the
	// number of the change that made them; 0 is for filters that logins brought.
	change int
	// configured ones have chains without a session, too. One that the configuration
	// does not name any more goes with its last session.
	configured bool
}

func configuredKey(name string) string { return "c " + name }

func (c *content) body() string {
	if c.change == 0 {
		return c.id
	}
	return c.id + suffixChange + strconv.Itoa(c.change)
}

// doors are the chains that stay when rules change.
func (c *content) doors() []chain {
	if c.change == 0 {
		return nil
	}
	return doors(c.id, c.body())
}

// bodies are the chains that hold the rules.
func (t *Table) bodies(c *content) []chain {
	return filterChains(c.body(), c.counter, c.rules, t.setName)
}

// chainsOf are all of a filter's. Those that are named by others come first.
func (t *Table) chainsOf(c *content) []chain { return append(t.bodies(c), c.doors()...) }

// entry is a session's client and what it has in the kernel.
type entry struct {
	client  Client
	content *content // nil: open, or in quarantine
	lease   uint64
	dns     []netip.Addr   // servers it may ask by the set of them
	routes  []netip.Prefix // those of the client's networks that it has
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
	made := &content{key: id, name: c.Filter, id: id, counter: t.counterFor(x, c.Filter), rules: c.Rules}
	t.contents[id] = made
	x.undo = append(x.undo, func() { delete(t.contents, id) })
	x.addChains(t.bodies(made))
	return x.use(made), nil
}

func (x *txn) use(c *content) *content {
	c.users++
	x.undo = append(x.undo, func() { c.users-- })
	return c
}

// configure makes a filter of the configuration in the picture.
func (t *Table) configure(x *txn, name string, rules []Rule) *content {
	c := &content{
		key: configuredKey(name), name: name, id: safe(name), counter: t.counterFor(x, name),
		rules: rules, change: 1, configured: true,
	}
	t.contents[c.key] = c
	x.undo = append(x.undo, func() { delete(t.contents, c.key) })
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
	x.delChains(t.chainsOf(c))
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
