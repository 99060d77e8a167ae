package ad

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"postern/internal/seal"
)

// Secret is the machine account's password. While it is being changed there are
// two, and nobody knows which one a domain controller has: the change may have got
// lost on its way, or not yet have come to this one.
type Secret struct {
	Password []byte
	Pending  []byte // sent or about to be sent, not yet proved; nil: none
	Old      []byte // the one before, for domain controllers that lag behind; nil: none
	Changed  time.Time
}

// candidates are the passwords in the order in which they are likely.
func (s *Secret) candidates() [][]byte {
	var all [][]byte
	for _, p := range [][]byte{s.Password, s.Pending, s.Old} {
		if len(p) > 0 {
			all = append(all, p)
		}
	}
	return all
}

// Format implements fmt.Formatter, for every verb alike: passwords are not printed.
func (s Secret) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "secret of %s", s.Changed.UTC().Format(time.DateTime))
}

// Clear wipes the passwords.
func (s *Secret) Clear() {
	clear(s.Password)
	clear(s.Pending)
	clear(s.Old)
}

// SecretFile keeps a Secret sealed in a file of mode 0600.
type SecretFile struct {
	Path    string
	Ring    *seal.Ring
	Account string // DOMAIN\NAME$; a file of another account does not open
}

const (
	secretPurpose = "ad machine"
	secretHead    = "# Postern: sealed password of a machine account. `postern ad join` and `rotate` write it.\n"
	maxSecretFile = 64 << 10
)

// subject is whose secret it is, however the name is written.
func (f *SecretFile) subject() string { return strings.ToUpper(f.Account) }

// Load reads the secret. The caller clears it.
func (f *SecretFile) Load() (*Secret, error) {
	text, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("read machine secret: %w", err)
	}
	envelope, err := parseSecretFile(text)
	if err != nil {
		return nil, fmt.Errorf("read machine secret %s: %w", f.Path, err)
	}
	plain, err := f.Ring.Open(secretPurpose, f.subject(), envelope)
	if err != nil {
		return nil, fmt.Errorf("read machine secret %s of %s: %w", f.Path, f.Account, err)
	}
	defer clear(plain)
	s := new(Secret)
	if err := json.Unmarshal(plain, s); err != nil || len(s.Password) == 0 {
		return nil, fmt.Errorf("read machine secret %s: %w", f.Path, errSecret)
	}
	return s, nil
}

// errSecret says nothing about the content.
var errSecret = errors.New("not a machine secret")

// parseSecretFile finds the envelope: the one line that is no comment.
func parseSecretFile(text []byte) (envelope string, err error) {
	if len(text) > maxSecretFile {
		return "", errSecret
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if envelope != "" {
			return "", errSecret
		}
		envelope = string(line)
	}
	if envelope == "" {
		return "", errSecret
	}
	return envelope, nil
}

// Save replaces the file in one step: after a crash there is the old secret or the
// new one.
func (f *SecretFile) Save(s *Secret) error {
	plain, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write machine secret: %w", err)
	}
	defer clear(plain)
	envelope, err := f.Ring.Seal(secretPurpose, f.subject(), plain)
	if err != nil {
		return fmt.Errorf("write machine secret: %w", err)
	}
	dir := filepath.Dir(f.Path)
	tmp, err := os.CreateTemp(dir, ".machine-*") // 0600
	if err != nil {
		return fmt.Errorf("write machine secret: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, werr := tmp.WriteString(secretHead + envelope + "\n")
	if err := errors.Join(werr, f.keepOwner(tmp), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write machine secret: %w", err)
	}
	if err := os.Rename(tmp.Name(), f.Path); err != nil {
		return fmt.Errorf("write machine secret: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write machine secret: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write machine secret: %w", err)
	}
	return nil
}

// keepOwner gives the new file to whom the old one belongs, or the directory:
// `postern ad rotate` may run as root, and the service must be able to read it.
func (f *SecretFile) keepOwner(tmp *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, ok := owner(f.Path)
	if !ok {
		uid, gid, ok = owner(filepath.Dir(f.Path))
	}
	if !ok {
		return nil
	}
	return tmp.Chown(uid, gid)
}
