package ad

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"postern/internal/ldapc"
)

// Ours. A code of the second factor is good for 30 seconds; Kerberos allows five
// minutes (RFC 4120 §1.6).
const (
	skewWarn   = 20 * time.Second
	skewBad    = 5 * time.Minute
	certExpiry = 30 * 24 * time.Hour
)

func (d *doctor) askServers(ctx context.Context) {
	for _, host := range d.hosts {
		c, err := d.dir.dc(host)
		if err != nil {
			d.found("ldap", host, Bad, "", "%v", err)
			continue
		}
		if d.askServer(ctx, c) {
			d.dcs = append(d.dcs, c)
		}
	}
}

// askServer says whether a server answers questions. TLS and the clock are looked at
// without a bind, so that a bad one hides nothing else.
func (d *doctor) askServer(ctx context.Context, c *dc) bool {
	l, err := ldapc.New(d.cfg.ldapConfig(c.host, ldapc.Bind{Method: ldapc.Anonymous}))
	if err != nil {
		d.found("ldap", c.host, Bad, "", "%v", err)
		return false
	}
	defer l.Close()
	before := d.dir.cfg.Now()
	got, err := l.Check(ctx, c.host)
	after := d.dir.cfg.Now()
	if err != nil {
		d.found("tls", c.host, Bad, connectRemedy(err), "%v", err)
		return false
	}
	d.lookAtCertificate(c.host, &got)
	if got.RootDSE != nil {
		d.compareClocks(c.host, got.RootDSE.GetEqualFoldAttributeValue("currentTime"), before.Add(after.Sub(before)/2))
		if name := got.RootDSE.GetEqualFoldAttributeValue("defaultNamingContext"); !sameDN(name, d.dir.base) {
			d.found("ldap", c.host, Bad, "list domain controllers of "+d.cfg.Domain+" only", "the server is one of %s, not of %s", name, d.dir.base)
			return false
		}
	}
	err = d.dir.bound(c, func() error {
		_, err := c.ldap.Search(ctx, &ldapc.Search{Base: d.dir.base, Scope: ldap.ScopeBaseObject, Filter: anything, Attributes: []string{"objectSid"}})
		return err
	})
	if err != nil {
		d.found("bind", c.host, Bad, remedies[AlarmBind], "%v", err)
		return false
	}
	d.found("bind", c.host, OK, "", "the directory answers")
	return true
}

// compareClocks compares the server's clock with ours.
func (d *doctor) compareClocks(host, text string, ours time.Time) {
	const check, remedy = "clock", "synchronize both with NTP: hours, expiries, codes and tickets depend on it"
	theirs, err := generalizedTime(text)
	if err != nil {
		d.found(check, host, Warn, "", "the server does not tell the time")
		return
	}
	skew := theirs.Sub(ours).Round(time.Second)
	switch {
	case skew.Abs() >= skewBad:
		d.found(check, host, Bad, remedy, "the server's clock is %v from ours", skew)
	case skew.Abs() >= skewWarn:
		d.found(check, host, Warn, remedy, "the server's clock is %v from ours", skew)
	default:
		d.found(check, host, OK, "", "the server's clock is within %v of ours", skewWarn)
	}
}

// connectRemedy says what to do about a connection that does not come about.
func connectRemedy(err error) string {
	var t *ldapc.TLSError
	if !errors.As(err, &t) {
		return "let this host reach TCP 636 (with starttls 389) of the server"
	}
	switch t.Problem {
	case ldapc.NoName:
		return "give the domain controller a certificate with its name as subjectAltName; the one that Samba makes has none"
	case ldapc.WrongName:
		return "list the server under a name that is in its certificate"
	case ldapc.UnknownCA:
		return "put the CA of the domain controllers' certificates into ca_file"
	case ldapc.Expired:
		return "renew the domain controller's certificate"
	case ldapc.NotYetValid:
		return "set the clocks: certificate or this host"
	case ldapc.NotTLS:
		return "look whether the port is the one of LDAPS; with the port of LDAP use starttls"
	case ldapc.OldTLS:
		return "update the domain controller: TLS 1.2 is the least"
	case ldapc.BadCertificate, ldapc.ProblemUnknown:
	}
	return "give the domain controller another certificate"
}

// lookAtCertificate tells when it ends.
func (d *doctor) lookAtCertificate(host string, got *ldapc.Checked) {
	const check = "tls"
	if got.Certificate == nil {
		d.found(check, host, OK, "", "without TLS, on this host")
		return
	}
	end := got.Certificate.NotAfter
	if end.Sub(d.dir.cfg.Now()) < certExpiry {
		d.found(check, host, Warn, "renew the domain controller's certificate", "the certificate ends on %s", end.Format(time.DateOnly))
		return
	}
	d.found(check, host, OK, "", "%s, certificate in order until %s", got.TLS, end.Format(time.DateOnly))
}

func sameDN(a, b string) bool {
	x, errX := ldap.ParseDN(a)
	y, errY := ldap.ParseDN(b)
	return errX == nil && errY == nil && x.EqualFold(y)
}

// withoutPort is the host alone: NETLOGON and LDAP have ports of their own.
func withoutPort(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}
