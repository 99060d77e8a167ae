package netlogon

import (
	"context"
	"errors"
	"fmt"
	"time"

	logon "github.com/oiweiwei/go-msrpc/msrpc/nrpc/logon/v1"
)

// Checked is what a look at a DC found in order.
type Checked struct {
	Addr   string // where NETLOGON listens
	Flags  uint32 // negotiated (FlagAES and so on)
	AES    bool
	Sealed bool          // a call was made and answered under encryption
	SetUp  time.Duration // of the channel
	Call   time.Duration // of that call
	Trusts []Trust       // the DC's own domain, and those that users may come from
}

// Trust is a domain that the DC's own trusts.
type Trust struct {
	NetBIOS, DNS, SID string
	Own               bool // the DC's own domain
}

// Check sets up a channel of its own, makes one harmless call on it and closes it.
// Nobody's password is tried. On an error, what was found until then is returned too.
func (p *Pool) Check(ctx context.Context) (Checked, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	c, err := p.openNext(ctx)
	if err != nil {
		return Checked{}, p.unavailable("set up a channel", err)
	}
	defer c.close()
	f := c.facts()
	found := Checked{Addr: f.addr, Flags: f.flags, AES: f.flags&FlagAES != 0, SetUp: f.took}
	began := time.Now()
	trusts, err := c.trusts(ctx)
	var w win32
	if err != nil && !errors.As(err, &w) {
		u := p.unavailable("make a sealed call", err)
		return found, u
	}
	found.Sealed, found.Call = true, time.Since(began)
	found.Trusts = trusts
	return found, nil
}

// win32 is a DC's answer where it gives no NTSTATUS.
type win32 uint32

// Error implements error.
func (w win32) Error() string { return fmt.Sprintf("Windows error %d", uint32(w)) }

// MS-NRPC §2.2.1.6.1 and §3.5.4.7.4.
const (
	trustInForest = 0x01
	trustOutbound = 0x02 // the DC's domain trusts that one
	trustPrimary  = 0x08 // it is that one
)

func (c *sealedChannel) trusts(ctx context.Context) ([]Trust, error) {
	return c.enumerate(ctx, trustInForest|trustOutbound|trustPrimary)
}

// enumerate is DsrEnumerateDomainTrusts: allowed to every member, and it changes
// nothing.
func (c *sealedChannel) enumerate(ctx context.Context, kinds uint32) ([]Trust, error) {
	var resp *logon.EnumerateDomainTrustsResponse
	before := c.verified.Load()
	err := c.invoke(ctx, func(ctx context.Context) (err error) {
		resp, err = c.client.EnumerateDomainTrusts(ctx, &logon.EnumerateDomainTrustsRequest{Flags: kinds})
		return err
	})
	switch {
	case resp != nil && !c.proven(before):
		return nil, errUnprotected
	case resp != nil && resp.Return != 0:
		return nil, win32(resp.Return)
	case err != nil:
		return nil, err
	case resp.Domains == nil:
		return nil, nil
	}
	var trusts []Trust
	for _, d := range resp.Domains.Domains {
		if d == nil {
			continue
		}
		s, err := sid(d.DomainSID)
		if err != nil {
			s = "" // a trust may have none yet
		}
		trusts = append(trusts, Trust{NetBIOS: d.NetBIOSDomainName, DNS: d.DNSDomainName, SID: s, Own: d.Flags&trustPrimary != 0})
	}
	return trusts, nil
}
