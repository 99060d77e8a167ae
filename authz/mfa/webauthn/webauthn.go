// Package webauthn is the second factor that no phishing page can pass on: keys in
// phones, laptops and tokens that sign for the portal's name only (W3C Web
// Authentication, level 3: §7.1 registration, §7.2 assertion; FIDO CTAP2).
//
//	browser                   any service                        store
//	                  Begin…  options, sealed ceremony
//	create() / get()
//	                  Finish… opens it, marks it used  ───────►  {user}:ceremony:…
//	                          verifies, counts         ◄──────►  {user}:keys
//
// Services keep nothing between the two steps: the ceremony travels through the
// browser, sealed and bound to user and scope, and any service finishes what another
// began, once, while it is open. A key lies in the store with its public half sealed
// to user and key, so that whoever writes to the store cannot give a user a key of
// his own.
//
// Each assertion needs the user verified by the key (a PIN, a finger) and a counter
// that has moved, where the key has one. Left out: attestation (what make a key is
// does not matter here), discoverable credentials (the user has said who he is
// before), extensions, and the search for a key ID among other users' keys (§7.1 step
// 26): an assertion is only ever looked up in its own user's record.
package webauthn

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	lib "github.com/go-webauthn/webauthn/webauthn"

	"postern/internal/seal"
	"postern/internal/store"
)

// Ours. A ceremony is open as long as somebody may need to find his key and to
// remember its PIN.
const (
	ceremonyLife = 5 * time.Minute
	// clockSlack is how far the clocks of two services and of the store may be
	// apart: a ceremony's mark outlives it by that.
	clockSlack  = 5 * time.Minute
	defaultName = "Postern"
)

// MaxKeys is how many a user may have: each finish reads them all.
const MaxKeys = 5

// Errors. They are the same whatever the reason behind them was.
var (
	ErrName         = errors.New("webauthn: the portal has no name that a key could be bound to")
	ErrTooMany      = errors.New("webauthn: the user has too many keys")
	ErrNoKey        = errors.New("webauthn: no such key")
	ErrDuplicate    = errors.New("webauthn: the user has this key already")
	ErrCeremony     = errors.New("webauthn: not a ceremony of this user, kind and scope")
	ErrExpired      = errors.New("webauthn: the ceremony took too long")
	ErrUsed         = errors.New("webauthn: the ceremony is over")
	ErrResponse     = errors.New("webauthn: not a response")
	ErrOrigin       = errors.New("webauthn: the response was made on another page")
	ErrUnverified   = errors.New("webauthn: the key did not verify its user")
	ErrClone        = errors.New("webauthn: the key's counter has not moved: there may be a copy of it")
	ErrRefused      = errors.New("webauthn: the response does not verify")
	errBusy         = errors.New("webauthn: record changed by others all the time")
	errRecordFormat = errors.New("webauthn: broken record")
)

// Config of a Verifier.
type Config struct {
	URL  string // of the portal, as browsers see it
	Name string // of the installation, shown by browsers; "": "Postern"
}

// Verifier keeps keys and checks what they sign. It is safe for concurrent use.
type Verifier struct {
	store  store.Store
	ring   *seal.Ring
	rp     *lib.WebAuthn
	origin string
}

// New makes a verifier for a portal; ErrName where browsers would refuse the portal's
// URL.
func New(s store.Store, ring *seal.Ring, c Config) (*Verifier, error) {
	id, origin, err := relyingParty(c.URL)
	if err != nil {
		return nil, err
	}
	if c.Name == "" {
		c.Name = defaultName
	}
	rp, err := lib.New(&lib.Config{
		RPID: id, RPDisplayName: c.Name, RPOrigins: []string{origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey:        protocol.ResidentKeyRequirementDiscouraged,
			RequireResidentKey: protocol.ResidentKeyNotRequired(),
			UserVerification:   protocol.VerificationRequired,
		},
		Timeouts: lib.TimeoutsConfig{
			Login:        lib.TimeoutConfig{Timeout: ceremonyLife},
			Registration: lib.TimeoutConfig{Timeout: ceremonyLife},
		},
		// Password managers send extension outputs that nobody asked for; none is
		// looked at here.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, ErrName
	}
	return &Verifier{store: s, ring: ring, rp: rp, origin: origin}, nil
}

// relyingParty takes a portal's URL apart into the RP ID, its host name, and the
// origin that browsers put into what a key signs. Keys are bound to names: browsers
// refuse IP addresses, and anything but https except on localhost (§5.1.3 steps 7-8);
// the library also refuses names without a dot.
func relyingParty(portal string) (id, origin string, err error) {
	u, err := url.Parse(portal)
	if err != nil {
		return "", "", ErrName // the URL is the operator's: config has said what is wrong with it
	}
	scheme, host, port := u.Scheme, strings.ToLower(u.Hostname()), u.Port()
	local := host == "localhost" || strings.HasSuffix(host, ".localhost")
	if !isName(host) || !local && !strings.Contains(host, ".") || scheme != "https" && (scheme != "http" || !local) {
		return "", "", ErrName
	}
	origin = scheme + "://" + host
	if port != "" && (scheme != "https" || port != "443") && (scheme != "http" || port != "80") {
		origin += ":" + port
	}
	return host, origin, nil
}

// isName says whether a host is a DNS name and nothing that a browser takes for an
// address ("127.1" is one: its last label is a number).
func isName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || len(host) == 0 || len(host) > 253 {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if len(label) == 0 || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false // also other scripts: the URL has to have them as browsers send them, xn--
			}
		}
		last = label
	}
	return last[0] < '0' || last[0] > '9'
}
