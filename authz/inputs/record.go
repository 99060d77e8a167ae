// Package inputs keeps what decisions were made on, so that they can be explained, and
// made again under another policy (DESIGN §9).
//
// A service has a directory (0700) of its own with a file a day, 2026-11-23.inputs
// (0600), that is only ever appended to. A file is frames, one a record:
//
//	B5 | length (uvarint) | fields … | CRC-32C of the fields (4, little endian)
//	field: tag (uvarint) | length (uvarint) | value
//
// A reader skips tags that it does not know, so that an older program reads what a newer
// one wrote. What a crash or a full disk cut off in the middle costs the records that it
// cut: the reader goes on at the next frame whose sum is right. What a rule obliges to is
// written with the first record of the rule in a file and holds for those behind it.
//
// No password, hash, response, challenge, code or key is in a record, nor anything that
// they could be had from.
package inputs

import (
	"time"

	"postern/policy"
)

// Kind is what was decided.
//
// Handled in: kindNames; authz writes them, cmd/postern prints the names.
type Kind uint8

const (
	KindUnknown Kind = iota
	Login
	StepUp // a second factor for a session in quarantine
	Review // another look at a session that is up
)

var kindNames = [...]string{KindUnknown: "unknown", Login: "login", StepUp: "step-up", Review: "review"}

// String returns the word that is printed.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[KindUnknown]
}

// Record is one decision with what it was made on.
type Record struct {
	Decision string    // ID of the login; a step-up and a review have that of their session's
	At       time.Time // the moment that was decided for
	Kind     Kind
	Verdict  string // what became of it, as the audit line has it: accept, reject, silent, challenge
	Reason   string // as the audit line has it
	Factor   string // the second factor that counted in the end, a remembered one for one

	// Asked: the policy was asked. What was refused before that has no more facts than
	// its user, source and NAS.
	Asked   bool
	Outcome policy.Verdict // of the policy
	Rule    string         // "": none matched
	Policy  string         // its version
	// Terms are what a permit obliges to. nil: not known, because the record that said so
	// is lost.
	Terms []policy.Term
	Facts policy.Facts

	Provenance Provenance
	// Key is the ring's key under which names are digests (see Pseudonyms); "": they are
	// names.
	Key string
}

// Provenance is where facts came from, as far as they do not say so themselves.
type Provenance struct {
	Realm string // of the account: the directory that was asked; "" where there is one only
	SID   string // of the account
	Geo   string // the databases that country and ASN are from
}
