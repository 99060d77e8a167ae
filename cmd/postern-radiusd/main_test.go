package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/pki"
	"postern/internal/radius"
)

func TestMain(m *testing.M) { os.Exit(cmdtest.Main(m, program, "postern")) }

// start starts the service and waits until it runs.
func start(t *testing.T, s *cmdtest.Site) *cmdtest.Process {
	t.Helper()
	p := cmdtest.Start(t, program, "-config", s.Radiusd)
	p.Await(t, `"msg":"running"`, 1)
	return p
}

// reload sends the nth SIGHUP and waits for what comes of it.
func reload(t *testing.T, p *cmdtest.Process, says string, n int) {
	t.Helper()
	p.Signal(t, syscall.SIGHUP)
	p.Await(t, says, n)
}

const (
	reloaded    = `"msg":"reloaded"`
	notReloaded = `"msg":"not all was reloaded`
)

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"-version", 0, "postern-radiusd "},
		{"--version", 0, "linux/"},
		{"-h", 0, "-config FILE"},
		{"", 2, "-config FILE is missing"},
		{"-config /nonexistent/radiusd.yaml", 1, "/nonexistent/radiusd.yaml: no such file"},
	} {
		r := cmdtest.Run(t, "", program, strings.Fields(c.args)...)
		if r.Status != c.status || !strings.Contains(r.Out+r.Errs, c.says) {
			t.Errorf("%s: status %d, want %d and %q:\n%s%s", c.args, r.Status, c.status, c.says, r.Out, r.Errs)
		}
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	s := cmdtest.NewSite(t)
	for _, flag := range []string{"-test", "--test"} {
		if out := cmdtest.Must(t, "", program, "-config", s.Radiusd, flag); out != s.Radiusd+" is right\n" {
			t.Errorf("%s: %q", flag, out)
		}
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "state")); err == nil {
		t.Error("-test opened the store")
	}
	good, own := "", ownNetwork(t)
	for name, c := range map[string]struct {
		breakIt func()
		says    []string
	}{
		"configuration": {func() {
			s.Edit(t, "radiusd.yaml", "networks", "netwroks")
			s.Edit(t, "radiusd.yaml", "level: debug", "level: loud")
		}, []string{`SITE/radiusd.yaml:8:19: unknown key "netwroks", did you mean "networks"?`, "SITE/radiusd.yaml:17:14: ", "^"}},
		"all it points to, at once": {func() {
			s.Edit(t, "policy.yaml", "factor: none", "factor: nne")
			s.Write(t, "users", good+"eve group\n")
			s.Edit(t, "radiusd.yaml", "secret_file: secret", "secret_file: gone")
			if err := os.Remove(filepath.Join(s.Dir, "tls", "service1.pem")); err != nil {
				t.Fatal(err)
			}
		}, []string{"SITE/policy.yaml:8:24: ", "SITE/users:4:5: ", "client local: read secret", "service1.pem: no such file"}},
		"a policy whose tests fail": {func() {
			s.Edit(t, "policy.yaml", "factor: code", "factor: none")
		}, []string{"SITE/policy.yaml:18:5: test \"staff need a code\" fails"}},
		"a pool where this host is": {func() {
			s.Edit(t, "policy.yaml", "203.0.113.10-203.0.113.99", own.String())
		}, []string{"SITE/policy.yaml: pool \"staff\": ", " overlaps " + own.String()}},
		"no key ring": {func() {
			if err := os.Remove(filepath.Join(s.Dir, "keys")); err != nil {
				t.Fatal(err)
			}
		}, []string{"`postern keyring create` makes one"}},
	} {
		t.Run(name, func(t *testing.T) {
			s = cmdtest.NewSite(t)
			good = s.Read(t, "users")
			c.breakIt()
			r := cmdtest.Run(t, "", program, "-config", s.Radiusd, "-test")
			if r.Status != 1 {
				t.Errorf("status %d", r.Status)
			}
			for _, want := range c.says {
				if want = strings.ReplaceAll(want, "SITE", s.Dir); !strings.Contains(r.Errs, want) {
					t.Errorf("no %q in\n%s", want, r.Errs)
				}
			}
			// What is not right does not start either.
			if r := cmdtest.Run(t, "", program, "-config", s.Radiusd); r.Status != 1 {
				t.Errorf("it started: status %d", r.Status)
			}
		})
	}
}

// ownNetwork is a network this machine has an address in.
func ownNetwork(t *testing.T) netip.Prefix {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Masked()
		}
	}
	t.Skip("this machine is in no network")
	return netip.Prefix{}
}

func TestLoginReloadAndEnd(t *testing.T) {
	s := cmdtest.NewSite(t)
	p := start(t, s)
	udp := s.Client(t)

	accept := cmdtest.Expect(t, udp, "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
	if _, _, ok := radius.MPPEKeys(accept); !ok {
		t.Error("no MPPE keys in the Accept")
	}
	if ip := rfc2865.FramedIPAddress_Get(accept).String(); !strings.HasPrefix(ip, "203.0.113.") {
		t.Errorf("address %s is not of the pool", ip)
	}
	cmdtest.Expect(t, udp, "plant", "wrong", "s2", radius.CodeAccessReject)
	cmdtest.Expect(t, udp, "alice", cmdtest.Password, "s3", radius.CodeAccessReject) // no code

	t.Log("a new policy")
	s.Edit(t, "policy.yaml", "then:\n      permit: {factor: none, pool: staff}", "then: deny")
	reload(t, p, reloaded, 1)
	cmdtest.Expect(t, udp, "plant", cmdtest.Password, "s4", radius.CodeAccessReject)

	t.Log("a broken policy, and a good users file beside it")
	s.Edit(t, "policy.yaml", "then: deny", "then: dnye")
	cmdtest.Must(t, "new password", "postern", "--config", s.Radiusd, "user", "passwd", "plant")
	reload(t, p, notReloaded, 1)
	if !strings.Contains(p.Said(), "policy.yaml:7:") {
		t.Error("the log does not say where the policy is broken")
	}
	cmdtest.Expect(t, udp, "plant", "new password", "s5", radius.CodeAccessReject) // still denied

	s.Write(t, "policy.yaml", cmdtest.PolicyText)
	reload(t, p, reloaded, 2)
	cmdtest.Expect(t, udp, "plant", "new password", "s6", radius.CodeAccessAccept)
	cmdtest.Expect(t, udp, "plant", cmdtest.Password, "s7", radius.CodeAccessReject)

	t.Log("a broken users file")
	users := s.Read(t, "users")
	s.Write(t, "users", users+"eve nonsense\n")
	reload(t, p, notReloaded, 2)
	if !strings.Contains(p.Said(), "users:4:") {
		t.Error("the log does not say where the users file is broken")
	}
	cmdtest.Expect(t, udp, "plant", "new password", "s8", radius.CodeAccessAccept)
	s.Write(t, "users", users)

	t.Log("another shared secret")
	s.Write(t, "secret", "changed\n")
	reload(t, p, reloaded, 3)
	s.Secret = "changed"
	cmdtest.Expect(t, s.Client(t), "plant", "new password", "s9", radius.CodeAccessAccept)
	s.Edit(t, "radiusd.yaml", "secret_file: secret", "secret_file: gone")
	reload(t, p, notReloaded, 3)
	cmdtest.Expect(t, s.Client(t), "plant", "new password", "s10", radius.CodeAccessAccept)

	t.Log("a broken configuration, and a key that needs a restart")
	s.Edit(t, "radiusd.yaml", "secret_file: gone", "secret_file: secret")
	s.Edit(t, "radiusd.yaml", "audit:", "adit:")
	reload(t, p, `unknown key \"adit\"`, 1)
	s.Edit(t, "radiusd.yaml", "adit:", "mfa: {window: 2}\naudit:")
	reload(t, p, reloaded, 4)
	if !strings.Contains(p.Said(), `"keys":"mfa"`) {
		t.Error("nobody was told that mfa needs a restart")
	}

	t.Log("the audit log is rotated")
	if err := os.Rename(filepath.Join(s.Dir, "audit.json"), filepath.Join(s.Dir, "audit.json.1")); err != nil {
		t.Fatal(err)
	}
	reload(t, p, reloaded, 5)
	cmdtest.Expect(t, s.Client(t), "plant", "new password", "s11", radius.CodeAccessAccept)
	if n := strings.Count(s.Read(t, "audit.json"), "\n"); n != 1 {
		t.Errorf("%d lines in the new audit file", n)
	}
	// The policy that came into force stands in front.
	lines := strings.Split(s.Read(t, "audit.json.1"), "\n")
	line := lines[slices.IndexFunc(lines, func(l string) bool { return !strings.Contains(l, `"msg":"policy"`) })]
	var record map[string]any
	if err := json.Unmarshal([]byte(line), &record); err != nil || record["verdict"] != "accept" || record["user"] != "plant" {
		t.Errorf("audit line %s: %v", line, err)
	}

	p.Signal(t, syscall.SIGTERM)
	if status := p.End(t); status != 0 {
		t.Errorf("SIGTERM ended it with status %d", status)
	}
	for _, secret := range []string{cmdtest.Password, "new password", "shared-by-test", "wrong\""} {
		if strings.Contains(p.Said(), secret) || strings.Contains(s.Read(t, "audit.json.1"), secret) {
			t.Errorf("%q was logged", secret)
		}
	}
}

func TestStateOutlivesTheProcess(t *testing.T) {
	s := cmdtest.NewSite(t)
	var token struct{ Secret string }
	if err := json.Unmarshal([]byte(cmdtest.Must(t, "", "postern", "--config", s.Radiusd, "-o", "json", "mfa", "enroll", "alice")), &token); err != nil {
		t.Fatal(err)
	}
	code, err := totp.GenerateCode(token.Secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, s)
	udp := s.Client(t)
	accept := cmdtest.Expect(t, udp, "alice+"+code, cmdtest.Password, "s1", radius.CodeAccessAccept)
	cmdtest.Account(t, udp, accept, "alice", "s1", rfc2866.AcctStatusType_Value_Start)

	t.Log("the operator's tool says what to do while the service has the store")
	for _, args := range [][]string{{"lockout", "show", "alice"}, {"session", "list"}} {
		r := cmdtest.Run(t, "", "postern", append([]string{"-config", s.Radiusd}, args...)...)
		if r.Status != 1 || !strings.Contains(r.Errs, "another process has it") || !strings.Contains(r.Errs, "systemctl stop postern-radiusd") {
			t.Errorf("%v: status %d: %s", args, r.Status, r.Errs)
		}
	}
	cmdtest.Must(t, "", "postern", "-config", s.Radiusd, "user", "list") // needs no store

	for i := range 5 {
		cmdtest.Expect(t, udp, "plant", "guess", "g"+string(rune('0'+i)), radius.CodeAccessReject)
	}
	p.Signal(t, syscall.SIGTERM)
	if status := p.End(t); status != 0 {
		t.Fatalf("status %d", status)
	}
	if out := cmdtest.Must(t, "", "postern", "-config", s.Radiusd, "lockout", "show", "plant"); !strings.Contains(out, "locked (user) until") {
		t.Errorf("after five wrong passwords: %s", out)
	}
	if out := cmdtest.Must(t, "", "postern", "-config", s.Radiusd, "session", "list"); !strings.Contains(out, "alice") || !strings.Contains(out, "203.0.113.") || !strings.Contains(out, "active") {
		t.Errorf("no session of alice: %s", out)
	}

	start(t, s)
	cmdtest.Expect(t, udp, "alice+"+code, cmdtest.Password, "s2", radius.CodeAccessReject) // used before the restart
	cmdtest.Expect(t, udp, "plant", cmdtest.Password, "s3", radius.CodeAccessReject)       // locked before the restart
	if audit := s.Read(t, "audit.json"); !strings.Contains(audit, `"reason":"code replayed"`) {
		t.Errorf("audit log:\n%s", audit)
	}
}

func TestRadSecAndNewCertificates(t *testing.T) {
	s := cmdtest.NewSite(t)
	p := start(t, s)
	connect := func() *radius.Client {
		conf, err := radius.ClientTLS(radius.TLSFiles{Cert: string(s.Node.Cert), Key: string(s.Node.Key), CA: string(s.Node.CA)}, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		return cmdtest.NewClient(t, radius.Server{Name: "radsec", Network: "radsec", Addr: s.RadSec, TLS: conf})
	}
	cmdtest.Expect(t, connect(), "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)

	t.Log("all certificates are of another authority from now on")
	if err := os.RemoveAll(filepath.Join(s.Dir, "tls")); err != nil {
		t.Fatal(err)
	}
	ca, err := pki.Open(filepath.Join(s.Dir, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Issue("service1", pki.ForServer, "127.0.0.1"); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Issue("gw1", pki.ForClient, cmdtest.NodeName); err != nil {
		t.Fatal(err)
	}
	reload(t, p, reloaded, 1)
	cmdtest.Expect(t, connect(), "plant", cmdtest.Password, "s2", radius.CodeAccessAccept)

	t.Log("a broken certificate does not replace it")
	s.Write(t, "tls/service1.pem", "nonsense")
	reload(t, p, notReloaded, 1)
	cmdtest.Expect(t, connect(), "plant", cmdtest.Password, "s3", radius.CodeAccessAccept)
}

func TestMetrics(t *testing.T) {
	s := cmdtest.NewSite(t)
	p := start(t, s)
	get := func(path string) (int, string) {
		r, err := http.Get("http://" + s.Metrics + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	cmdtest.Expect(t, s.Client(t), "plant", cmdtest.Password, "s1", radius.CodeAccessAccept)
	status, text := get("/metrics")
	for _, want := range []string{
		"postern_build_info{", `postern_pool_addresses{pool="staff"} 90`, `postern_pool_addresses_used{pool="staff"} 1`,
		"postern_directory_accounts 2", "postern_audit_lines_lost_total 0",
	} {
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("status %d, no %q", status, want)
		}
	}
	if status, text := get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d %s", status, text)
	}
	p.Signal(t, syscall.SIGINT)
	if status := p.End(t); status != 0 {
		t.Errorf("SIGINT ended it with status %d", status)
	}
}
