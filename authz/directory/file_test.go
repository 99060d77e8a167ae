package directory

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"postern/internal/mschap"
)

// testFile is a directory of both files and a clock to push.
func testFile(t testing.TB) (f *File, u *Users, chap string, tick func()) {
	t.Helper()
	u = testUsers(t)
	chap = filepath.Join(filepath.Dir(u.Path), "chap-secrets")
	must(t, u.Add(User{Name: "Alice", Groups: []string{"VPN-Users"}}, "wonderland"))
	must(t, u.Add(User{Name: "nohash"}, ""))
	must(t, u.Add(User{Name: "off", Disabled: true}, "offline"))
	must(t, os.WriteFile(chap, []byte("alice * chapword\nplc7 * machine 10.30.0.10\ncarol@isp.example * isp\nCORP\\\\dave * corp\n"), 0o600))
	f, err := OpenFile(FileConfig{Users: u.Path, ChapSecrets: chap, Ring: u.Ring})
	must(t, err)
	now := time.Now()
	f.now = func() time.Time { return now }
	return f, u, chap, func() { now = now.Add(2 * recheck) }
}

// respond is a peer that knows the password.
func respond(password string) *MSCHAPv2 {
	r := &MSCHAPv2{ChallengeHash: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	hash := mschap.NTHash(password)
	r.Response = mschap.NTResponse(r.ChallengeHash, &hash)
	return r
}

func TestFile(t *testing.T) {
	f, _, _, _ := testFile(t)
	ctx := context.Background()
	for _, c := range []struct {
		name     Name
		password string
		account  *Account
		verified error
	}{
		{Name{User: "alice"}, "wonderland", &Account{Name: "alice", Groups: []string{"VPN-Users"}, State: Active}, nil},
		{Name{User: "ALICE", Realm: "CORP"}, "wonderland", &Account{Name: "alice", Groups: []string{"VPN-Users"}, State: Active}, nil},
		{Name{User: "alice"}, "chapword", &Account{Name: "alice", Groups: []string{"VPN-Users"}, State: Active}, Rejected{Reason: WrongPassword}},
		{Name{User: "alice"}, "", &Account{Name: "alice", Groups: []string{"VPN-Users"}, State: Active}, Rejected{Reason: WrongPassword}},
		{Name{User: "plc7"}, "machine", &Account{Name: "plc7", State: Active, Addr: addr("10.30.0.10")}, nil},
		{Name{User: "Carol", Realm: "ISP.example"}, "isp", &Account{Name: "carol@isp.example", State: Active}, nil},
		{Name{User: "dave", Realm: "corp"}, "corp", &Account{Name: `corp\dave`, State: Active}, nil},
		{Name{User: "carol"}, "isp", nil, Rejected{Reason: NoSuchUser}},
		{Name{User: "off"}, "offline", &Account{Name: "off", State: Disabled}, nil},
		{Name{User: "off"}, "x", &Account{Name: "off", State: Disabled}, Rejected{Reason: WrongPassword}},
		{Name{User: "nohash"}, "", &Account{Name: "nohash", State: Active}, Rejected{Reason: WrongPassword}},
		{Name{User: "mallory"}, "x", nil, Rejected{Reason: NoSuchUser}},
		{Name{}, "", nil, Rejected{Reason: NoSuchUser}},
	} {
		a, err := f.Find(ctx, c.name)
		if !reflect.DeepEqual(a, c.account) || (a == nil) != (err == Rejected{Reason: NoSuchUser}) {
			t.Errorf("find %v: %+v, %v; want %+v", c.name, a, err, c.account)
		}
		p, err := f.VerifyMSCHAPv2(ctx, c.name, a, respond(c.password))
		var want [16]byte
		if c.verified == nil {
			hash := mschap.NTHash(c.password)
			want = mschap.HashHash(&hash)
		}
		if err != c.verified || p.HashHash != want {
			t.Errorf("response of %v with %q: %v, want %v", c.name, c.password, err, c.verified)
		}
		if _, err := f.VerifyPassword(ctx, c.name, a, []byte(c.password)); err != c.verified {
			t.Errorf("password of %v with %q: %v, want %v", c.name, c.password, err, c.verified)
		}
		if a != nil && f.Canonical(c.name) != a.Name {
			t.Errorf("canonical %v: %q, then %q", c.name, f.Canonical(c.name), a.Name)
		}
	}
	if got := f.Canonical(Name{User: "MalloRY", Realm: "x"}); got != "mallory" {
		t.Errorf("canonical name of nobody: %q", got)
	}
}

// TestEmptyHashIsNoPassword: the dummy hash must not be anybody's way in, not
// even for a response made from it.
func TestEmptyHashIsNoPassword(t *testing.T) {
	f, _, _, _ := testFile(t)
	r := &MSCHAPv2{}
	r.Response = mschap.NTResponse(r.ChallengeHash, &[16]byte{})
	for _, name := range []string{"mallory", "nohash", dummyName} {
		if p, err := f.VerifyMSCHAPv2(context.Background(), Name{User: name}, nil, r); err == nil || p.HashHash != [16]byte{} {
			t.Errorf("%s gets in", name)
		}
	}
}

func TestReload(t *testing.T) {
	f, u, chap, tick := testFile(t)
	ctx := context.Background()
	known := func(name string) bool { _, err := f.Find(ctx, Name{User: name}); return err == nil }
	must(t, u.Add(User{Name: "late"}, "x"))
	if known("late") {
		t.Error("looked at the file at once: every login would")
	}
	tick()
	if !known("late") {
		t.Error("a changed users file is not noticed")
	}
	must(t, os.WriteFile(chap, []byte("plc8 * machine\nlonger\n"), 0o600))
	tick()
	if known("plc8") || !known("plc7") {
		t.Error("a file with a mistake replaced the accounts")
	}
	must(t, os.WriteFile(chap, []byte("plc8 * machine\n"), 0o600))
	tick()
	if !known("plc8") || known("plc7") {
		t.Error("a changed chap-secrets is not noticed")
	}
	must(t, os.Remove(u.Path))
	tick()
	if !known("late") {
		t.Error("a missing file emptied the directory")
	}
	if f.Reload() == nil {
		t.Error("reload without a file")
	}
}

func TestOpenFileMistakes(t *testing.T) {
	ring := testRing(t)
	dir := t.TempDir()
	users, chap := filepath.Join(dir, "users"), filepath.Join(dir, "chap")
	must(t, os.WriteFile(users, []byte("alice oops\n"), 0o600))
	must(t, os.WriteFile(chap, []byte("alice\n"), 0o600))
	_, err := OpenFile(FileConfig{Users: users, ChapSecrets: chap, Ring: ring})
	want := "read directory: " + users + ":1:7: an unknown word; expected nt=, group=, address=, route= or disabled\n" +
		chap + ":1:1: 1 words, expected client, server, secret and perhaps an address"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for _, cfg := range []FileConfig{{Ring: ring}, {Users: users}, {Users: filepath.Join(dir, "none"), Ring: ring}} {
		if _, err := OpenFile(cfg); err == nil {
			t.Errorf("opened %+v", cfg)
		}
	}
}

// TestUnknownUserCostsTheSame compares allocations, which follow the work and,
// unlike time, can be compared on a busy machine.
func TestUnknownUserCostsTheSame(t *testing.T) {
	f, _, _, _ := testFile(t)
	ctx := context.Background()
	cost := func(name string) float64 {
		r := respond("guess")
		return testing.AllocsPerRun(50, func() { f.VerifyMSCHAPv2(ctx, Name{User: name}, nil, r) })
	}
	if known, chap, unknown := cost("alice"), cost("plc7"), cost("nobody"); known != unknown || chap != unknown {
		t.Errorf("allocations: known %v, chap-secrets %v, unknown %v", known, chap, unknown)
	}
}

func BenchmarkVerifyMSCHAPv2(b *testing.B) {
	f, _, _, _ := testFile(b)
	for _, name := range []string{"alice", "plc7", "nobody"} {
		b.Run(name, func(b *testing.B) {
			r := respond("wonderland")
			for b.Loop() {
				f.VerifyMSCHAPv2(context.Background(), Name{User: name}, nil, r)
			}
		})
	}
}

// Sessions follow the files as well: who is taken out of them is gone.
func TestFileChanged(t *testing.T) {
	f, u, _, tick := testFile(t)
	must(t, u.Delete("off"))
	tick()
	got, _, err := f.Changed(context.Background(), []string{"off", "plc7"}, "")
	want := []Account{{Name: "off", State: Gone}, {Name: "plc7", State: Active, Addr: addr("10.30.0.10")}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("changed: %+v, %v", got, err)
	}
}
