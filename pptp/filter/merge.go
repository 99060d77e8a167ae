package filter

import (
	"fmt"
	"slices"
)

// group is rules that differ in nothing but the other side: one rule of the kernel's
// for all their addresses, and one more for each named set.
type group struct {
	action   Action
	protocol Protocol
	ports    []span
	peers    []span
	sets     []string
	text     string // of the first of them
	more     int    // how many others
}

// merge makes groups of the rules of one direction. First match wins, so that only
// within a run of rules of the same action their order does not matter.
func merge(rules []Rule, d Direction) []group {
	var all []group
	run := 0 // where the groups of this run begin
	for _, r := range rules {
		if r.Direction != d {
			continue
		}
		if n := len(all); n > 0 && all[n-1].action != r.Action {
			run = n
		}
		wanted := ports(r.Ports)
		i := slices.IndexFunc(all[run:], func(g group) bool {
			return g.protocol == r.Protocol && slices.Equal(g.ports, wanted)
		}) + run
		if i < run {
			i = len(all)
			all = append(all, group{action: r.Action, protocol: r.Protocol, ports: wanted, text: r.String(), more: -1})
		}
		g := &all[i]
		g.more++
		if r.Set == "" {
			g.peers = append(g.peers, addresses(single(r.Peer))...)
		} else if !slices.Contains(g.sets, r.Set) {
			g.sets = append(g.sets, r.Set)
		}
	}
	for i := range all {
		all[i].peers = join(all[i].peers)
	}
	return all
}

func single[T any](v T) []T { return []T{v} }

// comment is what `nft list` shows behind the rule.
func (g *group) comment() string {
	s := g.text
	if len(s) > maxComment-20 {
		s = s[:maxComment-20] + "..."
	}
	if g.more > 0 {
		s = fmt.Sprintf("%s and %d more", s, g.more)
	}
	return s
}
