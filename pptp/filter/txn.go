package filter

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// txn is one transaction: the kernel takes all of it or nothing. Whoever adds to it
// also changes the Table's picture of the kernel, and says how to change it back.
type txn struct {
	table   *nftables.Table
	ops     []func(*nftables.Conn) error
	undo    []func()
	updates int // of the sets that clients are in
	set     uint32
}

func (x *txn) op(f func(*nftables.Conn) error) { x.ops = append(x.ops, f) }

// rollback changes the picture back to what it was when there were to things to undo.
func (x *txn) rollback(to int) {
	for i := len(x.undo) - 1; i >= to; i-- {
		x.undo[i]()
	}
	x.undo = x.undo[:to]
}

// replaceTable makes an empty table of what was there before, or of nothing.
func (x *txn) replaceTable() {
	x.op(func(c *nftables.Conn) error {
		c.AddTable(x.table) // that there is one to delete
		c.DelTable(x.table)
		c.AddTable(x.table)
		return nil
	})
}

func (x *txn) deleteTable() {
	x.op(func(c *nftables.Conn) error { c.AddTable(x.table); c.DelTable(x.table); return nil })
}

func (x *txn) addCounter(name string, from tally) {
	x.op(func(c *nftables.Conn) error {
		c.AddObj(&nftables.CounterObj{Table: x.table, Name: name, Packets: from.packets, Bytes: from.octets})
		return nil
	})
}

func (x *txn) chain(name string) *nftables.Chain { return &nftables.Chain{Table: x.table, Name: name} }

func (x *txn) addChain(c chain) {
	made := x.chain(c.name)
	if h := c.hook; h != nil {
		made.Type, made.Hooknum = h.kind, &h.at
		made.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(h.priority))
		policy := nftables.ChainPolicyAccept
		made.Policy = &policy
	}
	x.op(func(conn *nftables.Conn) error { conn.AddChain(made); return nil })
}

func (x *txn) flushChain(name string) {
	x.op(func(c *nftables.Conn) error { c.FlushChain(x.chain(name)); return nil })
}

func (x *txn) delChain(name string) {
	x.op(func(c *nftables.Conn) error { c.DelChain(x.chain(name)); return nil })
}

func (x *txn) addRules(c chain) {
	for _, r := range c.rules {
		x.op(func(conn *nftables.Conn) error {
			for _, a := range r.sets {
				x.set++ // numbers need to differ within a transaction
				made := &nftables.Set{
					Table: x.table, Name: "__set%d", ID: x.set, Anonymous: true, Constant: true,
					Interval: a.interval(), KeyType: a.key,
				}
				if err := conn.AddSet(made, a.elements); err != nil {
					return err
				}
				a.lookup.SetName, a.lookup.SetID = made.Name, made.ID
			}
			conn.AddRule(&nftables.Rule{Table: x.table, Chain: x.chain(c.name), Exprs: r.exprs, UserData: r.userData()})
			return nil
		})
	}
}

// interval holds but for protocols, which are listed one by one.
func (a *anonymous) interval() bool { return a.key != nftables.TypeInetProto }

func (x *txn) addSet(s set) {
	x.op(func(c *nftables.Conn) error {
		x.set++
		made := &nftables.Set{Table: x.table, Name: s.name, ID: x.set, KeyType: s.key, Interval: s.interval, Size: s.size}
		made.Concatenation = s.key.Name == typeAddressPair.Name || s.key.Name == typeAddressService.Name
		if s.verdict {
			made.IsMap, made.DataType = true, nftables.TypeVerdict
		}
		if s.limited {
			made.Dynamic, made.HasTimeout, made.Timeout = true, true, forget
		}
		return c.AddSet(made, nil)
	})
	x.addElements(s.name, s.elements)
}

func (x *txn) delSet(name string) {
	x.op(func(c *nftables.Conn) error { c.DelSet(x.named(name)); return nil })
}

func (x *txn) flushSet(name string) {
	x.op(func(c *nftables.Conn) error { c.FlushSet(x.named(name)); return nil })
}

func (x *txn) named(set string) *nftables.Set { return &nftables.Set{Table: x.table, Name: set} }

// maxElements of a message: an attribute's length has 16 bits, and an element takes
// at most some 100 octets with a chain's name of ours, 220 with the longest there is.
const maxElements = 256

func (x *txn) addElements(set string, elements []nftables.SetElement) {
	for some := range slices.Chunk(elements, maxElements) {
		x.op(func(c *nftables.Conn) error { return c.SetAddElements(x.named(set), some) })
	}
}

func (x *txn) delElements(set string, elements []nftables.SetElement) {
	for some := range slices.Chunk(elements, maxElements) {
		x.op(func(c *nftables.Conn) error { return c.SetDeleteElements(x.named(set), some) })
	}
}

// located is an element and the set that it is in.
type located struct {
	set string
	nftables.SetElement
}

// elements are a client's, of the sets that know clients.
func (e *entry) elements() []located {
	all := e.appendElements(make([]located, 0, (2+len(e.dns))*(1+len(e.routes))), &clientSets, e.client.Addr)
	for _, p := range e.routes {
		all = e.appendElements(all, &routedSets[p.Bits()], p.Addr())
	}
	return all
}

// appendElements are those of an address, or of a network by its first one.
func (e *entry) appendElements(all []located, sets *kinds, a netip.Addr) []located {
	key := a.AsSlice()
	verdict := func(chain string) nftables.SetElement {
		return nftables.SetElement{Key: key, VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
	}
	all = append(all, located{sets[kindIn], verdict(e.in())}, located{sets[kindOut], verdict(e.out())})
	if e.client.Quarantine {
		all = append(all, located{sets[kindHeld], nftables.SetElement{Key: key}})
	}
	for _, d := range e.dns {
		all = append(all, located{sets[kindDNS], nftables.SetElement{Key: dnsKey(a, d)}})
	}
	return all
}

func dnsKey(client, server netip.Addr) []byte { return append(client.AsSlice(), server.AsSlice()...) }

// change takes a client's elements from what they are to what they shall be; either
// may be nil.
func (x *txn) change(from, to *entry) {
	var is, shall []located
	if from != nil {
		is = from.elements()
	}
	if to != nil {
		shall = to.elements()
	}
	gone, come := without(is, shall), without(shall, is)
	bySet(gone, x.delElements)
	x.addLocated(come)
	x.updates += len(gone) + len(come)
}

func (x *txn) addLocated(all []located) { bySet(all, x.addElements) }

// bySet calls each for the elements of each set. It sorts them.
func bySet(all []located, each func(set string, elements []nftables.SetElement)) {
	slices.SortStableFunc(all, func(a, b located) int { return strings.Compare(a.set, b.set) })
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(e located) bool { return e.set != all[0].set })
		if n < 0 {
			n = len(all)
		}
		elements := make([]nftables.SetElement, n)
		for i, e := range all[:n] {
			elements[i] = e.SetElement
		}
		each(all[0].set, elements)
		all = all[n:]
	}
}

// without are the elements of a that are not in b. Both are short.
func without(a, b []located) []located {
	var left []located
next:
	for _, e := range a {
		for _, o := range b {
			if e.set == o.set && string(e.Key) == string(o.Key) && (e.VerdictData == nil || e.VerdictData.Chain == o.VerdictData.Chain) {
				continue next
			}
		}
		left = append(left, e)
	}
	return left
}
