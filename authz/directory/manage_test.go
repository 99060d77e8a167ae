package directory

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func testUsers(t testing.TB) *Users {
	return &Users{Path: filepath.Join(t.TempDir(), "users"), Ring: testRing(t)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestManage(t *testing.T) {
	u := testUsers(t)
	if users, err := u.List(); err != nil || len(users) != 0 {
		t.Fatalf("%v, %v", users, err)
	}
	must(t, u.Add(User{Name: "Alice", Groups: []string{"VPN-Users", "Domain Admins"}, Addr: netip.MustParseAddr("10.0.0.1")}, "wonderland"))
	must(t, u.Add(User{Name: "bob"}, ""))
	must(t, u.Add(User{Name: "jörg müller", Disabled: true}, "pass wörd"))
	if err := u.Add(User{Name: "ALICE"}, "x"); !errors.Is(err, ErrExists) {
		t.Errorf("a second alice: %v", err)
	}
	must(t, u.SetPassword("BOB", "builder"))
	must(t, u.SetDisabled("alice", true))
	must(t, u.SetGroups("bob", []string{"Plant"}))
	want := []User{
		{"Alice", []string{"VPN-Users", "Domain Admins"}, true, netip.MustParseAddr("10.0.0.1"), true},
		{"bob", []string{"Plant"}, false, netip.Addr{}, true},
		{"jörg müller", nil, true, netip.Addr{}, true},
	}
	if got, err := u.List(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	must(t, u.Delete("aLICE"))
	must(t, u.SetDisabled("jörg müller", false))
	for _, err := range []error{u.Delete("alice"), u.SetPassword("alice", "x"), u.SetDisabled("alice", true), u.SetGroups("alice", nil)} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("alice is gone, but %v", err)
		}
	}
	info, err := os.Stat(u.Path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(u.Path), ".users-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	b, err := os.ReadFile(u.Path)
	must(t, err)
	for _, secret := range []string{"wonderland", "builder", "wörd"} {
		if strings.Contains(string(b), secret) {
			t.Errorf("%s is in the file", secret)
		}
	}
}

func TestManageRefuses(t *testing.T) {
	u := testUsers(t)
	long := strings.Repeat("x", 257)
	for _, name := range []string{"", long, "a\\b", "a+b", "a=b", "a\nb", "#a", "a\xff", `a"b`} {
		if u.Add(User{Name: name}, "x") == nil {
			t.Errorf("a user %q", name)
		}
	}
	for _, password := range []string{long, "a\xff"} {
		if u.Add(User{Name: "a"}, password) == nil {
			t.Errorf("password %q", password)
		}
	}
	must(t, u.Add(User{Name: "a"}, "x"))
	if u.SetPassword("a", "") == nil || u.SetGroups("a", []string{""}) == nil ||
		u.Add(User{Name: "b", Groups: []string{"\n"}}, "x") == nil || u.Add(User{Name: "b", Addr: netip.IPv6Loopback()}, "x") == nil {
		t.Error("an empty password, an empty group or an IPv6 address")
	}
	if (&Users{Path: filepath.Join(t.TempDir(), "no", "users"), Ring: u.Ring}).Add(User{Name: "a"}, "x") == nil {
		t.Error("a directory that does not exist")
	}
}

// TestManageKeepsTheRest: comments, order and joined lines of others stay.
func TestManageKeepsTheRest(t *testing.T) {
	u := testUsers(t)
	const before = "# head\n\nalice group=A # her\nbob \\\n  group=B\n# tail\ncarol"
	must(t, os.WriteFile(u.Path, []byte(before), 0o644))
	must(t, u.SetGroups("BOB", []string{"New Group"}))
	must(t, u.Add(User{Name: "dave", Disabled: true}, ""))
	must(t, u.Delete("alice"))
	b, err := os.ReadFile(u.Path)
	must(t, err)
	if want := "# head\n\nbob \"group=New Group\"\n# tail\ncarol\ndave disabled\n"; string(b) != want {
		t.Errorf("got %q, want %q", b, want)
	}
	// A file with a mistake is not touched.
	must(t, os.WriteFile(u.Path, []byte("alice oops\n"), 0o600))
	var all Errors
	if err := u.Add(User{Name: "x"}, ""); !errors.As(err, &all) {
		t.Errorf("error %v", err)
	}
	if b, _ := os.ReadFile(u.Path); string(b) != "alice oops\n" {
		t.Errorf("changed to %q", b)
	}
}

// TestManageTogether: changes of several processes at once are all kept.
func TestManageTogether(t *testing.T) {
	u := testUsers(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := u.Add(User{Name: fmt.Sprintf("user%d", i)}, "x"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if users, err := u.List(); err != nil || len(users) != 8 {
		t.Errorf("%d users, %v", len(users), err)
	}
}
