package ldapc

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"
)

// Problem is what is wrong with a server's TLS.
//
// Handled in: problemNames, and where the doctor says what to do.
type Problem uint8

const (
	ProblemUnknown Problem = iota
	NotTLS                 // something else is spoken at the port
	OldTLS                 // nothing above 1.1
	UnknownCA
	WrongName
	NoName // no subjectAltName: nothing that a name could be compared with
	Expired
	NotYetValid
	BadCertificate // for other reasons
)

var problemNames = [...]string{
	ProblemUnknown: "unknown", NotTLS: "no TLS", OldTLS: "old TLS", UnknownCA: "unknown CA", WrongName: "wrong name",
	NoName: "no name", Expired: "expired", NotYetValid: "not yet valid", BadCertificate: "bad certificate",
}

// String returns the problem in words.
func (p Problem) String() string {
	if int(p) < len(problemNames) {
		return problemNames[p]
	}
	return problemNames[ProblemUnknown]
}

// TLSError says why there is no TLS with a server, in words for its administrator.
type TLSError struct {
	Problem     Problem
	Name        string            // that was expected
	Certificate *x509.Certificate // nil: none came
	text        string
	err         error
}

// Error implements error.
func (e *TLSError) Error() string { return "TLS with " + e.Name + ": " + e.text }

// Unwrap returns what crypto/tls said.
func (e *TLSError) Unwrap() error { return e.err }

// explain makes a failed handshake's error a *TLSError; nil when the network
// failed.
func explain(name string, err error, now time.Time) *TLSError {
	var unverified *tls.CertificateVerificationError
	var certificate *x509.Certificate
	if errors.As(err, &unverified) && len(unverified.UnverifiedCertificates) > 0 {
		certificate = unverified.UnverifiedCertificates[0]
	}
	say := func(p Problem, format string, args ...any) *TLSError {
		return &TLSError{Problem: p, Name: name, Certificate: certificate, text: fmt.Sprintf(format, args...), err: err}
	}
	var (
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &host) && host.Certificate != nil:
		names := namesOf(host.Certificate)
		if len(names) == 0 {
			return say(NoName, "the certificate has no subjectAltName (its common name does not count, RFC 6125 §6.4.4); give it one with %s", name)
		}
		return say(WrongName, "the certificate is that of %s", strings.Join(names, ", "))
	case errors.As(err, &unknown):
		if certificate == nil {
			return say(UnknownCA, "the certificate's CA is not one of ours")
		}
		return say(UnknownCA, "the certificate's CA is not one of ours: it was issued by %q", certificate.Issuer.String())
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		// Of the chain, the certificate that this is about may be a CA's.
		c := invalid.Cert
		if now.Before(c.NotBefore) {
			return say(NotYetValid, "the certificate of %q is valid from %s, and our clock says %s", c.Subject.String(), date(c.NotBefore), date(now))
		}
		return say(Expired, "the certificate of %q was valid until %s, and our clock says %s", c.Subject.String(), date(c.NotAfter), date(now))
	case unverified != nil:
		return say(BadCertificate, "%v", unverified.Err)
	case errors.As(err, &record):
		return say(NotTLS, "something other than TLS is spoken at this port")
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		// LDAP servers hang up on a ClientHello at their plain port.
		return say(NotTLS, "the server hung up, as one does that speaks no TLS at this port")
	case strings.Contains(err.Error(), "protocol version"):
		// The server's alert, or our refusal of its choice; crypto/tls exports neither.
		return say(OldTLS, "the server offers nothing above TLS 1.1")
	}
	return nil
}

// date is short enough to be compared by eye.
func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// namesOf are the names that a certificate can prove.
func namesOf(c *x509.Certificate) []string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}
