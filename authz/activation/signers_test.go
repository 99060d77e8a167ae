package activation

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/ssh"
)

// sshKey makes a key with the real ssh-keygen and returns the file and the public line.
func sshKey(t *testing.T, kind string) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	keygen(t, "-q", "-t", kind, "-N", "", "-C", "alice", "-f", file)
	text, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(text))
}

func keygen(t *testing.T, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		if os.Getenv("POSTERN_TEST_REQUIRE") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs ssh-keygen (apt-get install openssh-client): %v", err)
	}
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
	}
}

// sshSign signs with the real ssh-keygen.
func sshSign(t *testing.T, key, space string, text []byte) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	keygen(t, "-q", "-Y", "sign", "-n", space, "-f", key, file)
	sig, err := os.ReadFile(file + ".sig")
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func signersOf(t *testing.T, lines ...string) *Signers {
	t.Helper()
	s, err := ParseSigners("signers", []byte(strings.Join(lines, "\n")+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var (
	manifest = []byte("postern policy 1\n9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08  policy.yaml\n")
	someday  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// What the real ssh-keygen signs is believed, of each kind of key, and nothing else is.
func TestSSHSignatures(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa"} {
		t.Run(kind, func(t *testing.T) {
			key, public := sshKey(t, kind)
			other, stranger := sshKey(t, kind)
			sig := sshSign(t, key, namespace, manifest)
			s := signersOf(t, "# who may", "", `alice@example.org,bob@example.org namespaces="git,postern-*" `+public)
			if who, err := s.Verify(manifest, sig, someday); err != nil || who != "alice@example.org,bob@example.org" {
				t.Errorf("%q, %v", who, err)
			}
			for name, c := range map[string]struct {
				signers   *Signers
				text, sig []byte
				want      string
			}{
				"other text":      {s, []byte(strings.Replace(string(manifest), "9f", "8f", 1)), sig, "verif"},
				"stranger":        {signersOf(t, "eve "+stranger), manifest, sig, "none of the signers'"},
				"his signature":   {s, manifest, sshSign(t, other, namespace, manifest), "none of the signers'"},
				"other namespace": {s, manifest, sshSign(t, key, "file", manifest), `signed for "file"`},
				"none":            {s, manifest, nil, "not signed"},
				"nonsense":        {s, manifest, []byte(sshBegin + "\nAAAA\n-----END SSH SIGNATURE-----\n"), "preamble"},
				"cut":             {s, manifest, sig[:len(sig)/2], "not an SSH signature"},
				"text behind":     {s, manifest, append(bytes.Clone(sig), "more"...), "not an SSH signature"},
			} {
				if _, err := c.signers.Verify(c.text, c.sig, someday); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, want %q", name, err, c.want)
				}
			}
			// Every octet of it counts.
			blob := sshBlob(t, sig)
			for i := range blob {
				bad := bytes.Clone(blob)
				bad[i] ^= 1
				text := sshBegin + "\n" + base64.StdEncoding.EncodeToString(bad) + "\n-----END SSH SIGNATURE-----\n"
				if who, err := s.Verify(manifest, []byte(text), someday); err == nil {
					t.Errorf("octet %d changed: signed by %q", i, who)
				}
			}
		})
	}
}

func sshBlob(t *testing.T, sig []byte) []byte {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(sig)), "\n")
	blob, err := base64.StdEncoding.DecodeString(strings.Join(lines[1:len(lines)-1], ""))
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// What we take apart and put together is what ssh-keygen wrote, and believes.
func TestSSHSignatureIsTheirs(t *testing.T) {
	key, public := sshKey(t, "ed25519")
	sig := sshSign(t, key, namespace, manifest)
	parsed, err := parseSSHSignature(sig)
	if err != nil {
		t.Fatal(err)
	}
	if got := parsed.encode(); !bytes.Equal(got, sig) {
		t.Errorf("got\n%s\nwant\n%s", got, sig)
	}
	dir := t.TempDir()
	allowed, file := filepath.Join(dir, "allowed"), filepath.Join(dir, "sig")
	for name, text := range map[string]string{allowed: "alice " + public, file: string(parsed.encode())} {
		if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("ssh-keygen", "-Y", "verify", "-n", namespace, "-I", "alice", "-f", allowed, "-s", file)
	cmd.Stdin = bytes.NewReader(manifest)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// A security key signs with flags and a counter (PROTOCOL.u2f); one that was not touched
// signs for whoever sits at the machine.
func TestSecurityKey(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const application = "ssh:"
	blob := ssh.Marshal(struct {
		Kind        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, public, application})
	s := signersOf(t, "alice sk-ssh-ed25519@openssh.com "+base64.StdEncoding.EncodeToString(blob))
	for flags, want := range map[byte]string{0: "not touched", 1: "", 5: ""} {
		sig := &sshSignature{Version: 1, PublicKey: blob, Namespace: namespace, HashAlgorithm: "sha512"}
		message, err := sig.signed(manifest)
		if err != nil {
			t.Fatal(err)
		}
		app, digest := sum256(application), sum256(string(message))
		inner := ed25519.Sign(private, append(append(app, flags, 0, 0, 0, 7), digest...))
		sig.Signature = append(ssh.Marshal(struct {
			Kind string
			Blob []byte
		}{ssh.KeyAlgoSKED25519, inner}), flags, 0, 0, 0, 7)
		_, err = s.Verify(manifest, sig.encode(), someday)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("flags %d: %v, want %q", flags, err, want)
		}
	}
}

// The vector of minisign's own library for verification.
const (
	miniPublic = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
	miniVector = `untrusted comment: signature from minisign secret key
RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=
trusted comment: timestamp:1633700835	file:test	prehashed
wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==
`
)

func TestMinisignVector(t *testing.T) {
	s := signersOf(t, "untrusted comment: minisign public key", miniPublic)
	who, err := s.Verify([]byte("test"), []byte(miniVector), someday)
	if err != nil || who != "minisign E7620F1842B4E81F" {
		t.Fatalf("%q, %v", who, err)
	}
	if who, err = s.Verify([]byte("test"), []byte(strings.ReplaceAll(miniVector, "\n", "\r\n")), someday); err != nil {
		t.Errorf("with CR: %q, %v", who, err)
	}
	for name, text := range map[string]string{
		"trusted comment": strings.Replace(miniVector, "file:test", "file:text", 1),
		"signature":       strings.Replace(miniVector, "559r3g7V", "559r3g7W", 1),
		"key":             strings.Replace(miniVector, "RUQf6L", "RUQf7L", 1),
		"kind":            strings.Replace(miniVector, "RUQ", "RWQ", 1),
		"short":           miniVector[:strings.Index(miniVector, "trusted")],
		"a line more":     miniVector + "x\n",
		"no comment":      strings.Replace(miniVector, "trusted comment: timestamp", "timestamp", 1),
	} {
		if who, err := s.Verify([]byte("test"), []byte(text), someday); err == nil {
			t.Errorf("%s: signed by %q", name, who)
		}
	}
	if who, err := s.Verify([]byte("text"), []byte(miniVector), someday); err == nil {
		t.Errorf("another text: signed by %q", who)
	}
}

// miniSign signs as minisign does.
func miniSign(private ed25519.PrivateKey, id [miniIDLen]byte, text []byte) []byte {
	s := &miniSignature{id: id, comment: "timestamp:1"}
	digest := blake2b.Sum512(text)
	copy(s.signature[:], ed25519.Sign(private, digest[:]))
	copy(s.global[:], ed25519.Sign(private, append(bytes.Clone(s.signature[:]), s.comment...)))
	return s.encode()
}

// A file may hold keys of both kinds, and a signature finds its own.
func TestMinisignAmongOthers(t *testing.T) {
	_, public := sshKey(t, "ed25519")
	key, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	mine := miniKey{[miniIDLen]byte{1, 2, 3}, key}
	s := signersOf(t, "alice "+public, "untrusted comment: another", miniPublic, mine.encode())
	if who, err := s.Verify(manifest, miniSign(private, mine.id, manifest), someday); err != nil || who != mine.name() {
		t.Errorf("%q, %v", who, err)
	}
	if who, err := s.Verify(manifest, miniSign(private, [miniIDLen]byte{9}, manifest), someday); err == nil {
		t.Errorf("signed by %q", who)
	}
}

func TestSignersFile(t *testing.T) {
	_, public := sshKey(t, "ed25519")
	_, rsa := sshKey(t, "rsa")
	for line, want := range map[string]string{
		"alice " + public: "",
		"alice@example.org namespaces=\"postern-policy\" " + public:      "",
		`"alice, of security" namespaces="a,postern-policy,b" ` + public: "",
		`a valid-after="20260101",valid-before="20270101Z" ` + public:    "",
		miniPublic:                       "",
		"untrusted comment: x":           "no key",
		"# nobody":                       "no key",
		"alice " + rsa:                   `kind "ssh-rsa" cannot sign`,
		"alice cert-authority " + public: "certificates cannot sign",
		`a namespaces="git" ` + public:   `not for "postern-policy"`,
		`a namespaces="*,!postern-policy" ` + public: `not for "postern-policy"`,
		`a no-touch-required ` + public:              "unknown option",
		`a valid-after="soon" ` + public:             "YYYYMMDD",
		`a valid-before="20261301" ` + public:        "month out of range",
		`a "b`:                                       "not closed",
		"alice":                                      "expected PRINCIPAL",
		"alice ssh-ed25519":                          "no key",
		"alice ssh-ed25519 AAAA":                     "the key",
		"alice ssh-ed25519 ÄÖ":                       "not base64",
		strings.Replace("alice "+public, "ssh-ed25519", "ecdsa-sha2-nistp256", 1): "is of kind ssh-ed25519",
	} {
		_, err := ParseSigners("signers", []byte(line))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	// Each line that is wrong is named.
	_, err := ParseSigners("signers", []byte("alice "+public+"\nbob\n\neve cert-authority "+public))
	if err == nil || !strings.Contains(err.Error(), "signers:2:") || !strings.Contains(err.Error(), "signers:4:") {
		t.Error(err)
	}
	if _, err := ParseSigners("signers", []byte(strings.Repeat("a "+public+"\n", maxSigners+1))); err == nil {
		t.Error("too many keys")
	}
}

// A key counts between its dates only.
func TestSignersInTime(t *testing.T) {
	key, public := sshKey(t, "ed25519")
	sig := sshSign(t, key, namespace, manifest)
	s := signersOf(t, `alice valid-after="20260301Z",valid-before="202604011200Z" `+public)
	for at, good := range map[string]bool{
		"2026-02-28T23:59:59Z": false, "2026-03-01T00:00:00Z": true, "2026-04-01T11:59:59Z": true, "2026-04-01T12:00:00Z": false,
	} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Verify(manifest, sig, when); (err == nil) != good {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		s, pattern string
		want       bool
	}{
		{"abc", "abc", true}, {"abc", "a?c", true}, {"abc", "a*", true}, {"abc", "*c", true}, {"abc", "*", true}, {"", "", true}, {"", "**", true},
		{"abc", "ab", false}, {"abc", "abcd", false}, {"abc", "?", false}, {"abc", "", false}, {"abcbd", "a*bd", true}, {"abcbd", "a*bc", false},
		{strings.Repeat("a", 2000), strings.Repeat("*a", 500) + "b", false},
	} {
		if got := matches(c.s, c.pattern); got != c.want {
			t.Errorf("%q %q: %v", c.s, c.pattern, got)
		}
	}
}

func sum256(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
