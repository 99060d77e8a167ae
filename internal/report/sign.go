package report

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// A signature is for one purpose: what was signed to enrol is no report.
const (
	reportContext = "postern agent report v1\n"
	enrolContext  = "postern agent enrolment v1\n"
)

// Envelope is a report as it travels.
type Envelope struct {
	Report    []byte `json:"report"`
	Signature []byte `json:"signature"`
	Key       string `json:"key"` // KeyID of the key that signed it
}

// KeyID names a public key.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return base64.RawURLEncoding.EncodeToString(sum[:keyIDLen])
}

const keyIDLen = 12

// Seal signs a report: the error is what Check says of it.
func Seal(r *Report, key ed25519.PrivateKey) (*Envelope, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	b := r.Append(nil)
	return &Envelope{Report: b, Signature: sign(key, reportContext, b), Key: KeyID(key.Public().(ed25519.PublicKey))}, nil
}

// Signed says whether a key has signed it. It takes as long for a wrong signature as for
// a right one.
func (e *Envelope) Signed(key ed25519.PublicKey) bool {
	return verify(key, reportContext, e.Report, e.Signature)
}

// Append appends the envelope as it travels.
func (e *Envelope) Append(b []byte) []byte { return appendJSON(b, e) }

// ParseEnvelope reads an envelope in its one spelling, without looking at what is in it.
func ParseEnvelope(b []byte) (*Envelope, error) {
	e := new(Envelope)
	if err := parseJSON(b, e, MaxRequest); err != nil {
		return nil, err
	}
	id, err := base64.RawURLEncoding.Strict().DecodeString(e.Key)
	switch {
	case len(e.Report) == 0 || len(e.Report) > MaxReport:
		return nil, fmt.Errorf("%w: a report of %d octets", ErrMalformed, len(e.Report))
	case len(e.Signature) != ed25519.SignatureSize:
		return nil, fmt.Errorf("%w: signature", ErrMalformed)
	case err != nil || len(id) != keyIDLen:
		return nil, fmt.Errorf("%w: key", ErrMalformed)
	}
	return e, nil
}

func sign(key ed25519.PrivateKey, context string, b []byte) []byte {
	return ed25519.Sign(key, append([]byte(context), b...))
}

func verify(key ed25519.PublicKey, context string, b, signature []byte) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, append([]byte(context), b...), signature)
}

func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and octets only
	}
	return append(b, text...)
}

// parseJSON reads what appendJSON writes, and nothing else.
func parseJSON(b []byte, v any, limit int) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %d octets", ErrMalformed, len(b))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: no JSON of ours", ErrMalformed)
	}
	if !bytes.Equal(appendJSON(nil, v), b) {
		return fmt.Errorf("%w: spelled in another way", ErrMalformed)
	}
	return nil
}
