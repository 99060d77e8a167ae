package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/authz/directory"
	"postern/internal/radius"
)

// AsMSCHAPv1 says when a response of MS-CHAPv2 goes upstream in the form of
// MS-CHAPv1.
//
// Handled in: asMSCHAPv1Names, (*Directory).asMSCHAPv1.
type AsMSCHAPv1 uint8

const (
	AsMSCHAPv1Unknown  AsMSCHAPv1 = iota
	AsMSCHAPv1Never               // the server is asked about the name as typed, code included
	AsMSCHAPv1WithCode            // where there is a code behind the name
	AsMSCHAPv1Always
)

var asMSCHAPv1Names = [...]string{
	AsMSCHAPv1Unknown: "unknown", AsMSCHAPv1Never: "never", AsMSCHAPv1WithCode: "with_code", AsMSCHAPv1Always: "always",
}

// String returns it as configurations spell it.
func (a AsMSCHAPv1) String() string {
	if int(a) < len(asMSCHAPv1Names) {
		return asMSCHAPv1Names[a]
	}
	return asMSCHAPv1Names[AsMSCHAPv1Unknown]
}

// Config is what New needs. All but GroupPrefix and People must be there.
type Config struct {
	// Upstream asks the servers: a radius.Client, whose owner closes it.
	Upstream radius.Exchanger
	// NAS is who asks: NAS-Identifier.
	NAS        string
	AsMSCHAPv1 AsMSCHAPv1
	// Groups is the attribute that holds a group each. GroupPrefix is cut off, and
	// values without it are no groups.
	Groups      GroupAttribute
	GroupPrefix string
	// People is a directory of the same people: Find's answers are its own.
	People directory.Directory
}

// Directory is a directory.Directory.
type Directory struct{ cfg Config }

// New makes a Directory. Where People can be followed, it is a directory.Follower.
func New(c Config) (directory.Directory, error) {
	var errs []error
	if c.Upstream == nil {
		errs = append(errs, errors.New("nobody to ask"))
	}
	if c.NAS == "" || len(c.NAS) > maxAttribute {
		errs = append(errs, fmt.Errorf("NAS-Identifier of %d octets", len(c.NAS))) // RFC 2865 §4.1 wants one
	}
	if c.AsMSCHAPv1 == AsMSCHAPv1Unknown || int(c.AsMSCHAPv1) >= len(asMSCHAPv1Names) {
		errs = append(errs, errors.New("not said when to use the form of MS-CHAPv1"))
	}
	if c.Groups == GroupsUnknown || int(c.Groups) >= len(groupNames) {
		errs = append(errs, errors.New("not said where groups are"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("new RADIUS directory: %w", err)
	}
	d := &Directory{c}
	if f, can := c.People.(directory.Follower); can {
		return followed{d, f}, nil
	}
	return d, nil
}

// followed follows People, whose canonical names are ours.
type followed struct {
	*Directory
	directory.Follower
}

// Canonical implements directory.Directory.
func (d *Directory) Canonical(n directory.Name) string {
	if d.cfg.People != nil {
		return d.cfg.People.Canonical(n)
	}
	return strings.ToLower(n.User)
}

// Find implements directory.Directory. Without People it finds everybody: whether
// there is such a user shows when the password is verified.
func (d *Directory) Find(ctx context.Context, n directory.Name) (*directory.Account, error) {
	if d.cfg.People != nil {
		return d.cfg.People.Find(ctx, n)
	}
	return &directory.Account{Name: d.Canonical(n), State: directory.Active}, nil
}

// bare is the name as typed, but without a code.
func bare(n directory.Name) string {
	switch {
	case n.Realm == "":
		return n.User
	case n.Down:
		return n.Realm + `\` + n.User
	default:
		return n.User + "@" + n.Realm
	}
}

// asMSCHAPv1 says whether a response to be verified goes out in that form.
func (d *Directory) asMSCHAPv1(n directory.Name, r *directory.MSCHAPv2) bool {
	switch d.cfg.AsMSCHAPv1 {
	case AsMSCHAPv1Always:
		return true
	case AsMSCHAPv1WithCode:
		return r.Typed != bare(n)
	case AsMSCHAPv1Never, AsMSCHAPv1Unknown:
	}
	return false
}
