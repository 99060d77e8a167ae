package inputs

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"postern/internal/seal"
	"postern/policy"
)

// purpose is what the digests are for, to the ring.
const purpose = "inputs"

// pseudonymLen is how many octets of the digest a pseudonym has: two of a billion names
// are the same once in 2^36 installations.
const pseudonymLen = 12

// Pseudonyms makes keyed digests of names. The same name has the same pseudonym for as
// long as the ring's first key stays the same; nobody without the ring can tell whose it
// is by trying names.
type Pseudonyms struct {
	ring *seal.Ring
	key  string
}

// NewPseudonyms makes pseudonyms under a key of the ring; "": the current one.
func NewPseudonyms(ring *seal.Ring, key string) (*Pseudonyms, error) {
	if key == "" {
		key = ring.Current()
	}
	p := &Pseudonyms{ring, key}
	_, err := p.digest("user", "")
	return p, err
}

func (p *Pseudonyms) digest(kind, name string) (string, error) {
	d, err := p.ring.DigestUnder(p.key, purpose, kind, []byte(policy.Fold(name)))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(d))
	return "~" + hex.EncodeToString(sum[:pseudonymLen]), nil
}

// Name is the pseudonym of a name that conditions of this key compare: user, client or
// device. No name stays none. Names that conditions take for the same have the same.
func (p *Pseudonyms) Name(condition, name string) string {
	if name == "" || strings.HasPrefix(name, "~") {
		return name
	}
	d, err := p.digest(condition, name)
	if err != nil { // the key was there when p was made, and rings do not change
		return "~"
	}
	return d
}

// hide replaces what names people and devices in a record.
func (p *Pseudonyms) hide(r *Record) {
	f := &r.Facts
	f.User = p.Name("user", f.User)
	f.ClientName = p.Name("client", f.ClientName)
	f.Device.ID = p.Name("device", f.Device.ID)
	f.Device.Name = p.Name("device", f.Device.Name)
	r.Provenance.SID = ""
	r.Key = p.key
}
