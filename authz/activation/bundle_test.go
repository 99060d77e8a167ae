package activation

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"postern/policy"
)

const goodText = `version: 1
rules:
  - {id: staff, when: {group: Staff}, then: permit}
tests:
  - {name: staff, groups: [Staff], expect: {verdict: permit, rule: staff}}
`

// good is a bundle of one file; what is added makes it another version.
func good(signature []byte, more ...string) *Bundle {
	return &Bundle{Files: []policy.File{{Name: "policy.yaml", Text: []byte(goodText + strings.Join(more, ""))}}, Signature: signature}
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const manyText = "version: 1\ninclude: [site/lists.yaml]\nrules: [{id: a, when: {source: offices}, then: deny}]\n"

// A bundle is the same wherever its files are, and has the version that its policy has.
func TestCollect(t *testing.T) {
	var sums []string
	for range 2 {
		dir := t.TempDir()
		name := write(t, dir, "policy.yaml", manyText)
		write(t, dir, "site/lists.yaml", "version: 1\nlists: {offices: [192.0.2.0/24]}\n")
		b, err := Collect(name, ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Files) != 2 || b.Files[0].Name != "policy.yaml" || b.Files[1].Name != "site/lists.yaml" || b.Signature != nil {
			t.Fatalf("%+v", b)
		}
		write(t, dir, "policy.yaml.minisig", "mini")
		if b, err = Collect(name, ReadFile); err != nil || string(b.Signature) != "mini" {
			t.Fatalf("%q, %v", b.Signature, err)
		}
		write(t, dir, "policy.yaml.sig", "ssh")
		if b, err = Collect(name, ReadFile); err != nil || string(b.Signature) != "ssh" {
			t.Fatalf("%q, %v", b.Signature, err)
		}
		sums = append(sums, b.Sum())
		files, err := policy.Collect(name, os.ReadFile)
		if err != nil {
			t.Fatal(err)
		}
		there, err := policy.LoadFiles(files)
		if err != nil {
			t.Fatal(err)
		}
		here, _, err := (&Gate{}).Open(&b, someday)
		if err != nil || here.Version() != there.Version() {
			t.Errorf("version %v, %v", here, err)
		}
		got := string(b.Manifest())
		if !strings.HasPrefix(got, "postern policy 1\n") || !strings.HasSuffix(got, "  site/lists.yaml\n") || strings.Count(got, "\n") != 3 {
			t.Errorf("%q", got)
		}
	}
	if sums[0] != sums[1] {
		t.Error("the same files in another place have another sum")
	}
}

func TestCollectFails(t *testing.T) {
	dir := t.TempDir()
	if _, err := Collect(filepath.Join(dir, "none"), ReadFile); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	name := write(t, dir, "policy.yaml", goodText)
	if err := os.Mkdir(name+".sig", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Collect(name, ReadFile); err == nil || !strings.Contains(err.Error(), "read signature") {
		t.Error(err)
	}
	if _, err := ReadFile(write(t, dir, "big", strings.Repeat("x", maxText+1))); err == nil {
		t.Error("read too much")
	}
}

func TestGate(t *testing.T) {
	key, public := sshKey(t, "ed25519")
	signed := func(b *Bundle) *Bundle {
		b.Signature = sshSign(t, key, namespace, b.Manifest())
		return b
	}
	here := errors.New("pool overlaps")
	signers := signersOf(t, "alice "+public)
	two := good(nil)
	two.Files = append(two.Files, two.Files[0])
	for name, c := range map[string]struct {
		gate Gate
		b    *Bundle
		want Why // WhyUnknown: it passes
	}{
		"open":         {Gate{}, good(nil), WhyUnknown},
		"signed":       {Gate{Signers: signers}, signed(good(nil)), WhyUnknown},
		"not signed":   {Gate{Signers: signers}, good(nil), WhySignature},
		"other text":   {Gate{Signers: signers}, good(good(nil).Signature, "# changed\n"), WhySignature},
		"nonsense":     {Gate{}, good(nil, "nonsense: 1\n"), WhyMistakes},
		"failing test": {Gate{}, good(nil, "  - {name: others, expect: {verdict: permit}}\n"), WhyMistakes},
		"not here":     {Gate{Here: func(*policy.Policy) error { return here }}, good(nil), WhyHere},
		"no file":      {Gate{}, &Bundle{}, WhySource},
		"two alike":    {Gate{}, two, WhySource},
	} {
		p, signer, err := c.gate.Open(c.b, someday)
		if why(err) != c.want || (err == nil) != (c.want == WhyUnknown) || (p == nil) != (err != nil) {
			t.Errorf("%s: %v, %v (%v)", name, p, err, why(err))
		}
		if name == "signed" && signer != "alice" {
			t.Errorf("signed by %q", signer)
		}
	}
}
