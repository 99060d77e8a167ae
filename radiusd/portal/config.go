package portal

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"
	"unicode/utf8"
)

// Config of a Server. What is zero gets the value named beside it.
type Config struct {
	Listen    string // host:port
	URL       string // https://HOST[:PORT], as browsers see it
	Cert, Key string // files

	// EnrolFrom are networks in which a password is enough to enrol a first factor.
	EnrolFrom []netip.Prefix

	// Agents is where devices report; nil: nowhere. A reload does not change it.
	Agents Agents
	// Pushes is where inventories send what they know; nil: nowhere. A reload does not
	// change it.
	Pushes Pushes
	// SelfEnrol lets users enrol computers of theirs; else it takes an operator's ticket.
	SelfEnrol bool

	Languages []string // tags; none: all there are
	Default   string   // en
	Name      string   // of the installation; Postern
	Mark      string   // in the place of a logo; the name's first letter
	Support   string   // whom to ask; "": nobody
	Separator byte     // between name and code at a login; +
	Location  *time.Location

	Idle     time.Duration // 10 min
	Lifetime time.Duration // 2 h

	PerSource   int // forms in a minute, 60
	PerUser     int // the same, 20
	Connections int // 1024
	PerAddress  int // 256

	Now func() time.Time // time.Now
}

// Bounds of a request, ours: a form is a few hundred octets.
const (
	maxHeader   = 16 << 10
	maxBody     = 8 << 10
	maxPath     = 2 << 10
	maxStreams  = 32  // of one HTTP/2 connection
	maxRequests = 256 // in work at once
	headerTime  = 10 * time.Second
	requestTime = 15 * time.Second // reading one
	answerTime  = 20 * time.Second // working on it
	writeTime   = 30 * time.Second // all of it
	idleTime    = 60 * time.Second
	goodbye     = 3 * time.Second
	window      = time.Minute // of the limits
	// fresh is how long a proof is good for what matters: removing a device, new
	// recovery codes.
	fresh = 5 * time.Minute
	// unfinished is how long a device may be begun, and recovery codes be unsaved.
	unfinished = 10 * time.Minute
	// seenEvery is how often the idle time of a visit is put off in the store.
	seenEvery = 30 * time.Second
)

func (c Config) withDefaults() Config {
	c.Default = cmp.Or(c.Default, "en")
	c.Name = cmp.Or(c.Name, "Postern")
	if c.Mark == "" {
		_, n := utf8.DecodeRuneInString(c.Name)
		c.Mark = c.Name[:n]
	}
	c.Separator = cmp.Or(c.Separator, '+')
	c.Idle = cmp.Or(c.Idle, 10*time.Minute)
	c.Lifetime = cmp.Or(c.Lifetime, 2*time.Hour)
	c.PerSource = cmp.Or(c.PerSource, 60)
	c.PerUser = cmp.Or(c.PerUser, 20)
	c.Connections = cmp.Or(c.Connections, 1024)
	c.PerAddress = cmp.Or(c.PerAddress, 256)
	if c.Location == nil {
		c.Location = time.Local
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// settings is what a reload swaps, all at once.
type settings struct {
	Config
	choice choice
	host   string // of the URL, as a request's Host must be
}

func newSettings(c Config) (*settings, error) {
	c = c.withDefaults()
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || c.URL != "https://"+u.Host {
		return nil, fmt.Errorf("portal: URL %q is not https://HOST", c.URL)
	}
	if c.Lifetime < c.Idle || c.Idle <= 0 {
		return nil, errors.New("portal: lifetime is shorter than idle")
	}
	ch, err := newChoice(c.Languages, c.Default)
	if err != nil {
		return nil, err
	}
	return &settings{Config: c, choice: ch, host: u.Host}, nil
}

// Check says what New would find wrong, certificates included.
func (c Config) Check() error {
	_, err := newSettings(c)
	_, _, certErr := readPair(c.Cert, c.Key)
	return errors.Join(err, certErr)
}
