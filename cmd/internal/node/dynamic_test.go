package node_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"layeh.com/radius/rfc2865"
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
	return ask(t, to, secret, order(t, secret, session, time.Now()))
}

// order is a request to end a session that was made at some time.
func order(t *testing.T, secret, session string, at time.Time) []byte {
	t.Helper()
	return request(t, radius.CodeDisconnectRequest, secret, session, at)
}

// lift is a request to let a session out of quarantine, into a filter.
func lift(t *testing.T, secret, session string, at time.Time) []byte {
	t.Helper()
	return request(t, radius.CodeCoARequest, secret, session, at,
		func(p *radius.Packet) error { return rfc2865.FilterID_SetString(p, "staff") },
		func(p *radius.Packet) error {
			return radius.AddFilterRules(p, []string{"permit in ip from assigned to any"})
		})
}

func request(t *testing.T, code radius.Code, secret, session string, at time.Time, fill ...func(*radius.Packet) error) []byte {
	t.Helper()
	p := &radius.Packet{Code: code, Identifier: 9, Secret: []byte(secret)}
	err := errors.Join(rfc2866.AcctSessionID_SetString(p, session), rfc2869.EventTimestamp_Set(p, at))
	for _, f := range fill {
		err = errors.Join(err, f(p))
	}
	if err != nil {
		t.Fatal(err)
	}
	req, err := radius.EncodeRequest(p)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// unsigned takes Message-Authenticator out of a request, which stays right otherwise
// (RFC 5176 §2.3).
func unsigned(req []byte, secret string) []byte {
	const header, signature = radius.HeaderLen, 18
	b := append(bytes.Clone(req[:header]), req[header+signature:]...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	clear(b[4:header])
	sum := md5.Sum(append(bytes.Clone(b), secret...))
	copy(b[4:], sum[:])
	return b
}

func ask(t *testing.T, to, secret string, req []byte) (*radius.Packet, error) {
	t.Helper()
	return askFrom(t, "127.0.0.1", to, secret, req)
}

func askFrom(t *testing.T, from, to, secret string, req []byte) (*radius.Packet, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("udp", to)
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
	return radius.ParseReply(buf[:k], req, radius.NewSecret(secret))
}

// nothing is a service that keeps silent.
func nothing(context.Context, []byte, radius.Peer) []byte { return nil }

// counted is a counter with these labels.
func counted(t *testing.T, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			if f.GetName() == name && !slices.ContainsFunc(labels, func(w string) bool { return !slices.Contains(values, w) }) {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// The UDP port is open when it is configured, for whom it is configured, and a reload
// changes the secrets.
func TestCoAPort(t *testing.T) {
	s := cmdtest.NewSite(t)
	at := cmdtest.FreeUDP(t)
	s.Write(t, "coa", "first")
	s.Write(t, "gateway.yaml", s.Read(t, "gateway.yaml")+
		fmt.Sprintf("coa: {listen: %q, clients: [{network: 127.0.0.0/8, secret_file: coa}]}\n", at))
	silent := radius.HandlerFunc(nothing)
	reg := prometheus.NewRegistry()
	n := start(t, load(t, s), node.Options{Deps: newNetwork(t).deps, Local: silent, Registerer: reg})
	p, err := disconnect(t, at, "first", "none")
	if err != nil || p.Code != radius.CodeDisconnectNAK || rfc3576.ErrorCause_Get(p) != rfc3576.ErrorCause_Value_SessionContextNotFound {
		t.Errorf("%v, %v", p, err)
	}
	t.Log("what cannot be believed gets no answer")
	made := order(t, "first", "other", time.Now())
	forged := bytes.Clone(made)
	forged[len(forged)-1]++
	for reason, req := range map[string][]byte{
		"unsigned": unsigned(made, "first"), "authenticator": forged, "stale": order(t, "first", "other", time.Now().Add(-time.Hour)), "code": append([]byte{1}, made[1:]...),
	} {
		if p, err := ask(t, at, "first", req); err == nil {
			t.Errorf("%s: %v", reason, p)
		}
		if got := counted(t, reg, "postern_dynamic_dropped_total", "udp", reason); got != 1 {
			t.Errorf("%s: %v counted", reason, got)
		}
	}
	for range 2 { // a copy is the same request
		if _, err := ask(t, at, "first", made); err != nil {
			t.Error(err)
		}
	}
	if got := counted(t, reg, "postern_dynamic_repeated_total", "udp"); got != 1 {
		t.Errorf("%v repetitions counted", got)
	}
	if got := counted(t, reg, "postern_dynamic_requests_total", "udp", "disconnect", "session_not_found"); got != 2 {
		t.Errorf("%v unknown sessions counted", got)
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
