package ldapc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"postern/internal/failover"
)

// connect makes a connection that nobody is bound on yet. Its error is no answer to
// anything, also where the server gave one to StartTLS.
func (p *pool) connect(ctx context.Context) (*conn, error) {
	start := time.Now()
	raw, err := p.dial(ctx, p.addr)
	if err != nil {
		return nil, failover.Away(fmt.Errorf("connect: %w", orCause(ctx, err)))
	}
	secured, err := p.secure(ctx, raw)
	if err != nil {
		raw.Close()
		return nil, failover.Away(err)
	}
	c := newConn(raw, secured)
	c.check = Checked{Server: p.host, Address: raw.RemoteAddr().String(), Connect: time.Since(start)}
	if t, ok := secured.(*tls.Conn); ok {
		state := t.ConnectionState()
		c.check.TLS, c.check.Certificate = tls.VersionName(state.Version), state.PeerCertificates[0]
	}
	return c, nil
}

// secure brings TLS up as configured.
func (p *pool) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	switch p.cfg.TLS {
	case Plain:
		if !loopback(raw.RemoteAddr()) {
			return nil, fmt.Errorf("%s is not on this host: passwords and hashes would go over the network in the clear", raw.RemoteAddr())
		}
		return raw, nil
	case StartTLS:
		if err := startTLS(ctx, raw); err != nil {
			return nil, fmt.Errorf("StartTLS: %w", orCause(ctx, err))
		}
	case LDAPS, TLSUnknown:
	}
	secured := tls.Client(raw, p.tls)
	err := secured.HandshakeContext(ctx)
	if err == nil {
		return secured, nil
	}
	if ctx.Err() == nil {
		if e := explain(p.tls.ServerName, err, time.Now()); e != nil {
			return nil, e
		}
	}
	return nil, fmt.Errorf("TLS: %w", orCause(ctx, err))
}

// orCause is ctx's error, when that is why err came about.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func loopback(a net.Addr) bool {
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// startTLSName is the request's name (RFC 4511 §4.14.1).
const (
	startTLSName     = "1.3.6.1.4.1.1466.20037"
	maxStartTLSReply = 4096 // ours
)

// startTLS asks for TLS. It reads the answer and not one octet more: what an
// attacker has put behind it in the clear comes to TLS as a broken record.
func startTLS(ctx context.Context, raw net.Conn) error {
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	msg := ber.NewSequence("LDAPMessage")
	msg.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, "messageID"))
	req := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "ExtendedRequest")
	req.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, startTLSName, "requestName"))
	msg.AppendChild(req)
	if _, err := raw.Write(msg.Bytes()); err != nil {
		return err
	}
	reply, err := ber.ReadPacket(io.LimitReader(raw, maxStartTLSReply))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if len(reply.Children) < 2 || reply.Children[1].ClassType != ber.ClassApplication || reply.Children[1].Tag != ldap.ApplicationExtendedResponse {
		return errors.New("the answer is none to an extended request")
	}
	return ldap.GetLDAPError(reply)
}

// dialTCP is the pool's way to a server, but for tests.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}
