package netlogon

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/oiweiwei/go-msrpc/ssp/gssapi"
	"github.com/oiweiwei/go-msrpc/ssp/netlogon/crypto"
)

// mechanisms are those of both sides.
func mechanisms(t *testing.T) (client, server *mechanism) {
	key := bytes.Repeat([]byte{7}, 16)
	side := func(isClient bool) *mechanism {
		return &mechanism{
			out: crypto.NewCipher(t.Context(), crypto.EtypeAESSHA2, key, isClient),
			in:  crypto.NewCipher(t.Context(), crypto.EtypeAESSHA2, key, !isClient),

			verified: new(atomic.Uint64),
		}
	}
	return side(true), side(false)
}

func token(body string) *gssapi.MessageTokenEx {
	return &gssapi.MessageTokenEx{Payloads: []*gssapi.PayloadEx{
		{Payload: []byte("header"), Capabilities: gssapi.Integrity},
		{Payload: []byte(body), Capabilities: gssapi.Integrity | gssapi.Confidentiality},
	}}
}

// Requests and replies of any number of fragments, in one count.
func TestSequence(t *testing.T) {
	client, server := mechanisms(t)
	for i, fromClient := range []bool{true, false, true, false, false, false, true, true, false} {
		from, to := client, server
		if !fromClient {
			from, to = server, client
		}
		tok, err := from.WrapEx(t.Context(), token("body"))
		if err != nil {
			t.Fatal(err)
		}
		if string(tok.Payloads[1].Payload) == "body" || string(tok.Payloads[0].Payload) != "header" {
			t.Errorf("%d: %q", i, tok.Payloads[1].Payload)
		}
		if tok, err = to.UnwrapEx(t.Context(), tok); err != nil || string(tok.Payloads[1].Payload) != "body" {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestForgeries(t *testing.T) {
	for name, edit := range map[string]func(client, server *mechanism, tok *gssapi.MessageTokenEx){
		"changed body":      func(_, _ *mechanism, tok *gssapi.MessageTokenEx) { tok.Payloads[1].Payload[0] ^= 1 },
		"changed header":    func(_, _ *mechanism, tok *gssapi.MessageTokenEx) { tok.Payloads[0].Payload[0] ^= 1 },
		"changed checksum":  func(_, _ *mechanism, tok *gssapi.MessageTokenEx) { tok.Signature[16] ^= 1 },
		"changed sequence":  func(_, _ *mechanism, tok *gssapi.MessageTokenEx) { tok.Signature[8] ^= 1 },
		"changed algorithm": func(_, _ *mechanism, tok *gssapi.MessageTokenEx) { tok.Signature[0] = 0x77 },
		"changed salt":      func(_, _ *mechanism, tok *gssapi.MessageTokenEx) { tok.Signature[24] ^= 1 },
		"no signature":      func(_, _ *mechanism, tok *gssapi.MessageTokenEx) { tok.Signature = nil },
		"half a signature":  func(_, _ *mechanism, tok *gssapi.MessageTokenEx) { tok.Signature = tok.Signature[:23] },
		"one is missing":    func(c, _ *mechanism, _ *gssapi.MessageTokenEx) { c.next-- },
		"our own":           func(c, s *mechanism, _ *gssapi.MessageTokenEx) { c.in = c.out },
	} {
		client, server := mechanisms(t)
		client.next, server.next = 5, 5
		tok, err := server.WrapEx(t.Context(), token("body"))
		if err != nil {
			t.Fatal(err)
		}
		edit(client, server, tok)
		if _, err := client.UnwrapEx(t.Context(), tok); err == nil || client.verified.Load() != 0 {
			t.Errorf("%s: passes", name)
		}
	}
	// Again.
	client, server := mechanisms(t)
	tok, _ := server.WrapEx(t.Context(), token("body"))
	again := &gssapi.MessageTokenEx{Signature: bytes.Clone(tok.Signature)}
	for _, p := range tok.Payloads {
		again.Payloads = append(again.Payloads, &gssapi.PayloadEx{Payload: bytes.Clone(p.Payload), Capabilities: p.Capabilities})
	}
	if _, err := client.UnwrapEx(t.Context(), tok); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UnwrapEx(t.Context(), again); err == nil || client.verified.Load() != 1 {
		t.Error("repeated: passes")
	}
}
