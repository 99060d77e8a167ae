package ad

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern/integration/samba"
	"postern/internal/ldapc"
)

// doctorConfig is a good one.
func doctorConfig(t *testing.T, dc *samba.DC) DoctorConfig {
	cfg := sambaConfig(t, dc)
	cfg.Probe = &Probe{User: "probe", Password: func() ([]byte, error) { return []byte(passwordOf("probe")), nil }}
	return DoctorConfig{Config: cfg, Group: "vpn-users", Failures: 3}
}

// examine returns the findings as "check severity what", without their subjects.
func examine(t *testing.T, cfg DoctorConfig) []string {
	t.Helper()
	findings, err := Doctor(t.Context(), cfg)
	if err != nil {
		t.Error(err)
	}
	var all []string
	for _, f := range findings {
		if f.Severity != OK && f.Remedy == "" {
			t.Errorf("no remedy: %+v", f)
		}
		if f.Check == "" || f.Subject == "" || f.What == "" || f.Severity == SeverityUnknown {
			t.Errorf("%+v", f)
		}
		all = append(all, fmt.Sprintf("%s %s %s: %s", f.Check, f.Severity, f.Subject, f.What))
	}
	return all
}

// want looks for findings that begin and go on so.
func want(t *testing.T, findings []string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		head, what, _ := strings.Cut(w, "|")
		found := false
		for _, f := range findings {
			found = found || strings.HasPrefix(f, head) && strings.Contains(f, what)
		}
		if !found {
			t.Errorf("no %q among\n%s", w, strings.Join(findings, "\n"))
		}
	}
}

func unwanted(t *testing.T, findings []string, head string) {
	t.Helper()
	for _, f := range findings {
		if strings.HasPrefix(f, head) {
			t.Errorf("unwanted: %s", f)
		}
	}
}

func TestDoctorGood(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := doctorConfig(t, dc)
	got := examine(t, cfg)
	want(t, got, "servers ok", "servers warn|one only", "tls ok", "clock ok", "bind ok", "netlogon ok|AES", "ms-chapv2 ok", "machine ok", "lockout ok lab.example|after 5",
		"members ok vpn-users|members", "members warn zoe|must change")
	unwanted(t, got, "tls bad")
	unwanted(t, got, "bind bad")
	unwanted(t, got, "lockout bad lab.example")

	// Ours should be lower than theirs; a PSO may be stricter still, where we may read it.
	cfg.Failures, cfg.Group = 5, "CN=Protected Users,CN=Users,"+dc.BaseDN
	want(t, examine(t, cfg), "lockout warn lab.example|after 5 failures in 10m0s: whatever lockout.user.failures says (5), strangers get 3", "members warn kate|restricted")
	cfg.Group = "vpn-admins"
	want(t, examine(t, cfg), "lockout warn PSO pso-admins|applies to 1 members, and its lockout cannot be read; a threshold of 3 is assumed")
	admin := cfg
	admin.Bind = &ldapc.Bind{Method: ldapc.Simple, Name: dc.AdminUser, Password: func() ([]byte, error) { return []byte(dc.AdminPassword), nil }}
	want(t, examine(t, admin), "lockout warn PSO pso-admins|after 3 failures")
	cfg.Failures, cfg.Group = 3, "S-1-5-32-544"
	want(t, examine(t, cfg), "lockout ok lab.example|ours after 3; strangers never get more than 3", "members ok Administrators|members")
	cfg.Failures, cfg.Group, cfg.Probe = 0, "no such group", nil
	want(t, examine(t, cfg), "lockout bad lab.example|we do not count", "members bad no such group", "ms-chapv2 warn|not tried")
	cfg.Group, cfg.NetBIOS = "", "OTHER"
	unwanted(t, examine(t, cfg), "netlogon ok lab")
}

func TestDoctorMembers(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := doctorConfig(t, dc)
	cfg.Group, cfg.Workstation, cfg.HonourDialin = "Domain Users", "RGW", true // everybody's primary group
	want(t, examine(t, cfg), "members warn dave|disabled", "members warn erin|expired", "members warn locked|locked", "members warn kate|restricted",
		"members warn leo|restricted", "members warn ivan|outside hours", "members warn heidi|not from here", "members warn nora|no dial-in",
		"members warn grace|must change", "members warn judy|password expired")
	unwanted(t, examine(t, cfg), "members warn alice")
}

func TestDoctorClock(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := doctorConfig(t, dc)
	for skew, wanted := range map[time.Duration]string{10 * time.Minute: "clock bad", -10 * time.Minute: "clock bad", time.Minute: "clock warn", 0: "clock ok"} {
		cfg.Now = func() time.Time { return time.Now().Add(skew) }
		want(t, examine(t, cfg), wanted)
	}
	// A machine password grows old, and so does a certificate.
	cfg.Now = func() time.Time { return time.Now().Add(200 * 24 * time.Hour) }
	want(t, examine(t, cfg), "machine warn|days old")
	cfg.Now = func() time.Time { return time.Now().Add(3649 * 24 * time.Hour) }
	want(t, examine(t, cfg), "tls warn|ends on")
}

func TestDoctorMachine(t *testing.T) {
	dc := samba.Start(t, samba.Options{})
	cfg := doctorConfig(t, dc)
	cfg.Secret = func() (*Secret, error) { return &Secret{Password: []byte("wrong")}, nil }
	want(t, examine(t, cfg), "tls ok", "clock ok", "bind bad", "netlogon bad|does not take the machine account's password")
	cfg.Machine = "NONE"
	want(t, examine(t, cfg), "netlogon bad")
}

func TestDoctorMSCHAPv2(t *testing.T) {
	dc := samba.Start(t, samba.Options{NTLMAuth: "default"})
	cfg := doctorConfig(t, dc)
	want(t, examine(t, cfg), "bind ok", "netlogon ok", "ms-chapv2 bad|does not accept MS-CHAPv2")
	cfg.Probe.Password = func() ([]byte, error) { return []byte("wrong"), nil }
	want(t, examine(t, cfg), "ms-chapv2 bad|the probe account cannot log on")
}

func TestDoctorCertificates(t *testing.T) {
	for _, c := range []struct {
		cert samba.Cert
		want string
	}{{samba.NoSAN, "no subjectAltName"}, {samba.WrongName, "that of"}, {samba.Expired, "valid until"}} {
		dc := samba.Start(t, samba.Options{Cert: c.cert})
		got := examine(t, doctorConfig(t, dc))
		want(t, got, "tls bad|"+c.want, "netlogon ok") // what does not need TLS is looked at all the same
	}
}

func TestDoctorWithoutServers(t *testing.T) {
	cfg := DoctorConfig{Config: Config{
		Domain: "nowhere.invalid", NetBIOS: "NOWHERE", Machine: "X", Secret: func() (*Secret, error) { return nil, errDown }, TLS: 1, Timeout: time.Second,
	}}
	want(t, examine(t, cfg), "servers bad|names no domain controllers")
	cfg.Servers = []string{"127.0.0.1:1"}
	want(t, examine(t, cfg), "tls bad|connection refused", "netlogon bad")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Doctor(ctx, cfg); err == nil {
		t.Error("found all after it was over")
	}
}
