package netlogon

import (
	"context"
	"crypto/subtle"
	"errors"
	"sync/atomic"

	"github.com/oiweiwei/go-msrpc/ssp/gssapi"
	msrpc "github.com/oiweiwei/go-msrpc/ssp/netlogon"
	"github.com/oiweiwei/go-msrpc/ssp/netlogon/crypto"
)

// provider is the Netlogon security provider of one channel: go-msrpc's, except for
// the sequence numbers. Both sides count every fragment, whoever sent it (MS-NRPC
// §3.3.4.2.1, §3.3.4.2.2). go-msrpc takes it that requests and replies alternate, so
// it would reject the second fragment of a reply: that of a user in some hundred
// groups.
type provider struct {
	msrpc.Mechanism // the factory; what New returns is another
	key             []byte
	verified        *atomic.Uint64 // see mechanism
}

// New implements gssapi.MechanismFactory.
func (p provider) New(ctx context.Context) (gssapi.Mechanism, error) {
	m, err := p.Mechanism.New(ctx)
	if err != nil {
		return nil, err
	}
	base, ok := m.(*msrpc.Mechanism)
	if !ok {
		return nil, gssapi.ErrUnavailable
	}
	return &mechanism{
		Mechanism: base,
		out:       crypto.NewCipher(ctx, crypto.EtypeAESSHA2, p.key, true),
		in:        crypto.NewCipher(ctx, crypto.EtypeAESSHA2, p.key, false),
		verified:  p.verified,
	}, nil
}

// signed is how much of a signature token is compared: the header, the sequence
// number and the checksum, but not the confounder (MS-NRPC §2.2.1.3.3).
const signed = 24

var errForged = errors.New("the reply was forged, or one is missing")

// mechanism implements gssapi.MechanismEx, for sealed calls.
type mechanism struct {
	*msrpc.Mechanism
	out, in  crypto.Cipher
	next     uint64         // sequence number of the next fragment
	verified *atomic.Uint64 // counts the other side's whose signature was right
}

// parts sorts the parts of a fragment.
func parts(t *gssapi.MessageTokenEx) (sign, seal [][]byte) {
	for _, p := range t.Payloads {
		if p.Capabilities.IsSet(gssapi.Integrity) {
			sign = append(sign, p.Payload)
		}
		if p.Capabilities.IsSet(gssapi.Confidentiality) {
			seal = append(seal, p.Payload)
		}
	}
	return sign, seal
}

// WrapEx implements gssapi.MechanismEx. It encrypts in place.
func (m *mechanism) WrapEx(ctx context.Context, t *gssapi.MessageTokenEx) (*gssapi.MessageTokenEx, error) {
	sign, seal := parts(t)
	signature, err := m.out.Wrap(ctx, m.next, sign, seal)
	if err != nil {
		return nil, gssapi.ContextError(ctx, gssapi.Failure, err)
	}
	m.next++
	t.Signature = signature
	return t, nil
}

// UnwrapEx implements gssapi.MechanismEx. It decrypts in place.
func (m *mechanism) UnwrapEx(ctx context.Context, t *gssapi.MessageTokenEx) (*gssapi.MessageTokenEx, error) {
	sign, seal := parts(t)
	want, err := m.in.Unwrap(ctx, m.next, sign, seal, t.Signature)
	if err != nil {
		return nil, gssapi.ContextError(ctx, gssapi.Failure, err)
	}
	if len(t.Signature) < signed || len(want) < signed || subtle.ConstantTimeCompare(want[:signed], t.Signature[:signed]) != 1 {
		return nil, gssapi.ContextError(ctx, gssapi.BadMIC, errForged)
	}
	m.next++
	m.verified.Add(1)
	return t, nil
}
