//go:build integration

package integration

import (
	"slices"
	"strings"
	"testing"
	"time"

	"postern/integration/clientvm"
)

// Exit statuses of pppd (pppd(8)).
const (
	negotiationFailed = 10
	peerRefusedAuth   = 11 // "peer refused to authenticate itself" or will not do what we allow
	hungUp            = 16
	authFailed        = 19
)

// pings are ICMP payloads, from ping's own default to more than the tunnel's MTU.
var pings = []int{56, 500, 1000, 1372, 1400}

// labFilter takes what belongs to the tunnels on the segment.
const labFilter = "tcp port 1723 or proto 47"

// job dials with the lab's second user, whose group needs no code.
func (l *lab) job(t *testing.T) clientvm.Dial {
	return clientvm.Dial{
		Server: node, User: l.get(t, "USER_NO_MFA"), Password: l.get(t, "PASSWORD_NO_MFA"),
		Routes: []string{l.get(t, "INSIDE_ADDR") + "/32"},
	}
}

func (l *lab) guest(t *testing.T) *clientvm.VM {
	return clientvm.Boot(t, clientvm.Config{Net: l.net, Bridge: segment, Address: "10.78.0.2/24"})
}

// up dials and insists that every client gets an address.
func up(t *testing.T, vm *clientvm.VM, d clientvm.Dial) []clientvm.Link {
	t.Helper()
	links, err := vm.Dial(d)
	if err != nil {
		t.Fatal(err)
	}
	locals := make(map[string]int)
	for _, l := range links {
		if !l.Up {
			t.Errorf("client %d is not up, pppd's exit status %d: %q\n%s", l.Client, l.Status, l.Why, vm.Log(l.Client))
			continue
		}
		t.Logf("client %d up in %.1f s: %s, MPPE %q, MTU %d", l.Client, l.Seconds, l.Local, l.MPPE, l.MTU)
		if other, taken := locals[l.Local]; taken {
			t.Errorf("clients %d and %d both have %s", other, l.Client, l.Local)
		}
		locals[l.Local] = l.Client
	}
	if t.Failed() {
		t.FailNow()
	}
	return links
}

// refused dials and insists that no client gets up, each for one of the reasons.
func refused(t *testing.T, vm *clientvm.VM, d clientvm.Dial, statuses ...int) {
	t.Helper()
	links, err := vm.Dial(d)
	if err != nil {
		t.Fatal(err)
	}
	defer hangUp(t, vm)
	for _, l := range links {
		if !l.Up && l.Ended && slices.Contains(statuses, l.Status) {
			continue
		}
		t.Errorf("up %v, pppd's exit status %d, want one of %v: %q\n%s", l.Up, l.Status, statuses, l.Why, vm.Log(l.Client))
	}
}

func echoed(t *testing.T, vm *clientvm.VM, p clientvm.Ping) {
	t.Helper()
	sizes, err := vm.Ping(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sizes {
		if s.Clients == 0 || s.Lossless != s.Clients {
			t.Errorf("ping of %d octets: %d of %d clients without loss: %q", s.Size, s.Lossless, s.Clients, s.Detail)
		}
	}
}

// moved sends a few seconds of TCP each way.
func moved(t *testing.T, vm *clientvm.VM, to string) {
	t.Helper()
	for _, down := range []bool{false, true} {
		m, err := vm.Transfer(clientvm.Transfer{To: to, Seconds: 3, Down: down})
		// iperf3 serves one at a time, and takes a while to see that a session of before,
		// which was hung up, will send no more.
		for end := time.Now().Add(time.Minute); err != nil && strings.Contains(err.Error(), "the server is busy") && time.Now().Before(end); {
			time.Sleep(time.Second)
			m, err = vm.Transfer(clientvm.Transfer{To: to, Seconds: 3, Down: down})
		}
		if err != nil {
			t.Errorf("transfer, down %v: %v", down, err)
			continue
		}
		t.Logf("TCP, down %v: %.1f Mbit/s, %d retransmits", down, m.BitsPerSec/1e6, m.Retransmits)
		if m.Bytes < 1<<20 {
			t.Errorf("transfer, down %v: %d octets in 3 s", down, m.Bytes)
		}
	}
}

func hangUp(t *testing.T, vm *clientvm.VM) {
	t.Helper()
	if _, err := vm.Hangup(); err != nil {
		t.Error(err)
	}
}

// One client after the other, each of its own kind.
func TestKernelClient(t *testing.T) {
	l := newLab(t)
	capture(t, l.net, segment, labFilter, "pptp", "gre", "ppp", "lcp", "chap", "ccp", "ipcp", "comp_data")
	l.insideServer(t)
	inside := l.get(t, "INSIDE_ADDR")
	vm := l.guest(t)

	t.Run("one-time code", func(t *testing.T) {
		d := l.job(t)
		code := newToken(t, l.get(t, "TOTP_URL")).code(t)
		d.User, d.Password = l.get(t, "USER")+"+"+code, l.get(t, "PASSWORD")
		links := up(t, vm, d)
		if links[0].MPPE != "128-bit stateless" || !strings.HasPrefix(links[0].Auth, "chap MS-v2") {
			t.Errorf("link %+v", links[0])
		}
		echoed(t, vm, clientvm.Ping{To: inside, Sizes: pings})
		hangUp(t, vm)
		t.Run("twice", func(t *testing.T) { refused(t, vm, d, authFailed) })
	})
	t.Run("no code", func(t *testing.T) {
		d := l.job(t)
		d.User, d.Password = l.get(t, "USER"), l.get(t, "PASSWORD")
		refused(t, vm, d, authFailed)
	})
	t.Run("kernel data path", func(t *testing.T) {
		links := up(t, vm, l.job(t))
		if links[0].MPPE != "128-bit stateless" {
			t.Errorf("link %+v", links[0])
		}
		echoed(t, vm, clientvm.Ping{To: inside, Sizes: pings})
		moved(t, vm, inside)
		hangUp(t, vm)
	})
	t.Run("pptp-linux", func(t *testing.T) {
		d := l.job(t)
		d.Data = clientvm.User
		up(t, vm, d)
		echoed(t, vm, clientvm.Ping{To: inside, Sizes: pings})
		moved(t, vm, inside)
		hangUp(t, vm)
	})
	t.Run("wrong password", func(t *testing.T) {
		d := l.job(t)
		d.Password += "x"
		refused(t, vm, d, authFailed)
	})
	t.Run("PAP only", func(t *testing.T) {
		d := l.job(t)
		d.Refuse = []string{"chap", "mschap", "mschap-v2", "eap"}
		refused(t, vm, d, negotiationFailed, peerRefusedAuth, hungUp, authFailed)
	})
	t.Run("MS-CHAP version 1 only", func(t *testing.T) {
		d := l.job(t)
		d.Refuse = []string{"pap", "chap", "mschap-v2", "eap"}
		refused(t, vm, d, negotiationFailed, peerRefusedAuth, hungUp, authFailed)
	})
	t.Run("no MPPE", func(t *testing.T) {
		d := l.job(t)
		d.MPPE = clientvm.NoMPPE
		refused(t, vm, d, negotiationFailed, hungUp)
	})
	t.Run("MPPE-40 where it is not allowed", func(t *testing.T) {
		d := l.job(t)
		d.MPPE = clientvm.MPPE40
		refused(t, vm, d, negotiationFailed, hungUp)
	})
	t.Run("short MTU", func(t *testing.T) {
		d := l.job(t)
		d.MTU, d.MRU = 1280, 1280
		up(t, vm, d)
		echoed(t, vm, clientvm.Ping{To: inside, Sizes: []int{56, 1400}})
		moved(t, vm, inside)
		hangUp(t, vm)
	})
}

// A key for many packets: whoever loses one asks for a reset.
func TestStateful(t *testing.T) {
	l := newLab(t, "--stateful")
	capture(t, l.net, segment, labFilter, "pptp", "gre", "ccp", "comp_data")
	l.insideServer(t)
	inside := l.get(t, "INSIDE_ADDR")
	vm := l.guest(t)
	d := l.job(t)
	d.Stateful = true
	links := up(t, vm, d)
	if links[0].MPPE != "128-bit stateful" {
		t.Errorf("link %+v", links[0])
	}
	echoed(t, vm, clientvm.Ping{To: inside, Sizes: pings})
	moved(t, vm, inside)
	hangUp(t, vm)
}

// Twenty at once, each from an address of its own.
func TestTwentyClients(t *testing.T) {
	l := newLab(t)
	capture(t, l.net, segment, labFilter, "pptp", "comp_data")
	vm := l.guest(t)
	d := l.job(t)
	d.Clients = 20
	up(t, vm, d)
	echoed(t, vm, clientvm.Ping{To: l.get(t, "INSIDE_ADDR"), Sizes: []int{56, 1400}})
	hangUp(t, vm)
}

// Eight behind one address, as behind a NAT: only call IDs tell them apart.
func TestOneAddress(t *testing.T) {
	for _, data := range []clientvm.Data{clientvm.Kernel, clientvm.User} {
		t.Run(string(data), func(t *testing.T) {
			l := newLab(t)
			capture(t, l.net, segment, labFilter, "pptp", "comp_data")
			vm := l.guest(t)
			d := l.job(t)
			d.Clients, d.SameAddress, d.Data = 8, true, data
			if data == clientvm.Kernel {
				d.Routes = nil // one namespace, one route: ping names the interface
			}
			up(t, vm, d)
			echoed(t, vm, clientvm.Ping{To: l.get(t, "INSIDE_ADDR"), Sizes: []int{56, 1400}})
			hangUp(t, vm)
		})
	}
}

// The node goes and comes back: clients are told, and dial again.
func TestRestart(t *testing.T) {
	l := newLab(t)
	vm := l.guest(t)
	inside := clientvm.Ping{To: l.get(t, "INSIDE_ADDR"), Sizes: []int{56}}
	d := l.job(t)
	d.Clients = 3
	up(t, vm, d)
	echoed(t, vm, inside)

	l.stop(t)
	// Long before the clients' own LCP echoes would notice (100 s).
	ended, err := vm.Await(10 * time.Second)
	if err != nil {
		t.Fatalf("the node said goodbye to nobody: %v", err)
	}
	for _, link := range ended {
		t.Logf("client %d ended with status %d: %q", link.Client, link.Status, link.Why)
	}
	l.start(t)
	up(t, vm, d)
	echoed(t, vm, inside)

	// No goodbye this time. What the store says of the old sessions must not stand
	// in the way of the new ones.
	l.cut()
	hangUp(t, vm)
	l.start(t)
	d = l.job(t) // the kernel may still be taking the old lab's network down: this is another
	d.Clients = 3
	inside.To = l.get(t, "INSIDE_ADDR")
	up(t, vm, d)
	echoed(t, vm, inside)
	hangUp(t, vm)
}
