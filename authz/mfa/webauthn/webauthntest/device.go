// Package webauthntest is an authenticator in software, with the browser it is plugged
// into, for tests of whatever speaks Web Authentication: ES256, one key a device.
package webauthntest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
)

// Device is an authenticator and the browser it is plugged into. Its fields are what a
// test makes it lie about.
type Device struct {
	ID     []byte
	Key    *ecdsa.PrivateKey
	Count  uint32
	Handle []byte // that it was registered under

	Origin      string // of the page it is shown on
	RPID        string // "": what the options say
	Challenge   string // "": what the options say
	Unverified  bool   // no PIN
	Absent      bool   // nobody touched it
	CrossOrigin bool
	Backup      byte // flags BE and BS
	Still       bool // the counter stays
	Format      string
	Certificate bool // in the attestation
}

// BackupEligible and BackedUp are flags (§6.1).
const (
	BackupEligible = 1 << 3
	BackedUp       = 1 << 4
)

const (
	flagUP = 1 << 0
	flagUV = 1 << 2
	flagAT = 1 << 6
)

// New makes a device that sits before a page of origin.
func New(t testing.TB, origin string) *Device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &Device{ID: make([]byte, 32), Key: key, Origin: origin, Format: "none"}
	_, _ = rand.Read(d.ID)
	return d
}

// Options is what both kinds of ceremony have for the browser.
type Options struct {
	Challenge string
	RPID      string `json:"rpId"`
	RP        struct{ ID, Name string }
	User      struct{ ID, Name, DisplayName string }
	Timeout   int
	Allow     []struct{ ID string } `json:"allowCredentials"`
	Exclude   []struct{ ID string } `json:"excludeCredentials"`
	UV        string                `json:"userVerification"`
	Selection struct {
		UV       string `json:"userVerification"`
		Resident string `json:"residentKey"`
	} `json:"authenticatorSelection"`
	Attestation string
	Parameters  []struct{ Alg int } `json:"pubKeyCredParams"`
}

// Read reads a ceremony's options.
func Read(t testing.TB, text []byte) Options {
	t.Helper()
	var o Options
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return o
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (d *Device) client(kind string, o Options) []byte {
	c := map[string]any{"type": kind, "challenge": o.Challenge, "origin": d.Origin, "crossOrigin": d.CrossOrigin}
	if d.Challenge != "" {
		c["challenge"] = d.Challenge
	}
	b, _ := json.Marshal(c)
	return b
}

func (d *Device) data(rpID string, more []byte) []byte {
	if d.RPID != "" {
		rpID = d.RPID
	}
	if !d.Still {
		d.Count++
	}
	hash := sha256.Sum256([]byte(rpID))
	flags := d.Backup
	if !d.Absent {
		flags |= flagUP
	}
	if !d.Unverified {
		flags |= flagUV
	}
	if more != nil {
		flags |= flagAT
	}
	b := append(hash[:], flags)
	b = binary.BigEndian.AppendUint32(b, d.Count)
	return append(b, more...)
}

// Create is navigator.credentials.create with a ceremony's options.
func (d *Device) Create(t testing.TB, text []byte) []byte {
	t.Helper()
	o := Read(t, text)
	d.Handle, _ = base64.RawURLEncoding.DecodeString(o.User.ID)
	point, err := d.Key.PublicKey.Bytes() // 4 X Y
	if err != nil {
		t.Fatal(err)
	}
	cose, err := webauthncbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	if err != nil {
		t.Fatal(err)
	}
	more := make([]byte, 16) // AAGUID
	more = binary.BigEndian.AppendUint16(more, uint16(len(d.ID)))
	data := d.data(o.RP.ID, append(append(more, d.ID...), cose...))
	client := d.client("webauthn.create", o)
	statement := map[string]any{}
	if d.Format == "packed" {
		statement = map[string]any{"alg": -7, "sig": d.sign(t, data, client)}
	}
	if d.Certificate {
		statement["x5c"] = [][]byte{{1, 2, 3}}
	}
	object, err := webauthncbor.Marshal(map[string]any{"fmt": d.Format, "attStmt": statement, "authData": data})
	if err != nil {
		t.Fatal(err)
	}
	return d.Answer(map[string]any{"clientDataJSON": b64(client), "attestationObject": b64(object), "transports": []string{"usb", "warp"}})
}

// Get is navigator.credentials.get with a ceremony's options.
func (d *Device) Get(t testing.TB, text []byte) []byte {
	t.Helper()
	o := Read(t, text)
	data, client := d.data(o.RPID, nil), d.client("webauthn.get", o)
	return d.Answer(map[string]any{
		"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(d.sign(t, data, client)), "userHandle": b64(d.Handle),
	})
}

func (d *Device) sign(t testing.TB, data, client []byte) []byte {
	t.Helper()
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(append([]byte(nil), data...), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, d.Key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// Answer is the JSON around a response.
func (d *Device) Answer(response map[string]any) []byte {
	b, _ := json.Marshal(map[string]any{
		"id": b64(d.ID), "rawId": b64(d.ID), "type": "public-key", "authenticatorAttachment": "cross-platform",
		"clientExtensionResults": map[string]any{"credProps": map[string]any{"rk": true}}, // unasked, as password managers do
		"response":               response,
	})
	return b
}
