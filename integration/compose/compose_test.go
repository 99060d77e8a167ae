//go:build integration

package compose

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestLab is the lab's promise: `docker-compose up` on a clean clone.
func TestLab(t *testing.T) {
	tun, err := os.Stat("/dev/net/tun")
	if err != nil {
		t.Skip("no TUN device:", err)
	}
	l := newLab(t)
	t.Log("with", strings.Join(l.compose, " "), l.do(t, "version"))
	timed("base images", func() { t.Log(l.run(t, "deploy/compose/local-images")) })
	timed("our images", func() { l.build(t) })
	if t.Failed() {
		t.FailNow()
	}
	// As on a host without udev.
	if err := os.Chmod("/dev/net/tun", 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod("/dev/net/tun", tun.Mode().Perm()) })
	timed("up and healthy", func() {
		l.up(t)
		l.healthy(t, everybody...)
	})
	timed("logins, kills, dashboard", func() {
		l.privileges(t)
		alice := l.logins(t)
		l.heldBack(t)
		l.kills(t, alice)
		l.dashboard(t)
	})
}

// privileges: what the file asks for is what the kernel has given.
func (l *lab) privileges(t *testing.T) {
	t.Helper()
	const node = 1<<12 | 1<<13 // CAP_NET_ADMIN, CAP_NET_RAW
	for _, c := range []struct {
		service  string
		add      []string
		caps     uint64
		uid      string
		readOnly bool
	}{
		{"node1", []string{"NET_ADMIN", "NET_RAW"}, node, "65532", true},
		{"node2", []string{"NET_ADMIN", "NET_RAW"}, node, "65532", true},
		{"service1", nil, 0, "65532", true},
		{"service2", nil, 0, "65532", true},
		{"redis", nil, 0, "999", true},
		{"prometheus", nil, 0, "65534", true},
		{"host", nil, 0, "65534", true},
	} {
		s := l.inspect(t, c.service)
		if s.HostConfig.Privileged || s.HostConfig.ReadonlyRootfs != c.readOnly || !slices.Equal(s.HostConfig.CapDrop, []string{"ALL"}) || !slices.Equal(s.HostConfig.CapAdd, c.add) {
			t.Errorf("%s: %+v", c.service, s.HostConfig)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.State.Pid))
		if err != nil {
			t.Log(err) // an engine elsewhere
			continue
		}
		for _, want := range []string{
			fmt.Sprintf("CapEff:\t%016x\n", c.caps), fmt.Sprintf("CapPrm:\t%016x\n", c.caps), fmt.Sprintf("CapBnd:\t%016x\n", c.caps),
			fmt.Sprintf("Uid:\t%s\t%[1]s\t%[1]s\t%[1]s\n", c.uid),
		} {
			if !strings.Contains(string(status), want) {
				t.Errorf("%s: no %q in\n%s", c.service, want, status)
			}
		}
	}
}

// logins: MPPE, Active Directory and a code through either node; and who stays out.
func (l *lab) logins(t *testing.T) (alice event) {
	t.Helper()
	alice = l.login(t, "node1", as("alice", true))
	l.login(t, "node2", as("bob", true))
	l.login(t, "node1", as("scanner", false))
	// A password that is somebody else's.
	all, said, err := l.dial(t, "node2", "--user", "scanner", "--password-file", "/lab/client/bob.password")
	if err == nil || len(all) > 0 || !strings.Contains(said, "login refused: 691") {
		t.Errorf("a wrong password: %+v, %v, %s", all, err, said)
	}
	return alice
}

// heldBack: the right password and no code, from where nobody is remembered, is a
// session that reaches the portal and nothing else.
func (l *lab) heldBack(t *testing.T) {
	t.Helper()
	const elsewhere = network + ".0.51" // another address of the client's
	script := `ip address add ` + elsewhere + `/24 dev "$(ip -o route get ` + network + `.0.11 | sed 's/.* dev \([^ ]*\).*/\1/')"
postern dial node2 --user alice --password-file /lab/client/alice.password --source ` + elsewhere + ` \
  --tun held0 --route ` + network + `.3.0/24 --route ` + network + `.1.0/24 --for 6s >/tmp/held 2>&1 &
for i in 1 2 3 4 5 6 7 8 9 10; do ip link show held0 >/dev/null 2>&1 && break; sleep 0.2; done
curl -s -o /dev/null -m 3 -w '%{http_code} %{redirect_url}\n' http://` + host + `/
curl -s -o /dev/null -m 1 -w '%{http_code}\n' http://` + host + `:8080/
curl -s -o /dev/null -m 3 -w '%{http_code}\n' --cacert /lab/client/ca.pem --resolve portal.lab.example:8443:` + network + `.1.21 https://portal.lab.example:8443/
wait
cat /tmp/held`
	out, err := l.inClient(l.ctx, "sh", "-c", script).CombinedOutput()
	lines := strings.Split(string(out), "\n")
	if err != nil || len(lines) < 4 || !strings.HasPrefix(lines[0], "302 https://portal.lab.example:8443/s/") || lines[1] != "000" || !strings.HasPrefix(lines[2], "200") && !strings.HasPrefix(lines[2], "30") {
		t.Errorf("in quarantine: %v\n%s", err, out)
	}
}

// kills: a node and a service are killed while somebody works.
func (l *lab) kills(t *testing.T, before event) {
	t.Helper()
	// She is remembered from her login: no code, whichever node.
	s := l.stay(t, append([]string{"node1", "node2", "--redial", "--for", "5m", "--ping", host, "--every", "200ms"}, as("alice", false)...)...)
	up := s.next(t, "up")
	if up.Server != "node1" || up.Address != before.Address {
		t.Errorf("she was at %s before, and now: %+v", before.Address, up)
	}
	time.Sleep(time.Second) // in mid-use
	killed := time.Now()
	l.do(t, "kill", "node1")
	down := s.next(t, "ended")
	again := s.next(t, "up")
	if again.Server != "node2" || down.Answered == 0 {
		t.Errorf("after the node was killed: %+v, then %+v", down, again)
	}
	t.Logf("node1 killed: at %s as %s (before: %s) %v later, no code asked", again.Server, again.Address, up.Address, time.Since(killed).Round(100*time.Millisecond))

	l.do(t, "kill", "service1")
	killed = time.Now()
	l.login(t, "node2", as("scanner", false))
	t.Logf("service1 killed: the next login took %v in all", time.Since(killed).Round(100*time.Millisecond))
	select {
	case e, ok := <-s.events:
		t.Errorf("a service's death ended a session: %+v, %v", e, ok)
	default:
	}

	l.do(t, "start", "node1", "service1")
	l.healthy(t, "node1", "service1")
	l.login(t, "node1", as("scanner", false))
	// She still is where she was, and hangs up.
	l.run(t, l.compose[0], append(slices.Clone(l.compose[1:]), "exec", "-T", "client", "sh", "-c", "kill -TERM $(pidof postern)")...)
	if end := s.next(t, "ended"); end.Error != "" || end.Answered < 5 {
		t.Errorf("her session ended so: %+v", end)
	}
}
