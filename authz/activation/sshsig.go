package activation

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// namespace is what a signature must be for (ssh-keygen -n): one made for a commit or a
// mail is none for a policy.
const namespace = "postern-policy"

const (
	sshBegin   = "-----BEGIN SSH SIGNATURE-----"
	sshType    = "SSH SIGNATURE"
	sshMagic   = "SSHSIG"
	sshVersion = 1
)

// userPresent is the flag of a security key that was touched (FIDO2 §6.1).
const userPresent = 1

// sshSignature is a signature in OpenSSH's format (PROTOCOL.sshsig).
//
//	"SSHSIG"  uint32 1  string key  string namespace  string reserved  string hash  string signature
type sshSignature struct {
	Version       uint32
	PublicKey     []byte
	Namespace     string
	Reserved      string
	HashAlgorithm string
	Signature     []byte
}

// parseSSHSignature reads the armoured form.
func parseSSHSignature(text []byte) (*sshSignature, error) {
	block, rest := pem.Decode(bytes.TrimSpace(text))
	if block == nil || block.Type != sshType || len(block.Headers) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not an SSH signature")
	}
	blob, ok := bytes.CutPrefix(block.Bytes, []byte(sshMagic))
	if !ok {
		return nil, errors.New("SSH signature without its preamble")
	}
	s := new(sshSignature)
	if err := ssh.Unmarshal(blob, s); err != nil {
		return nil, fmt.Errorf("SSH signature: %w", err)
	}
	if s.Version != sshVersion {
		return nil, fmt.Errorf("SSH signature of version %d", s.Version)
	}
	return s, nil
}

// encode is the armoured form, lines as ssh-keygen has them.
func (s *sshSignature) encode() []byte {
	blob := base64.StdEncoding.EncodeToString(append([]byte(sshMagic), ssh.Marshal(s)...))
	text := []byte(sshBegin + "\n")
	for len(blob) > 0 {
		n := min(len(blob), 70)
		text = append(append(text, blob[:n]...), '\n')
		blob = blob[n:]
	}
	return append(text, "-----END SSH SIGNATURE-----\n"...)
}

// signed is what the key has signed of a text.
func (s *sshSignature) signed(text []byte) ([]byte, error) {
	var digest []byte
	switch s.HashAlgorithm {
	case "sha256":
		sum := sha256.Sum256(text)
		digest = sum[:]
	case "sha512":
		sum := sha512.Sum512(text)
		digest = sum[:]
	default:
		return nil, fmt.Errorf("SSH signature with hash %q", s.HashAlgorithm)
	}
	return append([]byte(sshMagic), ssh.Marshal(struct {
		Namespace, Reserved, HashAlgorithm string
		Digest                             []byte
	}{s.Namespace, s.Reserved, s.HashAlgorithm, digest})...), nil
}

// verify says whether key has signed the text.
func (s *sshSignature) verify(key ssh.PublicKey, text []byte) error {
	if s.Namespace != namespace {
		return fmt.Errorf("signed for %q, not for %q (ssh-keygen -Y sign -n %s)", s.Namespace, namespace, namespace)
	}
	message, err := s.signed(text)
	if err != nil {
		return err
	}
	var sig ssh.Signature
	if err := ssh.Unmarshal(s.Signature, &sig); err != nil {
		return fmt.Errorf("SSH signature: %w", err)
	}
	if sig.Format != key.Type() {
		return fmt.Errorf("SSH signature of kind %q by a key of kind %s", sig.Format, key.Type())
	}
	if touched := key.Type() == ssh.KeyAlgoSKED25519 || key.Type() == ssh.KeyAlgoSKECDSA256; touched {
		if len(sig.Rest) == 0 || sig.Rest[0]&userPresent == 0 {
			return errors.New("the security key was not touched")
		}
	}
	return key.Verify(message, &sig)
}
