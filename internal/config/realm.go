package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Realm is a directory and the names that select it.
type Realm struct {
	// Name of the realm in policies, logs and, where there is no domain, behind
	// canonical names.
	Name Name      `yaml:"name" required:"true"`
	Kind RealmKind `yaml:"kind" required:"true"`
	// Default takes names without a domain.
	Default bool `yaml:"default" default:"false"`
	// Domain is the DNS name; canonical names end in it: alice@corp.example.
	Domain Domain `yaml:"domain"`
	// NetBIOS is the down-level name of the domain: CORP\alice.
	NetBIOS Name `yaml:"netbios"`
	// Before are the domains that select the realm in front of a name (CORP\alice),
	// Behind those that do so behind it (alice@corp.example). Absent: netbios and
	// domain, or the realm's name where neither is given. An empty list: none.
	Before []Domain `yaml:"before"`
	Behind []Domain `yaml:"behind"`
	// Cache is how long what was found is believed; 0 asks for each login.
	Cache time.Duration `yaml:"cache" default:"60s" min:"0s" max:"1h"`

	File   FileRealm     `yaml:"file"`
	LDAP   LDAPRealm     `yaml:"ldap"`
	AD     ADRealm       `yaml:"ad"`
	RADIUS UpstreamRealm `yaml:"radius"`

	emptyBefore, emptyBehind bool // the lists are given
}

// FileRealm is a users file and pppd's chap-secrets; at least one.
type FileRealm struct {
	Users             File   `yaml:"users_file"`
	ChapSecrets       File   `yaml:"chap_secrets_file"`
	ChapSecretsServer string `yaml:"chap_secrets_server"`
}

// Servers of a directory are asked in their order, each for Timeout at most; one
// that fails is passed over for a while.
type Servers struct {
	// Servers are hosts, with a port where it is not the usual one. For AD absent:
	// those that the DNS names for the domain.
	Servers []Host `yaml:"servers"`
	TLS     TLS    `yaml:"tls" default:"ldaps"`
	// CA that the servers' certificates come from; absent: the system's.
	CA File `yaml:"ca_file"`
	// Timeout of one question to one server.
	Timeout time.Duration `yaml:"timeout" default:"2s" min:"100ms" max:"30s"`
	// Connections bounds those kept to one server.
	Connections int `yaml:"connections" default:"8" min:"1" max:"64"`
}

// Bind is who asks a directory.
type Bind struct {
	Kind BindKind `yaml:"kind" default:"simple"`
	// User is a DN, or in AD alice@corp.example or CORP\alice.
	User string `yaml:"user"`
	Secret
	// Keytab in place of a password, for gssapi; Krb5 is its configuration.
	Keytab File `yaml:"keytab_file"`
	Krb5   File `yaml:"krb5_conf_file"`
}

// LDAPRealm is OpenLDAP, FreeIPA or another server with a Samba schema.
type LDAPRealm struct {
	Servers
	Bind   Bind   `yaml:"bind"`
	BaseDN string `yaml:"base_dn"`
	// GroupDN is where groups are; absent: BaseDN.
	GroupDN string `yaml:"group_dn"`
	Schema  Schema `yaml:"schema" default:"samba"`
	// UserAttribute holds the name, HashAttribute the NT hash, GroupAttribute a
	// group's name, MemberAttribute its members' DNs. Absent: the schema's.
	UserAttribute   string `yaml:"user_attribute"`
	HashAttribute   string `yaml:"hash_attribute"`
	GroupAttribute  string `yaml:"group_attribute"`
	MemberAttribute string `yaml:"member_attribute"`
	// Filter that accounts must match besides: (objectClass=posixAccount).
	Filter string `yaml:"filter"`
	// LockTime is how long pwdAccountLockedTime counts; 0: until somebody takes it away.
	// OpenLDAP does so when the account binds next, which it may never do.
	LockTime time.Duration `yaml:"lock_time" default:"0s" min:"0s" max:"720h"`
	// TOTP holds seeds for one-time codes, each an otpauth URL, base32, or either of them
	// sealed for its user; absent: the store alone has tokens.
	TOTP Attribute `yaml:"totp_attribute"`
	Static
	// Nesting is how deep groups in groups are followed.
	Nesting int `yaml:"nesting" default:"8" min:"0" max:"32"`
}

// ADRealm is Active Directory. Domain and NetBIOS must be given.
type ADRealm struct {
	Servers
	// Machine is the gateway's own account (`postern ad join` makes it), without the
	// dollar sign; its secret is sealed in MachineSecret.
	Machine       Name `yaml:"machine"`
	MachineSecret File `yaml:"machine_secret_file"`
	// Bind for LDAP; absent: as the machine.
	Bind Bind `yaml:"bind"`
	// TOTP is as in LDAPRealm.
	TOTP Attribute `yaml:"totp_attribute"`
	Static
	// Channels of NETLOGON to one domain controller.
	Channels int `yaml:"channels" default:"2" min:"1" max:"4"`
	// HonourDialin refuses accounts with msNPAllowDialin FALSE.
	HonourDialin bool `yaml:"honour_dialin" default:"false"`
	// Workstation is what userWorkstations is compared with; absent: not at all.
	Workstation Name `yaml:"workstation"`
	// Probe is an account without rights. With it, and nobody else's, it is found
	// out whether a domain controller accepts MS-CHAPv2.
	Probe Probe `yaml:"probe"`
}

// Static is where a directory keeps accounts' own addresses and routes.
type Static struct {
	// Address holds the address an account must get, as text or as Active Directory's
	// number: msRADIUSFramedIPAddress, radiusFramedIPAddress. Route holds networks behind
	// its client, "10.50.7.0/24 0.0.0.0 1": msRADIUSFramedRoute, radiusFramedRoute. Absent:
	// neither is looked at.
	Address Attribute `yaml:"address_attribute"`
	Route   Attribute `yaml:"route_attribute"`
	// Within are the networks that such routes must be in.
	Within []netip.Prefix `yaml:"routes_within"`
}

func (s *Static) check(at place) {
	switch {
	case at.broken("route_attribute", "routes_within"):
	case s.Route != "" && len(s.Within) == 0:
		at.bad("route_attribute", "routes_within: [NETWORK] beside it", "nothing says which networks may be behind clients")
	case s.Route == "" && len(s.Within) > 0:
		at.bad("routes_within", "route_attribute beside it", "no routes are read")
	}
}

// Probe is an account for trying a logon.
type Probe struct {
	User string `yaml:"user"`
	Secret
}

// UpstreamRealm is another RADIUS server that decides the password.
type UpstreamRealm struct {
	Servers []RadiusServer `yaml:"servers"`
	Timeout time.Duration  `yaml:"timeout" default:"2s" min:"100ms" max:"30s"`
	Retries int            `yaml:"retries" default:"1" min:"0" max:"10"`
	// DeadTime is how long a silent server is passed over.
	DeadTime time.Duration `yaml:"dead_time" default:"30s" min:"1s" max:"1h"`
	// AsMSCHAPv1 sends a response in the form of MS-CHAPv1, where a server that does
	// not know of codes behind names can verify those that cover one. FreeRADIUS can by
	// UDP only; package proxy says what else to do.
	AsMSCHAPv1 AsMSCHAPv1 `yaml:"as_mschapv1" default:"with_code"`
	// Groups names the attribute that holds a group each; GroupPrefix is cut off,
	// and values without it are no groups.
	Groups      GroupAttribute `yaml:"groups" default:"class"`
	GroupPrefix string         `yaml:"group_prefix"`
	// GroupsFrom is another realm, of kind ldap or ad, where the same people's groups
	// and states are looked up.
	GroupsFrom Name `yaml:"groups_from"`
}

// RealmKind is a directory's kind.
type RealmKind uint8

const (
	RealmUnknown RealmKind = iota
	RealmFile
	RealmLDAP
	RealmAD
	RealmRADIUS
)

var realmKinds = []string{RealmFile: "file", RealmLDAP: "ldap", RealmAD: "ad", RealmRADIUS: "radius"}

func (k RealmKind) String() string  { return enumName(realmKinds, int(k)) }
func (*RealmKind) expected() string { return enumExpected(realmKinds) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *RealmKind) UnmarshalText(text []byte) error { return enumSet(k, realmKinds, text) }

// TLS is how a directory is spoken to.
type TLS uint8

const (
	TLSUnknown TLS = iota
	TLSLDAPS
	TLSStart // StartTLS
	TLSNone  // on this host only
)

var tlsModes = []string{TLSLDAPS: "ldaps", TLSStart: "starttls", TLSNone: "none"}

func (m TLS) String() string  { return enumName(tlsModes, int(m)) }
func (*TLS) expected() string { return enumExpected(tlsModes) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *TLS) UnmarshalText(text []byte) error { return enumSet(m, tlsModes, text) }

// BindKind is how we prove to a directory who we are.
type BindKind uint8

const (
	BindUnknown BindKind = iota
	BindSimple
	BindGSSAPI
)

var bindKinds = []string{BindSimple: "simple", BindGSSAPI: "gssapi"}

func (k BindKind) String() string  { return enumName(bindKinds, int(k)) }
func (*BindKind) expected() string { return enumExpected(bindKinds) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *BindKind) UnmarshalText(text []byte) error { return enumSet(k, bindKinds, text) }

// Schema says which attributes hold what.
type Schema uint8

const (
	SchemaUnknown Schema = iota
	SchemaSamba          // sambaSamAccount, of Samba 3
	SchemaFreeIPA        // ipaNTHash
)

var schemas = []string{SchemaSamba: "samba", SchemaFreeIPA: "freeipa"}

func (s Schema) String() string  { return enumName(schemas, int(s)) }
func (*Schema) expected() string { return enumExpected(schemas) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Schema) UnmarshalText(text []byte) error { return enumSet(s, schemas, text) }

// AsMSCHAPv1 says when responses go upstream in the form of MS-CHAPv1.
type AsMSCHAPv1 uint8

const (
	AsMSCHAPv1Unknown AsMSCHAPv1 = iota
	AsMSCHAPv1Never
	AsMSCHAPv1WithCode
	AsMSCHAPv1Always
)

var asMSCHAPv1 = []string{AsMSCHAPv1Never: "never", AsMSCHAPv1WithCode: "with_code", AsMSCHAPv1Always: "always"}

func (a AsMSCHAPv1) String() string  { return enumName(asMSCHAPv1, int(a)) }
func (*AsMSCHAPv1) expected() string { return enumExpected(asMSCHAPv1) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *AsMSCHAPv1) UnmarshalText(text []byte) error { return enumSet(a, asMSCHAPv1, text) }

// GroupAttribute is where an upstream server puts groups.
type GroupAttribute uint8

const (
	GroupsUnknown GroupAttribute = iota
	GroupsClass
	GroupsFilterID
	GroupsNone
)

var groupAttributes = []string{GroupsClass: "class", GroupsFilterID: "filter-id", GroupsNone: "none"}

func (g GroupAttribute) String() string  { return enumName(groupAttributes, int(g)) }
func (*GroupAttribute) expected() string { return enumExpected(groupAttributes) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (g *GroupAttribute) UnmarshalText(text []byte) error { return enumSet(g, groupAttributes, text) }

// Disclosure is what a refused client may learn.
type Disclosure uint8

const (
	DiscloseUnknown Disclosure = iota
	DiscloseNothing            // nothing
	DiscloseStates             // account states, to who has proved the password
	DiscloseFull               // the specific code for each reason
)

var disclosures = []string{DiscloseNothing: "nothing", DiscloseStates: "states", DiscloseFull: "full"}

func (d Disclosure) String() string  { return enumName(disclosures, int(d)) }
func (*Disclosure) expected() string { return enumExpected(disclosures) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Disclosure) UnmarshalText(text []byte) error { return enumSet(d, disclosures, text) }

// Domain is a domain as it stands beside a user name: of the DNS or NetBIOS.
type Domain string

func (*Domain) expected() string { return "a domain such as corp.example or CORP" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Domain) UnmarshalText(text []byte) error {
	if len(text) == 0 || len(text) > 253 || !printable(string(text)) || strings.ContainsAny(string(text), `\@/ `) {
		return errors.New("not a domain")
	}
	*d = Domain(text)
	return nil
}

// Attribute is an attribute's name in a directory.
type Attribute string

func (*Attribute) expected() string { return "the name of an attribute such as posternSeed" }

// UnmarshalText implements encoding.TextUnmarshaler (RFC 4512 §2.5, without options).
func (a *Attribute) UnmarshalText(text []byte) error {
	if len(text) == 0 || len(text) > 64 || strings.ContainsFunc(string(text), func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.')
	}) {
		return errors.New("not an attribute")
	}
	*a = Attribute(text)
	return nil
}

// Host is a server, with a port where it is not the usual one.
type Host string

func (*Host) expected() string { return "a host such as dc1.corp.example, with :PORT if need be" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Host) UnmarshalText(text []byte) error {
	s := string(text)
	if isAddr(s) {
		*h = Host(s)
		return nil
	}
	if strings.Contains(s, ":") {
		if _, port, err := splitHostPort(s); err != nil || port == 0 {
			return errors.New("not a host")
		}
	}
	if s == "" || s[0] == ':' || !printable(s) || strings.ContainsAny(s, "/@ ") {
		return errors.New("not a host")
	}
	*h = Host(s)
	return nil
}

// loopback says whether the host is this one. A name may be any host's.
func (h Host) loopback() bool {
	host := string(h)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Suffix stands behind the canonical names of the realm.
func (r *Realm) Suffix() string {
	if r.Domain != "" {
		return string(r.Domain)
	}
	return string(r.Name)
}

// Selectors are the domains that select the realm in front of a name and behind it.
func (r *Realm) Selectors() (before, behind []string) {
	var usual []string
	for _, d := range []string{string(r.NetBIOS), string(r.Domain)} {
		if d != "" {
			usual = append(usual, d)
		}
	}
	if usual == nil {
		usual = []string{string(r.Name)}
	}
	pick := func(given []Domain, empty bool) []string {
		if len(given) == 0 && !empty {
			return usual
		}
		var names []string
		for _, d := range given {
			names = append(names, string(d))
		}
		return names
	}
	return pick(r.Before, r.emptyBefore), pick(r.Behind, r.emptyBehind)
}

func (r *Realm) check(at place) {
	r.emptyBefore, r.emptyBehind = at.given("before"), at.given("behind")
	if at.broken("kind") || r.Kind == RealmUnknown {
		return
	}
	for _, k := range realmKinds[1:] {
		if k != r.Kind.String() && at.given(k) {
			at.bad(k, r.Kind.String()+": …", "the realm is of kind %s", r.Kind)
		}
	}
	if !at.given(r.Kind.String()) {
		at.bad("kind", fmt.Sprintf("%s: with the keys of that kind beside it", r.Kind), "the section %q is missing", r.Kind)
		return
	}
	in := place{at.s, join(at.path, r.Kind.String())}
	switch r.Kind {
	case RealmFile:
		if r.File.Users == "" && r.File.ChapSecrets == "" && !in.broken("users_file", "chap_secrets_file") {
			at.bad("file", "users_file or chap_secrets_file", "no file: nobody could log in")
		}
		if r.File.ChapSecretsServer != "" && r.File.ChapSecrets == "" {
			in.bad("chap_secrets_server", "chap_secrets_file beside it", "there is no chap-secrets file")
		}
	case RealmLDAP:
		r.LDAP.Servers.checkRealm(in, true)
		r.LDAP.Bind.checkRealm(place{in.s, join(in.path, "bind")})
		in.needs("base_dn", r.LDAP.BaseDN == "", "a DN such as ou=people,dc=corp,dc=example")
	case RealmAD:
		r.AD.Servers.checkRealm(in, false)
		if in.given("bind") {
			r.AD.Bind.checkRealm(place{in.s, join(in.path, "bind")})
		}
		at.needs("domain", r.Domain == "", "the DNS name of the domain")
		at.needs("netbios", r.NetBIOS == "", "the NetBIOS name of the domain")
		in.needs("machine", r.AD.Machine == "", "the gateway's own account; `postern ad join` makes it")
		in.needs("machine_secret_file", r.AD.MachineSecret == "", "a file for the machine's sealed secret")
		if len(r.AD.Machine) > 15 {
			in.bad("machine", "15 characters at most", "%q is too long for a NetBIOS name", string(r.AD.Machine))
		}
		if p := (place{in.s, join(in.path, "probe")}); in.given("probe") {
			p.needs("user", r.AD.Probe.User == "", "an account without rights")
			checkSecret(p, r.AD.Probe.Secret, true)
		}
	case RealmRADIUS:
		if len(r.RADIUS.Servers) == 0 && !in.broken("servers") {
			in.bad("servers", "a list", "no server")
		}
		for i, u := range r.RADIUS.Servers {
			key := fmt.Sprintf("servers[%d]", i)
			if u.Transport == TransportRadSec && !u.Identity.any() && !in.broken(key+".transport") {
				in.bad(key, "ca_file, cert_file and key_file", "a RadSec server needs a TLS identity")
			}
			if u.Transport == TransportUDP && u.AcctAddress != "" {
				in.bad(key+".acct_address", "no acct_address", "an upstream server gets no accounting")
			}
		}
	case RealmUnknown:
	}
}

func (s *Servers) checkRealm(at place, needed bool) {
	if needed && len(s.Servers) == 0 && !at.broken("servers") {
		at.bad("servers", "a list, each a host such as ldap1.corp.example", "no server")
	}
	for i, h := range s.Servers {
		if s.TLS == TLSNone && !h.loopback() {
			at.bad(fmt.Sprintf("servers[%d]", i), "tls: ldaps, or tls: starttls", "without TLS only a server on this host may be asked, by its loopback address")
		}
	}
	if len(s.Servers) == 0 && s.TLS == TLSNone && !at.broken("servers", "tls") {
		at.bad("tls", "ldaps or starttls", "servers out of the DNS are not on this host")
	}
}

func (b *Bind) checkRealm(at place) {
	at.needs("user", b.User == "", "a DN, or in AD alice@corp.example")
	switch b.Kind {
	case BindSimple:
		checkSecret(at, b.Secret, true)
		if b.Keytab != "" {
			at.bad("keytab_file", "kind: gssapi", "a simple bind has no keytab")
		}
	case BindGSSAPI:
		if b.Keytab == "" {
			checkSecret(at, b.Secret, true)
		} else if b.Set() {
			at.bad("keytab_file", "one of keytab_file and a secret", "there is a secret, too")
		}
		at.needs("krb5_conf_file", b.Krb5 == "", "a krb5.conf")
	case BindUnknown:
	}
}

// checkRealms looks at all of them together.
func (s *Service) checkRealms(at place) {
	names, defaults := make(map[Name]RealmKind), 0
	for i := range s.Realms {
		r := &s.Realms[i]
		key := fmt.Sprintf("realms[%d]", i)
		if _, twice := names[r.Name]; twice && r.Name != "" {
			at.bad(key+".name", "a name of its own for each realm", "a second realm %q", string(r.Name))
		}
		names[r.Name] = r.Kind
		if r.Default {
			if defaults++; defaults > 1 {
				at.bad(key+".default", "one default", "names without a domain have a realm already")
			}
		}
	}
	for i := range s.Realms {
		from := s.Realms[i].RADIUS.GroupsFrom
		if k := names[from]; from != "" && k != RealmLDAP && k != RealmAD {
			at.bad(fmt.Sprintf("realms[%d].radius.groups_from", i), "another realm, of kind ldap or ad", "%q is none", string(from))
		}
	}
}
