package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"postern/authz/directory"
	"postern/internal/mschap"
	"postern/internal/seal"
)

// users lists the accounts as programs do.
func (s *site) users(t *testing.T, args ...string) (list []userJSON) {
	t.Helper()
	s.asked(t, &list, append([]string{"user", "list"}, args...)...)
	return list
}

// opens says whether a password is the account's.
func (s *site) opens(t *testing.T, file, name, password string) bool {
	t.Helper()
	ring, err := seal.ReadFile(s.path("keys"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := directory.OpenFile(directory.FileConfig{Users: s.path(file), Ring: ring})
	if err != nil {
		t.Fatal(err)
	}
	n := directory.Name{User: name}
	a, err := f.Find(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.VerifyPassword(t.Context(), n, a, []byte(password))
	return err == nil
}

func TestUserLife(t *testing.T) {
	s := newSite(t)
	if list := s.users(t); list == nil || len(list) != 0 {
		t.Errorf("before the first: %v", list)
	}
	if out := s.must(t, "correct horse\n", "user", "add", "Alice", "-g", "VPN-Users", "--group", "Domain Admins,Staff", "--address", "10.20.0.7"); out != "user Alice added\n" {
		t.Error(out)
	}
	s.must(t, "", "user", "add", "bob", "--no-password", "--disabled")
	var said struct{ User, Done string }
	out, _, err := s.run("x", "-o", "json", "user", "add", "carol")
	if err != nil || !strings.Contains(out, `"user": "carol"`) {
		t.Errorf("%s %v", out, err)
	}

	want := [][]string{
		{"NAME", "STATE", "PASSWORD", "ADDRESS", "GROUPS"},
		{"Alice", "active", "yes", "10.20.0.7", "VPN-Users,", "Domain", "Admins,", "Staff"},
		{"bob", "disabled", "none", "any", "-"},
		{"carol", "active", "yes", "any", "-"},
	}
	for _, list := range []string{"list", "ls"} {
		if got := rows(s.must(t, "", "user", list)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q", list, got)
		}
	}
	list := s.users(t)
	if len(list) != 3 || list[0].Name != "Alice" || !slices.Equal(list[0].Groups, []string{"VPN-Users", "Domain Admins", "Staff"}) ||
		list[0].Address.String() != "10.20.0.7" || !list[0].Password || list[0].Disabled || !list[1].Disabled || list[1].Password || list[1].Groups == nil {
		t.Errorf("%+v", list)
	}

	s.must(t, "battery staple\r\n", "user", "passwd", "ALICE")
	if s.opens(t, "users", "alice", "correct horse") || !s.opens(t, "users", "alice", "battery staple") {
		t.Error("the password was not changed")
	}
	s.must(t, "", "user", "set", "bob", "--enable", "-g", "Staff")
	s.must(t, "", "user", "set", "alice", "--disable", "--group", "")
	if list := s.users(t); !list[0].Disabled || len(list[0].Groups) != 0 || list[1].Disabled || !slices.Equal(list[1].Groups, []string{"Staff"}) {
		t.Errorf("%+v", list)
	}
	if !s.opens(t, "users", "alice", "battery staple") {
		t.Error("set took the password away")
	}

	_, errs, err := s.run("", "user", "del", "alice")
	if err != nil || !strings.Contains(errs, "postern mfa remove --all alice") {
		t.Errorf("%s %v", errs, err)
	}
	if _, errs, err := s.run("", "-q", "user", "rm", "bob"); err != nil || errs != "" {
		t.Errorf("-q said %s %v", errs, err)
	}
	if s.asked(t, &said, "user", "delete", "carol"); said.User != "carol" || said.Done != "deleted" {
		t.Errorf("%+v", said)
	}
	if list := s.users(t); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestUserMistakes(t *testing.T) {
	s := newSite(t)
	s.must(t, "correct horse", "user", "add", "alice", "-g", "Staff")
	before := s.read(t, "users")
	for _, c := range []struct {
		words string
		args  string
	}{
		{"accepts 1 arg(s), received 0", "user add"},
		{"accepts 1 arg(s), received 2", "user add bob secret"},
		{"accepts 1 arg(s), received 2", "user passwd alice secret"},
		{"unknown flag: --password", "user add bob --password secret"},
		{"unknown flag: --password", "user passwd alice --password=secret"},
		{"add user alice: user exists already", "user add alice"},
		{"add user ALICE: user exists already", "user add ALICE"},
		{`a name with '\\'`, `user add CORP\bob`},
		{"a name with '+'", "user add bob+123456"},
		{"--address: ParseAddr", "user add bob --address nowhere"},
		{"2001:db8::1 is no IPv4 address", "user add bob --address 2001:db8::1"},
		{"were all set", "user add bob --no-password --password-file x"},
		{"bob: no such user", "user passwd bob"},
		{"alice+123456: no such user", "user del alice+123456"},
		{"bob: no such user", "user set bob --disable"},
		{"bob: no such user", "user del bob"},
		{"nothing to change: give --group, --disable or --enable", "user set alice"},
		{"were all set", "user set alice --enable --disable"},
		{"no realm \"corp\" with a users file: there are no realms", "user list --realm corp"},
	} {
		if out := s.fails(t, "secret", c.words, strings.Fields(c.args)...); out != "" {
			t.Errorf("%s printed %s", c.args, out)
		}
	}
	if now := s.read(t, "users"); now != before {
		t.Errorf("the file changed:\n%s", now)
	}
	s.fails(t, "", "a name with control characters", "user", "add", "--no-password", "b\x1bob")
	s.fails(t, "", "group: ", "user", "add", "--no-password", "bob", "--group", "a\tb")
	s.fails(t, strings.Repeat("x", 257), "a password of more than 256 characters", "user", "passwd", "alice")
	s.fails(t, "caf\xe9", "a password that is not UTF-8", "user", "passwd", "alice")

	s.write(t, "users", before+"eve nonsense\n")
	s.fails(t, "", "users:3:5: ", "user", "list")
	s.fails(t, "x", "users:3:5: ", "user", "add", "bob")
	s.write(t, "users", before)
	if err := os.Rename(s.path("keys"), s.path("keys.away")); err != nil {
		t.Fatal(err)
	}
	s.fails(t, "", "`postern keyring create` makes one", "user", "list")
	s.must(t, "", "keyring", "create") // not the one it was sealed with
	s.fails(t, "", "no such key in the ring", "user", "list")
}

// A name with a domain is the one without where there are no realms, as at a login;
// a file may also spell it out, as chap-secrets of providers do.
func TestNamesWithDomains(t *testing.T) {
	s := newSite(t)
	s.must(t, "first", "user", "add", "alice")
	s.must(t, "second", "user", "add", "alice@isp.example")
	s.must(t, "third", "user", "passwd", `CORP\alice`)
	s.must(t, "fourth", "user", "passwd", "alice@isp.example")
	if !s.opens(t, "users", "alice", "third") || !s.opens(t, "users", "alice@isp.example", "fourth") {
		t.Error("the wrong account got the password")
	}
	s.must(t, "", "user", "del", "alice@corp.example")
	if list := s.users(t); len(list) != 1 || list[0].Name != "alice@isp.example" {
		t.Errorf("%+v", list)
	}
}

func TestUsersOfRealms(t *testing.T) {
	s := withRealms(t)
	s.fails(t, "", "several realms have a users file: --realm must be one of corp, plant, old", "user", "list")
	s.fails(t, "", `no realm "pppd" with a users file; there is: corp, plant, old`, "user", "list", "--realm", "pppd")
	for _, realm := range []string{"corp", "plant", "old"} {
		if list := s.users(t, "--realm", realm); len(list) != 1 || list[0].Name != "alice" {
			t.Errorf("%s: %+v", realm, list)
		}
	}
	for i, c := range []struct {
		typed string
		file  string
		flags []string
	}{
		{"alice", "users", nil}, {"Alice@Corp.Example", "users", nil}, {`corp\ALICE`, "users", nil},
		{"alice", "users", []string{"--realm", "corp"}}, {"alice@corp.example", "users", []string{"--realm", "corp"}},
		{"alice@plant", "plant-users", nil}, {`PLANT\alice`, "plant-users", nil}, {"alice", "plant-users", []string{"--realm", "plant"}},
		{`OLD\alice`, "old-users", nil}, {"alice", "old-users", []string{"--realm", "old"}},
	} {
		password := "password " + string(rune('a'+i))
		s.must(t, password, append([]string{"user", "passwd", c.typed}, c.flags...)...)
		for _, file := range []string{"users", "plant-users", "old-users"} {
			if s.opens(t, file, "alice", password) != (file == c.file) {
				t.Errorf("%s %v: wrong in %s", c.typed, c.flags, file)
			}
		}
	}
	s.must(t, "x", "user", "add", "bob@plant")
	if list := s.users(t, "--realm", "plant"); len(list) != 2 || list[1].Name != "bob" {
		t.Errorf("%+v", list)
	}
	s.must(t, "", "user", "set", `Plant\bob`, "--disable")
	s.must(t, "", "user", "del", "BOB@PLANT")
	for _, c := range []struct{ words, args string }{
		{"alice@elsewhere: no realm has such names", "user passwd alice@elsewhere"},
		{"alice@old.example: no realm has such names", "user passwd alice@old.example"}, // behind is empty
		{"alice@pppd is of realm pppd, which has no users file", "user passwd alice@pppd"},
		{"alice@plant is of realm plant, not of corp", "user passwd alice@plant --realm corp"},
		{"bob@plant: no such user", "user del bob@plant"},
	} {
		s.fails(t, "x", c.words, strings.Fields(c.args)...)
	}
}

// What root makes or replaces stays the service's.
func TestFilesKeepModeAndOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files away")
	}
	s := newSite(t)
	const service, other = 12345, 23456
	check := func(name string, uid int) {
		t.Helper()
		info, err := os.Stat(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o600)
		if info.IsDir() {
			mode = 0o700
		}
		if st := ownerOf(s.path(name)); info.Mode().Perm() != mode || st.uid != uid {
			t.Errorf("%s: mode %v, owner %d, want %v and %d", name, info.Mode(), st.uid, mode, uid)
		}
	}
	give := func(name string, uid int) {
		t.Helper()
		if err := os.Chown(s.path(name), uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	give(".", service)
	if err := os.Remove(s.path("keys")); err != nil {
		t.Fatal(err)
	}
	s.must(t, "", "keyring", "create")
	s.must(t, "", "user", "list") // no file yet
	s.must(t, "correct horse", "user", "add", "alice")
	s.must(t, "", "mfa", "enroll", "alice")
	for _, name := range []string{"keys", "users", "state", "state/store.db"} {
		check(name, service)
	}
	s.must(t, "", "keyring", "rotate")
	s.must(t, "", "keyring", "reseal")
	s.must(t, "battery staple", "user", "passwd", "alice")
	for _, name := range []string{"keys", "users"} {
		check(name, service)
	}

	// In a directory of root's, a file has the owner it had.
	give(".", 0)
	give("users", other)
	give("keys", other)
	s.must(t, "correct horse", "user", "passwd", "alice")
	s.must(t, "", "keyring", "rotate")
	check("users", other)
	check("keys", other)

	// A link in the service's directory is not followed, and hands nothing over.
	secret := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(secret, []byte("users of root's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	give(".", service)
	for link, make := range map[string]func(string, string) error{"hard": os.Link, "soft": os.Symlink} {
		if err := make(secret, s.path(link)); err != nil {
			t.Fatal(err)
		}
		if err := keepOwner(s.path(link))(); err != nil {
			t.Error(err)
		}
		if o := ownerOf(secret); o.uid != 0 {
			t.Errorf("%s link: root's file is %d's now", link, o.uid)
		}
	}
}

// Nothing that is printed or stored shows a password or its hash.
func TestPasswordsAreNotSeen(t *testing.T) {
	s := newSite(t)
	var seen strings.Builder
	all := func(input string, args ...string) {
		for _, format := range []string{"table", "json"} {
			out, errs, err := s.run(input, append([]string{"-o", format}, args...)...)
			seen.WriteString(out + errs)
			if err != nil {
				seen.WriteString(err.Error())
			}
		}
	}
	all("correct horse", "user", "add", "alice")
	all("correct horse", "user", "passwd", "alice")
	all("correct horse", "user", "add", "bob", "--address", "x")
	all("", "user", "list")
	all("", "mfa", "list")
	all("", "keyring", "rotate")
	all("", "keyring", "reseal")
	all("", "-test")
	all("", "user", "del", "alice")
	hash := mschap.NTHash("correct horse")
	for _, secret := range []string{"correct horse", "v1.", "shared-by-test", string(hash[:]), strings.Fields(s.read(t, "keys"))[len(strings.Fields(s.read(t, "keys")))-1]} {
		if strings.Contains(seen.String(), secret) {
			t.Errorf("%q was printed:\n%s", secret, &seen)
		}
		if secret != "v1." && strings.Contains(s.read(t, "users"), secret) {
			t.Errorf("%q is in the users file", secret)
		}
	}
}
