// Package seal keeps secrets in places that may be copied: AES-256-GCM envelopes
// (NIST SP 800-38D) under a key ring that lives in a file outside the store.
//
// An envelope is text:
//
//	v1.KEY.base64url(nonce (12) ciphertext tag (16))
//
// KEY names the ring's key, so that old keys still open after a rotation. The
// additional data binds the envelope to its purpose and subject: a secret moved
// to another user's record does not open there.
//
// Nothing in this package prints or logs a key or a plaintext.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Errors of Open. None tells anything about the content.
var (
	ErrFormat = errors.New("seal: not an envelope")
	ErrKey    = errors.New("seal: no such key in the ring")
	ErrOpen   = errors.New("seal: envelope does not open") // altered, or for another purpose or subject
)

const (
	version  = "v1"
	overhead = 12 + 16 // nonce and tag
)

// Ring is the keys of one installation, the current one first. It is safe for
// concurrent use and never changes.
type Ring struct {
	keys []key
}

type key struct {
	id   string
	aead cipher.AEAD // draws its nonces: 2^32 envelopes a key are safe
	mac  []byte      // for Digest: never the key of envelopes itself
}

func newKey(id string, secret []byte) (key, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return key{}, err
	}
	mac, err := hkdf.Key(sha256.New, secret, nil, "postern "+version+" digest", sha256.Size)
	return key{id, aead, mac}, err
}

// Seal makes an envelope under the current key. Purpose says what the secret is
// ("totp"), subject whose it is.
func (r *Ring) Seal(purpose, subject string, plaintext []byte) (string, error) {
	if r == nil || len(r.keys) == 0 {
		return "", ErrKey
	}
	k := r.keys[0]
	sealed := k.aead.Seal(nil, nil, plaintext, aad(k.id, purpose, subject))
	return version + "." + k.id + "." + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Open opens an envelope that Seal made for the same purpose and subject under
// any key of the ring.
func (r *Ring) Open(purpose, subject, envelope string) ([]byte, error) {
	id, sealed, err := parse(envelope)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, ErrKey
	}
	for _, k := range r.keys {
		if k.id == id {
			plain, err := k.aead.Open(nil, nil, sealed, aad(id, purpose, subject))
			if err != nil {
				return nil, ErrOpen
			}
			return plain, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrKey, id)
}

// Stale reports whether an envelope should be sealed anew: it is under another
// key than the current one.
func (r *Ring) Stale(envelope string) bool {
	id, _, err := parse(envelope)
	return err != nil || r == nil || len(r.keys) == 0 || id != r.keys[0].id
}

// Digest is a keyed hash of a secret that is only ever compared, a recovery code for
// one, under the current key: HMAC-SHA-256 (RFC 2104). Who has the digest and not the
// ring cannot try secrets. It is text, d1.KEY.base64url(hash).
func (r *Ring) Digest(purpose, subject string, secret []byte) (string, error) {
	if r == nil || len(r.keys) == 0 {
		return "", ErrKey
	}
	return r.keys[0].digest(purpose, subject, secret), nil
}

// Matches says whether a digest is that of a secret, under any key of the ring. It takes
// as long for a wrong one as for a right one.
func (r *Ring) Matches(purpose, subject string, secret []byte, digest string) bool {
	if r == nil {
		return false
	}
	ok := 0
	for _, k := range r.keys {
		ok |= subtle.ConstantTimeCompare([]byte(k.digest(purpose, subject, secret)), []byte(digest))
	}
	return ok == 1
}

// StaleDigest reports whether a digest is under another key than the current one. It
// cannot be made anew without the secret: the key must stay in the ring while it counts.
func (r *Ring) StaleDigest(digest string) bool {
	return r == nil || len(r.keys) == 0 || !strings.HasPrefix(digest, digestVersion+"."+r.keys[0].id+".")
}

const digestVersion = "d1"

func (k *key) digest(purpose, subject string, secret []byte) string {
	h := hmac.New(sha256.New, k.mac)
	h.Write(aad(k.id, purpose, subject))
	h.Write(secret)
	return digestVersion + "." + k.id + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

func parse(envelope string) (id string, sealed []byte, err error) {
	v, rest, _ := strings.Cut(envelope, ".")
	id, text, found := strings.Cut(rest, ".")
	if v != version || !found || !validID(id) {
		return "", nil, ErrFormat
	}
	// Strict: one secret has one text, so that comparing texts means something.
	sealed, err = base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) < overhead || strings.ContainsAny(text, "\r\n") {
		return "", nil, ErrFormat
	}
	return id, sealed, nil
}

// aad is unambiguous: each part carries its length.
func aad(parts ...string) []byte {
	b := []byte("postern " + version)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// String says how many keys there are and nothing about them.
func (r *Ring) String() string {
	if r == nil {
		return "seal.Ring(nil)"
	}
	return fmt.Sprintf("seal.Ring(%d keys)", len(r.keys))
}

// GoString keeps %#v from walking into the keys.
func (r *Ring) GoString() string { return r.String() }

// LogValue keeps logs from walking into the keys.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(r.String()) }
