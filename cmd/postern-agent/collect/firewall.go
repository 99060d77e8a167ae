package collect

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/internal/report"
)

// linuxFirewall says whether what comes in is refused unless a rule permits it. That is
// asked of the kernel where that is possible: a service that is enabled may have failed.
func linuxFirewall(ctx context.Context, m *Machine) (func(*report.Facts), error) {
	var errs []error
	answered := false
	for _, tool := range []struct {
		name  string
		args  []string
		parse func([]byte) (bool, error)
	}{
		{"nft", []string{"list", "ruleset"}, parseNft},
		{"iptables", []string{"-S"}, parseIptables},
		{"firewall-cmd", []string{"--state"}, parseFirewalld},
	} {
		b, err := m.Run(ctx, tool.name, tool.args...)
		if err == nil {
			var on bool
			if on, err = tool.parse(b); on {
				return setFirewall(report.Yes), nil
			}
		}
		if err != nil {
			errs = append(errs, err)
		} else {
			answered = true
		}
	}
	if !answered {
		return nil, errors.Join(errs...)
	}
	return setFirewall(report.No), nil
}

// chain is a list of rules, as far as it matters: whether what reaches its end was
// refused.
type chain struct {
	input   bool // packets to the machine itself begin here
	refuses bool
	jumps   []string // that every packet takes
}

type chains map[string]*chain

func (cs chains) get(name string) *chain {
	if cs[name] == nil {
		cs[name] = new(chain)
	}
	return cs[name]
}

// refuses follows the jumps; a chain that was seen says nothing more.
func (cs chains) refuses(name string, seen map[string]bool) bool {
	c := cs[name]
	if c == nil || seen[name] {
		return false
	}
	seen[name] = true
	if c.refuses {
		return true
	}
	for _, to := range c.jumps {
		if cs.refuses(to, seen) {
			return true
		}
	}
	return false
}

// on says whether what comes to the machine is refused in the end.
func (cs chains) on() bool {
	for name, c := range cs {
		if c.input && cs.refuses(name, map[string]bool{}) {
			return true
		}
	}
	return false
}

// parseNft reads `nft list ruleset`.
//
//	table inet filter {
//		chain input {
//			type filter hook input priority filter; policy accept;
//			ct state established accept
//			counter packets 7 bytes 420 reject with icmpx admin-prohibited
//		}
//	}
func parseNft(b []byte) (bool, error) {
	cs := chains{}
	table, here := "", (*chain)(nil)
	depth := 0
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "# ") // whose table it is, and warnings
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		opens := words[len(words)-1] == "{"
		switch {
		case words[0] == "}":
			if depth--; depth < 2 {
				here = nil
			}
			continue
		case opens && depth == 0 && words[0] == "table":
			table = strings.Join(words[1:len(words)-1], " ") + " "
		case opens && depth == 1 && words[0] == "chain" && len(words) == 3:
			here = cs.get(table + words[1])
		case here != nil && depth == 2:
			here.nftRule(table, words)
		}
		if opens {
			depth++
		}
	}
	return cs.on(), nil
}

func (c *chain) nftRule(table string, words []string) {
	if words[0] == "type" && len(words) > 3 {
		c.input = words[1] == "filter" && words[2] == "hook" && words[3] == "input"
		for i, w := range words {
			if w == "policy" && i+1 < len(words) && strings.HasPrefix(words[i+1], "drop") {
				c.refuses = true
			}
		}
		return
	}
	// What every packet meets: a verdict with nothing before it but counters.
	if words[0] == "counter" {
		words = words[1:]
		if len(words) > 4 && words[0] == "packets" && words[2] == "bytes" {
			words = words[4:]
		}
	}
	if len(words) == 0 {
		return
	}
	switch words[0] {
	case "drop", "reject":
		c.refuses = true
	case "jump", "goto":
		if len(words) > 1 {
			c.jumps = append(c.jumps, table+words[1])
		}
	}
}

// parseIptables reads `iptables -S`.
//
//	-P INPUT ACCEPT
//	-N ufw-before-input
//	-A INPUT -j ufw-before-input
//	-A INPUT -j REJECT --reject-with icmp-host-prohibited
func parseIptables(b []byte) (bool, error) {
	cs := chains{}
	cs.get("INPUT").input = true
	known := false
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && f[0] == "-P":
			known = known || f[1] == "INPUT"
			cs.get(f[1]).refuses = f[2] == "DROP"
		case len(f) >= 4 && f[0] == "-A" && (f[2] == "-j" || f[2] == "-g"):
			switch f[3] {
			case "DROP", "REJECT":
				cs.get(f[1]).refuses = true
			default:
				cs.get(f[1]).jumps = append(cs.get(f[1]).jumps, f[3])
			}
		}
	}
	if !known {
		return false, errors.New("iptables: not understood")
	}
	return cs.on(), nil
}

// parseFirewalld reads `firewall-cmd --state`.
func parseFirewalld(b []byte) (bool, error) {
	switch word := parseWord(b); word {
	case "running":
		return true, nil
	case "not running":
		return false, nil
	default:
		return false, fmt.Errorf("firewall-cmd: %q is not understood", firstLine(word))
	}
}
