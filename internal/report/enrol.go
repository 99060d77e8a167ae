package report

import (
	"crypto/ed25519"
	"fmt"
	"strings"
)

// Enrolment asks the service to know a device's key from now on.
type Enrolment struct {
	Ticket string `json:"ticket"` // of whom the device is
	Name   string `json:"name"`   // its host name
	Key    []byte `json:"key"`    // public
	Proof  []byte `json:"proof"`  // that who asks has the other half
}

// Enrol makes an enrolment.
func Enrol(ticket, name string, key ed25519.PrivateKey) *Enrolment {
	e := &Enrolment{Ticket: ticket, Name: name, Key: key.Public().(ed25519.PublicKey)}
	e.Proof = sign(key, enrolContext, e.proved())
	return e
}

// proved is what the proof signs: this ticket, this name, this key.
func (e *Enrolment) proved() []byte {
	return append([]byte(e.Ticket+"\n"+e.Name+"\n"), e.Key...)
}

// Proved says whether the proof is one.
func (e *Enrolment) Proved() bool { return verify(e.Key, enrolContext, e.proved(), e.Proof) }

// Append appends the enrolment as it travels.
func (e *Enrolment) Append(b []byte) []byte { return appendJSON(b, e) }

// ParseEnrolment reads an enrolment in its one spelling.
func ParseEnrolment(b []byte) (*Enrolment, error) {
	e := new(Enrolment)
	if err := parseJSON(b, e, MaxRequest); err != nil {
		return nil, err
	}
	switch {
	case e.Ticket == "" || len(e.Ticket) > maxTicket || strings.ContainsFunc(e.Ticket, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, fmt.Errorf("%w: ticket", ErrMalformed)
	case !ValidID(e.Name):
		return nil, fmt.Errorf("%w: name", ErrMalformed)
	case len(e.Key) != ed25519.PublicKeySize:
		return nil, fmt.Errorf("%w: key", ErrMalformed)
	case len(e.Proof) != ed25519.SignatureSize:
		return nil, fmt.Errorf("%w: proof", ErrMalformed)
	}
	return e, nil
}

// HostName makes a name that an enrolment may carry of whatever a machine calls itself.
func HostName(s string) string {
	s, _, _ = strings.Cut(s, ".")
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && (ValidID("x" + string(r))) {
			return r
		}
		return '-'
	}, s)
	s = strings.Trim(s[:min(len(s), maxHostName)], "-_.")
	if !ValidID(s) {
		return "computer"
	}
	return s
}

// maxHostName leaves room for what the service puts behind it.
const maxHostName = 40
