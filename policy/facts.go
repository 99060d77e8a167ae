package policy

import (
	"net/netip"
	"slices"
	"time"
)

// Facts are everything a decision may depend on, besides the moment it is made for.
// The zero value of each field is the fact that nothing is known, which rules match as
// `none`; a number that is not known is told from 0 by the instant beside it.
//
// Ages are not facts: instants are, so that a decision can be made again for another
// moment.
type Facts struct {
	User   string   // canonical name
	Realm  string   // domain or realm the name was typed with: a claim
	Groups []string // of the directory, nested ones included

	Source  netip.Addr // the client's own address
	Country string     // of Source, ISO 3166-1 alpha-2; "" unknown, also without a database
	ASN     uint32     // the autonomous system of Source; 0 unknown

	NAS        string // NAS-Identifier
	NASAddress netip.Addr
	Node       bool   // it is one of our nodes
	Tunnel     string // "PPTP"; "" for none

	ClientName    string   // MS-RAS-Client-Name: a claim
	ClientVersion string   // MS-RAS-Client-Version: a claim
	Key           KeyGrade // what the session's keys are made of
	Given         Given    // the second factor that has come so far

	LastSuccess time.Time // when the user last got in from Source; zero: not for as long as that is remembered
	Risk        Risk
	Device      Device
}

// KeyGrade is what protects a session's keys (DESIGN's key grade). The zero value
// protects nothing.
type KeyGrade uint8

const (
	KeyNone KeyGrade = iota // no keys, or none that last: PAP
	KeyNTLM                 // of MS-CHAP-V2: one DES key search away
	KeyTLS                  // of a TLS handshake: EAP-TLS, PEAP
)

var keyGradeNames = [...]string{KeyNone: "none", KeyNTLM: "ntlm", KeyTLS: "tls"}

// String returns the word rules use.
func (k KeyGrade) String() string {
	if int(k) < len(keyGradeNames) {
		return keyGradeNames[k]
	}
	return keyGradeNames[KeyNone]
}

// Given is the second factor that came along with a login, or was given to its session
// since. One that is remembered is looked for after the policy has been asked, and so is
// GivenNone here.
type Given uint8

const (
	GivenNone Given = iota
	GivenCode
	GivenRecovery
	GivenWebAuthn
)

var givenNames = [...]string{GivenNone: "none", GivenCode: "code", GivenRecovery: "recovery", GivenWebAuthn: "webauthn"}

// String returns the word rules use.
func (g Given) String() string {
	if int(g) < len(givenNames) {
		return givenNames[g]
	}
	return givenNames[GivenNone]
}

// Risk is what the lockout shield has counted within its windows, before this login.
type Risk struct {
	UserFailures   int // wrong passwords for this user, from anywhere
	SourceFailures int // from this source, for anybody
	SourceUsers    int // users that failed from this source
	CodeFailures   int // wrong codes of this user
}

// Tri is what is known of a question. The zero value is that nothing is.
type Tri uint8

const (
	Unknown Tri = iota
	No
	Yes
)

var triNames = [...]string{Unknown: missing, No: "false", Yes: "true"}

// String returns the word rules use.
func (t Tri) String() string {
	if int(t) < len(triNames) {
		return triNames[t]
	}
	return triNames[Unknown]
}

// MarshalText and UnmarshalText spell it in records; a word that is not known is zero.
func (t Tri) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

func (t *Tri) UnmarshalText(b []byte) error {
	*t = Tri(max(slices.Index(triNames[:], string(b)), 0))
	return nil
}

// Confidence is how far what is said of a device can be believed, in rising order
// (DESIGN §9).
type Confidence uint8

const (
	NoConfidence Confidence = iota // nothing is said
	Claimed                        // by the client itself, unproved
	Directory                      // the directory's computer object
	Inventory                      // an inventory or MDM: pushed or imported
	Attested                       // a report signed with the device's own key
)

var confidenceNames = [...]string{
	NoConfidence: missing, Claimed: "claimed", Directory: "directory", Inventory: "inventory", Attested: "attested",
}

// String returns the word rules use.
func (c Confidence) String() string {
	if int(c) < len(confidenceNames) {
		return confidenceNames[c]
	}
	return confidenceNames[NoConfidence]
}

// MarshalText and UnmarshalText spell it in records; a word that is not known is zero.
func (c Confidence) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func (c *Confidence) UnmarshalText(b []byte) error {
	*c = Confidence(max(slices.Index(confidenceNames[:], string(b)), 0))
	return nil
}

// Fact is one thing that is known of a device. The zero value is that it is not known.
type Fact[T comparable] struct {
	Value      T
	Confidence Confidence
	Source     string    // who says so: "agent", "intune"…; for explanations
	At         time.Time // when it was so
}

// Device is what is known of the device a login comes from. The zero value is an unknown
// device. Each fact is the most believable that is known: rules that demand a confidence
// take what is less for unknown.
type Device struct {
	ID   string // of our records, "" unknown
	Name string // its host name
	Join string // how the login was found to come from it, one of Joins; "" unknown
	// Owned: it belongs to this user, as far as that is known.
	Owned Tri
	// Reported is when each confidence last said anything, by Confidence.
	Reported [Attested + 1]time.Time

	OS        Fact[string] // windows, macos, linux, ios, android…
	OSVersion Fact[string] // dotted numbers, such as 10.0.19045.3570
	Managed   Fact[Tri]
	Compliant Fact[Tri] // what the inventory makes of it
	Encrypted Fact[Tri] // all fixed disks
	Firewall  Fact[Tri]
	Antivirus Fact[Tri] // on and up to date
	Lock      Fact[Tri] // the screen locks by itself
	Enabled   Fact[Tri] // the directory's account of the device

	Patched   Fact[time.Time] // when it was last patched
	Booted    Fact[time.Time]
	LastLogon Fact[time.Time] // of the device itself, to the directory

	Groups []string // of the directory, nested ones included
}

// Joins are the ways in which a login is found to come from a device, in the order in
// which they are tried.
var Joins = [...]string{"tag", "report", "enrolled", "client"}

// missing is how rules write a fact that is not known.
const missing = "none"
