// Package push takes what inventories send by HTTP: records of devices, from who shows
// the token of a source.
//
//	POST /posture/v1/records
//	Authorization: Bearer TOKEN
//	Content-Type: application/json
//
//	{"records": [{"device": "LT-0231", "owners": ["alice@corp.example"], "at": "2026-11-23T08:00:00Z",
//	              "facts": {"os": "windows", "os_version": "10.0.22631", "compliant": true}}]}
//
// The token says which source speaks; no body can. What a source sends has the confidence
// of an inventory. A record is as good the second time: what is sent again changes nothing.
package push

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"postern/authz/posture"
	"postern/policy"
)

// Where it is, and bounds of a request, ours.
const (
	Path        = "/posture/v1/records"
	ContentType = "application/json"
	MaxBody     = 1 << 20
	maxRecords  = 1000
	// perMinute is how often a source may send, to one service.
	perMinute = 120
	// MinToken is the shortest token: sixteen octets drawn at random, as text.
	MinToken = 22
)

// Token is what a source shows.
type Token struct {
	Source string
	Secret []byte         // wiped by the caller
	From   []netip.Prefix // none: from anywhere
}

// Records is where it goes: a posture.Keeper.
type Records interface {
	Put(ctx context.Context, recs ...posture.Record) (changed []string, err error)
}

// Outcome is what becomes of a request. The zero value is that it was no such request.
//
// Handled in: outcomeNames; package portal, which makes a status of it.
type Outcome uint8

const (
	Malformed Outcome = iota
	Taken             // see Answer: single records may be refused
	BadToken          // or from where it must not be shown
	Rate              // too often
	Away              // the store
)

var outcomeNames = [...]string{Malformed: "malformed", Taken: "taken", BadToken: "token", Rate: "rate", Away: "away"}

// String returns the outcome as metrics spell it.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return outcomeNames[Malformed]
}

// Outcomes are all there are.
func Outcomes() []Outcome { return []Outcome{Malformed, Taken, BadToken, Rate, Away} }

// Answer is what who sent it is told.
type Answer struct {
	Taken   int       `json:"taken"`
	Refused []Refused `json:"refused,omitempty"`
	Error   string    `json:"error,omitempty"`
}

// Refused is a record that was not taken.
type Refused struct {
	Device string `json:"device"`
	Why    string `json:"why"`
}

// Desk takes records. It is safe for concurrent use.
type Desk struct {
	records Records
	now     func() time.Time

	mu     sync.Mutex
	tokens []*token
}

// token is one whose secret is kept as a digest.
type token struct {
	source string
	sum    [sha256.Size]byte
	from   []netip.Prefix
	window time.Time
	count  int
}

// New makes a desk.
func New(records Records, tokens []Token) *Desk {
	d := &Desk{records: records, now: time.Now}
	for _, t := range tokens {
		d.tokens = append(d.tokens, &token{source: t.Source, sum: sha256.Sum256(t.Secret), from: t.From})
	}
	return d
}

// Enter says whose token stands in an Authorization field, and whether he may send now.
// It is asked before anything of the body is read.
func (d *Desk) Enter(authorization string, from netip.Addr) (source string, o Outcome) {
	kind, secret, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(kind, "Bearer") {
		secret = ""
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(secret)))
	d.mu.Lock()
	defer d.mu.Unlock()
	var found *token
	for _, t := range d.tokens { // all of them, whichever fits
		if subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 {
			found = t
		}
	}
	from = from.Unmap().WithZone("")
	if found == nil || len(found.from) > 0 && !slices.ContainsFunc(found.from, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return "", BadToken
	}
	now := d.now()
	if now.Sub(found.window) >= time.Minute {
		found.window, found.count = now, 0
	}
	if found.count++; found.count > perMinute {
		return found.source, Rate
	}
	return found.source, Taken
}

// wire is a record as it is sent. A fact that is null or not there is not known.
type wire struct {
	Device string    `json:"device"`
	Name   string    `json:"name"`
	Owners []string  `json:"owners"`
	At     time.Time `json:"at"`
	Facts  struct {
		OS        string    `json:"os"`
		OSVersion string    `json:"os_version"`
		Managed   *bool     `json:"managed"`
		Compliant *bool     `json:"compliant"`
		Encrypted *bool     `json:"disk_encrypted"`
		Firewall  *bool     `json:"firewall"`
		Antivirus *bool     `json:"antivirus"`
		Lock      *bool     `json:"screen_lock"`
		Enabled   *bool     `json:"enabled"`
		Patched   time.Time `json:"patched"`
		Booted    time.Time `json:"booted"`
		LastLogon time.Time `json:"last_logon"`
	} `json:"facts"`
}

func tri(b *bool) policy.Tri {
	switch {
	case b == nil:
		return policy.Unknown
	case *b:
		return policy.Yes
	}
	return policy.No
}

var errMany = fmt.Errorf("more than %d records", maxRecords)

// parse reads a body.
func parse(body []byte) ([]wire, error) {
	var all struct {
		Records []wire `json:"records"`
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("not records: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind the records")
	}
	switch n := len(all.Records); {
	case n == 0:
		return nil, errors.New("no records")
	case n > maxRecords:
		return nil, errMany
	}
	return all.Records, nil
}

// Push takes the records of a source that Enter has let in.
func (d *Desk) Push(ctx context.Context, source string, body []byte) (Outcome, *Answer) {
	all, err := parse(body)
	if err != nil {
		return Malformed, &Answer{Error: err.Error()}
	}
	a := &Answer{}
	for at := range all {
		r := all[at].record(source)
		switch _, err := d.records.Put(ctx, r); {
		case err == nil:
			a.Taken++
		case errors.Is(err, posture.ErrBadRecord):
			a.Refused = append(a.Refused, Refused{all[at].Device, err.Error()})
		default:
			return Away, &Answer{Taken: a.Taken, Error: "not now: send it again"}
		}
	}
	return Taken, a
}

func (w *wire) record(source string) posture.Record {
	f := &w.Facts
	return posture.Record{
		Device: w.Device, Name: w.Name, Source: source, Confidence: policy.Inventory, Owners: w.Owners, At: w.At,
		Facts: posture.Facts{
			OS: f.OS, OSVersion: f.OSVersion, Managed: tri(f.Managed), Compliant: tri(f.Compliant), Encrypted: tri(f.Encrypted),
			Firewall: tri(f.Firewall), Antivirus: tri(f.Antivirus), Lock: tri(f.Lock), Enabled: tri(f.Enabled),
			Patched: f.Patched, Booted: f.Booted, LastLogon: f.LastLogon,
		},
	}
}
