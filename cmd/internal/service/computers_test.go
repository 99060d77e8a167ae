package service

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
	"layeh.com/radius/rfc2866"

	"postern/authz/directory/ad"
	"postern/cmd/internal/cmdtest"
	"postern/integration/samba"
	"postern/internal/config"
	"postern/internal/radius"
	"postern/internal/seal"
)

const computersService = `
radius: {auth_listen: "127.0.0.1:1"}
clients: [{name: local, networks: [127.0.0.0/8], secret_env: POSTERN_TEST_SECRET}]
store: {path: state/store.db}
key_ring_file: keys
policy_file: policy.yaml
audit: {file: audit.json}
session: {interim: 1m}
disclose: full
realms:
  - {name: lab, kind: ad, default: true, domain: lab.example, netbios: LAB, cache: 0s,
     ad: {servers: [dc1.lab.example], ca_file: ca.pem, timeout: 5s, machine: GW1, machine_secret_file: machine}}
posture: {ad: {realm: lab, interval: 1m}}
`

const computersPolicy = `version: 1
pools: {staff: [203.0.113.10-203.0.113.99]}
rules:
  - id: laptops
    when: {group: vpn-users, device.group: Managed-Devices, device.enabled: true, device.os: windows, device.os_version: ">= 10.0.19045"}
    then: {permit: {pool: staff, factor: none}}
`

// named asks for logins of clients that give themselves a name in LCP.
type named struct {
	radius.Exchanger
	name string
}

func (x named) Exchange(ctx context.Context, p *radius.Packet) (*radius.Packet, error) {
	if err := radius.AddRASClient(p, "MSRAS-0-"+x.name, "MSRASV5.20"); err != nil {
		return nil, err
	}
	return x.Exchanger.Exchange(ctx, p)
}

// Whoever dials from a computer of the domain is let in for what the domain says of it,
// and put out when it says otherwise: also from a computer that is somebody else's, and
// from one that is nobody's.
func TestComputersOfTheDomain(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	l := dc.LDAP(t)
	add := func(dn string, attrs map[string][]string) string {
		t.Helper()
		r := ldap.NewAddRequest(dn, nil)
		for k, v := range attrs {
			r.Attribute(k, v)
		}
		if err := l.Add(r); err != nil {
			t.Fatal(dn, err)
		}
		return dn
	}
	computer := func(name string, managedBy ...string) string {
		t.Helper()
		attrs := map[string][]string{
			"objectClass": {"computer"}, "sAMAccountName": {name + "$"}, "userAccountControl": {"4096"},
			"operatingSystem": {"Windows 10 Pro"}, "operatingSystemVersion": {"10.0 (19045)"},
		}
		if len(managedBy) > 0 {
			attrs["managedBy"] = managedBy
		}
		return add("CN="+name+",CN=Computers,"+dc.BaseDN, attrs)
	}
	computers := map[string]string{ // by what is dialled from them
		"own": computer("LT-0231", dc.DN(t, l, "alice")), "another's": computer("LT-0232", dc.DN(t, l, "bob")), "nobody's": computer("LT-0233"),
	}
	laptops := add("CN=Managed-Laptops,CN=Users,"+dc.BaseDN, map[string][]string{
		"objectClass": {"group"}, "sAMAccountName": {"Managed-Laptops"}, "member": {computers["own"], computers["another's"], computers["nobody's"]},
	})
	add("CN=Managed-Devices,CN=Users,"+dc.BaseDN, map[string][]string{"objectClass": {"group"}, "sAMAccountName": {"Managed-Devices"}, "member": {laptops}})

	s, c := computersSite(t, dc)
	told := make(chan *radius.Packet, 10)
	node, err := radius.NewDynamic(radius.DynamicConfig{CarryOut: func(_ context.Context, p *radius.Packet) error {
		told <- p
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Dynamic().Attach("nas1", node)

	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) { // the first look
		recs, err := NewPosture(s.store, s.sessions).List(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) >= len(computers) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the computers are not read")
		}
	}
	cmdtest.Expect(t, named{c, "LT-9999"}, "alice", "Alice-Pass1", "unknown", radius.CodeAccessReject)
	for what, host := range map[string]string{"own": "LT-0231", "another's": "lt-0232.lab.example", "nobody's": "LT-0233"} {
		cmdtest.Expect(t, named{c, host}, "alice", "Alice-Pass1", what, radius.CodeAccessAccept)
		m := ldap.NewModifyRequest(computers[what], nil)
		m.Replace("userAccountControl", []string{"4098"})
		if err := l.Modify(m); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		select {
		case p := <-told:
			t.Logf("%s: the node was told after %v, of which the interval is %v", what, time.Since(began), computersInterval)
			if session := rfc2866.AcctSessionID_GetString(p); p.Code != radius.CodeDisconnectRequest || session != what {
				t.Errorf("%s: the node is told %v of %q", what, p.Code, session)
			}
		case <-time.After(15 * time.Second):
			t.Errorf("%s: the computer is disabled, and the session stays", what)
		}
		cmdtest.Expect(t, named{c, host}, "alice", "Alice-Pass1", what+" again", radius.CodeAccessReject)
	}
}

// computersInterval is shorter than a configuration may say.
const computersInterval = 500 * time.Millisecond

// computersSite is a service with the domain and its computers.
func computersSite(t *testing.T, dc *samba.DC) (*Service, *radius.Client) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "policy.yaml"), computersPolicy)
	ring, err := seal.CreateFile(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.ParseService(filepath.Join(dir, "radiusd.yaml"), []byte(computersService))
	if err != nil {
		t.Fatal(err)
	}
	r := &cfg.Realms[0]
	r.AD.Servers.Servers, r.AD.CA, r.AD.Machine = []config.Host{config.Host(dc.Addr.String())}, config.File(dc.CAFile), config.Name(dc.MachineAccount[:len(dc.MachineAccount)-1])
	cfg.Radius.Auth, cfg.Clients, cfg.Posture.AD.Interval = "", nil, computersInterval
	_, file, err := ad.FromConfig(r, ring, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Save(&ad.Secret{Password: []byte(dc.MachinePassword)}); err != nil {
		t.Fatal(err)
	}
	return start(t, cfg, Options{})
}
