package ad

import (
	"testing"
	"time"

	"postern/authz/directory"
	"postern/integration/samba"
	"postern/internal/ldapc"
)

// What a real domain controller says of its own lockout is what it does.
func TestSambaLockout(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := sambaConfig(t, dc)
	cfg.Cache = time.Minute
	d := sambaDirectory(t, cfg)
	for _, name := range []string{"alice", "carol"} { // carol has a policy of her own, which we may not read
		threshold := map[string]int{"alice": 5, "carol": hiddenThreshold}[name]
		a, err := d.Find(t.Context(), user(name))
		if err != nil {
			t.Fatal(err)
		}
		for failures := range threshold {
			l, err := d.Lockout(t.Context(), user(name), a)
			if err != nil || l.Threshold != threshold || l.Failures != failures || l.Failures != dc.BadPwdCount(t, name) || l.Ago > time.Minute {
				t.Fatalf("%s after %d failures: %+v, %v", name, failures, l, err)
			}
			if failures < threshold-1 {
				if _, _, err := login(t.Context(), d, user(name), "wrong"); err == nil {
					t.Fatal("a wrong password is right")
				}
			}
		}
		if _, _, err := login(t.Context(), d, user(name), passwordOf(name)); err != nil {
			t.Errorf("%s, one short of it: %v", name, err)
		}
		if l, err := d.Lockout(t.Context(), user(name), a); err != nil || l.Failures != 0 {
			t.Errorf("%s after a right password: %+v, %v", name, l, err)
		}
	}
	l, err := d.Lockout(t.Context(), user("ghost"), nil)
	if err != nil || l != (directory.Lockout{}) {
		t.Errorf("nobody: %+v, %v", l, err)
	}
	// Who may read the policies need not assume.
	cfg.Bind = &ldapc.Bind{Method: ldapc.Simple, Name: dc.AdminUser, Password: func() ([]byte, error) { return []byte(dc.AdminPassword), nil }}
	d = sambaDirectory(t, cfg)
	a, err := d.Find(t.Context(), user("carol"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Lockout(t.Context(), user("carol"), a)
	if err != nil || p.Threshold != 3 || p.Window != 10*time.Minute {
		t.Errorf("read as an administrator: %+v, %v", p, err)
	}
}
