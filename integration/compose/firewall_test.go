//go:build integration

package compose

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// forwarding is the host's switch, which an engine turns on and leaves on.
const forwarding = "/proc/sys/net/ipv4/ip_forward"

// bridge is an engine's first network, which outlives it.
const bridge = "docker0"

// keepHost notes what an engine changes of the host's network and does not change back:
// its rules, the policy of FORWARD, forwarding, its bridge. What it returns puts it back.
func keepHost(t *testing.T) (restore func() error) {
	t.Helper()
	was, err := os.ReadFile(forwarding)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := exec.Command("iptables-save").Output()
	if err != nil {
		t.Fatalf("iptables-save: %v", err)
	}
	policy := forwardPolicy(string(rules))
	return func() error {
		rules, err := exec.Command("iptables-save").Output()
		if err != nil {
			return fmt.Errorf("iptables-save: %w", err)
		}
		cmd := exec.Command("iptables-restore")
		cmd.Stdin = strings.NewReader(withoutEngine(string(rules), policy))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("iptables-restore: %w: %s", err, out)
		}
		if err := os.WriteFile(forwarding, was, 0o600); err != nil {
			return err
		}
		if _, err := os.Stat("/sys/class/net/" + bridge); err == nil {
			if out, err := exec.Command("ip", "link", "delete", bridge).CombinedOutput(); err != nil {
				return fmt.Errorf("delete %s: %w: %s", bridge, err, out)
			}
		}
		return nil
	}
}

// forwardPolicy is what happens to a packet that no rule of FORWARD is about.
func forwardPolicy(saved string) string {
	table := ""
	for line := range strings.Lines(saved) {
		switch f := strings.Fields(line); {
		case strings.HasPrefix(line, "*"):
			table = strings.TrimSpace(line)
		case table == "*filter" && len(f) > 1 && f[0] == ":FORWARD":
			return f[1]
		}
	}
	return "ACCEPT"
}

// withoutEngine returns rules in iptables-save's form less those of an engine.
func withoutEngine(saved, policy string) string {
	var b strings.Builder
	table := ""
	for line := range strings.Lines(saved) {
		switch {
		case strings.HasPrefix(line, "*"):
			table = strings.TrimSpace(line)
		case strings.HasPrefix(line, ":FORWARD ") && table == "*filter":
			line = ":FORWARD " + policy + " [0:0]\n"
		case strings.Contains(line, "DOCKER"), strings.Contains(line, bridge):
			continue
		}
		b.WriteString(line)
	}
	return b.String()
}

func TestWithoutEngine(t *testing.T) {
	const before = "*filter\n:INPUT ACCEPT [1:2]\n:FORWARD ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n"
	const with = "*nat\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n" +
		"-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n-A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE\nCOMMIT\n" +
		"*filter\n:INPUT ACCEPT [1:2]\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n" +
		"-A INPUT -i lo -j ACCEPT\n-A FORWARD -j DOCKER-USER\n-A FORWARD -i docker0 -o docker0 -j ACCEPT\nCOMMIT\n"
	const after = "*nat\n-A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE\nCOMMIT\n" + before
	if got := withoutEngine(with, forwardPolicy(before)); got != after {
		t.Errorf("%s\nnot\n%s", got, after)
	}
	if p := forwardPolicy(with); p != "DROP" {
		t.Error(p)
	}
	if p := forwardPolicy(""); p != "ACCEPT" {
		t.Error("without rules:", p)
	}
}
