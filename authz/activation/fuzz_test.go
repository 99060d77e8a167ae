package activation

import (
	"bytes"
	"reflect"
	"testing"
)

// What a parser accepts it finds again in what it writes.

func FuzzBundle(f *testing.F) {
	f.Add(good(nil).encode())
	f.Add(`{"files":[{"name":"../x","text":""}]}`)
	f.Add(`{"files":[{"name":"a","text":"AA=="},{"name":"a","text":""}],"signature":"AA=="}`)
	f.Add(`{}{}`)
	f.Fuzz(func(t *testing.T, text string) {
		b, err := parseBundle(text)
		if err != nil {
			return
		}
		again, err := parseBundle(b.encode())
		if err != nil || again.Sum() != b.Sum() || !bytes.Equal(again.Signature, b.Signature) {
			t.Fatalf("%q: %v", text, err)
		}
		if n := bytes.Count(b.Manifest(), []byte("\n")); n != 1+len(b.Files) {
			t.Fatalf("%q: a manifest of %d lines", text, n)
		}
	})
}

func FuzzState(f *testing.F) {
	s := State{Serial: 3, Change: "X", Active: Pin{Version: "0123456789abcdef", Sum: good(nil).Sum(), Serial: 3, Action: RolledBack, At: someday, Who: "a@b"}}
	f.Add(s.encode(), encodeKept([]kept{{s.Active.Version, s.Active.Sum, ""}}))
	f.Add(`{"serial":-1}`, `[]`)
	f.Add(`{"active":{"version":"x"}}`, `[{"version":"0123456789ABCDEF"}]`)
	f.Fuzz(func(t *testing.T, state, list string) {
		if s, err := parseState(state); err == nil {
			again, err := parseState(s.encode())
			again.raw = s.raw
			if err != nil || again.encode() != s.encode() {
				t.Fatalf("%q: %+v, %+v, %v", state, s, again, err)
			}
		}
		if l, err := parseKept(list); err == nil && len(l) > 0 {
			if again, err := parseKept(encodeKept(l)); err != nil || !reflect.DeepEqual(again, l) {
				t.Fatalf("%q: %v", list, err)
			}
		}
	})
}

func FuzzSSHSignature(f *testing.F) {
	f.Add((&sshSignature{Version: 1, PublicKey: []byte{1}, Namespace: namespace, HashAlgorithm: "sha512", Signature: []byte{2}}).encode())
	f.Add([]byte(sshBegin + "\nU1NIU0lH\n-----END SSH SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSSHSignature(text)
		if err != nil {
			return
		}
		again, err := parseSSHSignature(s.encode())
		if err != nil || !bytes.Equal(again.encode(), s.encode()) {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func FuzzMinisign(f *testing.F) {
	f.Add([]byte(miniVector), miniPublic)
	f.Add([]byte("untrusted comment: \n\ntrusted comment: \n\n"), "RWQ")
	f.Fuzz(func(t *testing.T, text []byte, line string) {
		if s, err := parseMiniSignature(text); err == nil {
			if again, err := parseMiniSignature(s.encode()); err != nil || *again != *s {
				t.Fatalf("%q: %v", text, err)
			}
		}
		if k, err := parseMiniKey(line); err == nil {
			if again, err := parseMiniKey(k.encode()); err != nil || again.id != k.id || !bytes.Equal(again.key, k.key) {
				t.Fatalf("%q: %v", line, err)
			}
		}
	})
}

func FuzzSigners(f *testing.F) {
	f.Add([]byte("untrusted comment: x\n" + miniPublic + "\n"))
	f.Add([]byte(`a,b namespaces="x,postern-policy",valid-after="20260101Z" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f c`))
	f.Add([]byte(`"a cert-authority`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSigners("s", text)
		if err != nil {
			return
		}
		if len(s.list) == 0 {
			t.Fatal("signers without a key")
		}
		for _, k := range s.list {
			if (k.ssh == nil) == (k.mini == nil) || k.name == "" && k.mini != nil {
				t.Fatalf("%q: %+v", text, k)
			}
		}
		if who, err := s.Verify(manifest, []byte(miniVector), someday); err == nil {
			t.Fatalf("signed by %q", who)
		}
	})
}
