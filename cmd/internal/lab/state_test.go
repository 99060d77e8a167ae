package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"postern/authz/mfa"
	"postern/cmd/internal/node"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
	"postern/policy"
)

// opened opens a lab's directory until the end of the test.
func opened(t *testing.T, dir string) *state {
	t.Helper()
	s, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

// someFiles is what Run fills in.
func someFiles() files {
	return files{Plan: plans[0], Listen: netip.MustParseAddrPort("0.0.0.0:1723"), RadSec: netip.MustParseAddrPort("127.0.0.1:2083")}
}

// contents are the files that one start after the other must find the same.
func contents(t *testing.T, s *state) (text string) {
	t.Helper()
	for _, name := range []string{"secrets/keys", "secrets/lab.json", "secrets/radius", "users", "tls/ca.pem", "tls/ca.key", "tls/node.pem", "tls/node.key", "tls/service.pem", "tls/service.key"} {
		b, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		text += name + "\n" + string(b)
	}
	return text
}

func TestStateIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sub", "lab")
	first := opened(t, dir)
	x := first.secrets
	for _, secret := range []string{x.Password, x.MachinePassword, x.VictimPassword, x.DeskPassword, x.RadiusSecret} {
		if len(secret) < 16 {
			t.Errorf("a secret of %d characters", len(secret))
		}
	}
	if x.Password == x.MachinePassword || x.Password == x.VictimPassword {
		t.Error("two people with one password")
	}
	made := contents(t, first)
	first.close()

	second := opened(t, dir)
	if second.secrets != x || contents(t, second) != made {
		t.Error("made anew")
	}
	if _, err := openState(dir); err == nil || err.Error() != "another lab is using it" {
		t.Errorf("two at once: %v", err)
	}
	second.secrets.Token.LastStep = 42
	if err := second.save(); err != nil {
		t.Error(err)
	}
	second.close()
	if third := opened(t, dir); third.secrets.Token.LastStep != 42 {
		t.Errorf("last step %d", third.secrets.Token.LastStep)
	}
}

// A start that was cut short begins again; what is broken is not overwritten.
func TestStateThatIsNotWhole(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, dir)
	was := s.secrets.Password
	s.close()
	if err := os.Remove(s.path("secrets", "lab.json")); err != nil {
		t.Fatal(err)
	}
	s = opened(t, dir)
	if s.secrets.Password == was || s.secrets.Password == "" {
		t.Error("no new secrets")
	}
	s.close()
	if err := os.WriteFile(s.path("secrets", "lab.json"), []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first must let go of the directory
		if _, err := openState(dir); err == nil || !strings.Contains(err.Error(), "secrets/lab.json: ") {
			t.Errorf("a broken file: %v", err)
		}
	}
	if _, err := openState(filepath.Join(s.path("secrets", "lab.json"), "below")); err == nil {
		t.Error("a directory below a file")
	}
}

func TestNobodyElseReadsIt(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "lab"))
	f := someFiles()
	if err := s.write(&f); err != nil {
		t.Fatal(err)
	}
	if err := s.writeEnv([][2]string{{"X", "y"}}); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n++
		switch {
		case d.IsDir() && info.Mode().Perm() != 0o700:
			t.Errorf("%s: %v", path, info.Mode())
		case !d.IsDir() && !strings.HasSuffix(path, ".pem") && info.Mode().Perm() != 0o600:
			t.Errorf("%s: %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || n < 15 {
		t.Errorf("%d files, %v", n, err)
	}
}

// What the lab writes is what the binaries would read: every flag's variant is right,
// with all it points to.
func TestConfigurationsAreRight(t *testing.T) {
	s := opened(t, t.TempDir())
	for i := range 16 {
		f := someFiles()
		f.Plan = plans[i%len(plans)]
		f.NoLockout = i&1 != 0
		f.Stateful = i&2 != 0
		if i&4 != 0 {
			f.Redis = `redis://127.0.0.1:6379/3`
		}
		if i&8 != 0 {
			f.Radius = netip.MustParseAddrPort("127.0.0.1:1812")
			f.RadiusAcct = netip.MustParseAddrPort("127.0.0.1:1813")
		}
		name := fmt.Sprintf("lockout off %v, stateful %v, redis %v, radius %v", f.NoLockout, f.Stateful, f.Redis != "", f.Radius.IsValid())
		if err := s.write(&f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		svc, err := config.LoadService(s.path("radiusd.yaml"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := service.Check(svc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		gw, err := config.LoadGateway(s.path("gateway.yaml"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := node.Check(gw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		kind := config.StoreEmbedded
		if f.Redis != "" {
			kind = config.StoreRedis
		}
		if svc.Lockout.Disabled != f.NoLockout || svc.Store.Kind != kind || (svc.Radius.Auth != "") != f.Radius.IsValid() ||
			(gw.PPTP.MPPE.Stateful == config.StatefulPrefer) != f.Stateful || gw.PPTP.Listen != f.Listen || len(gw.PPTP.Tun) > 15 {
			t.Errorf("%s: %+v\n%+v", name, svc, gw)
		}
	}
	// A URL ends where it ends, whatever is in it.
	f := someFiles()
	f.Redis = "redis://127.0.0.1:6379/\"]\nkind: embedded #"
	if err := s.write(&f); err != nil {
		t.Fatal(err)
	}
	if _, err := config.LoadService(s.path("radiusd.yaml")); err == nil || !strings.Contains(err.Error(), "not a Redis URL") {
		t.Errorf("a URL that is none: %v", err)
	}
}

func TestPolicyProvesItself(t *testing.T) {
	s := opened(t, t.TempDir())
	f := someFiles()
	if err := s.write(&f); err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(s.path("policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load("policy.yaml", src, policy.Tested())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.RunTests()); n < 4 {
		t.Errorf("%d tests", n)
	}
}

// A shell reads lab.env back, whatever a value holds.
func TestEnvironmentForShells(t *testing.T) {
	s := opened(t, t.TempDir())
	values := [][2]string{
		{"PLAIN", "value"}, {"EMPTY", ""}, {"QUOTES", `it's "so"`}, {"SHELL", "$HOME `id` \\ ; & | < > * ? ~ #"},
		{"TOTP_URL", "otpauth://totp/Postern:alice?algorithm=SHA1&digits=6&secret=ABC"},
	}
	if err := s.writeEnv(values); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		cmd := exec.Command("sh", "-euc", `. "$0"; printf %s "$POSTERN_`+v[0]+`"`, s.path("lab.env"))
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != v[1] {
			t.Errorf("%s is %q, not %q: %v", v[0], out, v[1], err)
		}
	}
	if left, _ := filepath.Glob(s.path("*.tmp")); left != nil {
		t.Errorf("left behind %v", left)
	}
	s.close()
	opened(t, s.dir)
	if _, err := os.Stat(s.path("lab.env")); err == nil {
		t.Error("the next lab shows the former's lab.env before it is up")
	}
}

// The token is made once for a store, and anew where the store's is not ours.
func TestTokenBelongsToTheStore(t *testing.T) {
	dir := t.TempDir()
	verifier := func(s *state, db string) (*mfa.Verifier, store.Store) {
		t.Helper()
		f := someFiles()
		if err := s.write(&f); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.LoadService(s.path("radiusd.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Store.Path = config.File(filepath.Join(dir, db))
		ring, err := service.OpenRing(cfg, false)
		if err != nil {
			t.Fatal(err)
		}
		st, err := service.OpenStore(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return service.NewVerifier(cfg, st, ring), st
	}
	enroll := func(s *state, db string) string {
		t.Helper()
		v, st := verifier(s, db)
		defer st.Close()
		if err := s.enroll(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		_, secret, _ := strings.Cut(s.secrets.Token.URL, "secret=")
		code, err := totp.GenerateCode(secret, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		q := v.Ask(userName)
		if err := st.Do(t.Context(), q.Seqs()...); err != nil {
			t.Fatal(err)
		}
		if r, err := v.Check(time.Now(), q, code); err != nil || r.Outcome != mfa.OK {
			t.Errorf("its code is %v: %v", r.Outcome, err)
		}
		return s.secrets.Token.URL
	}
	mine := opened(t, filepath.Join(dir, "mine"))
	first := enroll(mine, "a.db")
	if again := enroll(mine, "a.db"); again != first {
		t.Error("a second token for the same store")
	}
	mine.close()
	mine = opened(t, mine.dir) // as by another process
	if again := enroll(mine, "a.db"); again != first {
		t.Error("a second token after a restart")
	}
	other := opened(t, filepath.Join(dir, "other"))
	if theirs := enroll(other, "a.db"); theirs == first {
		t.Error("two labs with one secret")
	}
	if again := enroll(mine, "a.db"); again == first {
		t.Error("our token is gone from the store, and we go on showing it")
	}
	if fresh := enroll(mine, "b.db"); fresh == "" {
		t.Error("no token in a new store")
	}
}
