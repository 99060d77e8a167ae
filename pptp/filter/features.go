package filter

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// feature is something of the kernel's that the table needs, and the module it is in.
type feature struct {
	name, module string
	kind         nftables.ChainType
	at           nftables.ChainHook
	rule         rule
}

// features are tried one by one when the kernel has refused the table.
func (c *Config) features() []feature {
	try := func(name, module string, at nftables.ChainHook, parts ...part) feature {
		return feature{name, module, nftables.ChainTypeFilter, at, say("", parts...)}
	}
	all := []feature{
		try("connection tracking", "nft_ct and nf_conntrack", unix.NF_INET_FORWARD, related),
		try("counters", "nft_counter", unix.NF_INET_FORWARD, count(countNode)),
		try("rates", "nft_limit", unix.NF_INET_FORWARD, limit(saddr, setDNSRate, 1, 1, true)),
		try("ICMP refusals", "nft_reject and nft_reject_ipv4", unix.NF_INET_FORWARD, prohibit),
		try("segment sizes", "nft_exthdr", unix.NF_INET_FORWARD, syn, clampMSS(minMSS)),
		try("route MTU", "nft_rt", unix.NF_INET_FORWARD, syn, clampMSS(0)),
	}
	nat := func(name, module string, at nftables.ChainHook, do part) {
		all = append(all, feature{name, module, nftables.ChainTypeNAT, at, say("", do)})
	}
	if c.CaptivePort != 0 {
		nat("destination NAT", "nft_nat, nft_chain_nat and nf_nat", unix.NF_INET_PRE_ROUTING, dnat(c.captive()))
	}
	if c.Masquerade {
		nat("masquerading", "nft_masq, nft_chain_nat and nf_nat", unix.NF_INET_POST_ROUTING, masquerade)
	}
	return all
}

// missing says which features the kernel lacks. Each is tried in a table that is gone
// again at the end of the same transaction.
func (t *Table) missing() error {
	try := func(f feature) error {
		x := &txn{table: &nftables.Table{Name: t.cfg.Table + "_try", Family: nftables.TableFamilyIPv4}}
		x.replaceTable()
		if f.module != "" {
			x.addCounter(countNode, tally{})
			x.addSet(set{name: setDNSRate, key: nftables.TypeIPAddr, limited: true, size: 1})
			x.addChains([]chain{{"try", &hook{f.kind, f.at, priorityFilter}, []rule{f.rule}}})
		}
		x.deleteTable()
		return t.kernel.commit(x)
	}
	switch err := try(feature{}); {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("filter: %w", errRights)
	case err != nil:
		return fmt.Errorf("filter: the kernel makes no nftables at all, load the module nf_tables: %w", err)
	}
	var errs []error
	for _, f := range t.cfg.features() {
		if err := try(f); err != nil {
			errs = append(errs, fmt.Errorf("filter: the kernel lacks %s, load the module %s: %w", f.name, f.module, err))
		}
	}
	return errors.Join(errs...)
}
