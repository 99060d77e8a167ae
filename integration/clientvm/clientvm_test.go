//go:build integration

package clientvm_test

import (
	"slices"
	"testing"

	"postern/integration/clientvm"
	"postern/integration/netlab"
)

// The guest against Debian's own pptpd in a second guest. When this fails, the
// machine or the harness is at fault, and what the node's tests say counts little.
func TestAgainstPptpd(t *testing.T) {
	ns := netlab.New(t)
	ns.Bridge(t, "br0", "10.78.0.254/24")
	server := clientvm.Boot(t, clientvm.Config{Net: ns, Bridge: "br0", Address: "10.78.0.1/24"})
	if err := server.Serve(clientvm.Serve{
		Local: "10.80.0.1", Pool: "10.80.0.10-60", User: "alice", Password: "s3cret", Stateful: true,
	}); err != nil {
		t.Fatal(err)
	}
	guest := clientvm.Boot(t, clientvm.Config{Net: ns, Bridge: "br0", Address: "10.78.0.2/24"})

	dial := clientvm.Dial{Server: "10.78.0.1", User: "alice", Password: "s3cret"}
	t.Run("kernel", func(t *testing.T) {
		links := up(t, guest, dial)
		if l := links[0]; l.MPPE != "128-bit stateless" || l.Remote != "10.80.0.1" || l.Auth != "chap MS-v2" {
			t.Errorf("link %+v", l)
		}
		echoed(t, guest, clientvm.Ping{To: "10.80.0.1", Sizes: []int{56, 1000, 1400}})
		for _, down := range []bool{false, true} {
			m, err := guest.Transfer(clientvm.Transfer{To: "10.80.0.1", Seconds: 1, Down: down})
			if err != nil || m.Bytes == 0 {
				t.Errorf("transfer, down %v: %+v, %v", down, m, err)
			}
		}
		hangUp(t, guest)
	})
	t.Run("pptp-linux", func(t *testing.T) {
		d := dial
		d.Data = clientvm.User
		up(t, guest, d)
		echoed(t, guest, clientvm.Ping{To: "10.80.0.1", Sizes: []int{56}})
		hangUp(t, guest)
	})
	t.Run("stateful", func(t *testing.T) {
		d := dial
		d.Stateful = true
		if links := up(t, guest, d); links[0].MPPE != "128-bit stateful" {
			t.Errorf("link %+v\n%s", links[0], guest.Log(1))
		}
		echoed(t, guest, clientvm.Ping{To: "10.80.0.1", Sizes: []int{56, 1400}})
		hangUp(t, guest)
	})
	t.Run("wrong password", func(t *testing.T) {
		d := dial
		d.Password = "wrong"
		// 5 if pptpd hangs up before the client's pppd has ended: that is SIGHUP to it.
		refused(t, guest, d, 19, 5)
	})
	t.Run("too little encryption", func(t *testing.T) {
		d := dial
		d.MPPE = clientvm.MPPE40
		// 10 if the client's own LCP ends the link, 16 if pptpd hangs up first.
		refused(t, guest, d, 10, 16)
	})
	t.Run("three addresses", func(t *testing.T) {
		d := dial
		d.Clients = 3
		up(t, guest, d)
		echoed(t, guest, clientvm.Ping{To: "10.80.0.1", Sizes: []int{56}})
		hangUp(t, guest)
	})
	t.Run("three behind one address", func(t *testing.T) {
		d := dial
		d.Clients, d.SameAddress = 3, true
		up(t, guest, d)
		echoed(t, guest, clientvm.Ping{To: "10.80.0.1", Sizes: []int{56}})
		hangUp(t, guest)
	})
}

func up(t *testing.T, vm *clientvm.VM, d clientvm.Dial) []clientvm.Link {
	t.Helper()
	links, err := vm.Dial(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if !l.Up {
			t.Fatalf("client %d is not up: %+v\n%s", l.Client, l, vm.Log(l.Client))
		}
		t.Logf("client %d up in %.1f s: %s, %s, MTU %d", l.Client, l.Seconds, l.Local, l.MPPE, l.MTU)
	}
	return links
}

func refused(t *testing.T, vm *clientvm.VM, d clientvm.Dial, status ...int) {
	t.Helper()
	links, err := vm.Dial(d)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if l.Up || !slices.Contains(status, l.Status) {
			t.Errorf("client %d: up %v, pppd's exit status %d, want one of %d: %q", l.Client, l.Up, l.Status, status, l.Why)
		}
	}
	hangUp(t, vm)
}

func echoed(t *testing.T, vm *clientvm.VM, p clientvm.Ping) {
	t.Helper()
	sizes, err := vm.Ping(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sizes {
		if s.Clients == 0 || s.Lossless != s.Clients {
			t.Errorf("ping of %d: %d of %d clients without loss: %q", s.Size, s.Lossless, s.Clients, s.Detail)
		}
	}
}

func hangUp(t *testing.T, vm *clientvm.VM) {
	t.Helper()
	if _, err := vm.Hangup(); err != nil {
		t.Error(err)
	}
}
