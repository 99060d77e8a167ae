package activation

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/blake2b"
)

// minisign's keys and signatures (https://jedisct1.github.io/minisign/). Of signatures
// only those over a digest, which have been its default for long.
//
//	key        "Ed"  key ID [8]  Ed25519 key [32]
//	signature  "ED"  key ID [8]  Ed25519 signature [64] of BLAKE2b-512 of the text
//	beside it  Ed25519 signature [64] of the one above and the trusted comment
const (
	miniKeyAlg   = "Ed"
	miniAlg      = "ED"
	miniIDLen    = 8
	miniKeyLen   = len(miniKeyAlg) + miniIDLen + ed25519.PublicKeySize
	miniSigLen   = len(miniAlg) + miniIDLen + ed25519.SignatureSize
	miniUntrust  = "untrusted comment: "
	miniTrust    = "trusted comment: "
	miniMaxLines = 4
)

// miniKey is a public key.
type miniKey struct {
	id  [miniIDLen]byte
	key ed25519.PublicKey
}

// name is what minisign calls the key: its ID, last octet first.
func (k *miniKey) name() string {
	id := k.id
	slices.Reverse(id[:])
	return fmt.Sprintf("minisign %X", id)
}

// parseMiniKey reads the line of a public key.
func parseMiniKey(line string) (*miniKey, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(line)
	if err != nil || len(b) != miniKeyLen || string(b[:len(miniKeyAlg)]) != miniKeyAlg {
		return nil, errors.New("not a key of minisign")
	}
	return &miniKey{[miniIDLen]byte(b[len(miniKeyAlg):]), ed25519.PublicKey(b[len(miniKeyAlg)+miniIDLen:])}, nil
}

// encode is the other way round.
func (k *miniKey) encode() string {
	return base64.StdEncoding.EncodeToString(slices.Concat([]byte(miniKeyAlg), k.id[:], k.key))
}

// miniSignature is a signature with its trusted comment.
type miniSignature struct {
	id        [miniIDLen]byte
	signature [ed25519.SignatureSize]byte
	comment   string
	global    [ed25519.SignatureSize]byte
}

// parseMiniSignature reads a .minisig file.
func parseMiniSignature(text []byte) (*miniSignature, error) {
	lines := bytes.Split(bytes.TrimRight(text, "\r\n"), []byte("\n"))
	if len(lines) != miniMaxLines {
		return nil, fmt.Errorf("minisign's signatures have %d lines, not %d", miniMaxLines, len(lines))
	}
	for i := range lines {
		lines[i] = bytes.TrimSuffix(lines[i], []byte("\r"))
	}
	comment, trusted := bytes.CutPrefix(lines[2], []byte(miniTrust))
	if !bytes.HasPrefix(lines[0], []byte(miniUntrust)) || !trusted {
		return nil, errors.New("not a signature of minisign")
	}
	sig, err1 := base64.StdEncoding.Strict().DecodeString(string(lines[1]))
	global, err2 := base64.StdEncoding.Strict().DecodeString(string(lines[3]))
	if err := errors.Join(err1, err2); err != nil || len(sig) != miniSigLen || len(global) != ed25519.SignatureSize {
		return nil, errors.New("not a signature of minisign")
	}
	if alg := string(sig[:len(miniAlg)]); alg != miniAlg {
		return nil, fmt.Errorf("minisign signature of kind %s, not %s (minisign -H)", hex.EncodeToString([]byte(alg)), miniAlg)
	}
	s := &miniSignature{id: [miniIDLen]byte(sig[len(miniAlg):]), comment: string(comment)}
	copy(s.signature[:], sig[len(miniAlg)+miniIDLen:])
	copy(s.global[:], global)
	return s, nil
}

// encode is the other way round, but for the comment that nobody trusts.
func (s *miniSignature) encode() []byte {
	sig := base64.StdEncoding.EncodeToString(slices.Concat([]byte(miniAlg), s.id[:], s.signature[:]))
	return fmt.Appendf(nil, "%s\n%s\n%s%s\n%s\n", miniUntrust, sig, miniTrust, s.comment, base64.StdEncoding.EncodeToString(s.global[:]))
}

// verify says whether key has signed the text.
func (s *miniSignature) verify(key *miniKey, text []byte) error {
	digest := blake2b.Sum512(text)
	if !ed25519.Verify(key.key, digest[:], s.signature[:]) || !ed25519.Verify(key.key, append(s.signature[:], s.comment...), s.global[:]) {
		return errors.New("the signature is not of this text")
	}
	return nil
}
