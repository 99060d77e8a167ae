package activation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"postern/policy"
)

// Bundle is a policy as it is signed and kept: its files, the first one first, named as
// that one names the others, and the signature that came with them.
type Bundle struct {
	Files     []policy.File
	Signature []byte // armoured; nil: none

	dir string // that they were read from, for messages; "": none, or the store
}

// Bounds of a bundle, ours. Package policy reads no more text and no more files either.
const (
	maxText      = 1 << 20
	maxFiles     = 33
	maxName      = 255
	maxSignature = 16 << 10
	maxEncoded   = 2 << 20 // base64 makes four of three octets
)

// Names of signatures beside the first file, in the order in which they are looked for.
var signatureNames = []string{".sig", ".minisig"}

// Collect reads a policy with the files it includes and the signature beside it, FILE.sig
// or FILE.minisig. What is wrong inside the files shows later.
func Collect(name string, read func(string) ([]byte, error)) (Bundle, error) {
	files, err := policy.Collect(name, read)
	if err != nil {
		return Bundle{}, fmt.Errorf("read policy: %w", err)
	}
	b := Bundle{Files: relative(files), dir: path.Dir(name)}
	for _, suffix := range signatureNames {
		b.Signature, err = read(name + suffix)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return Bundle{}, fmt.Errorf("read signature: %w", err)
		}
	}
	return b, b.check()
}

// ReadFile is os.ReadFile for Collect: it reads no more than a bundle may hold.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(text) > maxText {
		err = fmt.Errorf("%s: more than %d octets", name, maxText)
	}
	return text, err
}

// relative names files as the first one sees them.
func relative(files []policy.File) []policy.File {
	all := slices.Clone(files)
	dir := path.Dir(files[0].Name)
	all[0].Name = path.Base(files[0].Name)
	for i := range all[1:] {
		if dir != "." {
			all[i+1].Name = strings.TrimPrefix(all[i+1].Name, strings.TrimSuffix(dir, "/")+"/")
		}
	}
	return all
}

// placed are the files under the names that they were read by, which is where whoever
// must mend them looks.
func (b *Bundle) placed() []policy.File {
	if b.dir == "" {
		return b.Files
	}
	all := slices.Clone(b.Files)
	for i := range all {
		all[i].Name = path.Join(b.dir, all[i].Name)
	}
	return all
}

// check refuses what no store should keep and no terminal should show.
func (b *Bundle) check() error {
	size := 0
	names := make(map[string]bool, len(b.Files))
	for _, f := range b.Files {
		size += len(f.Text)
		if !validName(f.Name) || names[f.Name] {
			return fmt.Errorf("policy bundle: %q cannot name a file of it", f.Name)
		}
		names[f.Name] = true
	}
	switch {
	case len(b.Files) == 0 || len(b.Files) > maxFiles:
		return fmt.Errorf("policy bundle: %d files", len(b.Files))
	case size > maxText:
		return fmt.Errorf("policy bundle: %d octets, more than %d", size, maxText)
	case len(b.Signature) > maxSignature:
		return fmt.Errorf("policy bundle: a signature of %d octets", len(b.Signature))
	}
	return nil
}

// validName is for names that are one line, and mean the same wherever they are.
func validName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && path.Clean(s) == s && s != "." && s != ".." && s != "/" &&
		!strings.HasPrefix(s, "../") && !path.IsAbs(s) && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' })
}

// manifestHead begins what is signed, so that no signature over something else is one
// over a policy.
const manifestHead = "postern policy 1\n"

// Manifest is the text that is signed.
func (b *Bundle) Manifest() []byte {
	text := []byte(manifestHead)
	for _, f := range b.Files {
		text = fmt.Appendf(text, "%x  %s\n", sha256.Sum256(f.Text), f.Name)
	}
	return text
}

// Sum stands for the content of all files, and for their names. A policy's version is a
// shorter one, made for people.
func (b *Bundle) Sum() string {
	sum := sha256.Sum256(b.Manifest())
	return hex.EncodeToString(sum[:])
}

// wireBundle is a bundle in the store.
type wireBundle struct {
	Files     []wireFile `json:"files"`
	Signature []byte     `json:"signature,omitempty"`
}

type wireFile struct {
	Name string `json:"name"`
	Text []byte `json:"text"`
}

// encode is a bundle as the store keeps it.
func (b *Bundle) encode() string {
	w := wireBundle{Signature: b.Signature}
	for _, f := range b.Files {
		w.Files = append(w.Files, wireFile(f))
	}
	text, _ := json.Marshal(w) // strings and octets: it cannot fail
	return string(text)
}

// parseBundle is the other way round.
func parseBundle(text string) (Bundle, error) {
	var w wireBundle
	if err := strictly(text, maxEncoded, &w); err != nil {
		return Bundle{}, fmt.Errorf("parse policy bundle: %w", err)
	}
	b := Bundle{Signature: w.Signature}
	for _, f := range w.Files {
		b.Files = append(b.Files, policy.File(f))
	}
	return b, b.check()
}

// strictly reads JSON that we have written.
func strictly(text string, most int, into any) error {
	if len(text) > most {
		return fmt.Errorf("%d octets, more than %d", len(text), most)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows")
	}
	return nil
}
