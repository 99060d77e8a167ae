//go:build integration

package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern/integration/netlab"
	"postern/integration/samba"
)

// Two services over one Redis, whose own limits are far: what stands between an
// attacker and the domain's lockout is that the shield knows of that.
const shieldService = `node: NAME
radius: {auth_listen: "127.0.0.1:PORT", deadline: 10s}
clients:
  - {name: nas, networks: [127.0.0.0/8], secret_file: secret}
store: {kind: redis, urls: ["redis://127.0.0.1:6379"], timeout: 3s}
key_ring_file: keys
policy_file: shield.yaml
lockout: {user: {failures: 200}, source: {failures: 200}, pair: {failures: 200}}
audit: {file: NAME.json}
realms:
  - name: lab
    kind: ad
    default: true
    domain: lab.example
    netbios: LAB
    cache: 5s
    ad: {servers: [SERVER], ca_file: CA, machine: GW1, machine_secret_file: machine, timeout: 5s}
`

const shieldPolicy = `version: 1
rules:
  - id: people
    when: {group: [vpn-users, vpn-admins]}
    then:
      permit: {factor: none}
tests:
  - name: people need no code here
    user: bob
    groups: [vpn-users]
    source: 192.0.2.5
    expect: {verdict: permit, rule: people, factor: none}
`

// shieldPorts are the services'.
var shieldPorts = []string{"1812", "1822"}

func newShielded(t *testing.T) (*domain, *samba.DC) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not installed (integration/apt.sh)")
	}
	d := &domain{lab: &lab{net: netlab.New(t), dir: t.TempDir()}, radius: "127.0.0.1:" + shieldPorts[0]}
	dc := samba.Start(t, samba.Options{In: d.net.Do})
	d.dcs = []*samba.DC{dc}
	redis := exec.Command("redis-server", "--port", "6379", "--bind", "127.0.0.1", "--save", "", "--dir", d.dir)
	if err := d.net.Start(redis); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = redis.Process.Kill()
		_ = redis.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var c net.Conn
		var err error
		d.net.Do(func() { c, err = net.Dial("tcp", "127.0.0.1:6379") })
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("Redis does not answer: %v", err)
		}
	}
	write := func(name, text string, old ...string) {
		text = strings.NewReplacer(old...).Replace(text)
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", domainSecret)
	write("shield.yaml", shieldPolicy)
	for i, name := range []string{"radiusd", "second"} {
		write(name+".yaml", shieldService, "NAME", name, "PORT", shieldPorts[i], "SERVER", dc.Addr.String(), "CA", dc.CAFile)
	}
	d.tool(t, "", "keyring", "create")
	d.tool(t, dc.AdminPassword, "ad", "join", "--admin", dc.AdminUser)
	for _, name := range []string{"radiusd", "second"} {
		d.run(t, "postern-radiusd", name+".yaml")
	}
	return d, dc
}

// loginAt is a login by MS-CHAPv2 at a service, from an address.
func (d *domain) loginAt(t *testing.T, port, name, password, source string) answer {
	t.Helper()
	return d.ask(t, "127.0.0.1:"+port, "auth", domainSecret, append(loginFrom(name, source), newChap(name, password).attrs...)...)
}

var session atomic.Int64

func loginFrom(name, source string) []string {
	return []string{
		signed, quoted("User-Name", name), quoted("NAS-Identifier", "nas"), quoted("Calling-Station-Id", source),
		quoted("Acct-Session-Id", fmt.Sprint("shield", session.Add(1))),
	}
}

// attack sends n wrong passwords for a name at once, each from somewhere else, half to
// each service, and says how many were answered.
func (d *domain) attack(t *testing.T, name string, n int) (answered int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for s, port := range shieldPorts {
		var packets []string
		for i := range n / len(shieldPorts) {
			attrs := append(loginFrom(name, fmt.Sprintf("100.%d.%d.1", 64+s, i)), newChap(name, fmt.Sprint("guess ", i)).attrs...)
			packets = append(packets, strings.Join(attrs, "\n"))
		}
		file := filepath.Join(d.dir, "attack"+port)
		if err := os.WriteFile(file, []byte(strings.Join(packets, "\n\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			// What it says on standard error falls into the lines of its output.
			cmd := exec.Command("sh", "-c", `exec radclient -x -p 100 -r 1 -t 20 -f "$1" "$2" auth "$3" 2>/dev/null`, "sh", file, "127.0.0.1:"+port, domainSecret)
			out, _ := d.net.OutputOf(cmd) // it fails where one is refused, as all are
			mu.Lock()
			defer mu.Unlock()
			answered += strings.Count(out, "Received Access-Reject")
			if strings.Contains(out, "Received Access-Accept") {
				t.Errorf("a guess got in:\n%s", out)
			}
		})
	}
	wg.Wait()
	return answered
}

// watchCount polls what the domain controller counts until stop is called, which
// returns the most.
func watchCount(t *testing.T, dc *samba.DC, name string) (stop func() int) {
	end, done := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		for {
			select {
			case <-end:
				done <- most
				return
			default:
				most = max(most, dc.BadPwdCount(t, name))
			}
		}
	}()
	return func() int { close(end); return <-done }
}

// Nobody locks an account of the domain from outside, with parallel guesses on two
// services, under the domain's policy and under a fine-grained one, and the user at the
// usual address gets in all the while.
func TestShield(t *testing.T) {
	d, dc := newShielded(t)
	const home = "198.51.100.7"
	for _, u := range []struct {
		name, password string
		threshold      int
	}{{"bob", "Bob-Pass1", 5}, {"carol", "Carol-Pass1", 3}} {
		t.Run(u.name, func(t *testing.T) {
			if a := d.loginAt(t, shieldPorts[0], u.name, u.password, home); a.code != "Access-Accept" {
				t.Fatalf("at home: %s\n%s", a.code, a.text)
			}
			stop := watchCount(t, dc, u.name)
			began := time.Now()
			var answered int
			var wg sync.WaitGroup
			wg.Go(func() { answered = d.attack(t, u.name, 100) })
			for i := range 6 {
				if a := d.loginAt(t, shieldPorts[i%2], u.name, u.password, home); a.code != "Access-Accept" {
					t.Errorf("at home, during the attack: %s\n%s", a.code, a.text)
				}
			}
			wg.Wait()
			again := d.attack(t, u.name, 100) // with nobody's right password in between
			for i := range 5 {                // one after the other, until there is nothing left for strangers
				d.loginAt(t, shieldPorts[i%2], u.name, "guess", fmt.Sprintf("100.66.%d.1", i))
			}
			most := stop()
			t.Logf("%d and %d of 100 guesses answered in %v; the domain controller counted to %d of %d",
				answered, again, time.Since(began).Round(time.Millisecond), most, u.threshold)
			if answered != 100 || again != 100 {
				t.Errorf("%d and %d of 100 guesses were answered", answered, again)
			}
			if most != u.threshold-2 {
				t.Errorf("the domain controller counted to %d of %d", most, u.threshold)
			}
			if a := d.loginAt(t, shieldPorts[1], u.name, u.password, "203.0.113.9"); a.code != "Access-Reject" {
				t.Errorf("from elsewhere: %s", a.code)
			}

			list := d.tool(t, "", "lockout", "show")
			if !strings.Contains(list, "directory  "+u.name) {
				t.Errorf("not in the list:\n%s", list)
			}
			var shown struct {
				Login     struct{ Locked string }
				Asked     struct{ Strangers, Directory, Ours int }
				Directory struct {
					Threshold, Failures int
					State               string
				}
			}
			out := d.tool(t, "", "-o", "json", "lockout", "show", u.name, "--ad")
			if err := json.Unmarshal([]byte(out), &shown); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if shown.Login.Locked != "directory" || shown.Directory.Threshold != u.threshold || shown.Directory.Failures != dc.BadPwdCount(t, u.name) ||
				shown.Directory.State != "active" || shown.Asked.Strangers != max(u.threshold-2, 1) {
				t.Errorf("shown as %s", out)
			}
			t.Logf("\n%s\n%s", list, d.tool(t, "", "lockout", "show", u.name, "--ad"))

			if a := d.loginAt(t, shieldPorts[0], u.name, u.password, home); a.code != "Access-Accept" {
				t.Errorf("at home, afterwards: %s\n%s", a.code, a.text)
			}
			if err := dc.Login(u.name, u.password); err != nil {
				t.Errorf("the account is locked: %v", err)
			}
		})
	}

	// An attack that does not pass us counts: two wrong passwords at the domain controller
	// leave strangers one of three.
	t.Run("past us", func(t *testing.T) {
		const name, password = "frank", "Frank-Pass1"
		if a := d.loginAt(t, shieldPorts[0], name, password, home); a.code != "Access-Accept" {
			t.Fatalf("at home: %s\n%s", a.code, a.text)
		}
		for range 2 {
			if dc.Login(name, "guess") == nil {
				t.Fatal("a wrong password is right")
			}
		}
		stop := watchCount(t, dc, name)
		d.attack(t, name, 60)
		d.loginAt(t, shieldPorts[0], name, "guess", "100.66.1.1")
		if most := stop(); most != 3 {
			t.Errorf("the domain controller counted to %d", most)
		}
		if a := d.loginAt(t, shieldPorts[1], name, password, home); a.code != "Access-Accept" {
			t.Errorf("at home: %s\n%s", a.code, a.text)
		}
		// All that there is to count has been counted elsewhere.
		for range 4 {
			if dc.Login(name, "guess") == nil {
				t.Fatal("a wrong password is right")
			}
		}
		d.attack(t, name, 20)
		if a := d.loginAt(t, shieldPorts[1], name, "a slip", home); a.code != "Access-Reject" {
			t.Errorf("at home, with a wrong password: %s", a.code)
		}
		if n := dc.BadPwdCount(t, name); n != 4 {
			t.Errorf("the domain controller counts %d", n)
		}
		if err := dc.Login(name, password); err != nil {
			t.Errorf("the account is locked: %v", err)
		}
	})
}
