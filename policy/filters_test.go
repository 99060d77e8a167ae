package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// filtered is a policy with one filter and a rule that has it.
func filtered(rules string) string {
	return "version: 1\nlists:\n  servers: [10.2.0.0/24, 10.2.1.0/24, 10.9.0.5, 2001:db8::/32]\n  six: [2001:db8::/32]\nfilters:\n  f:\n" +
		rules + "rules:\n  - {id: a, then: {permit: {filter: f}}}\n"
}

func rendered(t testing.TB, rules string) []string {
	t.Helper()
	d := load(t, filtered(rules)).Evaluate(time.Now(), &Facts{})
	if d.Obligations.Filter != "f" {
		t.Fatalf("filter %q", d.Obligations.Filter)
	}
	return d.Obligations.Rules
}

func TestFilters(t *testing.T) {
	for _, c := range []struct{ rules, want string }{
		{"    - deny: {to: any}\n", "deny in ip from assigned to any"},
		{"    - allow: {from: any}\n", "permit out ip from any to assigned"},
		{"    - allow: {to: 10.20.0.0/16, tcp: [80, 443, 8000-8100]}\n", "permit in tcp from assigned to 10.20.0.0/16 80,443,8000-8100"},
		{"    - allow: {from: 10.20.0.5, tcp: 3389}\n", "permit out tcp from 10.20.0.5 to assigned 3389"},
		{"    - allow: {to: any, icmp: true}\n    - allow: {to: any, protocol: [47, 50]}\n",
			"permit in icmp from assigned to any; permit in 47 from assigned to any; permit in 50 from assigned to any"},
		// A list by its name: neighbours as one network, IPv6 not at all.
		{"    - allow: {to: servers, udp: 53}\n", "permit in udp from assigned to 10.2.0.0/23 53; permit in udp from assigned to 10.9.0.5 53"},
		{"    - allow: {to: [servers, 10.2.2.0/23, 10.9.0.5]}\n", "permit in ip from assigned to 10.2.0.0/22; permit in ip from assigned to 10.9.0.5"},
		{"    - deny: {to: [0.0.0.0/1, 128.0.0.0/1]}\n", "deny in ip from assigned to any"},
		{"    - deny: {to: [any, servers]}\n", "deny in ip from assigned to any"},
		{"    - deny: {to: 10.0.0.1-10.0.0.6}\n", "deny in ip from assigned to 10.0.0.1; deny in ip from assigned to 10.0.0.2/31; " +
			"deny in ip from assigned to 10.0.0.4/31; deny in ip from assigned to 10.0.0.6"},
		{"    - deny: {to: 255.255.255.254-255.255.255.255}\n", "deny in ip from assigned to 255.255.255.254/31"},
		// Both protocols of the DNS in one line; ports in order, merged.
		{"    - allow: {to: 10.0.0.53, tcp: 53, udp: 53}\n", "permit in tcp from assigned to 10.0.0.53 53; permit in udp from assigned to 10.0.0.53 53"},
		{"    - allow: {to: any, tcp: [443, 80, 81, 79-90, 443, 91]}\n", "permit in tcp from assigned to any 79-91,443"},
		{"    - allow: {to: any, tcp: any, udp: 1-65535}\n", "permit in tcp from assigned to any; permit in udp from assigned to any 1-65535"},
		// The order is the file's.
		{"    - deny: {to: 10.2.0.9}\n    - allow: {to: servers, tcp: 22}\n    - allow: {from: 10.2.0.9, icmp: true}\n    - deny: {to: any}\n",
			"deny in ip from assigned to 10.2.0.9; permit in tcp from assigned to 10.2.0.0/23 22; permit in tcp from assigned to 10.9.0.5 22; " +
				"permit out icmp from 10.2.0.9 to assigned; deny in ip from assigned to any"},
	} {
		if got := strings.Join(rendered(t, c.rules), "; "); got != c.want {
			t.Errorf("%s got  %s\n want %s", c.rules, got, c.want)
		}
	}
}

// A filter that the file does not define is the NAS's own.
func TestFilterOfTheNAS(t *testing.T) {
	p := load(t, strings.Replace(filtered("    - deny: {to: any}\n"), "filter: f", "filter: g", 1))
	if d := p.Evaluate(time.Now(), &Facts{}); d.Obligations.Filter != "g" || len(d.Obligations.Rules) != 0 {
		t.Errorf("%+v", d.Obligations)
	}
}

// Up to the last octet, and not one more.
func TestFilterLength(t *testing.T) {
	const rule = "    - allow: {to: 10.0.0.%d, tcp: %s}\n" // 46 octets and the ports
	build := func(ports string) string {
		var b strings.Builder
		for i := range 49 {
			fmt.Fprintf(&b, rule, 2*i+100, "80")
		}
		fmt.Fprintf(&b, rule, 10, "["+ports+"]")
		return b.String()
	}
	var ports []string
	length := func() int {
		p, err := Load("p.yaml", []byte(filtered(build(strings.Join(ports, ",")))))
		if err != nil {
			return -1
		}
		return len("f") + textOctets(p.filters["f"])
	}
	last := 0
	for port := 1; ; port += 2 { // texts of odd ports do not merge
		ports = append(ports, strconv.Itoa(port))
		n := length()
		if n < 0 {
			break
		}
		last = n
	}
	if last > maxFilter || last < maxFilter-len(",1000") {
		t.Errorf("the last that was taken has %d octets of %d", last, maxFilter)
	}
	// What would need gigabytes to be written down is refused as fast as anything else.
	var b strings.Builder
	b.WriteString("version: 1\nlists:\n  l: [")
	for i := range 20_000 {
		fmt.Fprintf(&b, "10.%d.%d.1,", i>>8, i&255)
	}
	b.WriteString("]\nfilters:\n  f:\n")
	for range 500 {
		b.WriteString("    - allow: {to: l, tcp: [")
		for port := 1; port < 200; port += 2 {
			fmt.Fprintf(&b, "%d,", port)
		}
		b.WriteString("]}\n")
	}
	b.WriteString("    - allow: {to: 1.0.0.1-223.255.255.254, tcp: 80, udp: 80}\nrules: []\n")
	var all Errors
	if _, err := Load("p.yaml", []byte(b.String())); !errors.As(err, &all) || len(all) != 501 { // each of the rules
		t.Errorf("%d mistakes", len(all))
	}
}

// packet is one that opens something.
type packet struct {
	out         bool
	other       netip.Addr
	proto, port int
}

// passes does what a node does with the texts, in the plainest way.
func passes(t testing.TB, texts []string, p packet) bool {
	for _, text := range texts {
		f := strings.Fields(text)
		other, direction := f[6], "in"
		if f[1] == "out" {
			other, direction = f[4], "out"
		}
		number := map[string]int{"ip": p.proto, "tcp": 6, "udp": 17, "icmp": 1}
		proto, ok := number[f[2]]
		if !ok {
			proto, _ = strconv.Atoi(f[2])
		}
		match := (direction == "out") == p.out && proto == p.proto
		if other != "any" {
			if !strings.Contains(other, "/") {
				other += "/32"
			}
			match = match && netip.MustParsePrefix(other).Contains(p.other)
		}
		if len(f) > 7 {
			match = match && slices.ContainsFunc(strings.Split(f[7], ","), func(s string) bool {
				lo, hi, isRange := strings.Cut(s, "-")
				if !isRange {
					hi = lo
				}
				a, _ := strconv.Atoi(lo)
				b, _ := strconv.Atoi(hi)
				return a <= p.port && p.port <= b
			})
		}
		if match {
			return f[0] == "permit"
		}
	}
	return false
}

// TestFiltersMeanWhatTheySay draws filters, and packets around their edges, and compares
// what the rule says with what its texts do.
func TestFiltersMeanWhatTheySay(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	address := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 2, byte(rng.IntN(3)), byte(rng.IntN(16))}) }
	type span struct{ lo, hi int }
	type line struct {
		allow, out bool
		nets       []Range
		tcp, udp   []span
		icmp       bool
		number     int
	}
	texts := 0
	for range 300 {
		var lines []line
		var src strings.Builder
		for range 1 + rng.IntN(4) {
			l := line{allow: rng.IntN(2) == 0, out: rng.IntN(3) == 0}
			var nets, parts []string
			for range 1 + rng.IntN(3) {
				switch a, b := address(), address(); {
				case rng.IntN(8) == 0:
					nets, l.nets = append(nets, "servers"), append(l.nets, Range{addr("10.2.0.0"), addr("10.2.1.255")}, Range{addr("10.9.0.5"), addr("10.9.0.5")})
				case rng.IntN(8) == 0:
					nets, l.nets = append(nets, "any"), append(l.nets, everywhere)
				case a.Less(b):
					nets, l.nets = append(nets, a.String()+"-"+b.String()), append(l.nets, Range{a, b})
				default:
					nets, l.nets = append(nets, a.String()), append(l.nets, Range{a, a})
				}
			}
			ports := func() (all []span, text string) {
				var words []string
				for range 1 + rng.IntN(3) {
					lo := 1 + rng.IntN(20)
					s := span{lo, lo + rng.IntN(4)}
					all, words = append(all, s), append(words, fmt.Sprintf("%d-%d", s.lo, s.hi))
				}
				return all, "[" + strings.Join(words, ", ") + "]"
			}
			where := "to"
			if l.out {
				where = "from"
			}
			parts = append(parts, where+": ["+strings.Join(nets, ", ")+"]")
			if rng.IntN(2) == 0 {
				all, text := ports()
				l.tcp, parts = all, append(parts, "tcp: "+text)
			}
			if rng.IntN(3) == 0 {
				all, text := ports()
				l.udp, parts = all, append(parts, "udp: "+text)
			}
			if rng.IntN(4) == 0 {
				l.icmp, parts = true, append(parts, "icmp: true")
			}
			if rng.IntN(5) == 0 {
				l.number, parts = 47, append(parts, "protocol: 47")
			}
			rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			verdict := map[bool]string{true: "allow", false: "deny"}[l.allow]
			fmt.Fprintf(&src, "    - %s: {%s}\n", verdict, strings.Join(parts, ", "))
			lines = append(lines, l)
		}
		if _, err := Load("p.yaml", []byte(filtered(src.String()))); err != nil && strings.Contains(err.Error(), "grows longer") {
			continue
		}
		got := rendered(t, src.String())
		texts += len(got)
		for range 60 {
			p := packet{out: rng.IntN(3) == 0, other: address(), proto: []int{1, 6, 6, 17, 47, 50}[rng.IntN(6)], port: 1 + rng.IntN(24)}
			if rng.IntN(10) == 0 {
				p.other = addr([]string{"10.9.0.5", "8.8.8.8", "255.255.255.255"}[rng.IntN(3)])
			}
			want := false
			for _, l := range lines {
				inPorts := func(all []span) bool {
					return slices.ContainsFunc(all, func(s span) bool { return s.lo <= p.port && p.port <= s.hi })
				}
				match := l.out == p.out && slices.ContainsFunc(l.nets, func(r Range) bool { return !p.other.Less(r.From) && !r.To.Less(p.other) }) &&
					(l.tcp == nil && l.udp == nil && !l.icmp && l.number == 0 ||
						p.proto == 6 && inPorts(l.tcp) || p.proto == 17 && inPorts(l.udp) || p.proto == 1 && l.icmp || p.proto == 47 && l.number == 47)
				if match {
					want = l.allow
					break
				}
			}
			if passes(t, got, p) != want {
				t.Fatalf("%s%s\n%+v: want %v", src.String(), strings.Join(got, "\n"), p, want)
			}
		}
	}
	if texts < 500 {
		t.Errorf("%d texts", texts)
	}
}
