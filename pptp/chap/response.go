package chap

// maxName is what RADIUS' User-Name can carry (RFC 2865 §5); RFC 2759 §4 has
// 256, but a name no service can be asked about is no login.
const maxName = 253

// Offsets in the value of a Response, RFC 2759 §4.
const (
	offPeerChallenge = 0
	offReserved      = 16
	offNTResponse    = 24
	offFlags         = 48
	responseLen      = 49
)

// response is the data of a Response. Reserved and flags must be zero and are
// not kept: nothing of MS-CHAP-V1, which used them, gets in.
type response struct {
	PeerChallenge [16]byte
	NTResponse    [24]byte
	Name          string
}

func parseResponse(b []byte) (response, error) {
	if len(b) < 1+responseLen || int(b[0]) != responseLen {
		return response{}, ErrValue
	}
	value, name := b[1:1+responseLen], b[1+responseLen:]
	if [8]byte(value[offReserved:]) != [8]byte{} || value[offFlags] != 0 {
		return response{}, ErrFlags
	}
	if len(name) == 0 || len(name) > maxName {
		return response{}, ErrName
	}
	return response{
		PeerChallenge: [16]byte(value[offPeerChallenge:]),
		NTResponse:    [24]byte(value[offNTResponse:]),
		Name:          string(name),
	}, nil
}

func (r response) Append(b []byte) []byte {
	b = append(b, responseLen)
	b = append(b, r.PeerChallenge[:]...)
	b = append(b, make([]byte, offNTResponse-offReserved)...)
	b = append(b, r.NTResponse[:]...)
	b = append(b, 0)
	return append(b, r.Name...)
}
