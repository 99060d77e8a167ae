package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// Service is the configuration of the RADIUS service, postern-radiusd.
type Service struct {
	// Node names this service process in logs and metrics.
	Node    Name        `yaml:"node" default:"radiusd"`
	Radius  RadiusSide  `yaml:"radius"`
	Clients []NASClient `yaml:"clients" required:"true"`
	Store   StoreConfig `yaml:"store"`

	// KeyRing holds the keys that seal secrets in the store and in the users file; or
	// KeyRingEnv names the environment variable that has the text of such a file.
	KeyRing    File   `yaml:"key_ring_file"`
	KeyRingEnv string `yaml:"key_ring_env"`
	// Realms are the directories. Where there is one only, of files, the three keys
	// below are enough in place of it; canonical names have no domain then.
	Realms []Realm `yaml:"realms"`
	// Users is the users file; ChapSecrets pppd's chap-secrets as it is. With both,
	// the users file is asked first.
	Users       File `yaml:"users_file"`
	ChapSecrets File `yaml:"chap_secrets_file"`
	// ChapSecretsServer is the server column that concerns us, besides "*"; absent:
	// every line does.
	ChapSecretsServer string `yaml:"chap_secrets_server"`
	Policy            File   `yaml:"policy_file" required:"true"`

	PolicySource PolicySource `yaml:"policy"`
	Inputs       Inputs       `yaml:"inputs"`
	Geo          Geo          `yaml:"geo"`
	Posture      Posture      `yaml:"posture"`

	// Disclose is what a refused client learns.
	Disclose Disclosure `yaml:"disclose" default:"states"`

	MFA     MFA     `yaml:"mfa"`
	Lockout Lockout `yaml:"lockout"`
	Session Session `yaml:"session"`
	Follow  Follow  `yaml:"follow"`

	Accounting Accounting `yaml:"accounting"`

	Audit   Audit   `yaml:"audit"`
	Portal  Portal  `yaml:"portal"`
	Metrics Metrics `yaml:"metrics"`
	Log     Log     `yaml:"log"`
}

// RadiusSide is where the service listens; what is absent is not served.
type RadiusSide struct {
	Auth   Listen `yaml:"auth_listen"`
	Acct   Listen `yaml:"acct_listen"`
	RadSec RadSec `yaml:"radsec"`
	// Deadline is how long a login may take before the service falls silent.
	Deadline time.Duration `yaml:"deadline" default:"5s" min:"100ms" max:"60s"`
	// Workers bounds the logins in work at once, Queue those that wait.
	Workers int `yaml:"workers" default:"256" min:"1" max:"65536"`
	Queue   int `yaml:"queue" default:"4096" min:"1" max:"1048576"`
}

// RadSec is the TLS listener of RFC 6614.
type RadSec struct {
	Listen Listen `yaml:"listen"`
	Identity
}

// NASClient is a node or another NAS. By UDP it is known by its address and a
// shared secret, by RadSec by its certificate.
type NASClient struct {
	Name     Name           `yaml:"name" required:"true"`
	Networks []netip.Prefix `yaml:"networks"`
	Secret
	// Certificates are names (SAN) in the certificate that identify the client.
	Certificates []string `yaml:"certificates"`
	// RequireMessageAuthenticator refuses unsigned requests (CVE-2024-3596). Turn it
	// off only for a NAS that cannot be taught.
	RequireMessageAuthenticator bool `yaml:"require_message_authenticator" default:"true"`
	// Node says that the client is a node of ours, or several. Only those know what a
	// quarantine is, and get the rules of filters and limits of bandwidth.
	Node bool `yaml:"node" default:"false"`
	// AllowPAP accepts passwords in User-Password from this client.
	AllowPAP bool `yaml:"allow_pap" default:"false"`
	// CodeInPassword lets a one-time code stand behind the password of its PAP logins.
	CodeInPassword bool `yaml:"code_in_password" default:"false"`
	// AllowMSCHAPOverUDP permits its logins over UDP from another host than the
	// service's, where whoever records them can crack them.
	AllowMSCHAPOverUDP bool `yaml:"allow_mschap_over_udp" default:"false"`
	// CoA is where the client is asked by UDP to end a session (RFC 5176), port 3799
	// most likely; it takes the secret. By RadSec it is asked on the connection that it
	// has opened, and needs none.
	CoA Remote `yaml:"coa"`
	// Strengths of MPPE in bits that the client is allowed to agree to, of 128, 56
	// and 40.
	Strengths []int `yaml:"strengths" default:"128"`
}

// StoreConfig is where counters, tokens, sessions and leases are kept.
type StoreConfig struct {
	Kind StoreKind `yaml:"kind" default:"embedded"`
	// Path is the embedded store's file.
	Path File `yaml:"path"`
	// URLs are redis:// or rediss://; several make a cluster.
	URLs []string `yaml:"urls"`
	// Sentinel is the master's name when the URLs are sentinels.
	Sentinel string `yaml:"sentinel_master"`
	User     string `yaml:"user"`
	// Password for Redis.
	Password PasswordRef `yaml:"password"`
	// SentinelUser and SentinelPassword are for the sentinels, where they want some.
	SentinelUser     string      `yaml:"sentinel_user"`
	SentinelPassword PasswordRef `yaml:"sentinel_password"`
	CA               File        `yaml:"ca_file"`
	// Cert and Key are who we are, where Redis asks for a certificate.
	Cert File `yaml:"cert_file"`
	Key  File `yaml:"key_file"`
	// ServerName is in the certificate of every server; absent: each is called as in its
	// URL, or as the cluster or the sentinels call it.
	ServerName string `yaml:"server_name"`
	// ReplicasAck is how many replicas must have a change before anything is answered
	// because of it. Without any, a fail-over forgets what the old primary had not passed
	// on: a used code opens again.
	ReplicasAck int `yaml:"replicas_ack" default:"0" min:"0" max:"5"`
	// Timeout of one round trip.
	Timeout time.Duration `yaml:"timeout" default:"500ms" min:"10ms" max:"10s"`
}

// PasswordRef says where a password stands.
type PasswordRef struct{ Secret }

func (p *PasswordRef) check(at place) { checkSecret(at, p.Secret, false) }

// MFA is how one-time codes are written and judged (RFC 6238).
type MFA struct {
	// Separator stands between name and code: alice+123456.
	Separator Separator `yaml:"separator" default:"+"`
	// DeviceSeparator stands between name and device: alice%LT-0231+123456. "off" where
	// names of accounts have one in them.
	DeviceSeparator DeviceSeparator `yaml:"device_separator" default:"%"`
	Digits          int             `yaml:"digits" default:"6" min:"6" max:"8"`
	// Window is how many steps of 30 s before and after now are accepted.
	Window int `yaml:"window" default:"1" min:"0" max:"10"`
	// Issuer is what authenticator apps show.
	Issuer string `yaml:"issuer" default:"Postern"`
}

// Session is the life of sessions and leases.
type Session struct {
	// Interim is how often a NAS reports when the policy does not say.
	Interim time.Duration `yaml:"interim" default:"5m" min:"60s" max:"24h"`
	// Start is how long a granted login may take to its Accounting-Start.
	Start time.Duration `yaml:"start" default:"2m" min:"10s" max:"1h"`
	// Quarantine is how long a session waits for its second factor when the policy does
	// not say.
	Quarantine time.Duration `yaml:"quarantine" default:"5m" min:"30s" max:"24h"`
	// PoolAlarm is how much of a pool may be leased, in percent, before an alarm is raised;
	// 0 raises none.
	PoolAlarm int `yaml:"pool_alarm" default:"90" min:"0" max:"100"`
}

// Follow has sessions end whose users' accounts are disabled, leave a group, change
// their password… while they are up.
type Follow struct {
	// Interval is how often the directories are asked; 0 is never.
	Interval time.Duration `yaml:"interval" default:"60s" min:"0s" max:"24h"`
}

// Audit is the decision log.
type Audit struct {
	File File `yaml:"file"` // absent: standard output
}

// LoadService reads a service's configuration. The error holds every mistake.
func LoadService(name string) (*Service, error) {
	src, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return ParseService(name, src)
}

// ParseService is LoadService for text; name is for messages and for relative
// file names.
func ParseService(name string, src []byte) (*Service, error) {
	s := new(Service)
	if err := decode(name, src, s); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Service) check(at place) {
	switch {
	case s.KeyRing == "" && s.KeyRingEnv == "" && !at.broken("key_ring_file", "key_ring_env"):
		at.bad("key_ring_file", "key_ring_file: NAME, or key_ring_env: NAME", "no key ring")
	case s.KeyRing != "" && s.KeyRingEnv != "":
		at.bad("key_ring_env", "one of key_ring_file and key_ring_env", "key_ring_file is given, too")
	}
	if s.Users == "" && s.ChapSecrets == "" && len(s.Realms) == 0 && !at.broken("users_file", "chap_secrets_file", "realms") {
		at.bad("users_file", "realms, or users_file or chap_secrets_file", "no directory: nobody could log in")
	}
	for _, key := range []string{"users_file", "chap_secrets_file"} {
		if len(s.Realms) > 0 && at.given(key) {
			at.bad(key, "a realm of kind file", "there are realms")
		}
	}
	s.checkRealms(at)
	s.checkForward(at)
	s.checkComputers(at)
	if s.ChapSecretsServer != "" && s.ChapSecrets == "" {
		at.bad("chap_secrets_server", "chap_secrets_file beside it", "there is no chap-secrets file")
	}
	r := s.Radius
	if r.Auth == "" && r.RadSec.Listen == "" && !at.broken("radius.auth_listen", "radius.radsec.listen", "radius") {
		at.bad("radius", "auth_listen, or radsec with listen", "no listener: nobody could ask")
	}
	byName, byNetwork := make(map[Name]bool), make(map[netip.Prefix]Name)
	for i, c := range s.Clients {
		key := fmt.Sprintf("clients[%d]", i)
		if c.Name != "" && byName[c.Name] {
			at.bad(key+".name", "a name of its own for each client", "a second client %q", string(c.Name))
		}
		byName[c.Name] = true
		for j, n := range c.Networks {
			if other, twice := byNetwork[n]; twice && n.IsValid() {
				at.bad(fmt.Sprintf("%s.networks[%d]", key, j), "", "%v belongs to client %q already", n, string(other))
			}
			byNetwork[n] = c.Name
		}
		if len(c.Certificates) > 0 && r.RadSec.Listen == "" && !at.broken("radius.radsec.listen", "radius.radsec", "radius") {
			at.bad(key+".certificates", "radius.radsec.listen", "there is no RadSec listener")
		}
	}
}

func (r *RadSec) check(at place) {
	r.Identity.check(at)
	if r.Listen != "" && !r.any() && !at.broken("ca_file", "cert_file", "key_file") {
		at.bad("listen", "ca_file, cert_file and key_file beside it", "a RadSec listener needs a TLS identity")
	}
}

func (f *Follow) check(at place) {
	if f.Interval > 0 && f.Interval < time.Second && !at.broken("interval") {
		at.bad("interval", "1s or more, or 0s for never", "%v is too often", f.Interval)
	}
}

func (c *NASClient) check(at place) {
	checkSecret(at, c.Secret, len(c.Networks) > 0 || c.CoA != "")
	if len(c.Networks) == 0 && len(c.Certificates) == 0 && !at.broken("networks", "certificates") {
		at.bad("networks", "networks with a secret, or certificates", "nothing to know the client by")
	}
	if c.CodeInPassword && !c.AllowPAP && !at.broken("allow_pap") {
		at.bad("code_in_password", "allow_pap: true beside it", "without allow_pap there is no password that a code could stand behind")
	}
	checkStrengths(at, c.Strengths)
}

func (s *StoreConfig) check(at place) {
	if at.broken("kind") {
		return
	}
	switch s.Kind {
	case StoreEmbedded:
		if s.Path == "" && !at.broken("path") {
			at.bad("path", "path: FILE", "the embedded store needs a file")
		}
		if len(s.URLs) > 0 {
			at.bad("urls", "kind: redis", "the embedded store has no URLs")
		}
		for _, key := range []string{"sentinel_master", "user", "password", "sentinel_user", "sentinel_password", "ca_file", "cert_file", "key_file", "server_name", "replicas_ack"} {
			if at.given(key) {
				at.bad(key, "kind: redis", "the embedded store has no %s", key)
			}
		}
	case StoreRedis:
		if s.Path != "" {
			at.bad("path", "kind: embedded", "Redis has no path")
		}
		if len(s.URLs) == 0 && !at.broken("urls") {
			at.bad("urls", "urls: [redis://HOST:PORT]", "Redis needs a URL")
		}
	case StoreUnknown:
	}
	if s.Sentinel == "" && !at.broken("sentinel_master") {
		for _, key := range []string{"sentinel_user", "sentinel_password"} {
			if at.given(key) && s.Kind == StoreRedis {
				at.bad(key, "sentinel_master: NAME beside it", "there are no sentinels")
			}
		}
	}
	if (s.Cert == "") != (s.Key == "") && !at.broken("cert_file", "key_file") {
		at.bad("cert_file", "cert_file and key_file together", "one of cert_file and key_file is missing")
	}
	for i, text := range s.URLs {
		key := fmt.Sprintf("urls[%d]", i)
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "redis" && u.Scheme != "rediss":
			at.bad(key, "redis://HOST:PORT/DB or rediss://HOST:PORT/DB", "not a Redis URL")
		case u.User != nil:
			at.bad(key, "user: NAME and password: {secret_file: NAME}", "a password or user in a URL")
		}
	}
}
