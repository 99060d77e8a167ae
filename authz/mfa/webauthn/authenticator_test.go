package webauthn

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

// device is an authenticator and the browser it is plugged into, ES256, as far as
// the other side can tell. Its fields are what a test makes it lie about.
type device struct {
	id     []byte
	key    *ecdsa.PrivateKey
	count  uint32
	handle []byte // that it was registered under

	origin      string
	rpID        string // "": what the options say
	challenge   string // "": what the options say
	unverified  bool
	absent      bool // nobody touched it
	crossOrigin bool
	backup      byte // BE and BS
	still       bool // the counter stays
	format      string
	certificate bool
}

const (
	flagUP = 1 << 0
	flagUV = 1 << 2
	flagBE = 1 << 3
	flagAT = 1 << 6
)

func newDevice(t testing.TB) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{id: make([]byte, 32), key: key, origin: "https://vpn.corp.example", format: "none"}
	_, _ = rand.Read(d.id)
	return d
}

// options is what both kinds have for the browser.
type options struct {
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

func readOptions(t testing.TB, c *Ceremony) options {
	t.Helper()
	var o options
	if err := json.Unmarshal(c.Options, &o); err != nil {
		t.Fatalf("%v: %s", err, c.Options)
	}
	return o
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (d *device) client(kind string, o options) []byte {
	c := map[string]any{"type": kind, "challenge": o.Challenge, "origin": d.origin, "crossOrigin": d.crossOrigin}
	if d.challenge != "" {
		c["challenge"] = d.challenge
	}
	b, _ := json.Marshal(c)
	return b
}

func (d *device) data(rpID string, more []byte) []byte {
	if d.rpID != "" {
		rpID = d.rpID
	}
	if !d.still {
		d.count++
	}
	hash := sha256.Sum256([]byte(rpID))
	flags := d.backup
	if !d.absent {
		flags |= flagUP
	}
	if !d.unverified {
		flags |= flagUV
	}
	if more != nil {
		flags |= flagAT
	}
	b := append(hash[:], flags)
	b = binary.BigEndian.AppendUint32(b, d.count)
	return append(b, more...)
}

// create is navigator.credentials.create.
func (d *device) create(t testing.TB, c *Ceremony) []byte {
	t.Helper()
	o := readOptions(t, c)
	d.handle, _ = base64.RawURLEncoding.DecodeString(o.User.ID)
	point, err := d.key.PublicKey.Bytes() // 4 X Y
	if err != nil {
		t.Fatal(err)
	}
	cose, err := webauthncbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	if err != nil {
		t.Fatal(err)
	}
	more := make([]byte, 16) // AAGUID
	more = binary.BigEndian.AppendUint16(more, uint16(len(d.id)))
	data := d.data(o.RP.ID, append(append(more, d.id...), cose...))
	client := d.client("webauthn.create", o)
	statement := map[string]any{}
	if d.format == "packed" {
		statement = map[string]any{"alg": -7, "sig": d.sign(t, data, client)}
	}
	if d.certificate {
		statement["x5c"] = [][]byte{{1, 2, 3}}
	}
	object, err := webauthncbor.Marshal(map[string]any{"fmt": d.format, "attStmt": statement, "authData": data})
	if err != nil {
		t.Fatal(err)
	}
	return d.answer(map[string]any{"clientDataJSON": b64(client), "attestationObject": b64(object), "transports": []string{"usb", "warp"}})
}

// get is navigator.credentials.get.
func (d *device) get(t testing.TB, c *Ceremony) []byte {
	t.Helper()
	o := readOptions(t, c)
	data, client := d.data(o.RPID, nil), d.client("webauthn.get", o)
	return d.answer(map[string]any{
		"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(d.sign(t, data, client)), "userHandle": b64(d.handle),
	})
}

func (d *device) sign(t testing.TB, data, client []byte) []byte {
	t.Helper()
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(append(append([]byte(nil), data...), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, d.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func (d *device) answer(response map[string]any) []byte {
	b, _ := json.Marshal(map[string]any{
		"id": b64(d.id), "rawId": b64(d.id), "type": "public-key", "authenticatorAttachment": "cross-platform",
		"clientExtensionResults": map[string]any{"credProps": map[string]any{"rk": true}}, // unasked, as password managers do
		"response":               response,
	})
	return b
}
