package netlogon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oiweiwei/go-msrpc/dcerpc"
	rpcerrors "github.com/oiweiwei/go-msrpc/dcerpc/errors"
	"github.com/oiweiwei/go-msrpc/msrpc/dtyp"
	logon "github.com/oiweiwei/go-msrpc/msrpc/nrpc/logon/v1"
	"github.com/oiweiwei/go-msrpc/ssp/credential"
	"github.com/oiweiwei/go-msrpc/ssp/gssapi"
	msrpc "github.com/oiweiwei/go-msrpc/ssp/netlogon"
)

// MS-NRPC §2.2.1.4.15. The flag says that the response is an MS-CHAPv2 one: without
// it a DC that takes NTLMv2 only calls it a wrong password, and counts it. Flags
// that let computer accounts log on (0x20, 0x800) are not set.
const allowMSCHAPv2 = 0x00010000

// sealedChannel is a channel by go-msrpc.
type sealedChannel struct {
	wire   *wire
	client logon.LogonClient
	cfg    *Config
	cancel context.CancelFunc // ends go-msrpc's goroutines
	how    facts
	key    [16]byte // of the session
	// verified counts the fragments whose signature was right.
	verified atomic.Uint64
	cut      bool // a deadline has made the connection useless
}

// seal connects again and binds with the Netlogon security provider (MS-NRPC §3.3).
func seal(ctx context.Context, cfg *Config, port uint16, hash *[16]byte, s *session) (*sealedChannel, error) {
	cred := credential.NewFromNTHashBytes(cfg.Machine, hash[:],
		credential.Workstation(cfg.computer()), credential.Domain(cfg.Domain))
	c := &sealedChannel{cfg: cfg, how: facts{flags: s.flags}, key: s.key}
	security := provider{key: c.key[:], verified: &c.verified}
	err := c.bind(ctx, port, []gssapi.ContextOption{gssapi.WithCredential(cred), gssapi.WithMechanismFactory(security)},
		func(ctx context.Context, conn dcerpc.Conn, opts ...dcerpc.Option) (err error) {
			opts = append(opts, dcerpc.WithSeal(), dcerpc.WithSecurityConfig(&msrpc.Config{
				Capabilities:    msrpc.Cap(s.flags),
				Credential:      cred,
				ClientChallenge: s.client[:],
				ServerChallenge: s.server[:],
			}))
			c.client, err = logon.NewLogonClient(ctx, conn, opts...)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("bind a sealed channel: %w", err)
	}
	return c, nil
}

// bind connects and lets f bind with go-msrpc.
func (c *sealedChannel) bind(ctx context.Context, port uint16, security []gssapi.ContextOption,
	f func(ctx context.Context, conn dcerpc.Conn, opts ...dcerpc.Option) error,
) error {
	conn, err := c.cfg.dial(ctx, port)
	if err != nil {
		return err
	}
	c.wire = newWire(conn)
	c.how.addr = conn.RemoteAddr().String()
	stop := abort(ctx, conn)
	// What go-msrpc is bound with ends its goroutines, so it must outlive ctx.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	life = gssapi.NewSecurityContext(life, security...)
	err = guarded(func() error {
		conn, err := dcerpc.Dial(life, net.IPv4zero.String(), dcerpc.WithDialer(given{c.wire}),
			dcerpc.WithNewTransport(), dcerpc.WithTimeout(c.cfg.Timeout))
		if err != nil {
			return err
		}
		return f(life, conn, dcerpc.WithEndpoint("ncacn_ip_tcp:["+strconv.Itoa(int(port))+"]"))
	})
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.close()
		return ended(ctx, err)
	}
	c.wire.bound.Store(true)
	return nil
}

// DialContext implements dcerpc.Dialer.
func (g given) DialContext(context.Context, string, string) (net.Conn, error) { return g.wire, nil }

var errPanic = errors.New("go-msrpc panicked")

// guarded turns a panic of go-msrpc's into an error. Those on its own goroutines are
// what wire is for.
func guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return f()
}

// invoke makes one call. An error that is no answer says whether the request left.
func (c *sealedChannel) invoke(ctx context.Context, f func(ctx context.Context) error) error {
	stop := abort(ctx, c.wire.Conn)
	err := guarded(func() error { return f(ctx) })
	c.cut = !stop() // even where the answer was faster
	switch {
	case c.cut && err == nil:
		return ctx.Err()
	case err == nil:
		return nil
	case c.wire.unsent() && ctx.Err() == nil:
		return fmt.Errorf("%w (%w)", errUnsent, err)
	}
	return ended(ctx, explain(err))
}

// explain turns a fault that go-msrpc read into ours. Nobody but an administrator can
// do something about a DC that does not want us.
func explain(err error) error {
	var known *rpcerrors.RPCError
	var other *rpcerrors.Error
	var f fault
	switch {
	case errors.As(err, &known):
		f = fault(known.Code)
	case errors.As(err, &other):
		code, ok := other.Value.(uint32)
		if !ok {
			return err
		}
		f = fault(code)
	default:
		return err
	}
	if f == faultAccessDenied || f == faultLogonFailure {
		return misconfigured{f}
	}
	return f
}

// proven says whether a signature was verified since there were that many. Without
// one there is no reply; admit sees to that, and this is the second bar to the door.
func (c *sealedChannel) proven(before uint64) bool { return c.verified.Load() > before }

func text(s string) *dtyp.UnicodeString { return &dtyp.UnicodeString{Buffer: s} }

func (c *sealedChannel) logon(ctx context.Context, r *Request) (*Logon, error) {
	req := &logon.SAMLogonExRequest{
		ComputerName: c.cfg.computer(),
		LogonLevel:   logon.LogonInfoClassNetworkTransitiveInformation,
		LogonInformation: &logon.Level{Value: &logon.Level_LogonNetworkTransitive{LogonNetworkTransitive: &logon.NetworkInfo{
			Identity: &logon.LogonIdentityInfo{
				LogonDomainName: text(r.Domain), UserName: text(r.User), Workstation: text(""),
				ParameterControl: allowMSCHAPv2,
			},
			LMChallenge:         &logon.LMChallenge{Data: r.ChallengeHash[:]},
			NTChallengeResponse: &logon.String{Buffer: r.Response[:]},
			LMChallengeResponse: &logon.String{},
		}}},
		ValidationLevel: logon.ValidationInfoClassSAMInfo4,
	}
	var resp *logon.SAMLogonExResponse
	before := c.verified.Load()
	err := c.invoke(ctx, func(ctx context.Context) (err error) {
		resp, err = c.client.SAMLogonEx(ctx, req)
		return err
	})
	// With an answer that is no success there is both.
	if resp != nil && !c.proven(before) {
		return nil, errUnprotected
	}
	if resp != nil && resp.Return != 0 {
		return nil, Status(uint32(resp.Return))
	}
	if resp == nil {
		return nil, err
	}
	info, ok := resp.ValidationInformation.GetValue().(*logon.ValidationSAMInfo4)
	if !ok || info == nil {
		return nil, cmp.Or(err, errReply)
	}
	defer forget(info)
	if err != nil {
		return nil, err
	}
	return logonOf(info)
}

// forget wipes the key that a reply holds.
func forget(info *logon.ValidationSAMInfo4) {
	if info.UserSessionKey == nil {
		return
	}
	for _, block := range info.UserSessionKey.Data {
		if block != nil {
			clear(block.Data)
		}
	}
}

// logonOf takes what is of use from a SAM_INFO4 (MS-NRPC §2.2.1.4.13).
func logonOf(info *logon.ValidationSAMInfo4) (*Logon, error) {
	domain, err := sid(info.LogonDomainID)
	if err != nil {
		return nil, err
	}
	l := &Logon{
		User: unicode(info.EffectiveName), Domain: unicode(info.LogonDomainName), DNS: unicode(info.DNSLogonDomainName),
		SID: rid(domain, info.UserID), Groups: []string{rid(domain, info.PrimaryGroupID)},
		Flags: info.UserFlags, Control: info.UserAccountControl, MustChange: filetime(info.PasswordMustChange),
	}
	for _, g := range info.GroupIDs {
		if g != nil && g.Attributes&groupEnabled != 0 && g.RelativeID != info.PrimaryGroupID {
			l.Groups = append(l.Groups, rid(domain, g.RelativeID))
		}
	}
	for _, e := range info.ExtraSIDs {
		if e == nil || e.Attributes&groupEnabled == 0 {
			continue
		}
		s, err := sid(e.SID)
		if err != nil {
			return nil, err
		}
		l.Groups = append(l.Groups, s)
	}
	if info.UserSessionKey == nil || len(info.UserSessionKey.Data) != 2 {
		return nil, errReply
	}
	for i, block := range info.UserSessionKey.Data {
		if block == nil || len(block.Data) != 8 {
			l.Wipe()
			return nil, errReply
		}
		copy(l.HashHash[8*i:], block.Data)
	}
	return l, nil
}

const groupEnabled = 0x4 // SE_GROUP_ENABLED (MS-PAC §2.2.1)

// sid spells a SID as MS-DTYP §2.4.2.1 does.
func sid(s *dtyp.SID) (string, error) {
	if s == nil || s.Revision != 1 || s.IDAuthority == nil || len(s.IDAuthority.Value) != 6 {
		return "", errReply
	}
	var authority uint64
	for _, b := range s.IDAuthority.Value {
		authority = authority<<8 | uint64(b)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "S-1-%d", authority)
	if authority > 1<<32-1 {
		b.Reset()
		fmt.Fprintf(&b, "S-1-0x%012X", authority)
	}
	for _, sub := range s.SubAuthority {
		fmt.Fprintf(&b, "-%d", sub)
	}
	return b.String(), nil
}

func rid(domain string, id uint32) string { return domain + "-" + strconv.FormatUint(uint64(id), 10) }

func unicode(s *dtyp.UnicodeString) string {
	if s == nil {
		return ""
	}
	return s.Buffer
}

// filetime turns 100 ns since 1601 into a time; zero and the largest are never.
func filetime(t *logon.OldLargeInteger) time.Time {
	const (
		second    = 10_000_000
		unixEpoch = 11_644_473_600 // seconds after 1601
		never     = 1<<63 - 1
	)
	if t == nil {
		return time.Time{}
	}
	v := int64(t.HighPart)<<32 | int64(t.LowPart)
	if v <= 0 || v == never {
		return time.Time{}
	}
	return time.Unix(v/second-unixEpoch, v%second*100).UTC()
}

func (c *sealedChannel) facts() facts { return c.how }
func (c *sealedChannel) alive() bool  { return !c.cut && c.wire.alive() }

// close ends go-msrpc's goroutines. Its own Close would wait for them, and leaves a
// connection open whose bind failed.
func (c *sealedChannel) close() {
	c.cancel()
	c.wire.Close()
	clear(c.key[:])
}
