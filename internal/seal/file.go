package seal

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A key ring file has a key a line, the current one first:
//
//	# comment
//	ID base64(32 octets)

const keyLen = 32

const fileHead = `# Postern key ring: sealed secrets open with these keys and with nothing else.
# Keep a copy apart from the store's backup. The first key seals, all open.
`

// ParseRing reads the text of a key ring file.
func ParseRing(text []byte) (*Ring, error) {
	r := &Ring{}
	seen := map[string]bool{}
	sc := bufio.NewScanner(bytes.NewReader(text))
	for line := 1; sc.Scan(); line++ {
		s := strings.TrimSpace(sc.Text())
		if s == "" || s[0] == '#' {
			continue
		}
		id, secret, _ := strings.Cut(s, " ")
		raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(secret))
		switch { // none of these may show the line
		case !validID(id):
			return nil, fmt.Errorf("line %d: want a key ID of 1 to 32 letters, digits, - or _, then a key", line)
		case err != nil || len(raw) != keyLen:
			return nil, fmt.Errorf("line %d: want 32 octets in base64 after the key ID", line)
		case seen[id]:
			return nil, fmt.Errorf("line %d: key ID %q is there twice", line, id)
		}
		seen[id] = true
		k, err := newKey(id, raw)
		clear(raw)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		r.keys = append(r.keys, k)
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	if len(r.keys) == 0 {
		return nil, errors.New("no key")
	}
	return r, nil
}

// ReadFile reads a key ring. A file others may write is refused: whoever can
// put a key in front reads what is sealed from then on.
func ReadFile(path string) (*Ring, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read key ring: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("read key ring %s: group or others may write it (mode %v)", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key ring: %w", err)
	}
	defer clear(text)
	r, err := ParseRing(text)
	if err != nil {
		return nil, fmt.Errorf("read key ring %s: %w", path, err)
	}
	return r, nil
}

// CreateFile makes a key ring with one new key, mode 0600. It never touches a
// file that is there: overwriting a ring loses every secret under it.
func CreateFile(path string) (*Ring, error) {
	line, err := newLine()
	if err != nil {
		return nil, fmt.Errorf("create key ring: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create key ring: %w", err)
	}
	_, werr := f.WriteString(fileHead + line)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("create key ring %s: %w", path, err)
	}
	return ReadFile(path)
}

// RotateFile puts a new key in front; the old ones stay and go on opening. The
// file is replaced in one step.
func RotateFile(path string) (*Ring, error) {
	old, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("rotate key ring: %w", err)
	}
	defer clear(old)
	if _, err := ParseRing(old); err != nil {
		return nil, fmt.Errorf("rotate key ring %s: %w", path, err)
	}
	line, err := newLine()
	if err != nil {
		return nil, fmt.Errorf("rotate key ring: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".ring-*") // 0600
	if err != nil {
		return nil, fmt.Errorf("rotate key ring: %w", err)
	}
	defer os.Remove(f.Name())
	_, werr := f.WriteString(fileHead + line + strings.TrimPrefix(string(old), fileHead))
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("rotate key ring: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, fmt.Errorf("rotate key ring: %w", err)
	}
	return ReadFile(path)
}

func newLine() (string, error) {
	var id [4]byte
	var secret [keyLen]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", err
	}
	if _, err := rand.Read(secret[:]); err != nil {
		return "", err
	}
	return "k" + hex.EncodeToString(id[:]) + " " + base64.StdEncoding.EncodeToString(secret[:]) + "\n", nil
}

func validID(id string) bool {
	if len(id) == 0 || len(id) > 32 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
