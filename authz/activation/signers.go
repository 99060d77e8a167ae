package activation

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// Signers are those who may sign policies.
type Signers struct{ list []signer }

// signer is one line of a signers file: a key of OpenSSH or of minisign.
type signer struct {
	name  string
	ssh   ssh.PublicKey
	mini  *miniKey
	after time.Time // not before it; zero: without limit
	until time.Time // not from then on; zero: without limit
}

// Bounds of a signers file, ours.
const (
	maxSigners     = 256
	maxSignersText = 256 << 10
)

// sshKinds are the keys that may sign. RSA is left out: its signatures say nothing that
// these do not, and old ones are of SHA-1.
var sshKinds = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKECDSA256,
}

// ParseSigners reads a signers file: lines of OpenSSH's allowed_signers (ssh-keygen(1)),
// and public keys as minisign writes them, with or without the comment above.
//
//	alice@example.org,bob@example.org namespaces="postern-policy" ssh-ed25519 AAAA… comment
//	untrusted comment: minisign public key 1EB1E3A0B2C3D4E5
//	RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
//
// The error holds every line that is wrong.
func ParseSigners(name string, text []byte) (*Signers, error) {
	if len(text) > maxSignersText {
		return nil, fmt.Errorf("%s: more than %d octets", name, maxSignersText)
	}
	s := new(Signers)
	var errs []error
	n := 0
	for raw := range bytes.Lines(text) {
		n++
		line := strings.TrimSpace(string(raw))
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, strings.TrimSpace(miniUntrust)) {
			continue
		}
		one, err := parseSigner(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, n, err))
			continue
		}
		s.list = append(s.list, one)
	}
	switch {
	case len(s.list) == 0 && len(errs) == 0:
		errs = append(errs, fmt.Errorf("%s: no key, so that nobody could sign", name))
	case len(s.list) > maxSigners:
		errs = append(errs, fmt.Errorf("%s: %d keys, more than %d", name, len(s.list), maxSigners))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// parseSigner reads one line.
func parseSigner(line string) (signer, error) {
	words, err := signerWords(line)
	if err != nil {
		return signer{}, err
	}
	if len(words) == 1 {
		k, err := parseMiniKey(words[0])
		if err != nil {
			return signer{}, errors.New(`expected PRINCIPAL [OPTIONS] KIND KEY, as "alice@example.org ssh-ed25519 AAAA…", or a key of minisign`)
		}
		return signer{name: k.name(), mini: k}, nil
	}
	s := signer{name: words[0]}
	i := 1
	if i < len(words) && !isKeyKind(words[i]) { // options
		if err := s.readOptions(words[i]); err != nil {
			return s, err
		}
		i++
	}
	if len(words) < i+2 {
		return s, errors.New("no key: expected PRINCIPAL [OPTIONS] KIND KEY")
	}
	if !slices.Contains(sshKinds, words[i]) {
		return s, fmt.Errorf("a key of kind %q cannot sign policies; one of: %s", words[i], strings.Join(sshKinds, ", "))
	}
	blob, err := base64.StdEncoding.DecodeString(words[i+1])
	if err != nil {
		return s, fmt.Errorf("the key is not base64: %w", err)
	}
	if s.ssh, err = ssh.ParsePublicKey(blob); err != nil {
		return s, fmt.Errorf("the key: %w", err)
	}
	if s.ssh.Type() != words[i] {
		return s, fmt.Errorf("the key is of kind %s, not %s", s.ssh.Type(), words[i])
	}
	return s, nil
}

// isKeyKind tells keys from options.
func isKeyKind(word string) bool {
	return strings.HasPrefix(word, "ssh-") || strings.HasPrefix(word, "ecdsa-") || strings.HasPrefix(word, "sk-")
}

// signerWords splits a line at white space outside of quotes, and takes these away.
func signerWords(line string) (words []string, err error) {
	var word strings.Builder
	quoted, in := false, false
	for _, c := range line {
		switch {
		case c == '"':
			quoted, in = !quoted, true
		case (c == ' ' || c == '\t') && !quoted:
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		case c < ' ' || c == 0x7f:
			return nil, errors.New("control character")
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if quoted {
		return nil, errors.New("a quote is not closed")
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}

// readOptions reads the options of a line. Their values have lost their quotes, and only
// namespaces may hold commas: what follows one that is no option is another namespace.
func (s *signer) readOptions(text string) error {
	var spaces []string
	named, inSpaces := false, false
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		var err error
		switch strings.ToLower(key) {
		case "namespaces":
			named, inSpaces, spaces = true, true, append(spaces, value)
			continue
		case "valid-after":
			s.after, err = parseSignerTime(value)
		case "valid-before":
			s.until, err = parseSignerTime(value)
		case "cert-authority":
			return errors.New("certificates cannot sign policies: enter the keys themselves")
		default:
			if inSpaces {
				spaces = append(spaces, part)
				continue
			}
			return fmt.Errorf("unknown option %q; one of: namespaces, valid-after, valid-before", key)
		}
		inSpaces = false
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if named && !matchesAny(namespace, spaces) {
		return fmt.Errorf("namespaces: the key is not for %q", namespace)
	}
	return nil
}

// matchesAny is for OpenSSH's list of patterns: one that begins with ! excludes.
func matchesAny(s string, patterns []string) bool {
	found := false
	for _, p := range patterns {
		p, not := strings.CutPrefix(strings.TrimSpace(p), "!")
		if matches(s, p) {
			if not {
				return false
			}
			found = true
		}
	}
	return found
}

// matches is for patterns with * and ?; it goes back to the last star only, so that its
// time is bounded by the product of the lengths.
func matches(s, pattern string) bool {
	i, j, star, from := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(pattern) && pattern[j] == '*':
			star, from = j, i
			j++
		case j < len(pattern) && (pattern[j] == '?' || pattern[j] == s[i]):
			i++
			j++
		case star >= 0:
			from++
			i, j = from, star+1
		default:
			return false
		}
	}
	return strings.Trim(pattern[j:], "*") == ""
}

// parseSignerTime reads YYYYMMDD[HHMM[SS]][Z], in local time without the Z.
func parseSignerTime(s string) (time.Time, error) {
	zone := time.Local
	if t, utc := strings.CutSuffix(s, "Z"); utc {
		s, zone = t, time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(s) == len(layout) {
			return time.ParseInLocation(layout, s, zone)
		}
	}
	return time.Time{}, fmt.Errorf("%q is not YYYYMMDD[HHMM[SS]][Z]", s)
}

// Verify says who signed a text, at a moment at which he might.
func (s *Signers) Verify(text, signature []byte, at time.Time) (string, error) {
	if len(signature) == 0 {
		return "", errors.New("it is not signed")
	}
	if bytes.Contains(signature, []byte(sshBegin)) {
		sig, err := parseSSHSignature(signature)
		if err != nil {
			return "", err
		}
		return s.find(at, func(k *signer) (bool, error) {
			if k.ssh == nil || !bytes.Equal(k.ssh.Marshal(), sig.PublicKey) {
				return false, nil
			}
			return true, sig.verify(k.ssh, text)
		})
	}
	sig, err := parseMiniSignature(signature)
	if err != nil {
		return "", err
	}
	return s.find(at, func(k *signer) (bool, error) {
		if k.mini == nil || k.mini.id != sig.id {
			return false, nil
		}
		return true, sig.verify(k.mini, text)
	})
}

// find looks for the key of a signature. His says whether it is a signer's, and good.
func (s *Signers) find(at time.Time, his func(*signer) (bool, error)) (string, error) {
	failed := errors.New("signed with a key that is none of the signers'")
	for i := range s.list {
		k := &s.list[i]
		mine, err := his(k)
		switch {
		case !mine:
			continue
		case err != nil:
			failed = fmt.Errorf("signature of %s: %w", k.name, err)
		case !k.after.IsZero() && at.Before(k.after), !k.until.IsZero() && !at.Before(k.until):
			failed = fmt.Errorf("signature of %s: the key was not valid at %s", k.name, at.UTC().Format(time.RFC3339))
		default:
			return k.name, nil
		}
	}
	return "", failed
}
