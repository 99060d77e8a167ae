package portal

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"postern/authz"
)

// Backend decides about people. It is safe for concurrent use. An error that is none
// of those below means that it cannot answer now.
//
// Users are canonical names, as SignIn, Visit and Ticket return them.
type Backend interface {
	// Visit says what the reference of a quarantined session stands for:
	// authz.ErrReference, authz.ErrNoSession.
	Visit(ctx context.Context, reference string) (*authz.Visit, error)
	// StepUp and SignIn judge a proof, count what is wrong, burn the code and write the
	// audit record.
	StepUp(ctx context.Context, s authz.StepUp) authz.StepUpResult
	SignIn(ctx context.Context, s authz.SignIn) authz.SignInResult

	// Ticket takes an operator's ticket and says whose it is: ErrTicket.
	Ticket(ctx context.Context, ticket string) (user string, err error)

	// Factors are what a user has.
	Factors(ctx context.Context, user string) (Factors, error)
	// Begin makes a new device that counts for nothing before Confirm: ErrTooMany.
	Begin(ctx context.Context, user, label string) (*Enrolment, error)
	// Confirm stores it when the code is its own: ErrCode, ErrTooMany, ErrLapsed.
	Confirm(ctx context.Context, user, pending, code string) error
	// Remove takes a device away: ErrNotFound.
	Remove(ctx context.Context, user, id string) error
	// NewRecovery makes recovery codes in the place of those there are.
	NewRecovery(ctx context.Context, user string) ([]string, error)

	// Connections are a user's sessions that have not ended.
	Connections(ctx context.Context, user string) ([]Connection, error)
	// Disconnect ends one of them, as somebody at an address wishes: ErrNotFound.
	Disconnect(ctx context.Context, user, id string, from netip.Addr) error

	// Places are where a user's factor is remembered.
	Places(ctx context.Context, user string) ([]Place, error)
	// Forget ends that for one: ErrNotFound.
	Forget(ctx context.Context, user, id string) error

	// VPN says whether an address is a node's or one that the VPN gives to its clients:
	// behind such anybody with a password can be.
	VPN(netip.Addr) bool

	// Healthy is nil while visitors can be served.
	Healthy(ctx context.Context) error
}

// What a Backend says no with.
var (
	ErrTicket   = errors.New("portal: no such ticket")
	ErrCode     = errors.New("portal: the code is not the device's")
	ErrLapsed   = errors.New("portal: the enrolment has lapsed")
	ErrTooMany  = errors.New("portal: the user has too many devices")
	ErrNotFound = errors.New("portal: not found")
)

// Factors is what a user can prove himself with.
type Factors struct {
	Devices []Device
	// More is the number of devices that may be added.
	More     int
	Recovery int // recovery codes left
	Keys     int // WebAuthn credentials
	// Elsewhere are those that the user's directory keeps: neither to be shown nor to be
	// removed here.
	Elsewhere int
}

// Enrolled says whether there is a factor that stays.
func (f *Factors) Enrolled() bool { return len(f.Devices)+f.Keys+f.Elsewhere > 0 }

// Device is an authenticator app's token.
type Device struct {
	ID, Label string
	Added     time.Time
}

// Enrolment is a device that was begun: its secret is in it.
type Enrolment struct {
	Pending string // for Confirm, sealed
	Secret  string // base32
	URL     string // otpauth://
	Account string
	Issuer  string
	Digits  int
	Period  int // seconds
}

// Connection is one session.
type Connection struct {
	ID      string
	Source  netip.Addr
	Address netip.Addr // inside
	Node    string
	Client  string // the client's own name: a claim
	Since   time.Time
	Held    bool // in quarantine
	Until   time.Time
	// Isolated: held until its device reports; Waits: for its factor, too.
	Isolated, Waits bool
	Banner          string // what the rule tells its user
	Factor          string // authz.Factor's name
	In, Out         uint64 // octets, from and to the client
}

// Place is where a factor is remembered.
type Place struct {
	ID     string
	Prefix netip.Prefix
	Device string
	Since  time.Time
	Used   time.Time
	Until  time.Time
}

// Where is the place in a page: one address needs no prefix length.
func (p Place) Where() string {
	if p.Prefix.IsSingleIP() {
		return p.Prefix.Addr().String()
	}
	return p.Prefix.String()
}
