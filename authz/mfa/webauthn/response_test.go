package webauthn

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"postern/authz/mfa/webauthn/webauthntest"
)

// The corpus of both targets has what TestRegisterAndAssert's device answers: keys
// without an attestation, with their own, with one we do not take, and an assertion.

// What a browser sends is read or refused, whole, and what was read says the same
// when it is written and read again.
func FuzzResponse(f *testing.F) {
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{}}`))
	f.Fuzz(readAgain)
}

// The same with whatever inside the JSON: client data (JSON again), and an
// attestation object or authenticator data (CBOR, §6.5.4 and §6.1).
func FuzzResponseInside(f *testing.F) {
	f.Add([]byte(`{"type":"webauthn.get","challenge":"","origin":""}`), make([]byte, 37), false)
	f.Fuzz(func(t *testing.T, client, data []byte, registration bool) {
		response := map[string]any{"clientDataJSON": b64(client), "attestationObject": b64(data)}
		if !registration {
			response = map[string]any{"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": "AA"}
		}
		d := webauthntest.Device{ID: []byte{1}}
		readAgain(t, d.Answer(response))
	})
}

func readAgain(t *testing.T, b []byte) {
	if p, err := parseRegistration(b); err == nil {
		again, err := json.Marshal(p.Raw)
		if err != nil {
			t.Fatal(err)
		}
		q, err := parseRegistration(again)
		if len(again) <= maxResponse && (err != nil || !reflect.DeepEqual(p.Response, q.Response) || string(p.RawID) != string(q.RawID)) {
			t.Fatalf("%v\n%s\n%s", err, b, again)
		}
	} else if !errors.Is(err, ErrResponse) {
		t.Fatal(err)
	}
	if p, err := parseAssertion(b); err == nil {
		again, err := json.Marshal(p.Raw)
		if err != nil {
			t.Fatal(err)
		}
		q, err := parseAssertion(again)
		if len(again) <= maxResponse && (err != nil || !reflect.DeepEqual(p.Response, q.Response) || string(p.RawID) != string(q.RawID)) {
			t.Fatalf("%v\n%s\n%s", err, b, again)
		}
	} else if !errors.Is(err, ErrResponse) {
		t.Fatal(err)
	}
}
