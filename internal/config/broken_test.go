package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Beginnings that are right, so that each case shows its own mistake.
const (
	goodRadius  = "radius: {servers: [{name: s, address: s:2083}]}\ntls: {ca_file: a, cert_file: b, key_file: c}\n"
	goodGateway = "node: gw\npptp: {inside: 10.0.0.1}\n" + goodRadius
	goodClients = "clients: [{name: n, networks: [10.0.0.1], secret_file: s}]\n"
	goodService = "key_ring_file: k\nusers_file: u\npolicy_file: p\nstore: {path: d}\nradius: {auth_listen: :1812}\n" + goodClients
)

var brokenGateways = []struct {
	name, src string
	want      []string // line:column: message; expected
}{
	{"empty", "", []string{
		`1:1: missing key "node"; letters, digits, dots, dashes and underscores, 64 at most`,
		`1:1: missing key "pptp.inside"; an address such as 192.0.2.1`,
		`1:1: missing key "radius.servers"; a list`,
	}},
	{"comment only", "# nothing\n", []string{
		`1:1: missing key "node"; letters, digits, dots, dashes and underscores, 64 at most`,
		`1:1: missing key "pptp.inside"; an address such as 192.0.2.1`,
		`1:1: missing key "radius.servers"; a list`,
	}},
	{"list instead of mapping", "- a\n", []string{`1:1: a list is not possible here; a mapping (keys and values)`}},
	{"text instead of mapping", "hello\n", []string{`1:1: text is not possible here; a mapping (keys and values)`}},
	{"two documents", goodGateway + "---\nnode: x\n", []string{`6:1: a second document; one document`}},
	{"directive", "%YAML 1.2\n---\nnode: x\n", []string{`1:1: YAML directives are not supported; `}},
	{"tab", "node: gw\npptp:\n\tinside: 10.0.0.1\n", []string{`3:1: not YAML: found character '	' that cannot start any token; `}},
	{"open bracket", "node: [gw\npptp: 1\n", []string{`2:1: not YAML: ',' or ']' must be specified; `}},
	{"deep", "node: " + strings.Repeat("[", 40), []string{`1:39: brackets nested more than 32 deep; `}},
	{"alias", "node: &n gw\npptp: {inside: *n}\n" + goodRadius, []string{
		`1:7: anchors and aliases are not supported: write the value here; this is not possible here; letters, digits, dots, dashes and underscores, 64 at most`,
		`2:16: anchors and aliases are not supported: write the value here; this is not possible here; an address such as 192.0.2.1`,
	}},
	{"tag", "node: !!str gw\npptp: {inside: 10.0.0.1}\n" + goodRadius, []string{
		`1:7: tags are not supported; this is not possible here; letters, digits, dots, dashes and underscores, 64 at most`,
	}},
	{"merge key", goodGateway + "<<: {node: x}\n", []string{`5:1: this cannot be a key; a plain key`}},
	{"number as key", goodGateway + "1: x\n", []string{`5:1: this cannot be a key; a plain key`}},
	{"unknown key", goodGateway + "metrik:\n  listen: :9\n", []string{
		`5:1: unknown key "metrik", did you mean "metrics"?; one of: coa, filter, log, metrics, node, pptp, radius, spool, tls`,
	}},
	{"unknown key, nothing near", goodGateway + "database: x\n", []string{
		`5:1: unknown key "database"; one of: coa, filter, log, metrics, node, pptp, radius, spool, tls`,
	}},
	{"unknown key inside", "node: gw\npptp:\n  inside: 10.0.0.1\n  lisen: 0.0.0.0:1723\n" + goodRadius, []string{
		`4:3: unknown key "lisen", did you mean "listen"?; one of: allowed_sources, auth, draining, inside, limits, listen, mppe, mtu, routes, shards, timers, tun`,
	}},
	{"same key twice", goodGateway + "log: {level: info}\nlog: {level: warn}\n", []string{
		`6:1: "log" a second time; the first is on line 5; `,
	}},
	{"no value", "node:\npptp: {inside: 10.0.0.1}\n" + goodRadius, []string{
		`1:6: no value is not possible here; letters, digits, dots, dashes and underscores, 64 at most`,
	}},
	{"number for text", "node: 12\npptp: {inside: 10.0.0.1}\n" + goodRadius, []string{
		`1:7: the number 12 is not possible here; letters, digits, dots, dashes and underscores, 64 at most`,
	}},
	{"bad name", "node: gw 1\npptp: {inside: 10.0.0.1}\n" + goodRadius, []string{
		`1:7: "gw 1": not a name; letters, digits, dots, dashes and underscores, 64 at most`,
	}},
	{"many at once", `node: gw
pptp:
  listen: 1723
  inside: ten
  mtu: 9000
  auth: [mschapv2, pap]
  mppe: {require: yes, strengths: [128, 64, 128]}
  allowed_sources: [10.0.0.0/33, 10.0.0.1/8]
  timers:
    idle: 30
    echo: 2 h
    login: 1s
  limits:
    half_open: many
    max_calls: 0
` + goodRadius, []string{
		`3:11: the number 1723 is not possible here; address and port such as 192.0.2.1:1812`,
		`4:11: "ten": not an address; an address such as 192.0.2.1`,
		`5:8: 9000 is out of range; 576 to 1500`,
		`6:20: "pap": unknown; one of: mschapv2`,
		`7:19: "yes": neither true nor false; true or false`,
		`7:41: 64 bits do not exist; one of: 128, 56, 40`,
		`7:45: 128 bits a second time; `,
		`8:21: "10.0.0.0/33": not a network; a network such as 192.0.2.0/24, or an address`,
		`8:34: "10.0.0.1/8": an address inside a network; the network is 10.0.0.0/8; a network such as 192.0.2.0/24, or an address`,
		`10:11: the number 30 is not possible here; a duration such as 30s, 5m or 12h`,
		`11:11: "2 h": not a duration; a duration such as 30s, 5m or 12h`,
		`12:12: 1s is out of range; 5s to 10m`,
		`14:16: text is not possible here; a whole number`,
		`15:16: 0 is out of range; 1 to 65535`,
	}},
	{"octal", "node: gw\npptp: {inside: 10.0.0.1, mtu: 01400}\n" + goodRadius, []string{
		`2:31: "01400": not a plain decimal number; a whole number`,
	}},
	{"fraction", "node: gw\npptp: {inside: 10.0.0.1, mtu: 1.4e3}\n" + goodRadius, []string{
		`2:31: the number 1.4e3 is not possible here; a whole number`,
	}},
	{"umlaut before", "node: gw\npptp: {inside: 10.0.0.1, tun: \"äöü\", mtu: 1}\n" + goodRadius, []string{
		`2:43: 1 is out of range; 576 to 1500`,
	}},
	{"CoA on every address", goodGateway + "coa: {listen: 0.0.0.0:3799, clients: [{network: 10.0.0.1, secret_file: s}]}\n", []string{
		`5:7: answers must come from the address that was asked; an address of the node's and a port, such as 192.0.2.10:3799`,
	}},
	{"CoA for nobody", goodGateway + "coa: {listen: 192.0.2.1:3799}\n", []string{`5:7: no client: nobody could ask; clients beside it`}},
	{"CoA nowhere", goodGateway + "coa: {clients: [{network: 10.0.0.1, secret_file: s}, {network: 10.0.0.1}]}\n", []string{
		`5:7: clients without a listener; listen: ADDRESS:3799`,
		`5:54: no secret; secret_file: NAME, or secret_env: NAME`,
		`5:55: 10.0.0.1/32 a second time; `,
	}},
	{"IPv6 listener", "node: gw\npptp: {listen: '[::1]:1723', inside: fe80::1}\n" + goodRadius, []string{
		`2:8: PPTP needs IPv4 (RFC 2637 §1.3.1); an IPv4 address and port`,
		`2:30: fe80::1 cannot be the node's address inside the tunnels; an IPv4 unicast address`,
	}},
	{"long tun", "node: gw\npptp: {inside: 10.0.0.1, tun: a-name-of-17-chars}\n" + goodRadius, []string{
		`2:26: "a-name-of-17-chars" is no interface name; an interface name of at most 15 characters`,
	}},
	{"nothing allowed", "node: gw\npptp: {inside: 10.0.0.1, auth: [], allowed_sources: [], mppe: {strengths: []}}\n" + goodRadius, []string{
		`2:26: no method: nobody could log in; one of: mschapv2`,
		`2:36: no network: nobody could connect; at least one network`,
		`2:64: encryption is required but no strength allowed; at least one of: 128, 56, 40`,
	}},
	{"no servers", "node: gw\npptp: {inside: 10.0.0.1}\nradius: {servers: []}\n", []string{`3:19: "radius.servers" is empty; a list`}},
	{"servers", `node: gw
pptp: {inside: 10.0.0.1}
radius:
  servers:
    - name: a
      transport: tcp
      address: h:1
    - name: a
      address: h
    - name: b
      transport: udp
      address: h:1
    - name: c
      transport: udp
      address: h:1
      acct_address: h:2
      secret: hunter2
    - transport: radsec
      address: h:70000
      acct_address: h:2
      secret_file: f
      ca_file: ca
    - just text
`, []string{
		`6:18: "tcp": unknown; one of: udp, radsec`,
		`8:7: a second server "a"; a name of its own for each server`,
		`8:7: a RadSec server needs a TLS identity; ca_file, cert_file and key_file here or under tls`,
		`9:16: "h": not host:port; host and port such as radius1.example.org:2083`,
		`10:7: no secret; secret_file: NAME, or secret_env: NAME`,
		`10:7: accounting by UDP needs an address of its own; host and port such as radius1.example.org:2083`,
		`13:7: no secret; secret_file: NAME, or secret_env: NAME`,
		`17:7: "secret" must not stand in this file; secret_file: NAME`,
		`18:7: missing key "radius.servers[4].name"; letters, digits, dots, dashes and underscores, 64 at most`,
		`18:7: cert_file is missing; ca_file, cert_file and key_file together`,
		`18:7: key_file is missing; ca_file, cert_file and key_file together`,
		`18:7: RadSec's secret is fixed (RFC 6614 §2.3); no secret; the certificate proves who asks`,
		`19:16: "h:70000": the port is not a number up to 65535; host and port such as radius1.example.org:2083`,
		`20:7: RadSec carries accounting on the same connection; no acct_address`,
		`23:7: text is not possible here; a mapping (keys and values)`,
	}},
	{"two secrets", "node: gw\npptp: {inside: 10.0.0.1}\nradius: {servers: [{name: s, transport: udp, address: h:1, acct_address: h:2, secret_file: f, secret_env: E}]}\n", []string{
		`3:95: secret_file is given, too; one of secret_file and secret_env`,
	}},
	{"level and format", goodGateway + "log: {level: loud, format: xml}\nmetrics: {listen: localhost:9}\n", []string{
		`5:14: "loud": not a level; one of: debug, info, warn, error`,
		`5:28: "xml": unknown; one of: json, text`,
		`6:19: "localhost:9": a listener needs an address, not a name; address and port such as :1812 or 127.0.0.1:9100`,
	}},
}

var brokenServices = []struct {
	name, src string
	want      []string
}{
	{"empty", "", []string{
		`1:1: missing key "clients"; a list`,
		`1:1: the embedded store needs a file; path: FILE`,
		`1:1: missing key "policy_file"; text (quote it if it looks like a number)`,
		`1:1: no key ring; key_ring_file: NAME, or key_ring_env: NAME`,
		`1:1: no directory: nobody could log in; realms, or users_file or chap_secrets_file`,
		`1:1: no listener: nobody could ask; auth_listen, or radsec with listen`,
	}},
	{"mistyped users file", strings.Replace(goodService, "users_file", "user_file", 1), []string{
		`1:1: no directory: nobody could log in; realms, or users_file or chap_secrets_file`,
		`2:1: unknown key "user_file", did you mean "users_file"?; one of: accounting, audit, chap_secrets_file, chap_secrets_server, clients, disclose, follow, geo, inputs, key_ring_env, key_ring_file, lockout, log, metrics, mfa, node, policy, policy_file, portal, posture, radius, realms, session, store, users_file`,
	}},
	{"inputs without dir", goodService + "inputs: {keep: 30m, pseudonyms: true}\n", []string{
		`7:16: 30m is out of range; 1h to 17520h`,
		`7:21: without dir no inputs are kept; dir: DIRECTORY beside it`,
	}},
	{"computers of no domain", goodService + "posture: {ad: {realm: corp, interval: 5s}}\n", []string{
		`7:16: no Active Directory "corp" among the realms; the name of a realm of kind ad`,
		`7:39: 5s is out of range; 1m to 24h`,
	}},
	{"store kind", strings.Replace(goodService, "{path: d}", "{kind: reddis, urls: [x]}", 1), []string{
		`4:15: "reddis": unknown, did you mean "redis"?; one of: embedded, redis`,
	}},
	{"store keys", strings.Replace(goodService, "{path: d}", "{kind: redis, path: d}", 1), []string{
		`4:1: Redis needs a URL; urls: [redis://HOST:PORT]`,
		`4:22: Redis has no path; kind: embedded`,
	}},
	{"redis keys of the embedded store", strings.Replace(goodService, "{path: d}", "{path: d, server_name: r, replicas_ack: 1}", 1), []string{
		`4:18: the embedded store has no server_name; kind: redis`,
		`4:34: the embedded store has no replicas_ack; kind: redis`,
	}},
	{"redis keys", strings.Replace(goodService, "{path: d}", "{kind: redis, urls: ['redis://h:6379'], sentinel_user: s, cert_file: c, replicas_ack: 9, replica_ack: 1}", 1), []string{
		`4:48: there are no sentinels; sentinel_master: NAME beside it`,
		`4:66: one of cert_file and key_file is missing; cert_file and key_file together`,
		`4:94: 9 is out of range; 0 to 5`,
		`4:97: unknown key "replica_ack", did you mean "replicas_ack"?; one of: ca_file, cert_file, key_file, kind, password, path, replicas_ack, sentinel_master, sentinel_password, sentinel_user, server_name, timeout, urls, user`,
	}},
	{"password in URL", strings.Replace(goodService, "{path: d}", "{kind: redis, urls: ['redis://:hunter2@h:6379', 'http://h', redis]}", 1), []string{
		`4:29: a password or user in a URL; user: NAME and password: {secret_file: NAME}`,
		`4:56: not a Redis URL; redis://HOST:PORT/DB or rediss://HOST:PORT/DB`,
		`4:68: not a Redis URL; redis://HOST:PORT/DB or rediss://HOST:PORT/DB`,
	}},
	{"password value", strings.Replace(goodService, "{path: d}", "{kind: redis, urls: ['redis://h:6379'], password: hunter2}", 1), []string{
		`4:58: text is not possible here; a mapping (keys and values)`,
	}},
	{"clients", strings.Replace(goodService, goodClients, `clients:
  - name: a
  - name: a
    networks: [10.0.0.0/24]
  - name: b
    networks: [10.0.0.0/24]
    secret: hunter2
    secret_file: s
    allow_papp: true
    strengths: [128, 64, 128]
  - name: c
    certificates: [gw]
`, 1), []string{
		`7:5: nothing to know the client by; networks with a secret, or certificates`,
		`8:5: no secret; secret_file: NAME, or secret_env: NAME`,
		`8:5: a second client "a"; a name of its own for each client`,
		`11:16: 10.0.0.0/24 belongs to client "a" already; `,
		`12:5: "secret" must not stand in this file; secret_file: NAME`,
		`14:5: unknown key "allow_papp", did you mean "allow_pap"?; one of: allow_mschap_over_udp, allow_pap, certificates, coa, code_in_password, name, networks, node, require_message_authenticator, secret_env, secret_file, strengths`,
		`15:22: 64 bits do not exist; one of: 128, 56, 40`,
		`15:26: 128 bits a second time; `,
		`17:5: there is no RadSec listener; radius.radsec.listen`,
	}},
	{"radsec without identity", strings.Replace(goodService, "auth_listen: :1812", "radsec: {listen: :2083}", 1), []string{
		`5:19: a RadSec listener needs a TLS identity; ca_file, cert_file and key_file beside it`,
	}},
	{"accounting", goodService + `accounting:
  history: 10
  forward:
    - name: billing
      servers:
        - {name: a, transport: udp, address: h:1812, acct_address: h:1813, secret_file: s}
        - {name: a, transport: udp, address: h:1812, secret_file: s}
      clients: [nobody]
      dir: d
    - name: billing
      servers: []
      dir: d
    - {name: c, servers: [{name: a, address: h:2083}]}
`, []string{
		`8:12: 10 is out of range; 1000 to 10000000`,
		`12:54: it gets nothing but accounting; address, which is for accounting here`,
		`13:12: a second server "a"; a name of its own for each server`,
		`14:17: no client "nobody"; the name of one of clients`,
		`16:7: a second destination "billing"; a name of its own for each destination`,
		`17:16: "accounting.forward[1].servers" is empty; a list`,
		`18:7: d is another destination's; a directory of its own for each destination`,
		`19:27: a RadSec server needs a TLS identity; ca_file, cert_file and key_file`,
	}},
	{"mfa", goodService + "mfa: {separator: '@', digits: 9, window: -1,\n  device_separator: '+'}\n", []string{
		`7:18: "@": not a separator; one of: + , ; = * # ! /`,
		`7:31: 9 is out of range; 6 to 8`,
		`7:42: -1 is out of range; 0 to 10`,
		`8:21: "+": not a separator; one of: % ~ & off`,
	}},
	{"lockout", goodService + "lockout:\n  user: {failures: 0, lock: 10m, max_lock: 5m}\n  hose: {}\n", []string{
		`8:20: 0 is out of range; 1 to 200`,
		`8:34: the longest lock is shorter than the first; 10m0s or more`,
		`9:3: unknown key "hose"; one of: code, disabled, good_for, never_block, pair, prefix, source, spraying, user`,
	}},
	{"networks and spraying", goodService + "lockout:\n  prefix: {ipv4: 32, ipv6: 64, lock: 10m, max_lock: 5m}\n  never_block: [10.0.0.0/33]\n  spraying:\n    source: {users: 1, lock: 10m, max_lock: 5m}\n    everywhere: {lock: 5m}\n", []string{
		`8:18: 32 is out of range; 8 to 31`,
		`8:28: 64 is out of range; 16 to 63`,
		`8:43: the longest lock is shorter than the first; 10m0s or more`,
		`9:17: "10.0.0.0/33": not a network; a network such as 192.0.2.0/24, or an address`,
		`11:21: 1 is out of range; 2 to 200`,
		`11:35: the longest lock is shorter than the first; 10m0s or more`,
		`12:18: unknown key "lock"; one of: users, window`,
	}},
	{"follow", goodService + "follow: {interval: 200ms}\n", []string{`7:10: 200ms is too often; 1s or more, or 0s for never`}},
	{"CoA without a secret", strings.Replace(strings.Replace(goodService, "auth_listen: :1812", "radsec: {listen: :2083, ca_file: a, cert_file: b, key_file: c}", 1),
		goodClients, "clients: [{name: n, certificates: [n], coa: 'nas:3799'}]\n", 1), []string{
		`6:11: no secret; secret_file: NAME, or secret_env: NAME`,
	}},
	{"a code behind no password", strings.Replace(goodService, "secret_file: s}]", "secret_file: s, code_in_password: true}]", 1), []string{
		`6:59: without allow_pap there is no password that a code could stand behind; allow_pap: true beside it`,
	}},
	{"policy source", goodService + "policy: {from: git, watch: 10ms}\n", []string{
		`7:16: "git": unknown; one of: file, store`,
		`7:21: 10ms is too often; 1s or more, or 0s for never`,
	}},
	{"two candidates", goodService + "policy: {from: store, shadow_file: next.yaml}\n", []string{
		`7:23: the store has a candidate of its own; from: file; candidates for the store come by postern policy activate --shadow`,
	}},
	{"chap server alone", goodService + "chap_secrets_server: gw\n", []string{
		`7:1: there is no chap-secrets file; chap_secrets_file beside it`,
	}},
}

func TestBrokenFiles(t *testing.T) {
	for _, c := range brokenGateways {
		t.Run("gateway/"+c.name, func(t *testing.T) {
			_, err := ParseGateway("f.yaml", []byte(c.src))
			compare(t, err, c.want)
		})
	}
	for _, c := range brokenServices {
		t.Run("service/"+c.name, func(t *testing.T) {
			_, err := ParseService("f.yaml", []byte(c.src))
			compare(t, err, c.want)
		})
	}
}

func compare(t *testing.T, err error, want []string) {
	t.Helper()
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("error %v, want Errors", err)
	}
	var got []string
	for _, e := range all {
		got = append(got, fmt.Sprintf("%d:%d: %s; %s", e.Line, e.Column, e.Message, e.Expected))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a secret is shown:\n%v", err)
	}
}

// TestErrorText is one error as people see it.
func TestErrorText(t *testing.T) {
	_, err := ParseGateway("etc/gateway.yaml", []byte("node: gw\npptp:\n  lisen: 0.0.0.0:1723 # ä\n  inside: 10.0.0.1\n"+goodRadius+"log: {secret: hunter2}\n"))
	want := `etc/gateway.yaml:3:3: unknown key "lisen", did you mean "listen"?
   3 |   lisen: 0.0.0.0:1723 # ä
     |   ^
       expected one of: allowed_sources, auth, draining, inside, limits, listen, mppe, mtu, routes, shards, timers, tun
etc/gateway.yaml:7:7: unknown key "secret"
   7 | log: {secret: (not shown)
     |       ^
       expected one of: format, level`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"listen", "inside", "auth", "mtu"}
	for typed, want := range map[string]string{
		"lisen": "listen", "listne": "listen", "insdie": "inside", "aut": "auth", "mut": "mtu",
		"database": "", "": "", "x": "", strings.Repeat("listen", 20): "",
	} {
		if got := suggest(typed, names); got != want {
			t.Errorf("suggest(%q) = %q, want %q", typed, got, want)
		}
	}
}
