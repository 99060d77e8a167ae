package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

// File names a file; relative names count from the configuration's directory.
type File string

// Secret is a secret that stands elsewhere: exactly one of the two keys is set.
type Secret struct {
	File File   `yaml:"secret_file"` // a file; one newline at its end does not count
	Env  string `yaml:"secret_env"`  // an environment variable
}

// maxSecret bounds a secret's length, ours.
const maxSecret = 4096

// Read fetches the secret. Its value must not be logged.
func (s Secret) Read() ([]byte, error) {
	var value []byte
	switch {
	case s.File != "":
		b, err := os.ReadFile(string(s.File))
		if err != nil {
			return nil, fmt.Errorf("read secret: %w", err)
		}
		value = []byte(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			return nil, fmt.Errorf("read secret: environment variable %s is not set", s.Env)
		}
		value = []byte(v)
	default:
		return nil, errors.New("read secret: none configured")
	}
	switch {
	case len(value) == 0:
		return nil, fmt.Errorf("read secret: %s is empty", s.source())
	case len(value) > maxSecret:
		return nil, fmt.Errorf("read secret: %s has more than %d octets", s.source(), maxSecret)
	}
	return value, nil
}

// Set says whether a secret is configured.
func (s Secret) Set() bool { return s.File != "" || s.Env != "" }

func (s Secret) source() string {
	if s.File != "" {
		return string(s.File)
	}
	return "$" + s.Env
}

// checkSecret is for structs with an embedded Secret.
func checkSecret(at place, s Secret, needed bool) {
	switch {
	case s.File != "" && s.Env != "":
		at.bad("secret_env", "one of secret_file and secret_env", "secret_file is given, too")
	case needed && !s.Set() && !at.broken("secret_file", "secret_env"):
		at.bad("secret_file", "secret_file: NAME, or secret_env: NAME", "no secret")
	}
}

// Listen is where a server listens, ":1812" for all addresses.
type Listen string

func (*Listen) expected() string { return "address and port such as :1812 or 127.0.0.1:9100" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Listen) UnmarshalText(text []byte) error {
	host, port, err := splitHostPort(string(text))
	if err != nil {
		return err
	}
	if host != "" && !isAddr(host) {
		return errors.New("a listener needs an address, not a name")
	}
	if port == 0 {
		return errors.New("no port")
	}
	*l = Listen(text)
	return nil
}

// Remote is the address of a server, a name allowed.
type Remote string

func (*Remote) expected() string { return "host and port such as radius1.example.org:2083" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Remote) UnmarshalText(text []byte) error {
	host, port, err := splitHostPort(string(text))
	if err != nil {
		return err
	}
	if host == "" || port == 0 {
		return errors.New("host or port is missing")
	}
	*r = Remote(text)
	return nil
}

// Name is a name that becomes part of attributes, keys and metrics.
type Name string

func (*Name) expected() string { return "letters, digits, dots, dashes and underscores, 64 at most" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *Name) UnmarshalText(text []byte) error {
	if len(text) == 0 || len(text) > 64 {
		return errors.New("not a name")
	}
	for _, c := range text {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._-", c) >= 0) {
			return errors.New("not a name")
		}
	}
	*n = Name(text)
	return nil
}

// Transport is how a node reaches a service.
type Transport uint8

const (
	TransportUnknown Transport = iota
	TransportUDP               // RFC 2865: only signed, never across a network one does not own
	TransportRadSec            // RFC 6614
)

var transports = []string{TransportUDP: "udp", TransportRadSec: "radsec"}

func (t Transport) String() string  { return enumName(transports, int(t)) }
func (*Transport) expected() string { return enumExpected(transports) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Transport) UnmarshalText(text []byte) error { return enumSet(t, transports, text) }

// StoreKind is where services keep what they share.
type StoreKind uint8

const (
	StoreUnknown  StoreKind = iota
	StoreEmbedded           // a bbolt file: one service only
	StoreRedis              // standalone, Sentinel or Cluster
)

var storeKinds = []string{StoreEmbedded: "embedded", StoreRedis: "redis"}

func (k StoreKind) String() string  { return enumName(storeKinds, int(k)) }
func (*StoreKind) expected() string { return enumExpected(storeKinds) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *StoreKind) UnmarshalText(text []byte) error { return enumSet(k, storeKinds, text) }

// PolicyFrom is where the policy in force comes from.
type PolicyFrom uint8

const (
	PolicyFromUnknown PolicyFrom = iota
	PolicyFromFile               // each service's own file
	PolicyFromStore              // what was activated, for all services
)

var policyFroms = []string{PolicyFromFile: "file", PolicyFromStore: "store"}

func (f PolicyFrom) String() string  { return enumName(policyFroms, int(f)) }
func (*PolicyFrom) expected() string { return enumExpected(policyFroms) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *PolicyFrom) UnmarshalText(text []byte) error { return enumSet(f, policyFroms, text) }

// Auth is an authentication method the node asks its clients for. Weaker ones
// than MS-CHAPv2 do not exist here: PAP, CHAP-MD5 and MS-CHAPv1 give no keys or
// give the password away.
type Auth uint8

const (
	AuthUnknown Auth = iota
	AuthMSCHAPv2
)

var auths = []string{AuthMSCHAPv2: "mschapv2"}

func (a Auth) String() string  { return enumName(auths, int(a)) }
func (*Auth) expected() string { return enumExpected(auths) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Auth) UnmarshalText(text []byte) error { return enumSet(a, auths, text) }

// Stateful is what a node thinks of MPPE's stateful mode (RFC 3078 §3).
type Stateful uint8

const (
	StatefulUnknown Stateful = iota
	StatefulNever
	StatefulAllow  // for peers that insist
	StatefulPrefer // asked for; a pppd without mppe-stateful hangs up then
)

var statefuls = []string{StatefulNever: "never", StatefulAllow: "allow", StatefulPrefer: "prefer"}

func (s Stateful) String() string  { return enumName(statefuls, int(s)) }
func (*Stateful) expected() string { return enumExpected(statefuls) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Stateful) UnmarshalText(text []byte) error { return enumSet(s, statefuls, text) }

// LogFormat is how log lines look.
type LogFormat uint8

const (
	LogUnknown LogFormat = iota
	LogJSON
	LogText
)

var logFormats = []string{LogJSON: "json", LogText: "text"}

func (f LogFormat) String() string  { return enumName(logFormats, int(f)) }
func (*LogFormat) expected() string { return enumExpected(logFormats) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *LogFormat) UnmarshalText(text []byte) error { return enumSet(f, logFormats, text) }

// Level is the least level that is logged.
type Level slog.Level

func (*Level) expected() string { return "one of: debug, info, warn, error" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.ToLower(level.String()) == string(text) {
			*l = Level(level)
			return nil
		}
	}
	return errors.New("not a level")
}

// Separator is the character between user name and one-time code. It must be
// one that directories forbid in account names; @ and \ are taken by domains.
type Separator byte

func (*Separator) expected() string { return `one of: ` + separators }

// separators are characters Active Directory forbids in sAMAccountName, but for
// those that RADIUS realms, shells or phones' keyboards make trouble with, and #
// and ! that other directories allow but nobody uses.
const separators = "+ , ; = * # ! /"

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Separator) UnmarshalText(text []byte) error {
	if len(text) != 1 || text[0] == ' ' || !strings.Contains(separators, string(text)) {
		return errors.New("not a separator")
	}
	*c = Separator(text[0])
	return nil
}

// DeviceSeparator is the character between user name and device; 0: names have no
// devices.
type DeviceSeparator byte

func (*DeviceSeparator) expected() string { return "one of: " + deviceSeparators + " off" }

// deviceSeparators are none of the separators of codes, and seldom in names.
const deviceSeparators = "% ~ &"

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *DeviceSeparator) UnmarshalText(text []byte) error {
	switch {
	case string(text) == "off":
		*c = 0
	case len(text) != 1 || text[0] == ' ' || !strings.Contains(deviceSeparators, string(text)):
		return errors.New("not a separator")
	default:
		*c = DeviceSeparator(text[0])
	}
	return nil
}

func enumName(names []string, i int) string {
	if i > 0 && i < len(names) {
		return names[i]
	}
	return "unknown"
}

func enumExpected(names []string) string { return "one of: " + strings.Join(names[1:], ", ") }

func enumSet[E ~uint8](e *E, names []string, text []byte) error {
	i := slices.Index(names[1:], string(text))
	if i < 0 {
		if near := suggest(string(text), names[1:]); near != "" {
			return fmt.Errorf("unknown, did you mean %q?", near)
		}
		return errors.New("unknown")
	}
	*e = E(i + 1)
	return nil
}

// printable refuses what would garble a log line or a header.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
