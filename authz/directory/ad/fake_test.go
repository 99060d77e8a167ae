package ad

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"postern/authz/directory"
	"postern/authz/directory/netlogon"
	"postern/internal/failover"
	"postern/internal/ldapc"
	"postern/internal/mschap"
)

// fakeDC is a domain controller in memory: LDAP as far as this package asks, and
// NETLOGON that verifies. It counts what it is asked.
type fakeDC struct {
	mu         sync.Mutex
	entries    map[string]map[string][]string // by DN
	passwords  map[string]string              // by sAMAccountName in lower case
	machine    string                         // password of the machine; "": any
	refuses    bool                           // MS-CHAPv2
	down       bool
	frozen     bool // answers when the caller gives up
	status     map[string]netlogon.Status
	usn        int64
	invocation string
	now        func() time.Time

	searches, binds, logons int
	bad                     map[string]int
	password                func() ([]byte, error)
}

var errDown = errors.New("connection refused")

func (f *fakeDC) up(ctx context.Context) error {
	f.mu.Lock()
	down, frozen := f.down, f.frozen
	f.mu.Unlock()
	if frozen {
		<-ctx.Done()
		return failover.Away(ctx.Err())
	}
	if down {
		return failover.Away(errDown)
	}
	return nil
}

func (f *fakeDC) Search(ctx context.Context, s *ldapc.Search) ([]*ldap.Entry, error) {
	if err := f.up(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.searches++
	filter, err := ldap.CompileFilter(s.Filter)
	if err != nil {
		return nil, err
	}
	if s.Scope != ldap.ScopeBaseObject && slices.Contains(s.Attributes, "tokenGroups") {
		return nil, &ldap.Error{ResultCode: ldap.LDAPResultOperationsError, Err: errors.New("tokenGroups")}
	}
	var found []*ldap.Entry
	for dn, attrs := range f.entries {
		inside := strings.EqualFold(dn, s.Base) || s.Scope != ldap.ScopeBaseObject && strings.HasSuffix(strings.ToLower(dn), ","+strings.ToLower(s.Base))
		if !inside || !matches(filter, attrs) {
			continue
		}
		picked := make(map[string][]string)
		for _, a := range s.Attributes {
			if v, ok := attrs[a]; ok {
				picked[a] = v
			}
		}
		found = append(found, ldap.NewEntry(dn, picked))
	}
	if s.Scope == ldap.ScopeBaseObject && len(found) == 0 {
		return nil, &ldap.Error{ResultCode: ldap.LDAPResultNoSuchObject, Err: errors.New(s.Base)}
	}
	if s.Limit > 0 && len(found) > s.Limit {
		return found[:s.Limit], &ldap.Error{ResultCode: ldap.LDAPResultSizeLimitExceeded, Err: errors.New("too many")}
	}
	return found, nil
}

// matches evaluates a compiled filter (RFC 4511 §4.5.1).
func matches(p *ber.Packet, attrs map[string][]string) bool {
	text := func(i int) string { v, _ := p.Children[i].Value.(string); return v }
	switch p.Tag {
	case ldap.FilterAnd:
		return !slices.ContainsFunc(p.Children, func(c *ber.Packet) bool { return !matches(c, attrs) })
	case ldap.FilterOr:
		return slices.ContainsFunc(p.Children, func(c *ber.Packet) bool { return matches(c, attrs) })
	case ldap.FilterEqualityMatch:
		return slices.ContainsFunc(attrs[text(0)], func(v string) bool { return strings.EqualFold(v, text(1)) })
	case ldap.FilterGreaterOrEqual:
		want, _ := strconv.ParseInt(text(1), 10, 64)
		return slices.ContainsFunc(attrs[text(0)], func(v string) bool { n, err := strconv.ParseInt(v, 10, 64); return err == nil && n >= want })
	case ldap.FilterPresent:
		return true
	default:
		return false
	}
}

func (f *fakeDC) Bind(ctx context.Context, dn string, password []byte) error {
	if err := f.up(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.binds++
	_, name, down := strings.Cut(dn, `\`)
	if e := f.entries[dn]; e != nil {
		name = e["sAMAccountName"][0]
	} else if !down {
		name = ""
	}
	if right, ok := f.passwords[strings.ToLower(name)]; !ok || right != string(password) {
		return &ldap.Error{ResultCode: ldap.LDAPResultInvalidCredentials, Err: errors.New("80090308: LdapErr: DSID-0C0903A9, comment: AcceptSecurityContext error, data 52e, v1db1")}
	}
	return nil
}

func (f *fakeDC) RootDSE(ctx context.Context) (*ldap.Entry, error) {
	if err := f.up(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return ldap.NewEntry("", map[string][]string{
		"highestCommittedUSN": {strconv.FormatInt(f.usn, 10)}, "dsServiceName": {"CN=NTDS,CN=Configuration"},
		"currentTime": {f.now().UTC().Format("20060102150405.0Z")}, "defaultNamingContext": {"DC=lab,DC=example"},
	}), nil
}

func (f *fakeDC) Check(ctx context.Context) (netlogon.Checked, error) {
	if err := f.member(ctx); err != nil {
		return netlogon.Checked{}, err
	}
	return netlogon.Checked{AES: true, Sealed: true}, nil
}

// member sets up a channel.
func (f *fakeDC) member(ctx context.Context) error {
	if err := f.up(ctx); err != nil {
		return &netlogon.Unavailable{Server: "fake", Doing: "log on", Err: err}
	}
	p, err := f.password()
	if err != nil {
		return &netlogon.Unavailable{Server: "fake", Doing: "set up a channel", Err: err, Alarm: true}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.machine != "" && f.machine != string(p) {
		return &netlogon.Unavailable{Server: "fake", Doing: "set up a channel", Err: netlogon.StatusAccessDenied, Alarm: true}
	}
	return nil
}

func (f *fakeDC) Logon(ctx context.Context, r *netlogon.Request) (*netlogon.Logon, error) {
	if err := f.member(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.logons++
	name := strings.ToLower(r.User)
	right, known := f.passwords[name]
	if !known {
		return nil, &netlogon.Rejected{Status: netlogon.StatusNoSuchUser}
	}
	hash := mschap.NTHash(right)
	if f.refuses || mschap.NTResponse(r.ChallengeHash, &hash) != r.Response {
		f.bad[name]++
		return nil, &netlogon.Rejected{Status: netlogon.StatusWrongPassword}
	}
	if s, special := f.status[name]; special {
		if s.IsConfiguration() {
			return nil, &netlogon.Unavailable{Server: "fake", Doing: "log on", Err: s, Alarm: true}
		}
		return nil, &netlogon.Rejected{Status: s}
	}
	for _, e := range f.entries {
		if strings.EqualFold(first(e["sAMAccountName"]), name) {
			s, _ := parseSID([]byte(e["objectSid"][0]))
			return &netlogon.Logon{HashHash: mschap.HashHash(&hash), User: r.User, SID: s.String(), Groups: []string{domainSID + "-513", domainSID + "-9999"}}, nil
		}
	}
	return nil, &netlogon.Rejected{Status: netlogon.StatusNoSuchUser}
}

func (f *fakeDC) Close() {}

func first(v []string) string {
	if len(v) == 0 {
		return ""
	}
	return v[0]
}

const vpnDN = "OU=VPN,DC=lab,DC=example"

// add puts an account there.
func (f *fakeDC) add(t testing.TB, name string, rid string, attrs map[string][]string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.usn++
	e := entry(t, attrs)
	all := map[string][]string{
		"objectCategory": {"person"}, "objectClass": {"user"}, "sAMAccountType": {normalUser},
		"tokenGroups": {string(mustSID(t, domainSID+"-513").Append(nil)), string(mustSID(t, domainSID+"-1200").Append(nil))},
	}
	for _, a := range e.Attributes {
		all[a.Name] = a.Values
	}
	all["sAMAccountName"] = []string{name}
	all["objectSid"] = []string{string(mustSID(t, domainSID+"-"+rid).Append(nil))}
	all["userPrincipalName"] = []string{name + "@lab.example"}
	all["uSNChanged"] = []string{strconv.FormatInt(f.usn, 10)}
	for k, v := range attrs {
		all[k] = v
	}
	f.entries["CN="+name+","+vpnDN] = all
	f.passwords[strings.ToLower(name)] = name + "-Pass1"
}

// set changes an attribute.
func (f *fakeDC) set(dn, attr string, values ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.usn++
	f.entries[dn][attr] = values
	f.entries[dn]["uSNChanged"] = []string{strconv.FormatInt(f.usn, 10)}
}

func (f *fakeDC) remove(dn string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.usn++
	delete(f.entries, dn)
}

func newFake(t testing.TB, now func() time.Time) *fakeDC {
	f := &fakeDC{
		entries: map[string]map[string][]string{}, passwords: map[string]string{}, status: map[string]netlogon.Status{}, bad: map[string]int{},
		usn: 1000, invocation: "\x01\x02", now: now,
	}
	f.add(t, "Alice", "1104", nil)
	f.add(t, "bob", "1105", nil)
	for _, g := range [][2]string{{"Domain Users", "513"}, {"vpn-users", "1200"}} {
		f.entries["CN="+g[0]+","+vpnDN] = map[string][]string{
			"objectCategory": {"group"}, "sAMAccountName": {g[0]}, "objectSid": {string(mustSID(t, domainSID+"-"+g[1]).Append(nil))}, "uSNChanged": {"900"},
		}
	}
	f.entries["CN=NTDS,CN=Configuration"] = map[string][]string{"invocationId": {f.invocation}}
	return f
}

// newFakes makes a Directory over fakes.
func newFakes(t testing.TB, change func(*Config), now func() time.Time, fakes ...*fakeDC) *Directory {
	t.Helper()
	cfg := Config{
		Domain: "lab.example", NetBIOS: "LAB", Machine: "RGW", Now: now, Timeout: time.Second,
		Secret: func() (*Secret, error) { return &Secret{Password: []byte("machine")}, nil },
	}
	for i := range fakes {
		cfg.Servers = append(cfg.Servers, "dc"+strconv.Itoa(i+1))
	}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range fakes {
		host := cfg.Servers[i]
		c := &dc{host: host, ldap: f, netlogon: f, secret: &choice{secret: cfg.Secret}, bind: &choice{secret: cfg.Secret}}
		c.trust.probes = cfg.Probe != nil
		f.password = c.secret.password
		d.dcs[host] = c
	}
	t.Cleanup(d.Close)
	return d
}

// login finds and verifies as authz does.
func login(ctx context.Context, d *Directory, n directory.Name, password string) (*directory.Account, directory.Proof, error) {
	a, err := d.Find(ctx, n)
	if r, no := directory.IsRejected(err); err != nil && (!no || r.Reason != directory.NoSuchUser) {
		return nil, directory.Proof{}, err
	}
	hash := mschap.NTHash(password)
	r := &directory.MSCHAPv2{ChallengeHash: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	r.Response = mschap.NTResponse(r.ChallengeHash, &hash)
	p, err := d.VerifyMSCHAPv2(ctx, n, a, r)
	return a, p, err
}
