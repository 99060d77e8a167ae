package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// realmsOf is a service with these realms in place of the users file.
func realmsOf(realms string) string {
	return strings.Replace(goodService, "users_file: u\n", "", 1) + "realms:\n" + realms
}

const goodAD = `- name: corp
  kind: ad
  default: true
  domain: corp.example
  netbios: CORP
  ad: {machine: RGW, machine_secret_file: machine}
`

func TestRealms(t *testing.T) {
	s, err := ParseService("/etc/postern/radiusd.yaml", []byte(realmsOf(goodAD+`
- name: plant
  kind: file
  before: []
  file: {users_file: plant.users}
- name: ipa
  kind: ldap
  domain: ipa.example
  behind: [ipa.example, plant.example]
  ldap:
    servers: [ldap1.ipa.example, "ldap2.ipa.example:6360", 127.0.0.1]
    schema: freeipa
    totp_attribute: postern-Seed
    base_dn: cn=accounts,dc=ipa,dc=example
    bind: {user: "uid=postern,cn=sysaccounts,dc=ipa,dc=example", secret_file: ipa.secret}
- name: nps
  kind: radius
  radius: {servers: [{name: nps1, transport: udp, address: "127.0.0.1:1812", secret_env: NPS}], groups_from: corp}
`)))
	if err != nil {
		t.Fatal(err)
	}
	ad, file, ldap, nps := &s.Realms[0], &s.Realms[1], &s.Realms[2], &s.Realms[3]
	switch {
	case ad.AD.TLS != TLSLDAPS, ad.AD.Channels != 2, ad.AD.Timeout != 2*time.Second, ad.Cache != time.Minute, ad.AD.HonourDialin,
		ad.AD.MachineSecret != "/etc/postern/machine", file.File.Users != "/etc/postern/plant.users", len(ldap.LDAP.Servers.Servers) != 3,
		ldap.LDAP.Schema != SchemaFreeIPA, ldap.LDAP.TOTP != "postern-Seed", ad.AD.TOTP != "", ldap.LDAP.Nesting != 8, nps.RADIUS.AsMSCHAPv1 != AsMSCHAPv1WithCode,
		nps.RADIUS.Groups != GroupsClass, s.Disclose != DiscloseStates:
		t.Errorf("realms: %+v", s.Realms)
	}
	for _, tt := range []struct {
		r              *Realm
		suffix         string
		before, behind []string
	}{
		{ad, "corp.example", []string{"CORP", "corp.example"}, []string{"CORP", "corp.example"}},
		{file, "plant", nil, []string{"plant"}},
		{ldap, "ipa.example", []string{"ipa.example"}, []string{"ipa.example", "plant.example"}},
	} {
		before, behind := tt.r.Selectors()
		if tt.r.Suffix() != tt.suffix || !slices.Equal(before, tt.before) || !slices.Equal(behind, tt.behind) {
			t.Errorf("%s: %q, before %q, behind %q", tt.r.Name, tt.r.Suffix(), before, behind)
		}
	}
}

func TestBrokenRealms(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		want      []string
	}{
		{"both ways", goodService + "realms:\n" + goodAD, []string{`2:1: there are realms; a realm of kind file`}},
		{"empty", realmsOf("- {}\n"), []string{
			`7:3: missing key "realms[0].name"; letters, digits, dots, dashes and underscores, 64 at most`,
			`7:3: missing key "realms[0].kind"; one of: file, ldap, ad, radius`,
		}},
		{"kind", realmsOf(strings.Replace(goodAD, "kind: ad", "kind: ldapp", 1)), []string{`8:9: "ldapp": unknown, did you mean "ldap"?; one of: file, ldap, ad, radius`}},
		{"no section", realmsOf("- {name: a, kind: ldap}\n"), []string{`7:13: the section "ldap" is missing; ldap: with the keys of that kind beside it`}},
		{"another section", realmsOf(goodAD + "  file: {users_file: u}\n"), []string{`13:3: the realm is of kind ad; ad: …`}},
		{"ad", realmsOf("- {name: a, kind: ad, ad: {machine: a-name-of-16-chr, channels: 9, probe: {}}}\n"), []string{
			`7:3: missing key "realms[0].domain"; the DNS name of the domain`,
			`7:3: missing key "realms[0].netbios"; the NetBIOS name of the domain`,
			`7:23: missing key "realms[0].ad.machine_secret_file"; a file for the machine's sealed secret`,
			`7:28: "a-name-of-16-chr" is too long for a NetBIOS name; 15 characters at most`,
			`7:65: 9 is out of range; 1 to 4`,
			`7:68: missing key "realms[0].ad.probe.user"; an account without rights`,
			`7:68: no secret; secret_file: NAME, or secret_env: NAME`,
		}},
		{"ldap", realmsOf("- {name: a, kind: ldap, ldap: {tls: none, servers: [ldap.corp.example, 127.0.0.1], bind: {kind: gssapi}}}\n"), []string{
			`7:25: missing key "realms[0].ldap.base_dn"; a DN such as ou=people,dc=corp,dc=example`,
			`7:53: without TLS only a server on this host may be asked, by its loopback address; tls: ldaps, or tls: starttls`,
			`7:84: missing key "realms[0].ldap.bind.user"; a DN, or in AD alice@corp.example`,
			`7:84: no secret; secret_file: NAME, or secret_env: NAME`,
			`7:84: missing key "realms[0].ldap.bind.krb5_conf_file"; a krb5.conf`,
		}},
		{"hosts", realmsOf(strings.Replace(goodAD, "{machine", `{servers: ["h:0", "a b", ":636", "ldaps://h"], machine`, 1)), []string{
			`12:18: "h:0": not a host; a host such as dc1.corp.example, with :PORT if need be`,
			`12:25: "a b": not a host; a host such as dc1.corp.example, with :PORT if need be`,
			`12:32: ":636": not a host; a host such as dc1.corp.example, with :PORT if need be`,
			`12:40: "ldaps://h": not a host; a host such as dc1.corp.example, with :PORT if need be`,
		}},
		{"attributes", realmsOf(strings.Replace(goodAD, "{machine", `{totp_attribute: "a b", machine`, 1) + `- name: b
  kind: ldap
  ldap: {totp_attribute: "seed)(x=*", servers: [h], base_dn: dc=b, bind: {user: cn=b, secret_env: B}}
- {name: c, kind: file, file: {users_file: u, totp_attribute: a}}
`), []string{
			`12:24: "a b": not an attribute; the name of an attribute such as posternSeed`,
			`15:26: "seed)(x=*": not an attribute; the name of an attribute such as posternSeed`,
			`16:47: unknown key "totp_attribute"; one of: chap_secrets_file, chap_secrets_server, users_file`,
		}},
		{"static", realmsOf(strings.Replace(goodAD, "{machine", `{route_attribute: msRADIUSFramedRoute, machine`, 1) + `- name: b
  kind: ldap
  ldap: {address_attribute: "a b", routes_within: [10.0.0.0/8, x], servers: [h], base_dn: dc=b, bind: {user: cn=b, secret_env: B}}
- name: c
  kind: ldap
  ldap: {routes_within: [10.0.0.0/8], servers: [h], base_dn: dc=b, bind: {user: cn=b, secret_env: B}}
`), []string{
			`12:8: nothing says which networks may be behind clients; routes_within: [NETWORK] beside it`,
			`15:29: "a b": not an attribute; the name of an attribute such as posternSeed`,
			`15:64: "x": not a network; a network such as 192.0.2.0/24, or an address`,
			`18:10: no routes are read; route_attribute beside it`,
		}},
		{"two defaults", realmsOf(goodAD + strings.NewReplacer("name: corp", "name: lab", "corp.", "lab.", "CORP", "LAB").Replace(goodAD)), []string{
			`15:3: names without a domain have a realm already; one default`,
		}},
		{"one name", realmsOf(goodAD + "- {name: corp, kind: file, file: {}}\n"), []string{
			`13:4: a second realm "corp"; a name of its own for each realm`,
			`13:28: no file: nobody could log in; users_file or chap_secrets_file`,
		}},
		{"groups from nowhere", realmsOf("- {name: a, kind: radius, radius: {servers: [], groups_from: b}}\n"), []string{
			`7:36: no server; a list`,
			`7:49: "b" is none; another realm, of kind ldap or ad`,
		}},
		{"upstream", realmsOf("- {name: a, kind: radius, radius: {servers: [{name: x, address: h:2083}, {name: y, transport: udp, address: h:1812, acct_address: h:1813, secret_env: S}]}}\n"), []string{
			`7:46: a RadSec server needs a TLS identity; ca_file, cert_file and key_file`,
			`7:117: an upstream server gets no accounting; no acct_address`,
		}},
		{"disclose", goodService + "disclose: all\n", []string{`7:11: "all": unknown; one of: nothing, states, full`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseService("f.yaml", []byte(tt.src))
			compare(t, err, tt.want)
		})
	}
}
