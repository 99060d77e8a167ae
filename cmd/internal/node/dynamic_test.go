package node_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"layeh.com/radius/rfc2866"
	"layeh.com/radius/rfc2869"
	"layeh.com/radius/rfc3576"

	"postern/cmd/internal/cmdtest"
	"postern/cmd/internal/node"
	"postern/internal/radius"
)

// disconnect asks a node by UDP to end a session.
func disconnect(t *testing.T, to, secret, session string) (*radius.Packet, error) {
	t.Helper()
	key := radius.NewSecret(secret)
	p := &radius.Packet{Code: radius.CodeDisconnectRequest, Identifier: 9, Secret: key.Bytes()}
	if err := errors.Join(rfc2866.AcctSessionID_SetString(p, session), rfc2869.EventTimestamp_Set(p, time.Now())); err != nil {
		t.Fatal(err)
	}
	req, err := radius.EncodeRequest(p)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(req); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, radius.MaxPacket)
	k, err := conn.Read(buf)
	if err != nil {
		return nil, err
	}
	return radius.ParseReply(buf[:k], req, key)
}

// The UDP port is open when it is configured, for whom it is configured, and a reload
// changes the secrets.
func TestCoAPort(t *testing.T) {
	s := cmdtest.NewSite(t)
	at := cmdtest.FreeUDP(t)
	s.Write(t, "coa", "first")
	s.Write(t, "gateway.yaml", s.Read(t, "gateway.yaml")+
		fmt.Sprintf("coa: {listen: %q, clients: [{network: 127.0.0.0/8, secret_file: coa}]}\n", at))
	silent := radius.HandlerFunc(func(context.Context, []byte, radius.Peer) []byte { return nil })
	n := start(t, load(t, s), node.Options{Deps: newNetwork(t).deps, Local: silent})
	p, err := disconnect(t, at, "first", "none")
	if err != nil || p.Code != radius.CodeDisconnectNAK || rfc3576.ErrorCause_Get(p) != rfc3576.ErrorCause_Value_SessionContextNotFound {
		t.Errorf("%v, %v", p, err)
	}
	s.Write(t, "coa", "second")
	if err := n.Reload(load(t, s)); err != nil {
		t.Fatal(err)
	}
	if p, err := disconnect(t, at, "first", "none"); err == nil {
		t.Errorf("with the old secret: %v", p)
	}
	if _, err := disconnect(t, at, "second", "none"); err != nil {
		t.Error(err)
	}
	n.Stop()
	if p, err := disconnect(t, at, "second", "none"); err == nil {
		t.Errorf("of a node that has ended: %v", p)
	}

	gone := load(t, s)
	gone.CoA.Clients[0].File = "/nonexistent"
	if _, err := node.New(gone, node.Options{Deps: newNetwork(t).deps, Local: silent}); err == nil || !strings.Contains(err.Error(), "coa client 127.0.0.0/8: ") {
		t.Errorf("without a secret: %v", err)
	}
	if err := node.Check(gone); err == nil {
		t.Error("checked, and no mistake found")
	}
	taken := load(t, s)
	taken.CoA.Listen = netip.MustParseAddrPort("192.0.2.1:3799") // not this host's
	other, err := node.New(taken, node.Options{Deps: newNetwork(t).deps, Local: silent})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err == nil {
		t.Error("listens on an address of another host")
	}
	other.Stop()
}
