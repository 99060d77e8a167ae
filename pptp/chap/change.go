package chap

import (
	"encoding/binary"

	"postern/internal/mschap"
)

// Offsets in the data of a Change-Password, RFC 2759 §7.
const (
	offEncryptedPassword   = 0
	offEncryptedHash       = offEncryptedPassword + mschap.PWBlockLen
	offChangePeerChallenge = offEncryptedHash + 16
	offChangeReserved      = offChangePeerChallenge + 16
	offChangeNTResponse    = offChangeReserved + 8
	offChangeFlags         = offChangeNTResponse + 24
	changeLen              = offChangeFlags + 2 // 582; with its header 586
)

// change is the data of a Change-Password. Reserved and flags must be zero and are
// not kept.
type change struct {
	EncryptedPassword [mschap.PWBlockLen]byte
	EncryptedHash     [16]byte
	PeerChallenge     [16]byte
	NTResponse        [24]byte
}

func parseChange(b []byte) (change, error) {
	if len(b) != changeLen {
		return change{}, ErrValue
	}
	if [8]byte(b[offChangeReserved:]) != [8]byte{} || binary.BigEndian.Uint16(b[offChangeFlags:]) != 0 {
		return change{}, ErrFlags
	}
	return change{
		EncryptedPassword: [mschap.PWBlockLen]byte(b[offEncryptedPassword:]),
		EncryptedHash:     [16]byte(b[offEncryptedHash:]),
		PeerChallenge:     [16]byte(b[offChangePeerChallenge:]),
		NTResponse:        [24]byte(b[offChangeNTResponse:]),
	}, nil
}

func (c *change) Append(b []byte) []byte {
	b = append(b, c.EncryptedPassword[:]...)
	b = append(b, c.EncryptedHash[:]...)
	b = append(b, c.PeerChallenge[:]...)
	b = append(b, make([]byte, offChangeNTResponse-offChangeReserved)...)
	b = append(b, c.NTResponse[:]...)
	return append(b, 0, 0)
}

// mayChange says whether a Failure lets the peer answer with a Change-Password: the
// password has expired, there is a challenge to answer, and the server says by its
// V= that it understands one (RFC 2759 §6).
func mayChange(e *mschap.Error) bool {
	return e.Code == mschap.ErrorPasswordExpired && e.Version >= mschap.Version && e.Challenge != [16]byte{}
}
