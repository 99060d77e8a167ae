package netlogon

import (
	"context"
	"errors"
	"fmt"

	"github.com/oiweiwei/go-msrpc/dcerpc"
	samr "github.com/oiweiwei/go-msrpc/msrpc/samr/samr/v1"
	"github.com/oiweiwei/go-msrpc/ssp"
	"github.com/oiweiwei/go-msrpc/ssp/credential"
	"github.com/oiweiwei/go-msrpc/ssp/gssapi"
)

// ChangePassword sets a user's password as the user: newEncrypted is the new one under
// the old hash, oldHashEncrypted the old hash under the new one, both as MS-CHAPv2
// transports them (RFC 2759 §8.9, §8.12; MS-SAMR §3.1.5.10.3,
// SamrUnicodeChangePasswordUser2). It works for passwords that have expired or must
// be changed. Of cfg, Channels and Port are not looked at.
//
// The connection is NTLM-sealed as the machine account: DCs refuse anonymous ones
// over TCP. Nothing is sent twice. After an *Unavailable the password may have been
// changed all the same; a logon with the new one tells.
func ChangePassword(ctx context.Context, cfg Config, user string, newEncrypted *[516]byte, oldHashEncrypted *[16]byte) error {
	if err := cfg.check(); err != nil {
		return unavailable(cfg.Server, "change a password", misconfigured{err})
	}
	c, err := openSAMR(ctx, &cfg)
	if err != nil {
		return unavailable(cfg.Server, "connect to SAM", err)
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	return judgeChange(&cfg, c.change(ctx, user, newEncrypted, oldHashEncrypted))
}

// judgeChange makes of a change's outcome what the caller gets.
func judgeChange(cfg *Config, err error) error {
	var s Status
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &s):
		return unavailable(cfg.Server, "change a password", err)
	// Here this is about the user, who may be forbidden to change the password (MS-SAMR
	// §3.1.5.10.3: the access check is the user's).
	case s.Class() == ClassUser, s == StatusAccessDenied:
		return &Rejected{s}
	default:
		u := unavailable(cfg.Server, "change a password", s)
		u.Final = s.Class() == ClassUnknown
		return u
	}
}

// samrChannel is a sealed connection to a DC's SAM.
type samrChannel struct {
	sealedChannel
	sam samr.SamrClient
}

func openSAMR(ctx context.Context, cfg *Config) (*samrChannel, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	hash, err := machineHash(cfg)
	if err != nil {
		return nil, err
	}
	defer clear(hash[:])
	port, err := cfg.port(ctx, samrInterface)
	if err != nil {
		return nil, err
	}
	cred := credential.NewFromNTHashBytes(cfg.Machine, hash[:],
		credential.Workstation(cfg.computer()), credential.Domain(cfg.Domain))
	c := &samrChannel{sealedChannel: sealedChannel{cfg: cfg}}
	err = c.bind(ctx, port, []gssapi.ContextOption{
		gssapi.WithCredential(cred), gssapi.WithMechanismFactory(ssp.SPNEGO), gssapi.WithMechanismFactory(ssp.NTLM),
	}, func(ctx context.Context, conn dcerpc.Conn, opts ...dcerpc.Option) (err error) {
		c.sam, err = samr.NewSamrClient(ctx, conn, append(opts, dcerpc.WithSeal())...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bind as %s: %w", cfg.Machine, refusedBind(explain(err)))
	}
	return c, nil
}

// refusedBind knows the ways in which a DC says that it does not take the machine
// account's password, or NTLM at all. In NETLOGON that is ACCESS_DENIED.
func refusedBind(err error) error {
	if errors.Is(err, faultSecurity) || errors.Is(err, faultAccessDenied) || errors.Is(err, faultLogonFailure) {
		return misconfigured{fmt.Errorf("%w: %w", StatusAccessDenied, err)}
	}
	return err
}

func (c *samrChannel) change(ctx context.Context, user string, newEncrypted *[516]byte, oldHashEncrypted *[16]byte) error {
	var resp *samr.UnicodeChangePasswordUser2Response
	err := c.invoke(ctx, func(ctx context.Context) (err error) {
		resp, err = c.sam.UnicodeChangePasswordUser2(ctx, &samr.UnicodeChangePasswordUser2Request{
			ServerName:                         text(`\\` + c.cfg.Server),
			UserName:                           text(user),
			NewPasswordEncryptedWithOldNT:      &samr.EncryptedUserPassword{Buffer: newEncrypted[:]},
			OldNTOWFPasswordEncryptedWithNewNT: &samr.EncryptedNTOWFPassword{Data: oldHashEncrypted[:]},
		})
		return err
	})
	if resp != nil && resp.Return != 0 {
		return Status(uint32(resp.Return))
	}
	return err
}
