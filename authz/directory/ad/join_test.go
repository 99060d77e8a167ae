package ad

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/integration/samba"
	"postern/internal/ldapc"
)

func testFile(t testing.TB, account string) *SecretFile {
	return &SecretFile{Path: filepath.Join(t.TempDir(), "machine"), Ring: testRing(t), Account: account}
}

// works says whether somebody can log on through the machine account of a file.
func works(t *testing.T, cfg Config, f *SecretFile) {
	t.Helper()
	cfg.Secret = f.Load
	d := sambaDirectory(t, cfg)
	if a, _, err := login(t.Context(), d, user("alice"), passwordOf("alice")); outcome(a, err) != "then active" {
		t.Errorf("alice: %s", outcome(a, err))
	}
}

func TestSambaJoin(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := sambaConfig(t, dc)
	cfg.Machine = "gw1"
	f := testFile(t, `LAB\GW1$`)
	join := JoinConfig{Config: cfg, File: f, Admin: dc.AdminUser, AdminPassword: []byte("wrong")}

	var refused *ldapc.BindRefused
	if _, err := Join(t.Context(), join); !errors.As(err, &refused) {
		t.Errorf("with a wrong password: %v", err)
	}
	if _, err := os.Stat(f.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a password that nobody has was kept: %v", err)
	}

	join.AdminPassword = []byte(dc.AdminPassword)
	done, err := Join(t.Context(), join)
	if err != nil || !done.Created || done.TookOver || done.DN != "CN=GW1,CN=Computers,"+dc.BaseDN || done.Server != cfg.Servers[0] {
		t.Fatalf("%+v, %v", done, err)
	}
	works(t, cfg, f)
	s, err := f.Load()
	if err != nil || s.Pending != nil || s.Old != nil || time.Since(s.Changed) > time.Minute {
		t.Errorf("pending %v, old %v, changed %v, %v", s.Pending != nil, s.Old != nil, s.Changed, err)
	}
	found, err := dc.LDAP(t).Search(ldap.NewSearchRequest(done.DN, ldap.ScopeBaseObject, 0, 0, 0, false, anything, []string{"dNSHostName", "servicePrincipalName", "userAccountControl"}, nil))
	if err != nil || found.Entries[0].GetAttributeValue("dNSHostName") != "gw1.lab.example" || found.Entries[0].GetAttributeValue("userAccountControl") != "4096" ||
		!strings.Contains(strings.Join(found.Entries[0].GetAttributeValues("servicePrincipalName"), " "), "HOST/gw1.lab.example") {
		t.Errorf("%+v, %v", found, err)
	}

	// An account that exists is another's until somebody says otherwise, and what is
	// there stays as it is.
	if _, err := Join(t.Context(), join); !errors.Is(err, ErrExists) {
		t.Errorf("taken over unasked: %v", err)
	}
	works(t, cfg, f)
	join.TakeOver = true
	if done, err = Join(t.Context(), join); err != nil || !done.TookOver || done.Created {
		t.Errorf("%+v, %v", done, err)
	}
	works(t, cfg, f)

	// Not everything with a dollar sign is a member.
	join.Machine = strings.TrimSuffix(strings.ToUpper(strings.Split(dc.Host, ".")[0]), "$")
	join.File = testFile(t, "dc")
	if _, err := Join(t.Context(), join); !errors.Is(err, ErrForeign) {
		t.Errorf("took over a domain controller: %v", err)
	}
	join.Machine = "too long for a computer"
	if _, err := Join(t.Context(), join); err == nil {
		t.Error("no name for a computer")
	}
	join.Machine, join.Container = "gw2", "OU=Nowhere,"+dc.BaseDN
	if _, err := Join(t.Context(), join); !ldapc.IsNoSuchObject(err) {
		t.Errorf("in no container: %v", err)
	}
	join.Container = "OU=VPN," + dc.BaseDN
	if done, err := Join(t.Context(), join); err != nil || done.DN != "CN=GW2,OU=VPN,"+dc.BaseDN {
		t.Errorf("%+v, %v", done, err)
	}
}

// An account that somebody has made already needs no administrator.
func TestSambaJoinGiven(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := sambaConfig(t, dc)
	f := testFile(t, `LAB\RGW$`)
	join := JoinConfig{Config: cfg, File: f, Password: []byte("wrong")}
	if _, err := Join(t.Context(), join); !errors.Is(err, ErrNoProof) {
		t.Errorf("with a wrong password: %v", err)
	}
	if _, err := os.Stat(f.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a wrong password was kept: %v", err)
	}
	join.Password = []byte(dc.MachinePassword)
	if done, err := Join(t.Context(), join); err != nil || done.Created || done.TookOver {
		t.Fatalf("%+v, %v", done, err)
	}
	works(t, cfg, f)
	join.Password = []byte("wrong")
	if _, err := Join(t.Context(), join); !errors.Is(err, ErrNoProof) {
		t.Errorf("with a wrong password: %v", err)
	}
	works(t, cfg, f)
}

func TestSambaRotate(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := sambaConfig(t, dc)
	f := testFile(t, `LAB\RGW$`)
	if err := f.Save(&Secret{Password: []byte(dc.MachinePassword)}); err != nil {
		t.Fatal(err)
	}
	running := cfg
	running.Secret = f.Load
	d := sambaDirectory(t, running) // a service that runs meanwhile
	check := func(about string) *Secret {
		t.Helper()
		if a, _, err := login(t.Context(), d, user("alice"), passwordOf("alice")); outcome(a, err) != "then active" {
			t.Errorf("%s: alice: %s", about, outcome(a, err))
		}
		works(t, cfg, f)
		s, err := f.Load()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	check("before")
	for range 2 {
		before, _ := f.Load()
		done, err := Rotate(t.Context(), cfg, f)
		if err != nil || done.Finished || !strings.HasPrefix(done.DN, "CN=RGW,") {
			t.Fatalf("%+v, %v", done, err)
		}
		if s := check("after"); string(s.Password) == string(before.Password) || string(s.Old) != string(before.Password) || s.Pending != nil {
			t.Error("the file has not what it should")
		}
	}

	// A crash before the change was sent: the pending one is nobody's.
	s := check("before a crash")
	s.Pending = newMachinePassword()
	if err := f.Save(s); err != nil {
		t.Fatal(err)
	}
	check("after a crash")
	if done, err := Rotate(t.Context(), cfg, f); err != nil || done.Finished {
		t.Errorf("%+v, %v", done, err)
	}
	check("after that")

	// A crash behind it: the pending one is right.
	s, err := f.Load()
	if err != nil {
		t.Fatal(err)
	}
	s.Pending = newMachinePassword()
	if err := f.Save(s); err != nil {
		t.Fatal(err)
	}
	if err := cfg.setPassword(t.Context(), s, new(Rotated)); err != nil {
		t.Fatal(err)
	}
	check("after a crash behind it")
	fresh := string(s.Pending)
	if done, err := Rotate(t.Context(), cfg, f); err != nil || !done.Finished {
		t.Errorf("%+v, %v", done, err)
	}
	if s := check("finished"); string(s.Password) != fresh || s.Pending != nil {
		t.Error("the file has not what it should")
	}

	// A file that is wrong stays as it is.
	if err := f.Save(&Secret{Password: []byte("wrong")}); err != nil {
		t.Fatal(err)
	}
	if _, err := Rotate(t.Context(), cfg, f); err == nil {
		t.Error("rotated with a wrong password")
	}
	if s, err := f.Load(); err != nil || string(s.Password) != "wrong" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Rotate(ctx, cfg, f); err == nil {
		t.Error("rotated after all was over")
	}
}
