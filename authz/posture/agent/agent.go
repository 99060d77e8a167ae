// Package agent takes what devices say of themselves: it enrols their keys, checks the
// reports they sign (postern/internal/report) and turns them into posture records of the
// highest confidence.
//
//	ticket ─► Enrol ─► {device:ID}:key ─► Report ─► posture.Record
//	                                 └─► Revoke
//
// A report counts once in the cluster: its nonce is new, its number higher than the last
// one's, and its time within two minutes of the store's. The marks and the key lie under
// one tag, so that a report and a revocation cannot pass each other.
//
// What a report says is as true as the device is honest. Who owns the machine can make
// it say anything; what is proved is which device spoke, when, and from where.
package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"time"

	"postern/authz/posture"
	"postern/authz/ticket"
	"postern/internal/report"
	"postern/internal/seal"
	"postern/internal/store"
)

// Source is how the records name where they are from.
const Source = "agent"

// Bounds, ours.
const (
	// clockWindow is how far a device's clock may be off.
	clockWindow = 2 * time.Minute
	// nonceLife is longer than a report's time is believed.
	nonceLife = 2*clockWindow + time.Minute
	// window of the limits. A device reports every ten minutes and when it dials; a
	// site of some hundred behind one address dials in the morning.
	window    = time.Minute
	perDevice = 12
	perSource = 200
	// keyLife is how long a key is kept from its last report on.
	keyLife = 400 * 24 * time.Hour
	// MaxDevices bounds how many a user may have.
	MaxDevices = 10
	// ticketPurpose keeps tickets for second factors from being taken here.
	ticketPurpose = "device ticket"
)

// Errors of a Desk.
var (
	ErrNoDevice = errors.New("agent: no such device")
	ErrTooMany  = errors.New("agent: the user has too many tickets")
	ErrTicket   = errors.New("agent: no such ticket")
)

// Records is where reports go: a posture.Keeper.
type Records interface {
	Put(ctx context.Context, recs ...posture.Record) (changed []string, err error)
	Remove(ctx context.Context, device string, source ...string) error
}

// Desk is where devices report. It is safe for concurrent use.
type Desk struct {
	store   store.Store
	records Records
	tickets *ticket.Desk
	nobody  ed25519.PublicKey // whose signature is checked where there is no key
}

// New makes a desk.
func New(st store.Store, ring *seal.Ring, records Records) *Desk {
	nobody, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &Desk{st, records, ticket.New(st, ring, ticketPurpose, store.UserDeviceTickets), nobody}
}

// Origin is where something came from.
type Origin struct {
	Addr   netip.Addr // of the connection
	Inside bool       // it is the VPN's own: whose it is outside is not known
}

// Outcome is what became of what a device sent.
type Outcome struct {
	Refused report.Refusal
	Device  string // as far as it is known, also of what was refused
	User    string
	Detail  string // for our log
	Time    time.Time
}

// Reply is what the device may learn of it.
func (o *Outcome) Reply() *report.Reply {
	r := &report.Reply{Refused: o.Refused.Told(), Time: o.Time.UTC().Truncate(time.Second)}
	if o.Refused == report.Taken {
		r.Device = o.Device
	}
	return r
}

// Device is one that has a key.
type Device struct {
	ID       string            `json:"device"`
	User     string            `json:"user"`
	Name     string            `json:"name"` // its host name
	Key      ed25519.PublicKey `json:"key"`
	Enrolled time.Time         `json:"enrolled"`
	From     netip.Addr        `json:"from,omitzero"`
	Revoked  time.Time         `json:"revoked,omitzero"`
	Seen     time.Time         `json:"-"` // when it last reported
}
