package main

import (
	"os"
	"strings"
	"testing"

	"postern/authz/mfa"
)

func TestKeyRing(t *testing.T) {
	s := newSite(t)
	first := s.read(t, "keys")
	s.fails(t, "", "file exists", "keyring", "create")
	s.fails(t, "", "file exists", "keyring", "create", s.path("keys"))
	if s.read(t, "keys") != first {
		t.Error("create touched a key ring")
	}
	out, errs, err := run("", "-config", "/nonexistent/x.yaml", "keyring", "create", s.path("other"))
	if err != nil || out != s.path("other")+" created\n" || !strings.Contains(errs, "Keep a copy of "+s.path("other")) {
		t.Errorf("%q %q %v", out, errs, err)
	}
	var said struct {
		KeyRing string `json:"key_ring"`
		Done    string
	}
	if s.asked(t, &said, "keyring", "create", s.path("third")); said.KeyRing != s.path("third") || said.Done != "created" {
		t.Errorf("%+v", said)
	}
	for _, name := range []string{"keys", "other", "third"} {
		if info, err := os.Stat(s.path(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	s.fails(t, "", "no such file", "keyring", "rotate", s.path("gone"))
	s.fails(t, "", "accepts at most 1 arg(s)", "keyring", "rotate", "a", "b")
}

// After rotate everything opens as before; after reseal it opens with the new key alone.
func TestRotateAndReseal(t *testing.T) {
	s := newSite(t)
	s.must(t, "correct horse", "user", "add", "alice")
	s.must(t, "battery staple", "user", "add", "bob")
	var alice, ghost enrolled
	s.asked(t, &alice, "mfa", "enroll", "alice")
	s.must(t, "x", "user", "add", "ghost")
	s.asked(t, &ghost, "mfa", "enroll", "ghost")
	s.must(t, "", "user", "del", "ghost") // has a token and is in no file

	_, errs, err := s.run("", "keyring", "rotate")
	if err != nil || !strings.Contains(errs, "Copy "+s.path("keys")+" to all services and restart them") {
		t.Fatal(errs, err)
	}
	ring := s.read(t, "keys")
	if !s.opens(t, "users", "alice", "correct horse") || s.code(t, "alice", alice.Secret).Outcome != mfa.OK {
		t.Error("what the old key sealed does not open")
	}
	if out := s.must(t, "", "keyring", "reseal"); out != "2 passwords, and the tokens and keys of 2 people, are under the newest key now\n" {
		t.Error(out)
	}
	var said struct {
		Passwords int
		People    int `json:"people_with_tokens"`
		Recovery  int `json:"recovery_codes_of"`
		Done      string
	}
	if s.asked(t, &said, "keyring", "reseal"); said.Passwords != 0 || said.People != 0 || said.Done != "resealed" {
		t.Errorf("a second time: %+v", said)
	}
	var newest []string
	for line := range strings.Lines(ring) {
		if newest = append(newest, line); !strings.HasPrefix(line, "#") {
			break
		}
	}
	s.write(t, "keys", strings.Join(newest, ""))
	if !s.opens(t, "users", "alice", "correct horse") || !s.opens(t, "users", "bob", "battery staple") {
		t.Error("a password does not open with the new key")
	}
	if r := s.code(t, "alice", alice.Secret); r.Outcome != mfa.Replayed {
		t.Errorf("the code used before: %v", r.Outcome)
	}
	if r := s.code(t, "ghost", ghost.Secret); r.Outcome != mfa.OK {
		t.Errorf("a code of ghost: %v", r.Outcome)
	}

	// A key that is lost is not papered over.
	s.write(t, "keys", "# new\n")
	s.fails(t, "", "no key", "keyring", "reseal")
	if err := os.Remove(s.path("keys")); err != nil {
		t.Fatal(err)
	}
	s.must(t, "", "keyring", "create")
	s.fails(t, "", "no such key in the ring", "keyring", "reseal")
}

func TestResealOfRealms(t *testing.T) {
	s := withRealms(t)
	for _, name := range []string{"alice", "alice@plant", `OLD\alice`, "alice@pppd"} {
		s.must(t, "", "mfa", "enroll", name)
	}
	s.must(t, "", "keyring", "rotate")
	if out := s.must(t, "", "keyring", "reseal"); !strings.HasPrefix(out, "3 passwords, and the tokens and keys of 4 people") {
		t.Error(out)
	}
}
