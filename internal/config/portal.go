package config

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Portal is where people give their second factor and look after it. Without Listen
// this service has none; URL alone sends people to the portal of another service.
type Portal struct {
	Listen Listen `yaml:"listen"`
	// URL is how browsers reach the portal, through whatever stands before it. TLS
	// ends here and nowhere else: the address of a visitor must be his own.
	URL PortalURL `yaml:"url"`
	// Cert and Key are read again when the files change.
	Cert File `yaml:"cert_file"`
	Key  File `yaml:"key_file"`

	// EnrolFrom are networks in which a password is enough to enrol a first factor. No
	// node and no client of the VPN counts, even with an address of these networks.
	EnrolFrom []netip.Prefix `yaml:"enrol_from"`

	// Languages that are offered; absent: all there are. Default is for browsers that
	// want none of them.
	Languages []Language `yaml:"languages"`
	Default   Language   `yaml:"default_language" default:"en"`

	// Name is the installation's, on each page; Mark one to three letters in the place
	// of a logo; Support whom to ask for help.
	Name    PageText `yaml:"name" default:"Postern"`
	Mark    Mark     `yaml:"mark"`
	Support PageText `yaml:"support"`

	// Idle ends a visit that is not used, Lifetime every visit.
	Idle     time.Duration `yaml:"idle" default:"10m" min:"1m" max:"2h"`
	Lifetime time.Duration `yaml:"lifetime" default:"2h" min:"5m" max:"24h"`

	Limits PortalLimits `yaml:"limits"`
}

// PortalLimits bounds what is tried, before anything is looked up. The shield counts
// what was wrong besides.
type PortalLimits struct {
	// PerSource is how many forms one address (of IPv6: one /64) may send in a minute
	// outside any session, PerUser how many may concern one person.
	PerSource int `yaml:"per_source" default:"60" min:"1" max:"200"`
	PerUser   int `yaml:"per_user" default:"20" min:"1" max:"200"`
	// Connections that are open at once, in all and of one address.
	Connections int `yaml:"connections" default:"1024" min:"1" max:"65536"`
	PerAddress  int `yaml:"connections_per_address" default:"256" min:"1" max:"65536"`
}

func (p *Portal) check(at place) {
	if p.Listen == "" {
		for _, key := range []string{"cert_file", "key_file"} {
			if at.given(key) && !at.broken("listen") {
				at.bad(key, "listen beside it", "there is no listener")
			}
		}
	} else {
		at.needs("url", p.URL == "", "url: https://HOST")
		at.needs("cert_file", p.Cert == "", "cert_file: NAME")
		at.needs("key_file", p.Key == "", "key_file: NAME")
	}
	if p.Lifetime < p.Idle && !at.broken("idle", "lifetime") {
		at.bad("lifetime", "as long as idle, or longer", "%v is shorter than idle, %v", p.Lifetime, p.Idle)
	}
	for i, n := range p.EnrolFrom {
		if n.IsValid() && n.Bits() == 0 {
			at.bad("enrol_from", "networks of your own", "element %d is the whole Internet", i+1)
		}
	}
	if len(p.Languages) > 0 && !at.broken("languages", "default_language") {
		for _, l := range p.Languages {
			if l == p.Default {
				return
			}
		}
		at.bad("default_language", "one of languages", "%q is not among languages", string(p.Default))
	}
}

// PortalURL is scheme, host and port and nothing else, so that it is an origin, too
// (RFC 6454 §4).
type PortalURL string

func (*PortalURL) expected() string {
	return "https://HOST or https://HOST:PORT, and nothing behind it"
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *PortalURL) UnmarshalText(text []byte) error {
	s := strings.TrimSuffix(string(text), "/")
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.String() != "https://"+u.Host || !printable(s) {
		return errors.New("not the portal's URL")
	}
	if u.Host != strings.ToLower(u.Host) || strings.Contains(u.Host, "*") || u.Port() == "443" || strings.HasSuffix(u.Host, ":") {
		return errors.New("not as browsers spell it: lower case, and no port 443")
	}
	*p = PortalURL(s)
	return nil
}

// Language is a primary language tag (RFC 5646 §2.2.1), perhaps with a region.
type Language string

func (*Language) expected() string { return "a language such as en, de or pt-BR" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Language) UnmarshalText(text []byte) error {
	primary, region, regional := strings.Cut(string(text), "-")
	ok := len(primary) >= 2 && len(primary) <= 3 && strings.Trim(primary, "abcdefghijklmnopqrstuvwxyz") == ""
	if regional {
		ok = ok && len(region) == 2 && strings.Trim(region, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
	}
	if !ok {
		return errors.New("not a language")
	}
	*l = Language(text)
	return nil
}

// PageText is one line that stands on each page.
type PageText string

func (*PageText) expected() string { return "one line of text, 200 characters at most" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *PageText) UnmarshalText(text []byte) error {
	if len(text) == 0 || utf8.RuneCount(text) > 200 || !printable(string(text)) {
		return errors.New("not one line")
	}
	*t = PageText(text)
	return nil
}

// Mark is what stands in the place of a logo.
type Mark string

func (*Mark) expected() string { return "one to three characters" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mark) UnmarshalText(text []byte) error {
	if n := utf8.RuneCount(text); n < 1 || n > 3 || !printable(string(text)) {
		return errors.New("not a mark")
	}
	*m = Mark(text)
	return nil
}
