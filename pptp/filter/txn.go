package filter

import (
	"net/netip"
	"slices"

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
	if len(elements) > 0 {
		x.op(func(c *nftables.Conn) error { return c.SetDeleteElements(x.named(set), elements) })
	}
}

// clientElements are a client's elements of the sets that know clients.
type clientElements [numClientSets][]nftables.SetElement

// clientSets are in this order in clientElements. Each login updates the first two.
var clientSets = [...]string{setIn, setOut, setQuarantined, setDNS}

const numClientSets = 4

func (e *entry) elements() (all clientElements) {
	key := e.client.Addr.AsSlice()
	verdict := func(chain string) []nftables.SetElement {
		return []nftables.SetElement{{Key: key, VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}}
	}
	all[0], all[1] = verdict(e.in()), verdict(e.out())
	if e.client.Quarantine {
		all[2] = []nftables.SetElement{{Key: key}}
	}
	for _, d := range e.dns {
		all[3] = append(all[3], nftables.SetElement{Key: dnsKey(e.client.Addr, d)})
	}
	return all
}

func dnsKey(client, server netip.Addr) []byte { return append(client.AsSlice(), server.AsSlice()...) }

// change takes a client's elements from what they are to what they shall be; either
// may be nil.
func (x *txn) change(from, to *entry) {
	var is, shall clientElements
	if from != nil {
		is = from.elements()
	}
	if to != nil {
		shall = to.elements()
	}
	for i, name := range clientSets {
		gone := without(is[i], shall[i])
		come := without(shall[i], is[i])
		x.delElements(name, gone)
		x.addElements(name, come)
		x.updates += len(gone) + len(come)
	}
}

// without are the elements of a that are not in b. Both are short.
func without(a, b []nftables.SetElement) []nftables.SetElement {
	var left []nftables.SetElement
next:
	for _, e := range a {
		for _, o := range b {
			if string(e.Key) == string(o.Key) && (e.VerdictData == nil || e.VerdictData.Chain == o.VerdictData.Chain) {
				continue next
			}
		}
		left = append(left, e)
	}
	return left
}
