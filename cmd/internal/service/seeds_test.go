package service

import (
	"bytes"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/cmd/internal/cmdtest"
	"postern/integration/slapd"
	"postern/internal/config"
	"postern/internal/radius"
)

const seedsPolicy = `version: 1
pools: {staff: [203.0.113.10-203.0.113.99]}
rules:
  - id: staff
    when: {group: [vpn-users, vpn-admins]}
    then: {permit: {pool: staff, carriers: [inline, quarantine], quarantine: 5m}}
`

const seedsRealm = `
radius: {auth_listen: "127.0.0.1:1"}
clients: [{name: local, networks: [127.0.0.0/8], secret_env: POSTERN_TEST_SECRET}]
store: {path: state/store.db}
key_ring_file: keys
policy_file: policy.yaml
realms:
  - name: corp
    kind: ldap
    default: true
    domain: corp.example
    ldap:
      servers: ["SERVER"]
      ca_file: CA
      base_dn: PEOPLE
      group_dn: GROUPS
      totp_attribute: description
      bind: {user: "BIND", secret_file: bind.secret}
`

// Seeds that a directory keeps open logins and step-ups, once each, and keep a password
// alone from enrolling anything, also in a trusted network.
func TestSeedsInADirectory(t *testing.T) {
	dir := slapd.Start(t, slapd.Options{})
	cfg := withPortal(t)
	at := filepath.Dir(string(cfg.Policy))
	write(t, string(cfg.Policy), seedsPolicy)
	write(t, filepath.Join(at, "bind.secret"), dir.BindPassword)
	realms, err := config.ParseService(filepath.Join(at, "radiusd.yaml"), []byte(strings.NewReplacer(
		"SERVER", dir.TLSAddr, "CA", dir.CAFile, "PEOPLE", slapd.PeopleDN, "GROUPS", slapd.GroupDN, "BIND", dir.BindDN).Replace(seedsRealm)))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Users, cfg.Realms = "", realms.Realms
	cfg.Realms[0].Cache = 0
	cfg.Portal.EnrolFrom = append(cfg.Portal.EnrolFrom, netip.MustParsePrefix("192.0.2.0/24")) // all are dialled from there
	var log bytes.Buffer
	s, c := start(t, cfg, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	const alice, carol = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U"
	sealed, err := s.MFA().SealGiven("carol@corp.example", carol)
	if err != nil {
		t.Fatal(err)
	}
	root := dir.LDAP(t)
	set := func(user, value string) {
		t.Helper()
		m := ldap.NewModifyRequest("uid="+user+","+slapd.PeopleDN, nil)
		m.Replace("description", []string{value})
		if err := root.Modify(m); err != nil {
			t.Fatal(err)
		}
	}
	set("alice", "otpauth://totp/ACME:alice?issuer=ACME&secret="+alice)
	set("bob", "on holiday until May")
	set("carol", sealed)

	// Behind the name, under every spelling of it, once.
	code := codeOf(t, s, alice, 0)
	cmdtest.Expect(t, tunnelled{c}, "alice+"+code, slapd.Password("alice"), "s1", radius.CodeAccessAccept)
	cmdtest.Expect(t, tunnelled{c}, "ALICE+"+code+"@corp.example", slapd.Password("alice"), "s2", radius.CodeAccessReject)
	cmdtest.Expect(t, tunnelled{c}, "carol+"+codeOf(t, s, carol, 0), slapd.Password("carol"), "s3", radius.CodeAccessAccept)
	cmdtest.Expect(t, tunnelled{c}, "bob+000000", slapd.Password("bob"), "s4", radius.CodeAccessReject)

	// In quarantine, in the portal.
	held := func(user, session string) *visitor {
		t.Helper()
		accept := cmdtest.Expect(t, tunnelled{c}, user, slapd.Password(user), session, radius.CodeAccessAccept)
		_, where, _ := radius.GetQuarantine(accept)
		return visit(t, cfg).get(strings.TrimPrefix(where, string(cfg.Portal.URL))).at("/step-up", 200)
	}
	b := held("carol", "s5")
	if b.get("/enrol").at("/enrol", 200, "ticket"); strings.Contains(b.page, "For carol") {
		t.Errorf("who has a token may enrol without it:\n%s", b.page)
	}
	b.get("/step-up").submit("/step-up", "code", codeOf(t, s, carol, 30*time.Second)).at("/done", 200)

	// The portal trusts this network, and still a password is not enough: not for who has
	// a seed, nor for who has one that cannot be used.
	for _, user := range []string{"alice", "bob"} {
		visit(t, cfg).get("/").submit("/sign-in", "name", user, "password", slapd.Password(user)).at("/sign-in", 422, "is not right")
	}
	if b := held("bob", "s6").get("/enrol"); strings.Contains(b.page, "For bob") {
		t.Errorf("who has a token that cannot be used may enrol:\n%s", b.page)
	}
	m := ldap.NewModifyRequest("uid=bob,"+slapd.PeopleDN, nil)
	m.Delete("description", nil)
	if err := root.Modify(m); err != nil {
		t.Fatal(err)
	}
	visit(t, cfg).get("/").submit("/sign-in", "name", "bob", "password", slapd.Password("bob")).at("/enrol", 200, "For bob")
	held("bob", "s7").get("/enrol").at("/enrol", 200, "For bob")

	s.Stop()
	if n := strings.Count(log.String(), "seeds in the directory cannot be used"); n != 1 || strings.Contains(log.String(), "holiday") {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
	for _, secret := range []string{alice, carol} {
		if strings.Contains(log.String(), secret) {
			t.Error("a seed is in the log")
		}
	}
}
