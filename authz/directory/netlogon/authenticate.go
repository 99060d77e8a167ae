package netlogon

import (
	"context"
	"crypto/aes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"postern/internal/mschap"
)

// MS-NRPC §3.5.4.4.
const (
	opRequestChallenge = 4
	opAuthenticate3    = 26

	workstationChannel = 2 // WorkstationSecureChannel: a member, no DC
)

// Negotiable options (MS-NRPC §3.1.4.2). RC4, the bit 0x4, is never offered.
const (
	FlagConcurrentRPC    = 0x00000800
	FlagStrongKey        = 0x00004000
	FlagTransitiveTrusts = 0x00010000
	FlagPasswordSet2     = 0x00020000
	FlagGetDomainInfo    = 0x00040000
	FlagCrossForest      = 0x00080000
	FlagAES              = 0x01000000
	FlagSecureRPC        = 0x40000000

	offered = FlagAES | FlagSecureRPC | FlagStrongKey | FlagConcurrentRPC | FlagTransitiveTrusts |
		FlagGetDomainInfo | FlagPasswordSet2 | FlagCrossForest
	demanded = FlagAES | FlagSecureRPC
)

// session is what both sides agreed on.
type session struct {
	client, server [8]byte // challenges
	key            [16]byte
	flags          uint32
}

func (s *session) wipe() { clear(s.key[:]) }

var (
	errNoAES    = errors.New("the server does not negotiate AES with a sealed channel")
	errImpostor = errors.New("the server does not know the machine account's password")
	errReply    = errors.New("reply is misshapen")
)

// machineHash is the machine account's NT hash.
func machineHash(cfg *Config) ([16]byte, error) {
	password, err := cfg.Password()
	if err != nil {
		return [16]byte{}, misconfigured{fmt.Errorf("get the machine password: %w", err)}
	}
	defer clear(password)
	if len(password) == 0 {
		return [16]byte{}, misconfigured{errNoPassword}
	}
	return mschap.NTHash(string(password)), nil
}

// negotiate agrees on a session key, on a connection of its own.
func negotiate(ctx context.Context, cfg *Config, port uint16, hash *[16]byte) (*session, error) {
	p, err := bindPlain(ctx, cfg, port, &netlogonInterface)
	if err != nil {
		return nil, fmt.Errorf("connect to NETLOGON: %w", err)
	}
	defer p.close()
	s, err := authenticate(p, cfg.Machine, cfg.computer(), hash)
	if err != nil {
		return nil, ended(ctx, err)
	}
	return s, nil
}

// authenticate is NetrServerReqChallenge and NetrServerAuthenticate3 (MS-NRPC
// §3.1.4.1). Both carry a server name that Windows compares with its own; no name at
// all is right for every DC, whatever address it was found under.
func authenticate(c caller, machine, computer string, hash *[16]byte) (*session, error) {
	s := new(session)
	if _, err := rand.Read(s.client[:]); err != nil {
		return nil, err
	}
	var e encoder
	e.uint32(0)
	e.text(computer)
	e.octets(s.client[:])
	reply, err := c.call(opRequestChallenge, e.b)
	if err != nil {
		return nil, fmt.Errorf("request a challenge: %w", err)
	}
	d := decoder{b: reply}
	copy(s.server[:], d.octets(8))
	status := Status(d.uint32())
	switch {
	case !d.done():
		return nil, fmt.Errorf("request a challenge: %w", errReply)
	case status != StatusOK:
		return nil, fmt.Errorf("request a challenge: %w", status)
	}
	s.derive(hash)
	proof, want := s.credential(&s.client), s.credential(&s.server)

	e = encoder{}
	e.uint32(0)
	e.text(machine)
	e.uint16(workstationChannel)
	e.text(computer)
	e.octets(proof[:])
	e.uint32(offered)
	reply, err = c.call(opAuthenticate3, e.b)
	if err != nil {
		return nil, fmt.Errorf("authenticate as %s: %w", machine, err)
	}
	d = decoder{b: reply}
	got := d.octets(8)
	s.flags = d.uint32()
	d.uint32() // the account's RID
	status = Status(d.uint32())
	switch {
	case !d.done():
		err = errReply
	case status != StatusOK:
		err = status
	case s.flags&demanded != demanded:
		err = misconfigured{fmt.Errorf("%w (flags 0x%08X)", errNoAES, s.flags)}
	case subtle.ConstantTimeCompare(got, want[:]) != 1:
		err = misconfigured{errImpostor}
	}
	if err != nil {
		s.wipe()
		return nil, fmt.Errorf("authenticate as %s: %w", machine, err)
	}
	s.flags &= offered
	return s, nil
}

// derive computes the session key (MS-NRPC §3.1.4.3.1).
func (s *session) derive(hash *[16]byte) {
	m := hmac.New(sha256.New, hash[:])
	m.Write(s.client[:])
	m.Write(s.server[:])
	copy(s.key[:], m.Sum(nil))
}

// credential computes a Netlogon credential (MS-NRPC §3.1.4.4.1): AES-128 in CFB
// mode with 8-bit feedback and a zero vector.
func (s *session) credential(challenge *[8]byte) [8]byte {
	block, err := aes.NewCipher(s.key[:])
	if err != nil {
		panic(err) // 16 octets are a key
	}
	var register, key [16]byte
	var out [8]byte
	for i, c := range challenge {
		block.Encrypt(key[:], register[:])
		out[i] = c ^ key[0]
		copy(register[:], register[1:])
		register[15] = out[i]
	}
	return out
}
