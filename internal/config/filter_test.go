package config

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	g, err := ParseGateway("dir/gw.yaml", []byte(goodGateway))
	if err != nil {
		t.Fatal(err)
	}
	f := g.Filter
	if !f.Enabled || f.Table != "" || f.NAT != (NAT{}) || f.ClientToClient || f.Portal != nil || f.CaptivePort != 8199 ||
		f.GRERate != 100000 || f.Filters != nil || f.Sets != nil {
		t.Errorf("defaults: %+v", f)
	}
	g, err = ParseGateway("dir/gw.yaml", []byte(goodGateway+`filter:
  table: fence
  nat: masquerade
  client_to_client: true
  portal: [10.0.0.20:443, 10.0.0.21:443]
  captive_port: 8080
  gre_rate: 0
  to_node: [10.0.0.1:22]
  filters:
    staff:
      - permit in tcp from assigned to @servers 443
      - "deny in ip from assigned to any"
    7: [permit in ip from assigned to any]
  sets:
    servers: [10.20.0.0/16, 10.21.0.5]
`))
	if err != nil {
		t.Fatal(err)
	}
	f = g.Filter
	if f.Table != "fence" || f.NAT != (NAT{Masquerade: true}) || !f.ClientToClient || len(f.Portal) != 2 || f.CaptivePort != 8080 || f.GRERate != 0 || len(f.ToNode) != 1 ||
		len(f.Filters) != 2 || len(f.Filters["7"]) != 1 ||
		!slices.Equal(f.Sets["servers"], []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("10.21.0.5/32")}) {
		t.Errorf("%+v", f)
	}
	rule := f.Filters["staff"][1]
	wrong := rule.Wrong(errors.New("no such thing"))
	if rule.Text != "deny in ip from assigned to any" || wrong.File != "dir/gw.yaml" || wrong.Line != 16 || wrong.Column != 9 || wrong.Message != "no such thing" {
		t.Errorf("%q: %+v", rule.Text, wrong)
	}
	if made := (FilterRule{Text: "x"}).Wrong(errors.New("no")); made.Message != "no" {
		t.Errorf("%+v", made)
	}
	for text, want := range map[string]NAT{"off": {}, "masquerade": {Masquerade: true}, "192.0.2.7": {Source: netip.MustParseAddr("192.0.2.7")}} {
		g, err := ParseGateway("f", []byte(goodGateway+"filter: {nat: "+text+"}\n"))
		if err != nil || g.Filter.NAT != want {
			t.Errorf("nat: %s: %v", text, err)
		}
	}
}

func TestBrokenFilter(t *testing.T) {
	_, err := ParseGateway("f.yaml", []byte(goodGateway+`filter:
  enabled: yes
  nat: on
  portal: ["[2001:db8::1]:443", 10.0.0.1]
  captive_port: 1723
  table: a b
  filters:
    staff: []
    quarantine: [permit in ip from assigned to any]
    two words: [permit in ip from assigned to any]
    guests: [permit in ip from assigned to any, 7, ""]
    guests: [permit in ip from assigned to any]
    other: permit in ip from assigned to any
    <<: {x: y}
  sets:
    servers: [10.0.0.1/8, 2001:db8::/32]
  rate: 7
`))
	const rule = `a rule such as "permit in tcp from assigned to 10.20.0.0/16 443"`
	const name = "letters, digits, dots, dashes and underscores, 64 at most"
	compare(t, err, []string{
		`6:12: "yes": neither true nor false; true or false`,
		`7:8: "on": not an address; off, masquerade, or an IPv4 address of the node's`,
		`8:12: there is no IPv6 inside the tunnels; an IPv4 address and port`,
		`8:33: "10.0.0.1": not address and port; address and port such as 192.0.2.1:1812`,
		`9:3: 1723 is that of pptp.listen; another port`,
		`10:10: "a b": not a name; ` + name,
		`12:5: a filter without rules lets nothing pass; at least one rule`,
		`13:5: "quarantine" is not for filters; another name`,
		`14:5: "two words": not a name; ` + name,
		`15:49: the number 7 is not possible here; ` + rule,
		`15:52: "": not a rule; ` + rule,
		`16:5: "guests" a second time; the first is on line 15; `,
		`17:12: text is not possible here; a list, each ` + rule,
		`18:5: this cannot be a name; ` + name,
		`20:15: "10.0.0.1/8": an address inside a network; the network is 10.0.0.0/8; a network such as 192.0.2.0/24, or an address`,
		`20:27: there is no IPv6 inside the tunnels; an IPv4 network`,
		`21:3: unknown key "rate"; one of: captive_port, client_to_client, enabled, filters, gre_rate, nat, portal, sets, table, to_node`,
	})
	_, err = ParseGateway("f.yaml", []byte(goodGateway+"filter: {table: 7up, to_node: ['[::1]:22'], sets: {a.b: [10.0.0.1]}}\n"))
	compare(t, err, []string{
		`5:10: "7up" is no table's name; a name that begins with a letter`,
		`5:32: there is no IPv6 inside the tunnels; an IPv4 address and port`,
		`5:52: "a.b" is no set's name; a name without dots`,
	})
	_, err = ParseGateway("f.yaml", []byte(goodGateway+"filter: {filters: [a]}\n"))
	compare(t, err, []string{`5:19: a list is not possible here; a mapping (keys and values)`})
	if err == nil || !strings.Contains(err.Error(), "f.yaml:5:19") {
		t.Error(err)
	}
}
