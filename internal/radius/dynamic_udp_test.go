package radius

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestDynamicListener(t *testing.T) {
	n := newNAS(t)
	n.now = time.Now()
	for _, wrong := range []string{"0.0.0.0:0", "[::]:3799", "192.0.2.1:1"} {
		if _, err := ListenDynamic(netip.MustParseAddrPort(wrong), n.Dynamic, nil); err == nil {
			t.Errorf("listens on %s", wrong)
		}
	}
	l, err := ListenDynamic(netip.MustParseAddrPort("127.0.0.1:0"), n.Dynamic, []DynamicClient{
		{netip.MustParsePrefix("0.0.0.0/0"), NewSecret("everybody's")},
		{netip.MustParsePrefix("127.0.0.1/32"), testSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req []byte) (*Packet, error) {
		t.Helper()
		conn, err := net.Dial("udp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write(req); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		buf := make([]byte, MaxPacket)
		k, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		return ParseReply(buf[:k], req, testSecret)
	}
	reply, err := ask(disconnect(t, testSecret, "a", n.now))
	if err != nil || reply.Code != CodeDisconnectACK {
		t.Errorf("%v, %v", reply, err)
	}
	// The longest prefix has the say.
	if reply, err := ask(disconnect(t, NewSecret("everybody's"), "b", n.now)); err == nil {
		t.Errorf("%v", reply)
	}
	l.SetClients([]DynamicClient{{netip.MustParsePrefix("192.0.2.0/24"), testSecret}})
	if reply, err := ask(disconnect(t, testSecret, "c", n.now)); err == nil || n.counted(t, "dropped_total", "udp", "unknown_client") != 1 {
		t.Errorf("a stranger got %v", reply)
	}
	l.SetClients([]DynamicClient{{netip.MustParsePrefix("127.0.0.0/8"), testSecret}})
	if _, err := ask(disconnect(t, testSecret, "d", n.now)); err != nil {
		t.Error(err)
	}
	l.Close()
	if got := n.carried(); len(got) != 2 || got[0] != "a" || got[1] != "d" {
		t.Errorf("carried out %q", got)
	}
}
