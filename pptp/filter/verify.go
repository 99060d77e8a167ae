package filter

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Verify compares the kernel's table with what was put there, and puts everything
// there anew, with the clients, where they differ: `nft flush ruleset` stands at the
// beginning of most firewall scripts. Rules are known by their comments. It is done
// when somebody else changes the table, and now and then.
func (t *Table) Verify() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	return t.verify()
}

// verify is Verify for callers that hold the lock.
func (t *Table) verify() error {
	t.metric.looks.Add(1)
	wrong, err := t.compare()
	if err != nil || wrong == "" {
		t.metric.broken.Store(err != nil)
		return err
	}
	t.metric.broken.Store(true)
	began := time.Now()
	if err := t.repair(wrong); err != nil {
		t.log.Error("somebody changed the table; it cannot be repaired", "found", wrong, "error", err)
		return fmt.Errorf("filter: repair table %s: %w", t.cfg.Table, err)
	}
	t.metric.broken.Store(false)
	t.metric.repairs.Add(1)
	t.log.Error("somebody changed the table; it is repaired", "found", wrong, "clients", len(t.clients), "took", time.Since(began))
	return nil
}

// repair puts everything in place anew. Where there is no table, everything passes
// that comes out of a tunnel, and many clients take their time: so first there is a
// table that knows none of them, and lets nothing pass.
func (t *Table) repair(wrong string) error {
	x := t.begin()
	if wrong == tableGone {
		t.installRules(x)
		if err := t.kernel.commit(x); err != nil {
			return err
		}
		x = t.begin()
		t.installClients(x)
		return t.kernel.commit(x)
	}
	t.install(x)
	return t.kernel.commit(x)
}

const tableGone = "the table is gone"

// compare says what is wrong with the kernel's table, or nothing. A dump that was
// interrupted is made again: some hosts change their rules all the time.
func (t *Table) compare() (wrong string, err error) {
	for range 5 {
		if wrong, err = t.compareOnce(); !errors.Is(err, errInterrupted) {
			break
		}
	}
	return wrong, err
}

func (t *Table) compareOnce() (string, error) {
	flags := uint64(0)
	err := t.reader.ask(unix.NFT_MSG_GETTABLE, 0, nil, func(a attributes) { flags = a.get(unix.NFTA_TABLE_FLAGS).number() })
	switch {
	case errors.Is(err, unix.ENOENT):
		return tableGone, nil
	case err != nil:
		return "", err
	case flags != 0:
		return "the table is switched off", nil
	}
	chains := t.allChains()
	for _, check := range []func([]chain) (string, error){t.compareChains, t.compareRules, t.compareSets, t.compareClients, t.compareCounters} {
		if wrong, err := check(chains); wrong != "" || err != nil {
			return wrong, err
		}
	}
	return "", nil
}

func (t *Table) compareChains(chains []chain) (string, error) {
	type state struct{ hook, policy uint64 }
	found := map[string]state{}
	err := t.reader.ask(unix.NFT_MSG_GETCHAIN, netlink.Dump, nil, func(a attributes) {
		if a.get(unix.NFTA_CHAIN_TABLE).text() == t.cfg.Table { // older kernels dump all tables'
			found[a.get(unix.NFTA_CHAIN_NAME).text()] = state{
				a.get(unix.NFTA_CHAIN_HOOK, unix.NFTA_HOOK_HOOKNUM).number(), a.get(unix.NFTA_CHAIN_POLICY).number(),
			}
		}
	})
	if err != nil {
		return "", err
	}
	for _, c := range chains {
		want := state{}
		if c.hook != nil {
			want = state{uint64(c.hook.at), accepts}
		}
		switch is, ok := found[c.name]; {
		case !ok:
			return fmt.Sprintf("chain %s is gone", c.name), nil
		case is != want:
			return fmt.Sprintf("chain %s has another hook or policy", c.name), nil
		}
		delete(found, c.name)
	}
	for name := range found {
		return fmt.Sprintf("chain %s is somebody else's", name), nil
	}
	return "", nil
}

// accepts is NF_ACCEPT, fixed by Linux.
const accepts = 1

func (t *Table) compareRules(chains []chain) (string, error) {
	found := map[string][]string{}
	err := t.reader.ask(unix.NFT_MSG_GETRULE, netlink.Dump, nil, func(a attributes) {
		if a.get(unix.NFTA_RULE_TABLE).text() == t.cfg.Table {
			name := a.get(unix.NFTA_RULE_CHAIN).text()
			found[name] = append(found[name], comment(a.get(unix.NFTA_RULE_USERDATA)))
		}
	})
	if err != nil {
		return "", err
	}
	for _, c := range chains {
		if !slices.EqualFunc(c.rules, found[c.name], func(r rule, comment string) bool { return r.comment == comment }) {
			return fmt.Sprintf("chain %s has other rules", c.name), nil
		}
	}
	return "", nil
}

// comment is a rule's, out of its user data: type, length, value.
func comment(data []byte) string {
	for len(data) >= 2 {
		n := 2 + int(data[1])
		if n > len(data) {
			return ""
		}
		if userdata.Type(data[0]) == userdata.TypeComment {
			return attributes(data[2:n]).text()
		}
		data = data[n:]
	}
	return ""
}

// element is one of the kernel's: key, and the chain that a verdict goes to.
type element struct {
	key   string
	end   bool
	chain string
}

func (t *Table) elements(set string, each func(element)) error {
	name := []netlink.Attribute{{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: []byte(set + "\x00")}}
	return t.reader.ask(unix.NFT_MSG_GETSETELEM, netlink.Dump, name, func(a attributes) {
		list := a.get(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
		for {
			_, e, ok := list.next()
			if !ok {
				return
			}
			each(element{
				key:   string(e.get(unix.NFTA_SET_ELEM_KEY, unix.NFTA_DATA_VALUE)),
				end:   e.get(unix.NFTA_SET_ELEM_FLAGS).number()&unix.NFT_SET_ELEM_INTERVAL_END != 0,
				chain: e.get(unix.NFTA_SET_ELEM_DATA, unix.NFTA_DATA_VERDICT, unix.NFTA_VERDICT_CHAIN).text(),
			})
		}
	})
}

// compareSets is for what the configuration puts into sets.
func (t *Table) compareSets([]chain) (string, error) {
	for _, s := range t.allSets() {
		if s.limited || s.clients {
			continue
		}
		want := map[element]bool{}
		for _, e := range s.elements {
			want[element{key: string(e.Key), end: e.IntervalEnd}] = true
		}
		strange := false
		err := t.elements(s.name, func(e element) {
			strange = strange || !want[e]
			delete(want, e)
		})
		if wrong, err := gone("set "+s.name, err); wrong != "" || err != nil {
			return wrong, err
		}
		if strange || len(want) > 0 {
			return fmt.Sprintf("set %s has other elements", s.name), nil
		}
	}
	return "", nil
}

// gone makes an error that something is not there into what is wrong.
func gone(what string, err error) (string, error) {
	if errors.Is(err, unix.ENOENT) {
		return what + " is gone", nil
	}
	return "", err
}

// compareClients is for what logins put into sets, for their addresses and for the
// networks behind them.
func (t *Table) compareClients([]chain) (string, error) {
	want := map[string]int{}
	note := func(e *entry, sets *kinds) {
		want[sets[kindIn]]++
		want[sets[kindOut]]++
		if e.client.Quarantine {
			want[sets[kindHeld]]++
		}
		want[sets[kindDNS]] += len(e.dns)
	}
	for _, e := range t.clients {
		note(e, &clientSets)
	}
	for p, e := range t.routed {
		note(e, &routedSets[p.Bits()])
	}
	compare := func(sets *kinds, owner func(netip.Addr) *entry) (string, error) {
		for kind, name := range sets {
			have, strange := 0, false
			err := t.elements(name, func(found element) {
				have++
				strange = strange || !expected(kind, found, owner)
			})
			if wrong, err := gone("set "+name, err); wrong != "" || err != nil {
				return wrong, err
			}
			if strange || want[name] != have {
				return fmt.Sprintf("set %s has other clients", name), nil
			}
		}
		return "", nil
	}
	wrong, err := compare(&clientSets, func(a netip.Addr) *entry { return t.clients[a] })
	for bits, there := range t.lengths {
		if there && wrong == "" && err == nil {
			wrong, err = compare(&routedSets[bits], func(a netip.Addr) *entry { return t.routed[netip.PrefixFrom(a, bits)] })
		}
	}
	return wrong, err
}

// expected says whether an element of a set of that kind is there for a client.
func expected(kind int, found element, owner func(netip.Addr) *entry) bool {
	if len(found.key) < int(addressWidth) {
		return false
	}
	addr, _ := netip.AddrFromSlice([]byte(found.key[:addressWidth]))
	e := owner(addr)
	if e == nil {
		return false
	}
	switch kind {
	case kindIn:
		return found.chain == e.in()
	case kindOut:
		return found.chain == e.out()
	case kindHeld:
		return e.client.Quarantine
	case kindDNS:
		server, _ := netip.AddrFromSlice([]byte(found.key[addressWidth:]))
		return slices.Contains(e.dns, server)
	}
	return false
}

func (t *Table) compareCounters([]chain) (string, error) {
	want := maps.Clone(t.counters)
	err := t.reader.counters(func(name string, _ tally) { delete(want, name) })
	if err != nil {
		return "", err
	}
	for name := range want {
		return fmt.Sprintf("counter %s is gone", name), nil
	}
	return "", nil
}
