//go:build integration

package integration

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"postern/integration/chromium"
	"postern/integration/clientvm"
	"postern/integration/netlab"
)

// browsing is a host on the segment whose way out is the kernel client's tunnel.
func (l *lab) browsing(t *testing.T, vm *clientvm.VM, link clientvm.Link) *netlab.Namespace {
	t.Helper()
	if err := vm.Share(link); err != nil {
		t.Fatal(err)
	}
	web := netlab.New(t)
	// A link-local address that comes up seconds later is to Chromium a change of
	// network, for which it gives up the page that it is loading.
	web.Run(t, "sh", "-c", "cd /proc/sys/net/ipv6/conf/default || exit 0; echo 1 > disable_ipv6")
	l.net.Join(t, segment, web, "web0", "10.78.0.200/24")
	web.Run(t, "ip", "route", "add", "default", "via", "10.78.0.2")
	return web
}

// desk dials as the lab's user who gives the code in the portal.
func (l *lab) desk(t *testing.T) clientvm.Dial {
	return clientvm.Dial{
		Server: node, User: l.get(t, "USER_PORTAL"), Password: l.get(t, "PASSWORD_PORTAL"), Routes: []string{"default"},
	}
}

// lines are the audit lines, oldest first.
func (l *lab) lines(t *testing.T) []map[string]any {
	t.Helper()
	f, err := os.Open(filepath.Join(l.dir, "audit.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []map[string]any
	for s := bufio.NewScanner(f); s.Scan(); {
		var m map[string]any
		if err := json.Unmarshal(s.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// The kernel client's user gives no code: quarantine, the portal in a browser, the
// network; then the factor is remembered at this address and not at another.
func TestQuarantine(t *testing.T) {
	l := newLab(t)
	before := l.net.Run(t, "nft", "list", "ruleset")
	vm := l.guest(t)
	links := up(t, vm, l.desk(t))
	web := l.browsing(t, vm, links[0])
	inside := l.get(t, "INSIDE_ADDR")
	portal := l.get(t, "PORTAL_URL")

	t.Log("nothing but DNS and the portal")
	if out, err := web.Output("ping", "-c", "2", "-W", "1", inside); err == nil || !strings.Contains(out, "Packet filtered") {
		t.Errorf("ping: %v\n%s", err, out)
	}
	if out, err := web.Output("curl", "-sS", "--max-time", "5", "https://"+inside+"/"); err == nil {
		t.Errorf("HTTPS to the inside host: %s", out)
	}
	out := web.Run(t, "curl", "-sS", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "http://"+inside+"/any/thing?x=y")
	if !strings.HasPrefix(out, "302 "+portal+"/s/") {
		t.Fatalf("plain HTTP: %q", out)
	}

	b := chromium.Start(t, chromium.Options{
		Desk: true, In: web, Trust: []string{filepath.Join(l.dir, "tls", "portal.pem")},
		Hosts: map[string]string{"portal.postern.lab": strings.Split(l.get(t, "PORTAL_ADDR"), ":")[0], "anything.example": inside},
	})
	b.Open("http://anything.example/")
	if at := b.URL(); !strings.HasPrefix(at, portal+"/") {
		t.Fatalf("the browser is at %s", at)
	}
	b.Shot("step-up")
	b.Type("input[name=code]", newToken(t, l.get(t, "TOTP_URL_PORTAL")).code(t))
	given := time.Now()
	b.Follow("form:has(input[name=code]) button")
	b.Shot("done")
	for {
		_, err := web.Output("ping", "-c", "1", "-W", "1", inside)
		if err == nil {
			break
		}
		if time.Since(given) > 20*time.Second {
			t.Fatalf("the inside host does not answer: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	took := time.Since(given)
	t.Logf("the inside host answers %v after the code", took.Round(time.Millisecond))
	hangUp(t, vm)

	t.Log("remembered")
	up(t, vm, l.desk(t))
	if out, err := vm.Exec(clientvm.Exec{Command: "ping -c 2 -W 2 " + inside}); err != nil || out.Status != 0 {
		t.Errorf("ping: %v %+v", err, out)
	}
	hangUp(t, vm)

	t.Log("another address")
	if d, err := vm.Exec(clientvm.Exec{Command: "ip addr add 10.78.0.3/24 dev vec0 && ip route replace 10.78.0.1 dev vec0 src 10.78.0.3"}); err != nil || d.Status != 0 {
		t.Fatalf("%v %+v", err, d)
	}
	up(t, vm, l.desk(t))
	if out, err := vm.Exec(clientvm.Exec{Command: "ping -c 2 -W 1 " + inside}); err != nil || out.Status == 0 {
		t.Errorf("ping: %v %+v", err, out)
	}
	hangUp(t, vm)

	var chain []string
	decision := ""
	for _, m := range l.lines(t) {
		if decision == "" && m["reason"] == "quarantined" {
			decision, _ = m["decision"].(string)
		}
		if decision != "" && m["decision"] == decision {
			chain = append(chain, m["msg"].(string))
		}
	}
	t.Logf("audit of %s: %q", decision, chain)
	if !slices.Contains([]string{
		"login, session start, stepped up, session changed, session stop",
		"login, session start, session changed, stepped up, session stop", // the NAS was that fast
	}, strings.Join(chain, ", ")) {
		t.Errorf("chain %q", chain)
	}
	l.stop(t)
	if after := l.net.Run(t, "nft", "list", "ruleset"); strings.Contains(after, "postern") || before == "" && after != "" {
		t.Errorf("left behind:\n%s", after)
	}
}
